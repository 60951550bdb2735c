"""Reflow: draws pairs with a trained rectified flow, trains on them, and so on; then distils students of few steps.

python -m launch.reflow --workdir=runs/digits --rounds=2
python -m launch.reflow --config=configs/reflow_digits.py --workdir=runs/digits

The workdir is the first round, trained before or, with --config, now. Its folders round_2, round_3 ... and student_K
are ordinary workdirs, each started from the last round's weights; pairs_2 ... hold what they are trained on. Stopped
at any point, the same command goes on. At the end few-step tables and the straightness of all of them are in
reflow.json, drawn in reflow.png and, in the plane, trajectories.png.
"""

import pathlib
import sys

import jax
from absl import flags
from ml_collections import config_dict

from configs import base
from launch import cli, run, sampler_flags
from research import distributed, evaluation, precision, reflow, results, sampler_table, workdir
from research.atomic import replacing
from research.errors import UserError
from research.figures import few_steps, trajectories

ROUNDS = flags.DEFINE_integer("rounds", None, "of reflow after the first; the config's reflow.rounds by default")
NUM_PAIRS = flags.DEFINE_integer("num_pairs", None, "drawn for each round; the config's reflow.num_pairs by default")
DISTILL = flags.DEFINE_multi_integer("distill", None, "steps of a student; the config's reflow.distill by default")
TABLE = flags.DEFINE_bool("table", True, "measure each round: few-step samples, straightness, transport cost")
COMPARE = flags.DEFINE_multi_string("compare", [], "workdir of another run, such as a MeanFlow, for the table")
flags.adopt_module_key_flags(sampler_flags)
flags.declare_key_flag("config")
flags.declare_key_flag("workdir")
flags.declare_key_flag("heartbeat")


def main():
    path, options = cli.path(run.WORKDIR.value), sampler_flags.given()
    distributed.start(run.HEARTBEAT.value)
    config = run.CONFIG.value if run.CONFIG.value is not None else stored(path)
    if "reflow" not in config:
        config = config_dict.ConfigDict(config.to_dict() | {"reflow": base.reflow()})
    asked = {"rounds": ROUNDS.value, "num_pairs": NUM_PAIRS.value, "distill": DISTILL.value and tuple(DISTILL.value)}
    for name, value in asked.items():
        if value is not None:
            config.reflow[name] = value
    sampler_flags.check(config, config.reflow.draw.to_dict() | options)
    for name, result in pipeline(config, path, options).items():
        if result:
            print(evaluation.dumps({"round": name} | results.headline(result)))


def stored(path):
    """The config of the run in `path`. Raises UserError where there is none."""
    return config_dict.ConfigDict(workdir.load_config(path))


def pipeline(config, path, options):
    """{name of a round: its evaluation} after all rounds; what is there already is not done again.

    Several processes train together; the first draws pairs and measures alone, and gets the evaluations.
    """
    plan = config.reflow
    if plan.rounds < 0 or not (plan.rounds or plan.distill):
        raise UserError(f"--rounds is {plan.rounds}; it must be at least 1, or 0 to distil the first flow.")
    if plan.num_pairs < 2:
        raise UserError(f"--num_pairs is {plan.num_pairs}; it must be at least 2, as a tenth of them is held out.")
    precision.apply(config.precision)
    reflow.round_config(config, "")  # a mistake in what rounds change shows before the first is trained
    for steps in plan.distill:
        reflow.student_config(config, "", cli.positive(steps, "distill"))
        check_student(path / f"student_{steps}", f"pairs_{plan.rounds + 2}")
    if TABLE.value:
        compared()
    done, last = {"round_1": run.train(config, path)}, path
    for i in range(2, plan.rounds + 2 + bool(plan.distill)):
        pairs = path / f"pairs_{i}"
        learned = [path / f"round_{i}"] if i < plan.rounds + 2 else [path / f"student_{k}" for k in plan.distill]
        with distributed.in_turn():
            if not pairs.exists() and all(map(workdir.is_finished, learned)):  # removed when done with, they stay so
                pairs = ""
            elif jax.process_index() == 0:
                say(f"{plan.num_pairs} pairs of {last}, in {pairs}")
                reflow.draw_pairs(last, pairs, plan.num_pairs, seed=i, **plan.draw.to_dict() | options)
        if i < plan.rounds + 2:
            say(f"round {i} of {plan.rounds + 1}")
            done[f"round_{i}"] = run.train(reflow.round_config(config, pairs), path / f"round_{i}", init_from=last)
            last = path / f"round_{i}"
    for steps in plan.distill:
        say(f"student of {steps} steps")
        student = reflow.student_config(config, pairs, steps)
        done[f"student_{steps}"] = run.train(student, path / f"student_{steps}", init_from=last)
    with distributed.in_turn():
        if TABLE.value and jax.process_index() == 0:
            tables(path, {name: path if name == "round_1" else path / name for name in done})
    return done


def check_student(folder, pairs):
    """Raises UserError where `folder` holds a student of other pairs, those after another number of rounds."""
    if (folder / "config.json").exists():
        theirs = pathlib.Path(workdir.load_config(folder)["data"]["pairs"]).name  # the whole run may have been moved
        if theirs != pairs:
            raise UserError(f"{folder} learned {theirs}, and is asked for {pairs}: move it away, or change --rounds.")


def compared():
    """{name: workdir} of --compare. Raises UserError for what is none, or two of one name."""
    found = {cli.path(other).name: cli.path(other) for other in COMPARE.value}
    if len(found) < len(COMPARE.value) or any(name.startswith(("round_", "student_")) for name in found):
        raise UserError("--compare: the table goes by folders' names; each needs its own, not round_N or student_K.")
    for folder in found.values():
        sampler_table.few_steps(stored(folder))
    return found


def tables(path, folders):
    """Measures each of {name: workdir} and what they are compared with, as reflow.json and, drawn, reflow.png.

    Of points in the plane the lines of training and the paths are drawn too, in trajectories.png.
    """
    folders |= compared()
    for name, folder in folders.items():
        say(f"measuring {name}")
        try:
            reflow.measure_in(folder)
        except UserError as error:  # one way to sample that fails does not hide the others
            say(error)
    points, plane = few_steps.load(folders), tuple(workdir.load_config(path)["data"]["shape"]) == (2,)
    workdir.write_json(path / "reflow.json", points)
    say(few_steps.table(points))
    try:
        pictures = {"reflow.png": few_steps.draw(points)}
        if plane:
            pictures["trajectories.png"] = trajectories.draw(trajectories.load(folders))
        for name, picture in pictures.items():
            with replacing(path / name) as file:
                picture.savefig(file, format="png", dpi=150)
    except UserError as error:  # the numbers are there all the same
        say(error)


def say(sentence):
    if jax.process_index() == 0:
        print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    cli.run(main, required=("workdir",))
