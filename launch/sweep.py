"""Runs, or submits, every trial of a sweep; each leaves an ordinary workdir. Without --sweep: the config as it is.

python -m launch.sweep --config=configs/rectified_flow_toy2d.py --sweep=data --workdir=runs/toys --backend=local
python -m launch.sweep --config=configs/gbdt_oblivious_california.py --sweep=l2_shrinkage --workdir=runs/l2 \
    --backend=one_program
python -m launch.sweep --workdir=runs/l2 --report --plot=model.learning_rate
python -m launch.sweep --workdir=runs/l2 --report --sql="select trial, min(value) from metrics group by trial"

one_program trains those side by side that differ in plain numbers, as one compiled program, and prints which they are
first; the other backends are pages of launch/README.md. Started again, a sweep does only what is missing. A sweep over
fields of `reflow` runs launch.reflow for each trial, and its last round is the trial's result.
"""

import sys

from absl import flags

from launch import backends, cli, run
from launch.backends import Task, gke, local, one_program, slurm, tpu_vm
from research import evaluation, halving, reflow, results, staging, sweep, sweep_report, sweep_tables, uri, workdir
from research.atomic import replacing
from research.errors import UserError
from research.figures import sweep as figure

BACKENDS = {"local": local, "one_program": one_program, "slurm": slurm, "gke": gke, "tpu_vm": tpu_vm}
HERE = ("local", "one_program")  # backends that wait for their trials
SWEEP = flags.DEFINE_string("sweep", None, "name of a sweep_NAME() generator in the config file")
BACKEND = flags.DEFINE_enum("backend", "local", list(BACKENDS), "where the trials run")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print what would run, and stop")
HALVING = flags.DEFINE_list("halving", [], "STEP,STEP: at each the worse half of the trials stops")
METRIC = flags.DEFINE_string("metric", None, "what --report and --halving compare, such as eval/loss")
REPORT = flags.DEFINE_bool("report", False, "print a table of what the trials in --workdir reached")
FORMAT = flags.DEFINE_enum("format", "text", ["text", "csv", "json"], "of the report")
WHERE = flags.DEFINE_multi_string("where", [], "only trials with, such as 'optimizer.learning_rate>1e-4'; may repeat")
PLOT = flags.DEFINE_string("plot", None, "the field against which --report draws the metric, in report.png")
SQL = flags.DEFINE_string("sql", None, "a query that --report answers by DuckDB, on the tables trials and metrics")

for backend in (backends, *BACKENDS.values()):
    flags.adopt_module_key_flags(backend)  # --help shows them too


def main():
    where = run.WORKDIR.value
    if SQL.value is not None and not REPORT.value:
        raise UserError("--sql asks a sweep's report; add --report.")
    if uri.local(where) is None and not REPORT.value and (DRY_RUN.value or BACKEND.value not in HERE):
        raise UserError(f"--workdir={where} is a URI, which {' and '.join(HERE)} serve, and no dry run: name a folder.")
    without = ("checkpoints",) if REPORT.value else ()
    with staging.folder(where, without=without, beside=REPORT.value) as path:
        report(path) if REPORT.value else start(path)


def start(path):
    """Runs what is missing of a sweep whose folder is `path`."""
    if given := [f"--{name}" for name in ("until", "init_from", "profile") if flags.FLAGS[name].present]:
        raise UserError(f"{given[0]} is of launch.run alone; leave it out, or run one trial by its own command.")
    if ":" in str(path) and BACKEND.value != "one_program":
        raise UserError(f"--workdir={path} has a colon, behind which a config's variant would begin; name another.")
    tasks, overrides = asked(path)
    if DRY_RUN.value:
        return list(BACKENDS[BACKEND.value].run(tasks, path, True))
    steps = halving_steps(path)
    for task in tasks:
        workdir.freeze(task.workdir, task.config)
    sweep_report.record(path, overrides)
    failed = []
    for name, result in everything(tasks, steps, path):
        if isinstance(result, UserError):  # the others still run; what failed is said again at the end
            print(f"{f'trial {name}' if name else path}: {result}", file=sys.stderr)
            failed.append(name or str(path))
        elif isinstance(result, str):
            print(result, flush=True)
        elif result:
            print(evaluation.dumps({"trial": name} | results.headline(result)), flush=True)
    if failed:
        raise UserError(f"{len(failed)} of {len(tasks)} trials failed: {'; '.join(failed)}.")


def asked(path):
    """([Task], {trial: overrides}) of the command line; without --sweep one of the config as it is."""
    if run.CONFIG.value is None:
        raise UserError("--config is missing; see --help.")
    if SWEEP.value is None:
        return [Task("", path, config=run.CONFIG.value)], {"": {}}
    module = sweep.load_module(cli.config_file())
    overrides = sweep.named(module, SWEEP.value)
    rounds = any(field.startswith("reflow.") for each in overrides.values() for field in each)
    what = "launch.reflow" if rounds else "launch.run"
    trials = sweep.trials(module, SWEEP.value, run.CONFIG.value)
    return [Task(name, path / name, what, config) for name, config in trials], overrides


def halving_steps(path):
    """The numbers of --halving, checked."""
    if not HALVING.value:
        return []
    if BACKEND.value not in HERE:
        raise UserError(f"--halving waits for the trials; {BACKEND.value} does not: use local or one_program.")
    if not all(step.isdigit() for step in HALVING.value):
        raise UserError(f"--halving={','.join(HALVING.value)} must be steps such as 200,400.")
    steps = [int(step) for step in HALVING.value]
    halving.check(path, steps, halved_by())
    return steps


def halved_by():
    """The metric of --halving."""
    return METRIC.value or "eval/loss"


def everything(tasks, steps, path):
    """Yields (name, result) of all tasks, those that fail on the way and those that reach the end."""
    for step in steps:
        names = [task.name for task in tasks]
        if step in [rung["step"] for rung in halving.load(path)["rungs"]]:  # those that stopped then are not touched
            left = halving.decide(path, names, halved_by(), step)
            tasks = [task for task in tasks if task.name in left]
            continue
        lost = set()
        for name, result in advance([task._replace(until=step) for task in tasks], path):
            if isinstance(result, UserError):
                yield name, result
                lost.add(name)
        names = [name for name in names if name not in lost]
        left = halving.decide(path, names, halved_by(), step) if names else []
        print(f"step {step}: {len(left)} of {len(names)} trials go on", file=sys.stderr)
        tasks = [task for task in tasks if task.name in left]
    yield from advance(tasks, path)


def advance(tasks, path):
    """(name, result) of tasks from their backend; of finished ones the evaluation is read."""
    done = {task.name: evaluated(task) for task in tasks}
    yield from ((name, result) for name, result in done.items() if result)
    left = {task.name: task for task in tasks if not done[task.name]}
    if left:
        for name, result in BACKENDS[BACKEND.value].run(list(left.values()), path, False):
            yield name, (evaluated(left[name]) or result) if isinstance(result, dict) else result


def evaluated(task):
    """The evaluation of a finished task, of reflow that of its last round or student; else None."""
    rounds = task.module == "launch.reflow"
    return workdir.load_evaluation(reflow.last(task.workdir, task.config.reflow) if rounds else task.workdir)


def report(path):
    """Prints the report, or what --sql asks for, and draws it with --plot."""
    if SQL.value is not None:
        if WHERE.value or PLOT.value:
            raise UserError("--where and --plot are of the report without --sql; write conditions into the query.")
        names, rows = sweep_tables.query(sweep_tables.write(path), SQL.value)
        return print(sweep_tables.shown(names, rows, FORMAT.value).rstrip())
    found = sweep_report.load(path, METRIC.value, WHERE.value)
    write = {"text": sweep_report.text, "csv": sweep_report.as_csv, "json": evaluation.dumps}[FORMAT.value]
    print(write(found).rstrip())
    if PLOT.value is not None:
        picture = figure.draw(figure.load(found, PLOT.value or None))
        with replacing(path / "report.png") as file:
            picture.savefig(file, format="png", dpi=150)
        print(path / "report.png", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main, required=("workdir",))
