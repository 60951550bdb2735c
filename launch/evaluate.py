"""Evaluates the newest checkpoint of a run, with any sampler: the last line of stdout is one JSON object.

python -m launch.evaluate --workdir=runs/digits --sampler=heun --num_steps=20
python -m launch.evaluate --workdir=runs/ddpm --config=configs/ddim_steps.py --sweep=steps

A sweep evaluates the samples of one checkpoint once for each of its overrides of `sampler.*`: a line of JSON each, all
of them in sweep_NAME.json of the workdir, where a second run goes on.
"""

import functools
import json
import sys

import jax
from absl import flags

from launch import cli, sampler_flags
from research import evaluation, results, sweep, workdir
from research.errors import UserError

WORKDIR = cli.workdir_flag("folder of a trained run")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "samples to draw; the run's sampler.num_samples by default")
CONFIG = flags.DEFINE_string("config", None, "file of the --sweep; nothing else of it is used")
SWEEP = flags.DEFINE_string("sweep", None, "name of a sweep_NAME() in --config that yields overrides of sampler.*")
SEED = flags.DEFINE_integer("seed", 0, "of the noise")
flags.adopt_module_key_flags(sampler_flags)

COLUMNS = {  # of the lines of a sweep: heading of the table
    "nfe": "nfe",
    "sliced_wasserstein/ours": "sliced W2",
    "sliced_wasserstein/floor": "floor",
    "frechet/ours": "Frechet",
    "frechet/floor": "floor",
    "classifier/confident": "confident",
    "classifier/agreement": "agreement",
    "memorization/ratio": "memorized",
}


def main():
    path, options = cli.path(WORKDIR.value), sampler_flags.given()
    if (CONFIG.value is None) != (SWEEP.value is None):
        raise UserError("--config=FILE.py and --sweep=NAME come together; one is missing.")
    chosen = None if SWEEP.value is None else overrides(cli.config_file(), SWEEP.value)
    built, step, params = results.load(path)
    if built.model.predict and (options or chosen):
        raise UserError(f"a {built.config.model.name} predicts and has no sampler; leave the sampler's flags out.")
    if built.model.predict:
        result = {"step": step} | evaluation.evaluate_predictions(built, params, SEED.value)
    elif chosen is not None:
        return evaluate_each(built, step, params, path, options, chosen)
    else:
        sampler_flags.check(built.config, options)
        result = {"step": step, "options": options} | evaluate(built, params, path, options)
    print(results.summary(result), file=sys.stderr)
    print(evaluation.dumps(result | {"versions": workdir.versions()}))


def evaluate(built, params, path, options, density=True):
    """The evaluation of samples drawn with these options."""
    number = number_of(built)
    condition = evaluation.balanced_labels(built, number)
    x, nfe = evaluation.sample(built, params, number, condition, SEED.value, **options)
    return {"nfe": nfe} | evaluation.evaluate(built, params, x, condition, path, SEED.value, density)


def number_of(built):
    """--num_samples, by default the run's own."""
    number = built.config.sampler.num_samples if NUM_SAMPLES.value is None else NUM_SAMPLES.value
    return cli.positive(number, "num_samples")


def overrides(file, name):
    """{label: options of a model's `sample`} of the sweep. Raises UserError for what is not about sampling."""
    found = {}
    for label, fields in sweep.named(sweep.load_module(file), name).items():
        wrong = [field for field in fields if not field.startswith("sampler.")]
        if wrong:
            raise UserError(
                f"sweep '{name}' of {file} changes '{wrong[0]}', and here the model is trained already: leave it out, "
                "or take launch.sweep, which trains."
            )
        options = {field.removeprefix("sampler."): x for field, x in fields.items()}
        found[label] = {"sampler" if field == "name" else field: x for field, x in options.items()}
    return found


def evaluate_each(built, step, params, path, options, chosen):
    """Prints a row for each of {label: options}, and keeps it in the workdir; what is kept there is not drawn again."""
    identity = {"step": step, "seed": SEED.value, "num_samples": number_of(built), "options": options}
    file = path / f"sweep_{SWEEP.value}.json"
    kept, failed = _kept(file, json.loads(json.dumps(identity))), []
    for label, own in chosen.items():  # a mistake in the last of them shows before the first is drawn
        if label not in kept:
            _trace(built, params, options | own, label)
    for i, (label, own) in enumerate(chosen.items()):
        if label not in kept:
            print(f"{i + 1} of {len(chosen)}: {label}", file=sys.stderr)
            try:
                kept[label] = workdir.finite(evaluate(built, params, path, options | own, density=False))
            except UserError as error:  # the others still run; what failed is said again at the end
                print(f"{label}: {error}", file=sys.stderr)
                failed.append(label)
                continue
            rows = [{"trial": name} | row for name, row in kept.items()]
            workdir.write_json(file, identity | {"rows": rows, "versions": workdir.versions()})
        row = {name: kept[label][name] for name in COLUMNS if name in kept[label]}
        print(evaluation.dumps({"trial": label} | row), flush=True)
    print(table({label: kept[label] for label in chosen if label in kept}), file=sys.stderr)
    if failed:
        raise UserError(f"{len(failed)} of {len(chosen)} rows failed: {'; '.join(failed)}.")


def _trace(built, params, options, label):
    """Raises UserError for options that the sampler does not take."""
    labels = evaluation.balanced_labels(built, 2)
    draw = functools.partial(built.model.sample, **options)
    try:
        sampler_flags.check(built.config, options)
        jax.eval_shape(lambda params, key: draw(params, key, 2, labels), params, jax.random.key(0))
    except UserError as error:
        raise UserError(f"row {label}: {error}") from None


def _kept(file, identity):
    """{label: row} that an earlier run left. Raises UserError where they are of another checkpoint or number."""
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text())
        rows = {row["trial"]: {name: x for name, x in row.items() if name != "trial"} for row in found["rows"]}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged; remove it.") from None
    for name, value in identity.items():
        if found.get(name) != value:
            raise UserError(f"{file} has rows of {name} {found.get(name)}, not {value}; move it away for new ones.")
    return rows


def table(rows):
    """{label: row} as aligned text, a line each."""
    names = [name for name in COLUMNS if any(name in row for row in rows.values())]
    wide = max([len(label) for label in rows], default=0)
    lines = [" " * wide + "".join(f"{COLUMNS[name]:>11}" for name in names)]
    for label, row in rows.items():
        cells = ["-" if row.get(name) is None else f"{row[name]:.4g}" for name in names]
        lines.append(f"{label:{wide}}" + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main, required=("workdir",))
