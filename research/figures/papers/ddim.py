"""DDIM: samples by few steps and little noise, images between two latents, and images back from their latent."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from research import evaluation, noise, results
from research.encoding import decode, encode, quantize
from research.figures import canvas, mosaic
from research.figures.papers import ddpm as training
from research.metrics.sliced_wasserstein import sliced_wasserstein
from research.models import ddpm
from research.reproduce import verdict
from research.samplers import ddim

TITLE = "DDIM: steps against noise, interpolation, inversion"
SOURCE = "Song, Meng & Ermon 2021, table 1, figure 6, table 2"
MINUTES, FULL = 1, "one H100 for about 20 h"
STEPS = {"smoke": (5, 10, 20, 50), "full": (10, 20, 50, 100, 1000)}
BACK = {"smoke": (10, 20, 50, 100), "full": (10, 20, 50, 100, 200, 500, 1000)}
HAT = "sigma-hat"
ETAS = ("0", "0.2", "0.5", "1", HAT)
PAPER = {  # FID on CIFAR-10: steps: eta = 0, sigma-hat
    "10": (13.36, 367.43),
    "20": (6.84, 133.37),
    "50": (4.67, 32.72),
    "100": (4.16, 9.99),
    "1000": (4.04, 3.17),
}
SEEDS, PAIRS, BETWEEN = 2, 3, 9


def runs(scale):
    """The DDPM of figure `ddpm`: no other training."""
    return {"ddpm": training.runs(scale)["ddpm"]}


def load(workdirs, scale):
    """{"table": {eta: {S: [distance a seed]}}, "floor", "between": images, "top", "inversion": {S: error}}."""
    built, _, params = results.load(workdirs["ddpm"])
    (test, labels), (train, _) = (evaluation.everything(x, 2000) for x in (built.dataset.test, built.dataset.train))
    count, levels = len(test), built.config.data.levels
    told, (down, up) = evaluation.balanced_labels(built, count), ways(built, params, count)

    def distance(x):
        return sliced_wasserstein(*(np.asarray(each, float) / (levels - 1) for each in (x, test)))

    def drawn(z, steps, told=told, **options):
        return quantize(decode(down(z, steps, told, **options), levels), levels)

    start = [jax.random.normal(jax.random.key(seed), (count, *built.dataset.shape)) for seed in range(SEEDS)]
    table = {
        eta: {s: [distance(drawn(z, s, eta=eta, seed=i)) for i, z in enumerate(start)] for s in STEPS[scale]}
        for eta in ETAS
    }
    arcs = between(start[0], start[1])
    classes = None if told is None else np.resize(np.repeat(np.arange(PAIRS, dtype=np.int32), BETWEEN), count)
    images = drawn(jnp.resize(arcs, start[0].shape), 50, classes)[: len(arcs)]
    x0, own = encode(test, levels, 0.5), labels if told is not None else None
    return {
        "table": table,
        "floor": float(np.mean([distance(train[i * count :][:count]) for i in range(SEEDS)])),
        "between": mosaic.numbers(images.reshape(PAIRS, BETWEEN, *built.dataset.shape)),
        "top": levels - 1,
        "inversion": {s: float(jnp.mean((down(up(x0, s, own), s, own) - x0) ** 2) / 4) for s in BACK[scale]},
    }


def between(first, second):
    """Latents [PAIRS * BETWEEN, ...] on the arcs between the first PAIRS of two sets of noise, pair by pair."""
    arcs = ddim.interpolate(first[:PAIRS], second[:PAIRS], np.linspace(0, 1, BETWEEN)).swapaxes(0, 1)
    return arcs.reshape(-1, *first.shape[1:])


def ways(built, params, count):
    """(down, up): from latents [count, ...] to data on the net's scale by (z, steps, labels, eta, seed), and back.

    Both go interval by interval, each a call of DDIM's own, so that all numbers of steps share one program.
    """
    process = ddpm.process(built.config)

    def field(params, told):
        return built.model.field(params, count, told)

    def noisy(params, x, times, told, key, eta):
        return ddim.sample(field(params, told), process, x, times, key, eta=eta).x

    def hat(params, x, times, told, key, _):
        return ddim.sample(field(params, told), process, x, times, key, sigma_hat=True).x

    def encoded(params, x, times, told):
        return ddim.encode(field(params, told), process, x, times).x

    noisy, hat, encoded = (jax.jit(step) for step in (noisy, hat, encoded))

    def intervals(steps):
        times = jnp.asarray(noise.times(process, steps), jnp.float32)
        return [times[i : i + 2] for i in range(steps)]

    def down(x, steps, told=None, eta="0", seed=0):
        step, share = (hat, 1.0) if eta == HAT else (noisy, float(eta))
        for i, times in enumerate(intervals(steps)):
            x = step(params, x, times, told, jax.random.fold_in(jax.random.key(seed), i), share)
        return x

    def up(x, steps, told=None):
        for times in reversed(intervals(steps)):
            x = encoded(params, x, times, told)
        return x

    return down, up


def rows(points):
    """The paper's FIDs beside distances of another kind; what is best and worst at few steps; inversion by steps."""
    table, found = points["table"], []
    for steps, published in PAPER.items():
        for eta, paper in zip(("0", HAT), published):
            if steps in table[eta]:
                what = f"FID, CIFAR-10, S = {steps}, {eta if eta == HAT else 'eta = 0'}"
                found.append(verdict.other_metric(what, paper, table[eta][steps], "sliced Wasserstein distance"))
    for steps in list(table[HAT])[:2]:
        order = sorted(table, key=lambda eta: np.mean(table[eta][steps]))
        seen = f"best {order[0]}, worst {order[-1]}"
        found.append(verdict.trend(f"eta, S = {steps}", "eta = 0 is the best at few steps", seen, order[0] == "0"))
        found.append(verdict.trend(f"eta, S = {steps}", "sigma-hat is the worst", seen, order[-1] == HAT))
    steps, errors = list(points["inversion"])[-1], list(points["inversion"].values())
    falls, claim = all(b < a for a, b in itertools.pairwise(errors)), "the error of encoding and decoding falls with S"
    return [*found, verdict.trend(f"inversion error, S = {steps}", claim, errors[-1], falls)]


def draw(points):
    """Distances by steps for each eta, inversion errors by steps, and images between two latents."""
    figure = canvas.figure(11, 7.2)
    above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    left, right = above.subplots(1, 2)
    colors = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00")
    for (eta, row), color, marker in zip(points["table"].items(), colors, "osD^v"):
        label, line = ("sigma-hat (DDPM, larger variance)", "--") if eta == HAT else (f"eta = {eta}", "-")
        y = [np.mean(values) for values in row.values()]
        left.plot([int(steps) for steps in row], y, line, marker=marker, color=color, label=label)
    left.axhline(points["floor"], color="0.4", linestyle=":", label="training data")
    left.set(ylabel="sliced Wasserstein distance, pixels in [0, 1]", title="Samples by steps and noise")
    left.legend(fontsize=8)
    errors = points["inversion"]
    right.plot([int(steps) for steps in errors], list(errors.values()), "o-", color="#0072B2")
    right.set(ylabel="mean squared error, pixels in [0, 1]", yscale="log", title="To the latent and back")
    for axis, ticks in ((left, points["table"][HAT]), (right, errors)):
        axis.set(xscale="log", xlabel="steps S")
        axis.set_xticks([int(steps) for steps in ticks], [str(steps) for steps in ticks])
        axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axis.grid(alpha=0.3)
    axis = below.subplots()
    mosaic.show(axis, points["between"], points["top"], columns=[f"{w:.3g}" for w in np.linspace(0, 1, BETWEEN)])
    axis.set(xlabel="weight of the second latent", ylabel="pairs", title="On the arc between two latents")
    return figure
