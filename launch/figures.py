"""Makes the figures and tables of papers, and REPRODUCTION.md, which says how far our numbers are from theirs.

python -m launch.figures --list
python -m launch.figures                                       # all, small: scale smoke
python -m launch.figures --out=DIR --only=ddim --only=heat_ode # elsewhere than in runs/figures
python -m launch.figures --scale=full --only=ddpm --features=gs://bucket/inception
python -m launch.figures --redraw                              # pictures and page from the JSON that is there

OUT/SCALE/NAME.json holds the points and rows of a figure, NAME.png and NAME.pdf are drawn from it, montage.png shows
all, runs are the trainings, which figures share. What is there and not stale is not made again; one that fails does not
stop the others.
"""

import importlib
import json
import pathlib
import signal
import subprocess
import sys
import time

from absl import flags

from launch import cli
from launch.backends import Task, local
from research import reflow, reproduce, workdir
from research.atomic import replacing
from research.errors import UserError
from research.reproduce import montage, page, records
from research.sweep import override

OUT = flags.DEFINE_string("out", "runs/figures", "folder of the figures and of the runs that they need")
ONLY = flags.DEFINE_multi_string("only", [], "make this figure; may repeat")
SCALE = flags.DEFINE_enum("scale", "smoke", reproduce.SCALES, "small trainings, or the papers' configs")
LIST = flags.DEFINE_bool("list", False, "print which figures there are, and stop")
FEATURES = cli.features_flag("", " of what --scale=full trains")
REDRAW = flags.DEFINE_bool("redraw", False, "draw what has been made from its JSON; nothing is trained")
PAGE = flags.DEFINE_string("page", None, "where REPRODUCTION.md goes, by default OUT/REPRODUCTION.md")
flags.adopt_module_key_flags(local)


def main():
    out, names = pathlib.Path(OUT.value), ONLY.value or reproduce.names()
    for name in names:
        reproduce.item(name)
    if LIST.value:
        return print("\n".join(f"{name:20}{state(out, name):44}{needed(name)}" for name in names))
    if REDRAW.value:
        failed = [name for name in names if not attempt(out, name, redraw)]
    elif len(names) == 1:
        failed = [name for name in names if not attempt(out, name, make)]
    else:
        failed = all_of(out, names)
    write_page(out)
    if failed:
        raise UserError(f"{len(failed)} of {len(names)} figures could not be made: {', '.join(failed)}; see above.")


def all_of(out, names):
    """Makes figures one after another, each in a process of its own; returns the names of those that failed."""
    if SCALE.value == "full":
        print("\n".join(f"{name}: needs {needed(name)}" for name in names), flush=True)
    failed, begin = [], time.monotonic()
    same = [
        f"--{flag}={flags.FLAGS[flag].value}" for flag in ("out", "scale", "features", "parallel", "nproc", "retries")
    ]
    for i, name in enumerate(names):
        if call([sys.executable, "-m", "launch.figures", *same, "--only", name]):
            failed.append(name)
        say(f"{i + 1} of {len(names)} figures after {(time.monotonic() - begin) / 60:.1f} min")
    return failed


def call(command):
    """The exit status of a command. SIGTERM is passed on, and then ends this process too, with what is made kept."""
    told = []
    with subprocess.Popen(command) as child:

        def stop(*_):
            told.append(True)
            child.terminate()

        before = signal.signal(signal.SIGTERM, stop)
        try:
            status = child.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
    if told:
        say("stopped; the same command goes on from there.")
        sys.exit(cli.EXIT_PREEMPTED)
    return status


def attempt(out, name, do):
    """Whether do(out, name) went through; if not, its sentence is printed and kept for the page."""
    try:
        return do(out, name) or True
    except UserError as error:
        say(f"{name}: {error}")
        keep_reason(out / SCALE.value, name, str(error))
        return False


def make(out, name):
    """Trains what is missing, then reads, draws and keeps a figure that is missing or stale."""
    module, folder = reproduce.item(name), out / SCALE.value
    if need := reproduce.lacking(module):
        say(f"{name}: not run, it needs {need}")
        return keep_reason(folder, name, f"needs {need}")
    if state(out, name) == "made":
        return say(f"{name}: is made already")
    say(f"{name}: {module.TITLE}; {needed(name)}")
    begin, runs = time.monotonic(), module.runs(SCALE.value)
    configs, folders = resolved(runs), trained(out, runs)
    points = records.plain(module.load(folders, SCALE.value))
    seconds = time.monotonic() - begin
    used = [f"{run.config} {json.dumps(run.changes)}" for run in runs.values()]
    keep(folder, name, {"points": points, "origin": records.origin(module, configs, seconds), "configs": used})
    say(f"{name}: done in {seconds:.0f} s: {folder / name}.png")


def redraw(out, name):
    """Draws a figure from its JSON, and computes its verdicts anew."""
    record = records.read(out / SCALE.value, name)
    if record and "points" in record:
        keep(out / SCALE.value, name, record)


def keep(folder, name, record):
    """Writes a record with the rows that follow from its points, and the pictures."""
    module, points = reproduce.item(name), record["points"]
    records.write(folder, name, record | {"rows": module.rows(points)})
    records.save_pictures(folder, name, module.draw(points))


def keep_reason(folder, name, why):
    """Keeps why a figure was not made, unless an older one is there."""
    try:
        there = records.read(folder, name)
    except UserError:
        return
    if there is None or "why" in there:
        records.write(folder, name, {"why": why})


def trained(out, runs):
    """{name: workdir} of runs, of which those that are missing are trained by the local backend first."""
    tasks = {name: task(out, run) for name, run in runs.items()}
    waiting = {each.name: each for each in tasks.values() if not workdir.is_finished(last(each))}
    for each in waiting.values():
        workdir.freeze(each.workdir, each.config)
    failed = []
    for name, result in local.run(list(waiting.values()), out / "runs", False) if waiting else ():
        if isinstance(result, UserError):
            failed.append(f"{name}: {result}")
    if failed:
        raise UserError(f"{len(failed)} of its {len(waiting)} trainings failed: {' '.join(failed)}")
    return {name: last(each) if each.module == "launch.run" else each.workdir for name, each in tasks.items()}


def task(out, run):
    """The Task of a Run; its folder is named by what the run resolves to, so that equal runs of two figures are one."""
    config = configured(run, run.fid and FEATURES.value)
    name = f"{run.config.replace(':', '_')}-{records.digest({run.module: json.loads(config.to_json())})[:10]}"
    return Task(name, out / "runs" / name, run.module, config)


def last(each):
    """The folder whose evaluation ends a task: of reflow its last round's, or student's."""
    return reflow.last(each.workdir, each.config.reflow) if each.module == "launch.reflow" else each.workdir


def resolved(runs):
    """{name: config as a dict} of {name: Run}."""
    return {name: json.loads(configured(run, run.fid and FEATURES.value).to_json()) for name, run in runs.items()}


def configured(run, features=""):
    """The locked config of a Run, with metrics.features where they are given."""
    name, _, argument = run.config.partition(":")
    changes = run.changes | ({"metrics.features": features} if features else {})
    return override(importlib.import_module(f"configs.{name}").get_config(argument), changes)


def state(out, name):
    """What there is of a figure: made, stale, damaged, not run and why."""
    module = reproduce.item(name)
    try:
        record = records.read(out / SCALE.value, name)
    except UserError:
        return "damaged"
    if record is None or "why" in record:
        return f"not run{': ' + record['why'][:32] if record else ''}"
    stale = records.is_stale(record, module, resolved(module.runs(SCALE.value)))
    return "stale" if stale else "made"


def needed(name):
    """What it takes to make a figure at the scale asked for."""
    module = reproduce.item(name)
    full = SCALE.value == "full" and module.FULL
    return module.FULL if full else f"{module.MINUTES:g} min on 2 CPU cores"


def write_page(out):
    """REPRODUCTION.md from all records there are, at both scales."""
    found, stale = {}, set()
    for scale in reproduce.SCALES:
        for name in reproduce.names():
            try:
                found[scale, name] = record = records.read(out / scale, name)
            except UserError as error:
                found[scale, name] = {"why": str(error)}
                continue
            module = reproduce.item(name)
            if record and "points" in record and records.is_stale(record, module, resolved(module.runs(scale))):
                stale.add((scale, name))
    file = pathlib.Path(PAGE.value or out / "REPRODUCTION.md")
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as page_file:
        page_file.write(page.text(found, stale).encode())
    pictures = [out / "smoke" / f"{name}.png" for name in reproduce.names() if found["smoke", name]]
    if pictures := [picture for picture in pictures if picture.exists()]:
        montage.save(out / "montage.png", pictures)
    say(f"{file}")


def say(line):
    """Prints a line of progress at once."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    cli.run(main)
