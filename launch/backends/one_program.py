"""Trials that differ in plain numbers, side by side in this process as one compiled program."""

import sys

from absl import flags

from research import grouping, one_program, results
from research.errors import UserError


def run(tasks, root, dry_run):
    """(name, its evaluation, {} at `until`, or UserError) of each task; the plan is printed first.

    Raises UserError for tasks that are no launch.run.
    """
    if any(task.module != "launch.run" for task in tasks):
        raise UserError("a sweep over fields of reflow runs launch.reflow for each trial; use --backend=local.")
    groups = grouping.plan([(task.name, task.config) for task in tasks])
    print(grouping.describe(groups), file=sys.stderr)
    until = tasks[0].until
    for i, group in enumerate(groups):
        if dry_run:
            print("\n".join(str(root / name) for name in group.names))
        else:
            print(f"program {i + 1} of {len(groups)}: {len(group.names)} trials", file=sys.stderr)
            yield from train(group, root, until)


def train(group, root, until=None):
    """Results of the trials of a group; what fails but for a mistake, such as memory, is tried again."""
    said = set()
    for attempt in range(flags.FLAGS.retries + 1):
        try:
            for name, built, state in one_program.run(group, [root / name for name in group.names], until):
                if name not in said:
                    said.add(name)
                    yield name, _finished(built, state, root / name, until)
            return
        except UserError as error:
            yield from ((name, error) for name in group.names if name not in said)
            return
        except (MemoryError, RuntimeError) as error:  # of XLA: no memory left, or a device that was lost
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            print(f"the program failed: {reason}", file=sys.stderr)
            if attempt == flags.FLAGS.retries:
                yield from ((name, UserError(reason)) for name in group.names if name not in said)


def _finished(built, state, path, until):
    """The evaluation of a trained trial, or the UserError that says why there is none."""
    if state is None:
        return UserError("its numbers are not finite; lower the learning rate or check the data.")
    if until is not None and until < built.config.train.num_steps:
        return {}
    try:
        return results.finish(built, built.program.params(state), path)
    except UserError as error:
        return error
