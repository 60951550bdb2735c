"""AdaBoost with stumps on Adult (48,842 people): whether an income is above 50,000 dollars.

    python -m launch.run --config=configs/adaboost_adult.py --workdir=runs/adaboost --config.data.dir=DIR

Words are numbered; the files are looked for in data.dir, and downloaded there where there are none. metrics.jsonl has
the bound on the training error beside the error; research.figures.adaboost_bound draws both for an estimator.
2 CPU cores that other work shared, half a minute: after 500 stages the bound is .515, the training error .140, and the
accuracy on held-out people .860.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on a generated table."""
    config = base.config(
        data=base.data("adult"),
        train=base.update(base.train(), num_steps=50, log_every=1, eval_every=5, checkpoint_every=25),
        model=base.adaboost(),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )
    return base.tiny(config, name="friedman_classes") if base.is_tiny(arg) else config


def sweep_depth():
    """Depth of the trees against the rate."""
    for depth in (1, 2, 4):
        for rate in (0.1, 0.5, 1.0):
            yield {"model.depth": depth, "model.learning_rate": rate}


def sweep_noise():
    """Noise in labels: AdaBoost's weights of rows that are told wrong grow without bound, LogitBoost's do not."""
    for algorithm in ("adaboost", "logitboost"):
        for noise in (0.0, 0.1, 0.2, 0.3):
            yield {"model.algorithm": algorithm, "model.label_noise": noise}
