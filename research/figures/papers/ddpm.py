"""DDPM as a code that gets better bit by bit, how its samples form, and what its loss weighs."""

import jax
import jax.numpy as jnp
import numpy as np

from research import evaluation, likelihood, results, workdir
from research.encoding import encode
from research.figures import canvas, mosaic
from research.models import ddpm
from research.reproduce import Run, verdict

TITLE = "DDPM: progressive generation, rate and distortion, the weights of the loss"
SOURCE = "Ho, Jain & Abbeel 2020, figures 5 and 6, section 3.4 and table 2"
MINUTES, FULL = 3, "one H100 for about 80 h"
TIMES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)  # at which a forming sample is shown
POINTS, EXAMPLES = 30, 96  # of the curve; test images it is averaged over
WEIGHTS = {"simple": "unit weight on eps (L_simple)", "bound": "weight of the bound"}
SHORT = {"train.eval_every": 0, "train.checkpoint_every": 0}
DIGITS = Run("ddpm_digits", {"train.num_steps": 1500, "sampler.num_samples": 720, **SHORT})


def runs(scale):
    """A DDPM; by each of two weights a score model, as that of the bound is stated in continuous time here."""
    if scale == "full":
        name, own = "score_sde_vp_cifar10", {"ddpm": Run("ddpm_cifar10", {}, fid=True)}
        return own | {
            "simple": Run(name, {"model.weight": "score"}),
            "bound": Run(name, {"model.weight": "likelihood"}),
        }
    return {"ddpm": DIGITS, "simple": plane("vp", "score"), "bound": plane("vp", "likelihood")}


def plane(process, weight, prediction="v"):
    """A small score model of eight Gaussians in the plane, which figure `score_sde` shares."""
    changes = {"train.num_steps": 4000, "data.size": 200_000, "model.process": process, "model.weight": weight}
    return Run("score_sde_toy2d", SHORT | changes | {"model.prediction": prediction})


def load(workdirs, scale):
    """{"top", "forming": images, "curve": of `curve`, "weights": {name: {bits, ours, floor}}, "frechet", "fid"}."""
    built, _, params = results.load(workdirs["ddpm"])
    batch = built.dataset.test.gather(np.arange(EXAMPLES))
    told = batch.get("condition") if built.config.model.label_dropout < 1 else None
    measured = {name: workdir.load_evaluation(path) for name, path in workdirs.items()}
    distance = "sliced_wasserstein"
    columns = {"bits": "likelihood/bits_per_dim", "ours": f"{distance}/ours", "floor": f"{distance}/floor"}
    return {
        "top": built.config.data.levels - 1,
        "forming": mosaic.numbers(forming(built, params, 5), built.config.data.levels),
        "curve": curve(built, params, batch["x"], told),
        "weights": {name: {c: measured[name][at] for c, at in columns.items()} for name in WEIGHTS},
        "frechet": measured["ddpm"]["frechet/ours"],
        "fid": measured["ddpm"].get("fid/ours"),
    }


def forming(built, params, number, key=0):
    """What x0 is taken to be at each of TIMES, [number, times, H, W, C] in the data's unit, on DDPM's way back."""
    told, steps = evaluation.balanced_labels(built, number), ddpm.process(built.config).num_steps
    options = {"sampler": "ddpm", "num_steps": steps, "trajectory": True, "rounded": False}
    walk = jax.jit(lambda params, key: built.model.sample(params, key, number, told, **options))
    out, levels = walk(params, jax.random.key(key)), built.config.data.levels
    guess = jax.jit(lambda params, x, t: built.model.field(params, number, told)(x, t).x0)
    at = [int(np.argmin(abs(np.asarray(out.times) - t))) for t in TIMES[:-1]]
    x0 = [(guess(params, encode(out.trajectory[i], levels, 0), out.times[i]) + 1) / 2 * levels for i in at]
    return np.stack([*x0, out.trajectory[-1]], axis=1) - 0.5  # of the middle of a level


def curve(built, params, x, condition):
    """{"n", "rate", "distortion", "bits"}: bits a dimension sent by steps T .. n + 1, and the error of x0.

    The error is the root mean square on the scale of 0 .. 255; POINTS steps, even in rate; "bits" is the whole bound.
    """
    noise, levels, size = ddpm.process(built.config), built.config.data.levels, x[0].size
    x0, last, key = encode(x, levels, 0.5), noise.num_steps, jax.random.key(0)
    field = lambda params: built.model.field(params, len(x), condition)  # noqa: E731
    options = {"levels": levels, "variance": built.config.model.variance}
    terms = jax.jit(lambda params: likelihood.variational_terms(field(params), noise, x0, key, **options))(params)
    total = np.cumsum(np.asarray(terms, float).mean(axis=1)) / size / np.log(2)  # behind n = T, T - 1 .. 1, and 0
    n = last - np.unique(np.searchsorted(total[:-1], np.linspace(total[0], total[-2], POINTS)))

    def error(params, n):
        eps = jax.random.normal(jax.random.fold_in(key, n), x0.shape)
        found = field(params)(noise.alpha(n / last) * x0 + noise.sigma(n / last) * eps, n / last).x0
        return 127.5 * jnp.sqrt(jnp.mean((found - x0) ** 2))

    distortion = jax.jit(lambda params, n: jax.lax.map(lambda n: error(params, n), n))(params, jnp.asarray(n))
    rate = total[last - n]
    return {"n": n, "rate": np.round(rate, 5), "distortion": np.round(distortion, 3), "bits": float(total[-1])}


def rows(points):
    """Where on the curve the distortion falls, and what the two weights are good for; the FID has no equal here."""
    found, weights = points["curve"], points["weights"]
    rate, distortion = np.array(found["rate"]), np.array(found["distortion"])
    half = rate[np.argmax(distortion <= (distortion[0] + distortion[-1]) / 2)] / found["bits"]
    rest = 1 - rate[-1] / found["bits"]
    steep = "distortion falls steeply at low rate: half of it is gone in the first half of the bits"
    fine = "more than half of the bits describe distortions that nobody sees (the last step's)"
    samples, bits = ([weights[name][column] for name in WEIGHTS] for column in ("ours", "bits"))
    return [
        verdict.trend("share of the bits that halve the distortion", steep, float(half), half < 0.5),
        verdict.trend("share of the bits of the last step", fine, float(rest), rest > 0.5),
        verdict.trend(
            "sliced Wasserstein distance, L_simple / bound",
            "L_simple draws better",
            _both(samples),
            samples[0] < samples[1],
        ),
        verdict.trend("bits/dim, L_simple / bound", "the bound codes better", _both(bits), bits[1] < bits[0]),
        verdict.fid("FID, CIFAR-10", 3.17, points.get("fid"), points["frechet"]),
    ]


def _both(pair):
    return " / ".join(f"{value:.4g}" for value in pair)


def draw(points):
    """Forming samples above; rate and distortion by steps and against each other, and both weights below."""
    figure = canvas.figure(11, 7.4)
    above, below = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    axis = above.subplots()
    mosaic.show(axis, points["forming"], points["top"], columns=[f"{t:g}" for t in TIMES])
    axis.set(xlabel="t, from noise to data", ylabel="samples", title="What x0 is taken to be on the way back")
    left, middle, right = below.subplots(1, 3)
    found = points["curve"]
    left.plot(found["n"], found["distortion"], "o-", color="#0072B2", markersize=3)
    left.invert_xaxis()
    left.set(xlabel="step n, from noise to data", ylabel="RMS error of x0 (0 .. 255)", title="Distortion by steps")
    middle.plot(found["rate"], found["distortion"], "s-", color="#D55E00", markersize=3)
    middle.set(xlabel="rate (bits/dim)", ylabel="RMS error of x0 (0 .. 255)", title="Rate and distortion")
    for (name, label), marker, color in zip(WEIGHTS.items(), "o^", ("#009E73", "#CC79A7")):
        one = points["weights"][name]
        right.plot(one["ours"], one["bits"], marker, color=color, markersize=10, label=label)
    right.axvline(points["weights"]["simple"]["floor"], color="0.4", linestyle="--", label="training data")
    right.set(xlabel="sliced Wasserstein distance of samples", ylabel="bits/dim, held out", title="Weights of the loss")
    right.legend(fontsize=8)
    right.margins(0.3)
    for axis in (left, middle, right):
        axis.grid(alpha=0.3)
    return figure
