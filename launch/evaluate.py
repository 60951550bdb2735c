"""Evaluates the newest checkpoint of a run, with any sampler: the last line of stdout is one JSON object.

python -m launch.evaluate --workdir=runs/digits --sampler=heun --num_steps=20
python -m launch.evaluate --workdir=runs/ddpm --config=configs/ddim_steps.py --sweep=steps
python -m launch.evaluate --workdir=runs/digits --few_steps

A sweep evaluates the samples of one checkpoint once for each of its overrides of `sampler.*`: a line of JSON each, all
of them in sweep_NAME.json of the workdir, where a second run goes on. --few_steps is one: by few steps, and adaptive.
"""

import sys

from absl import flags
from ml_collections import config_dict

from launch import cli, sampler_flags
from research import evaluation, results, sampler_table, staging, sweep, workdir
from research.errors import UserError

WORKDIR = cli.workdir_flag("folder of a trained run")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "samples to draw; the run's sampler.num_samples by default")
CONFIG = flags.DEFINE_string("config", None, "file of the --sweep; nothing else of it is used")
SWEEP = flags.DEFINE_string("sweep", None, "name of a sweep_NAME() in --config that yields overrides of sampler.*")
FEATURES = cli.features_flag(None, "; by default the run's metrics.features")
FEW_STEPS = flags.DEFINE_bool("few_steps", False, "a sweep over 1, 2, 4, 8, 16 steps and an adaptive solver")
SEED = flags.DEFINE_integer("seed", 0, "of the noise")
flags.adopt_module_key_flags(sampler_flags)


def main():
    options = sampler_flags.given()
    if (CONFIG.value is None) != (SWEEP.value is None):
        raise UserError("--config=FILE.py and --sweep=NAME come together; one is missing.")
    if FEW_STEPS.value and SWEEP.value:
        raise UserError("--few_steps and --sweep are two sweeps; take one at a time.")
    chosen = None if SWEEP.value is None else overrides(cli.config_file(), SWEEP.value)
    with staging.folder(WORKDIR.value, beside=True) as path:
        evaluate(path, options, chosen)


def evaluate(path, options, chosen):
    """Prints what the run in the folder `path` reaches, with the options or with each of those chosen."""
    built, step, params = results.load(path)
    if FEATURES.value is not None:
        config = config_dict.ConfigDict(built.config)
        config.update({"metrics": {"features": FEATURES.value}})
        built = built._replace(config=config_dict.FrozenConfigDict(config))
    evaluation.embedding(built)  # says what is wrong with it before anything is drawn
    if built.model.predict and (options or chosen or FEW_STEPS.value):
        raise UserError(f"a {built.config.model.name} predicts and has no sampler; leave the sampler's flags out.")
    if built.model.predict:
        result = {"step": step} | evaluation.evaluate_predictions(built, params, SEED.value)
    elif chosen is not None or FEW_STEPS.value:
        name, chosen = (SWEEP.value, chosen) if chosen else (sampler_table.FEW, sampler_table.few_steps(built.config))
        return evaluate_each(built, step, params, path, name, options, chosen)
    else:
        sampler_flags.check(built.config, options)
        row = sampler_table.row(built, params, path, number_of(built), SEED.value, **options)
        result = {"step": step, "options": options} | row
    print(results.summary(result), file=sys.stderr)
    print(evaluation.dumps(result | {"versions": workdir.versions()}))


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


def evaluate_each(built, step, params, path, name, options, chosen):
    """Prints a row of JSON for each of {label: options}, and all of them as a table."""
    for label, own in chosen.items():
        try:
            sampler_flags.check(built.config, options | own)
        except UserError as error:
            raise UserError(f"row {label}: {error}") from None

    def say(label, row):
        print(evaluation.dumps({"trial": label} | row), flush=True)

    rows = sampler_table.rows(built, step, params, path, name, chosen, number_of(built), SEED.value, say, **options)
    print(sampler_table.table(rows), file=sys.stderr)


if __name__ == "__main__":
    cli.run(main, required=("workdir",))
