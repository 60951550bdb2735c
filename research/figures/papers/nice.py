"""NICE: samples, temperatures, the spectrum of its scaling layer, and images whose missing part climbs the density."""

import jax
import jax.numpy as jnp
import numpy as np

from research import results, workdir
from research.encoding import encode
from research.figures import canvas, mosaic
from research.flow import PRIORS
from research.models import nice
from research.reproduce import Run, verdict

TITLE = "NICE: samples, temperature, spectrum of the scales, inpainting"
SOURCE = "Dinh, Krueger & Bengio 2014, figures 4, 5 and 6, section 5.1"
MINUTES, FULL = 0.4, "one H100 for about 4 h"
TEMPERATURES = (0.25, 0.5, 0.75, 1.0)
SHOWN, STEPS = 10, 1500  # images a row; of the ascent


def runs(scale):
    """NICE on digits, or the paper's on MNIST for its 1500 epochs."""
    if scale == "full":
        return {"nice": Run("nice_mnist", {"train.num_steps": 450_000})}
    short = {"train.num_steps": 1000, "train.eval_every": 0, "train.checkpoint_every": 0, "sampler.num_samples": 720}
    return {"nice": Run("nice_digits", short)}


def load(workdirs, scale):
    """{"top", "samples" and "inpainting": images, "scales": sorted, "inpainted": numbers, "nats", "bits", ...}."""
    built, _, params = results.load(workdirs["nice"])
    found, levels = workdir.load_evaluation(workdirs["nice"]), built.config.data.levels
    draw = jax.jit(lambda t: built.model.sample(params, jax.random.key(0), SHOWN, temperature=t).x)
    images, numbers = inpainting(built, params)
    return {
        "top": levels - 1,
        "samples": mosaic.numbers(np.stack([draw(t) for t in TEMPERATURES])),
        "scales": scales(params),
        "inpainting": mosaic.numbers(images, levels),
        "inpainted": numbers,
        "nats": found["likelihood/nats_on_unit_interval"],
        "bits": found["likelihood/bits_per_dim"],
        "gaussian": found["likelihood/gaussian_bits_per_dim"],
        "is_mnist": built.config.data.name == "mnist",
    }


def scales(params):
    """1 / S_ii [D] of the scaling layer, falling: how wide each dimension of the latent is in the data."""
    return np.round(np.sort(np.exp(-np.asarray(params["params"]["scale"]["log_scale"])))[::-1], 6)


def log_density(built, params):
    """(x [B, H, W, C] on 0 .. levels, as stored) -> nats [B]: the flow's density up to a constant."""
    flow, prior = nice.bijector(built.config, built.dataset.shape), PRIORS[built.config.model.prior]
    levels = built.config.data.levels

    def of(x):
        z, log_det = flow.forward(params, encode(x, levels, 0))
        return prior.log_prob(z) + log_det

    return of


def masks(height, width):
    """{name: what is known [H, W, 1]}: halves, and every other row."""
    i, j = np.indices((height, width))[..., None]
    return {"top": i < height // 2, "left": j < width // 2, "even rows": i % 2 == 0, "odd columns": j % 2 == 1}


def inpainting(built, params, steps=STEPS):
    """(images [masks, 3 x SHOWN / 2, H, W, C]: given, filled in, true; {mask: [error, that of the mean, nats won]}).

    Errors are the root mean square over unknown pixels of all test images here, on [0, 1]; nats are the median's.
    """
    levels, number = built.config.data.levels, 100
    x = built.dataset.test.gather(np.arange(number))["x"]
    mean = built.dataset.train.gather(np.arange(min(built.dataset.train.size, 5000)))["x"].mean(axis=0) + 0.5
    truth, density = x + 0.5, log_density(built, params)
    start = jax.random.uniform(jax.random.key(1), x.shape, maxval=levels)

    @jax.jit
    def fill(given, known):
        found = nice.inpaint(density, given, known, jax.random.key(2), num_steps=steps, low=0, high=levels)
        return found, density(found) - density(given)

    images, numbers = [], {}
    for name, known in masks(*x.shape[1:3]).items():
        given = jnp.where(known, truth, start)
        filled, won = fill(given, known)
        unknown = np.broadcast_to(~known, x.shape)
        off = [np.asarray(y - truth)[unknown] / levels for y in (filled, np.broadcast_to(mean, x.shape))]
        numbers[name] = [*(float(np.sqrt(np.mean(each**2))) for each in off), float(np.median(won))]
        rows = [y[: SHOWN // 2] - 0.5 for y in (jnp.where(known, truth, 0), filled, truth)]
        images.append(np.stack(rows, axis=1).reshape(-1, *x.shape[1:]))
    return np.stack(images), numbers


def rows(points):
    """The likelihood, beside the paper's where it is of the same data; the spectrum; what the ascent does."""
    wide, found = np.array(points["scales"]), []
    if points["is_mnist"]:
        found.append(verdict.number("log-likelihood, MNIST (nats)", 1980.50, points["nats"], 20))
    else:
        other = f"{wide.size} pixels of digits"
        found.append(verdict.other_metric("log-likelihood, MNIST (nats)", 1980.50, points["nats"], other))
    claim = "the spectrum falls: the model learns which dimensions matter, as a PCA would"
    ratio = float(wide[0] / wide[-1])
    found.append(verdict.trend("widest over narrowest 1 / S_ii", claim, ratio, ratio > 10))
    for name, (error, plain, won) in points["inpainted"].items():
        seen = f"RMS error {error:.3f}, of the mean image {plain:.3f}; {won:.0f} nats won"
        claim = "the unknown part climbs to what fits the known one"
        found.append(verdict.trend(f"inpainting, known: {name}", claim, seen, won > 0 and error < plain))
    return found


def draw(points):
    """Samples by temperature, images filled in, and the spectrum."""
    figure = canvas.figure(11, 6.8)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.05))
    left, right = above.subplots(1, 2, width_ratios=(1.7, 1))
    mosaic.show(left, points["samples"], points["top"], rows=[f"{t:g}" for t in TEMPERATURES])
    left.set(xlabel="samples", ylabel="temperature", title="Samples of one noise by its temperature")
    wide = points["scales"]
    right.semilogy(np.arange(1, len(wide) + 1), wide, "-", color="#0072B2", label="1 / S_ii")
    right.set(xlabel="dimension of the latent, sorted", ylabel="1 / S_ii", title="Spectrum of the scaling layer")
    right.grid(alpha=0.3)
    axis = below.subplots()
    names = [f"known: {name}" for name in points["inpainted"]]
    columns = ["given", "filled", "true"] * (SHOWN // 2)
    mosaic.show(axis, points["inpainting"], points["top"], rows=names, columns=columns)
    axis.set(xlabel="five test images", ylabel="mask", title="Unknown pixels that climb the log-density")
    return figure
