"""Draws samples from the newest checkpoint of a run, with any sampler.

python -m launch.sample --workdir=runs/digits --num_samples=64 --out=threes.npz --condition=3 --guidance=2

Many samples are drawn in batches, kept in FILE.shards until all are there: stopped, the same command goes on.
"""

import functools
import shutil

import numpy as np
from absl import flags

from launch import cli, sampler_flags
from research import results, sampling, staging

WORKDIR = cli.workdir_flag("folder of a trained run")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "how many")
OUT = flags.DEFINE_string("out", None, "file to write: .npz; a .png of the same name is drawn beside it")
CONDITION = flags.DEFINE_integer("condition", None, "class to sample; unconditional by default")
SEED = flags.DEFINE_integer("seed", 0, "of the noise")
flags.adopt_module_key_flags(sampler_flags)


def main():
    number, options, seed = cli.positive(NUM_SAMPLES.value, "num_samples"), sampler_flags.given(), SEED.value
    out = cli.path(OUT.value)
    out = out if out.suffix == ".npz" else out.with_name(out.name + ".npz")
    with staging.folder(WORKDIR.value, beside=True) as path:
        built, step, params = results.load(path)
    sampler_flags.check(built.config, options)
    condition = None if CONDITION.value is None else np.full(number, CONDITION.value, np.int32)
    draw = functools.partial(sampling.batches, built, params, number, condition, seed, **options)
    shards, (_, count) = out.with_suffix(".shards"), sampling.sizes(number)
    if count == 1:
        x, nfe = sampling.join(draw())
    else:
        identity = sampling.identity(built, step, number, condition, seed, options)
        x, nfe = sampling.in_shards(shards, identity, count, draw)
    out.parent.mkdir(parents=True, exist_ok=True)
    results.write_samples(out, x, seed, nfe, condition)
    results.draw(built, out.with_suffix(".png"), x)
    if count > 1:
        shutil.rmtree(shards)
    print(f"{number} samples of step {step}, {nfe:.0f} evaluations each: {out}")


if __name__ == "__main__":
    cli.run(main, required=("workdir", "out"))
