"""Draws samples from the newest checkpoint of a run, with any sampler.

python -m launch.sample --workdir=runs/digits --num_samples=64 --out=threes.npz --condition=3 --guidance=2
"""

import numpy as np
from absl import flags

from launch import cli
from research import evaluation, results

WORKDIR = cli.workdir_flag("folder of a trained run")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "how many")
OUT = flags.DEFINE_string("out", None, "file to write: .npz; a .png of the same name is drawn beside it")
SAMPLER = flags.DEFINE_string("sampler", None, "a module of research.samplers; the run's own by default")
NUM_STEPS = flags.DEFINE_integer("num_steps", None, "steps of a fixed-step sampler")
GUIDANCE = flags.DEFINE_float("guidance", None, "classifier-free guidance: 1 follows the label, 2 exaggerates it")
CONDITION = flags.DEFINE_integer("condition", None, "class to sample; unconditional by default")
RTOL = flags.DEFINE_float("rtol", None, "relative tolerance of an adaptive sampler")
ATOL = flags.DEFINE_float("atol", None, "absolute tolerance of an adaptive sampler")
TEMPERATURE = flags.DEFINE_float("temperature", None, "scale of a flow's latent; the run's own by default")
SEED = flags.DEFINE_integer("seed", 0, "of the noise")


def main():
    number = cli.positive(NUM_SAMPLES.value, "num_samples")
    options = {"sampler": SAMPLER, "num_steps": NUM_STEPS, "guidance": GUIDANCE, "rtol": RTOL, "atol": ATOL}
    options |= {"temperature": TEMPERATURE}
    options = {name: flag.value for name, flag in options.items() if flag.value is not None}
    out = cli.path(OUT.value)
    out = out if out.suffix == ".npz" else out.with_name(out.name + ".npz")
    built, step, params = results.load(cli.path(WORKDIR.value))
    condition = None if CONDITION.value is None else np.full(number, CONDITION.value, np.int32)
    x, nfe = evaluation.sample(built, params, number, condition, SEED.value, **options)
    out.parent.mkdir(parents=True, exist_ok=True)
    results.write_samples(out, x, SEED.value, nfe, condition)
    results.draw(built, out.with_suffix(".png"), x)
    print(f"{number} samples of step {step}, {nfe:.0f} evaluations each: {out}")


if __name__ == "__main__":
    cli.run(main, required=("workdir", "out"))
