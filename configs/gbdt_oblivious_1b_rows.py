"""Boosted oblivious trees on a table of a thousand million rows, which are spread over all chips of a TPU pod.

    python -m launch.aot --config=configs/gbdt_oblivious_1b_rows.py --topology=v5e:16x16
    python -m launch.run --config=configs/gbdt_oblivious_1b_rows.py:tiny --workdir=runs/1b_rows

It is there to be compiled: docs/aot.md has what its step takes. The table is generated, and a run makes the whole of it
in the memory of each host (44 GB), so it is --config.data.size that decides what can be run; the tiny form is. Not run
here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on a generated table."""
    config = base.config(
        data=base.update(base.data("friedman"), size=10**9),
        train=base.update(base.train(), num_steps=1000, log_every=1, eval_every=50, checkpoint_every=50),
        model=base.update(base.gbdt_oblivious(), block=1),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        config = base.tiny(config)
        config.model.update({"num_trees": 6, "block": 1})
    return config
