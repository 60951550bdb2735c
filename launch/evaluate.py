"""Evaluates the newest checkpoint of a run: the last line of stdout is one JSON object.

python -m launch.evaluate --workdir=runs/digits
"""

import sys

from absl import flags

from launch import cli
from research import evaluation, results, workdir

WORKDIR = cli.workdir_flag("folder of a trained run")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "samples to draw; the run's sampler.num_samples by default")
SEED = flags.DEFINE_integer("seed", 0, "of the noise")


def main():
    path = cli.path(WORKDIR.value)
    built, step, params = results.load(path)
    if built.model.predict:
        result = {"step": step} | evaluation.evaluate_predictions(built, params, SEED.value)
    else:
        number = built.config.sampler.num_samples if NUM_SAMPLES.value is None else NUM_SAMPLES.value
        condition = evaluation.balanced_labels(built, cli.positive(number, "num_samples"))
        x, nfe = evaluation.sample(built, params, number, condition, SEED.value)
        result = {"step": step, "nfe": nfe} | evaluation.evaluate(built, params, x, condition, path, SEED.value)
    print(results.summary(result), file=sys.stderr)
    print(evaluation.dumps(result | {"versions": workdir.versions()}))


if __name__ == "__main__":
    cli.run(main, required=("workdir",))
