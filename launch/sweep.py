"""Runs every trial of a sweep; each leaves an ordinary workdir.

python -m launch.sweep --config=configs/rectified_flow_toy2d.py --sweep=data --workdir=runs/toys --backend=local
python -m launch.sweep --config=configs/gbdt_oblivious_california.py --sweep=l2_shrinkage --workdir=runs/l2 \
    --backend=one_program

local runs the trials one after another. one_program trains those side by side that differ in plain numbers, as one
compiled program, and prints which they are first. A sweep over fields of `reflow` runs launch.reflow for each trial,
and its last round is the trial's result.
"""

import json
import sys

from absl import flags

from launch import cli, reflow, run
from research import evaluation, grouping, one_program, results, sweep, workdir
from research.errors import UserError

SWEEP = flags.DEFINE_string("sweep", None, "name of a sweep_NAME() generator in the config file")
BACKEND = flags.DEFINE_enum(
    "backend", "local", ["local", "one_program"], "where the trials run: one after another, or as one program"
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the trials and stop")


def main():
    path, module = cli.path(run.WORKDIR.value), sweep.load_module(cli.config_file())
    trials = sweep.trials(module, SWEEP.value, run.CONFIG.value)
    fields = {field for overrides in sweep.named(module, SWEEP.value).values() for field in overrides}
    rounds, together = any(field.startswith("reflow.") for field in fields), BACKEND.value == "one_program"
    if rounds and together:
        raise UserError(f"sweep '{SWEEP.value}' runs launch.reflow for each trial; use --backend=local.")
    groups = grouping.plan(trials) if together else []
    if groups:
        print(grouping.describe(groups), file=sys.stderr)
    if DRY_RUN.value:
        print("\n".join(str(path / name) for name, _ in trials))
        return
    failed = []
    one = reflowed if rounds else run.train
    for found in by_group(groups, path) if together else by_trial(one, trials, path):
        name, result = found
        if isinstance(result, UserError):  # the others still run; what failed is said again at the end
            print(f"trial {name}: {result}", file=sys.stderr)
            failed.append(name)
        else:
            print(evaluation.dumps({"trial": name} | results.headline(result)), flush=True)
    if failed:
        raise UserError(f"{len(failed)} of {len(trials)} trials failed: {'; '.join(failed)}.")


def by_trial(train, trials, path):
    """Yields (name, evaluation or UserError) of each trial in turn."""
    for i, (name, config) in enumerate(trials):
        print(f"trial {i + 1} of {len(trials)}: {name}", file=sys.stderr)
        try:
            yield name, train(config, path / name)
        except UserError as error:
            yield name, error


def by_group(groups, path):
    """The same of the trials of each group side by side; finished ones are read."""
    for i, group in enumerate(groups):
        print(f"program {i + 1} of {len(groups)}: {len(group.names)} trials", file=sys.stderr)
        done = [name for name in group.names if workdir.is_finished(path / name)]
        yield from ((name, json.loads((path / name / "evaluation.json").read_text())) for name in done)
        left = [x for x in zip(group.names, group.configs) if x[0] not in done]
        if not left:
            continue
        names, configs = zip(*left)
        try:
            for name, built, state in one_program.run(
                group._replace(names=names, configs=configs), [path / name for name in names]
            ):
                if state is None:
                    yield name, UserError("its numbers are not finite; lower the learning rate or check the data.")
                else:
                    yield name, _finished(built, state, path / name)
        except UserError as error:
            yield from ((name, error) for name in names if not workdir.is_finished(path / name))


def _finished(built, state, path):
    """The evaluation of a trained trial, or the UserError that says why there is none."""
    try:
        return results.finish(built, built.program.params(state), path)
    except UserError as error:
        return error


def reflowed(config, path):
    """The evaluation of the last round."""
    return list(reflow.pipeline(config, path, {}).values())[-1]


if __name__ == "__main__":
    cli.run(main, required=("config", "workdir", "sweep"))
