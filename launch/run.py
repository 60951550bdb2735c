"""Trains an experiment, or goes on where it was stopped; then samples from it and evaluates it.

python -m launch.run --config=configs/rectified_flow_digits.py --workdir=runs/digits
python -m launch.run --config=configs/rectified_flow_digits.py --workdir=runs/lr --config.optimizer.learning_rate=3e-4
"""

import sys

import jax
from absl import flags

from launch import cli
from research import (
    data,
    distributed,
    evaluation,
    experiment,
    loop,
    precision,
    results,
    staging,
    uri,
    warm_start,
    workdir,
)
from research.errors import UserError

CONFIG = cli.config_flag()
WORKDIR = cli.workdir_flag()
INIT_FROM = flags.DEFINE_string("init_from", None, "workdir whose averaged weights a new run starts from")
PROFILE = flags.DEFINE_string("profile", None, "START:STOP, the steps of which to write a profiler trace")
UNTIL = flags.DEFINE_integer("until", None, "a step at which to save and end, for the command without it to go on from")
HEARTBEAT = flags.DEFINE_integer("heartbeat", 100, "seconds of silence after which a process counts as dead", 1)


def train(config, path, init_from=None, profile=None, until=None):
    """Trains, samples and evaluates; returns the evaluation as a dict, {} where it ends before at the step `until`.

    Finished runs return theirs at once. Of several processes the first evaluates, and the others return {} after it.
    """
    precision.apply(config.precision)
    experiment.check(config)
    with distributed.in_turn():  # the others find what the first downloads
        dataset = data.load(config.data)
    built = experiment.assemble(config, dataset)
    with distributed.in_turn():
        path = workdir.open_for(path, built.config)
    if workdir.is_finished(path):
        if jax.process_index():
            return {}
        print(f"{path} is finished: {built.config.train.num_steps} steps; nothing to do.", file=sys.stderr)
        return workdir.load_evaluation(path)
    evaluation.embedding(built)  # says now, and not after days, what is wrong with it
    program = built.program
    if init_from:  # on a resume too: a run killed before its first checkpoint starts the same way again
        program = warm_start.from_workdir(program, cli.path(init_from))
    batches = built.program.batch or data.iterate(
        built.dataset.fitted[0],
        built.config.data.batch_size,
        built.config.data.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    if jax.process_index() == 0:
        print(_cost(built), file=sys.stderr)
    state = loop.run(program, batches, built.config, path, profile=profile, until=until)
    if (reader := getattr(built.dataset.fitted[0].gather, "groups", None)) and jax.process_index() == 0:
        print(reader.say(), file=sys.stderr)
    if until and until < built.config.train.num_steps:
        return {}
    params = distributed.whole(built.program.params(state))
    with distributed.in_turn():  # the others wait, since what becomes of one process becomes of all
        return {} if jax.process_index() else results.finish(built, params, path)


def _cost(built):
    """One line: what the model costs, counted from shapes before anything is compiled."""
    params = jax.eval_shape(built.program.init, jax.random.key(0))["params"]
    found = evaluation.cost(built, params)
    if not found:
        return f"{built.config.model.name} on {built.dataset.train.size:,} rows"
    flops = found["cost/flops_per_example"]
    return f"{built.config.model.name}: {found['cost/parameters']:,} parameters, {flops:.3g} FLOPs an example, forward"


def _steps(text):
    first, _, last = (text or "").partition(":")
    if not text:
        return None
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise UserError(f"--profile={text} must be START:STOP, two step numbers such as 20:30.")
    return int(first), int(last)


def main():
    distributed.start(HEARTBEAT.value)
    with staging.folder(WORKDIR.value, jax.process_count) as path:
        result = train(CONFIG.value, path, INIT_FROM.value, _steps(PROFILE.value), UNTIL.value)
        if result:
            print(results.summary(result))
            names = ("samples.npz", "samples.png", "predictions.npz", "learning_curve.png")
            print("  ".join(uri.join(WORKDIR.value, name) for name in names if (path / name).exists()))


if __name__ == "__main__":
    cli.run(main, required=("config", "workdir"))
