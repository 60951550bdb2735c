"""Runs every trial of a sweep, one after another; each leaves an ordinary workdir.

python -m launch.sweep --config=configs/rectified_flow_toy2d.py --sweep=data --workdir=runs/toys --backend=local

A sweep over fields of `reflow` runs launch.reflow for each trial, and its last round is the trial's result.
"""

import sys

from absl import flags

from launch import cli, reflow, run
from research import evaluation, results, sweep
from research.errors import UserError

SWEEP = flags.DEFINE_string("sweep", None, "name of a sweep_NAME() generator in the config file")
BACKEND = flags.DEFINE_enum("backend", "local", ["local"], "where the trials run: local, one after another")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the trials and stop")


def main():
    path, module = cli.path(run.WORKDIR.value), sweep.load_module(cli.config_file())
    trials = sweep.trials(module, SWEEP.value, run.CONFIG.value)
    if DRY_RUN.value:
        print("\n".join(str(path / name) for name, _ in trials))
        return
    fields = {field for overrides in sweep.named(module, SWEEP.value).values() for field in overrides}
    train = reflowed if any(field.startswith("reflow.") for field in fields) else run.train
    failed = []
    for i, (name, config) in enumerate(trials):
        print(f"trial {i + 1} of {len(trials)}: {name}", file=sys.stderr)
        try:
            result = train(config, path / name)
            print(evaluation.dumps({"trial": name} | results.headline(result)))
        except UserError as error:  # the others still run; what failed is said again at the end
            print(f"trial {name}: {error}", file=sys.stderr)
            failed.append(name)
    if failed:
        raise UserError(f"{len(failed)} of {len(trials)} trials failed: {'; '.join(failed)}.")


def reflowed(config, path):
    """The evaluation of the last round."""
    return list(reflow.pipeline(config, path, {}).values())[-1]


if __name__ == "__main__":
    cli.run(main, required=("config", "workdir", "sweep"))
