"""Evaluates the newest checkpoint of a run: the last line of stdout is one JSON object.

python -m launch.evaluate --workdir=runs/digits
"""

import sys

from absl import flags

from launch import cli, sample
from research import evaluation, workdir
from research.metrics import report

NUM = flags.DEFINE_integer("evaluate_samples", None, "samples to draw; the run's sampler.num_samples by default")


def main():
    path = cli.path(sample.WORKDIR.value)
    built, step, params = sample.load(path)
    number = cli.positive(NUM.value or built.config.sampler.num_samples, "evaluate_samples")
    condition = evaluation.balanced_labels(built, number)
    x, nfe = evaluation.sample(built, params, number, condition, sample.SEED.value)
    result = {"step": step, "nfe": nfe} | evaluation.evaluate(built, params, x, condition, path)
    print(report.table(result), file=sys.stderr)
    print(evaluation.dumps(result | {"versions": workdir.versions()}))


if __name__ == "__main__":
    cli.run(main, required=("workdir",))
