"""Glow: what mixes its channels, the temperature of its samples, and classes that are added in its latent."""

import json

import jax
import numpy as np

from research import evaluation, latent, results, workdir
from research.figures import canvas, mosaic
from research.metrics import classifier
from research.models import glow
from research.reproduce import Run, verdict

TITLE = "Glow: permutations, temperature, attributes"
SOURCE = "Kingma & Dhariwal 2018, figures 3, 6 and 8, table 2"
MINUTES, FULL = 1.5, "8 H100 for about 10 days"
PERMUTATIONS = {"reverse": "reverse", "shuffle": "shuffle", "plu": "1x1 convolution"}
TEMPERATURES = (0.4, 0.6, 0.8, 1.0)
AMOUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)
FROM, TO, SHOWN, COUNT = 1, 7, 8, 360


def runs(scale):
    """The same flow with each permutation."""
    short = {
        "model.conditional": False,  # as in the paper: classes are found in the latent
        "model.steps": 3,
        "model.conditioner.width": 24,
        "train.num_steps": 1200,
        "train.log_every": 20,
        "train.eval_every": 200,
        "train.checkpoint_every": 0,
        "sampler.num_samples": 360,
    }
    name, changes = ("glow_digits", short) if scale == "smoke" else ("glow_cifar10", {})
    return {each: Run(name, changes | {"model.permutation": each}) for each in PERMUTATIONS}


def load(workdirs, scale):
    """{"curves", "bits", "temperature", "samples", "attribute", "images", "top", "is_cifar"}: see the functions."""
    built, _, params = results.load(workdirs["plu"])
    (train, labels), test = (evaluation.everything(each) for each in (built.dataset.train, built.dataset.test))
    data = built.config.data
    told = classifier.load_or_train(
        workdirs["plu"] / "classifier.npz", train, labels, *test, data.num_classes, data.levels, name=data.name
    )
    samples, confident = temperatures(built, params, told)
    images, share = attribute(built, params, (train, labels), test, told)
    evaluations = {name: workdir.load_evaluation(path) for name, path in workdirs.items()}
    return {
        "curves": {name: curve(path) for name, path in workdirs.items()},
        "bits": {name: found["likelihood/bits_per_dim"] for name, found in evaluations.items()},
        "temperature": confident,
        "samples": mosaic.numbers(samples),
        "attribute": share,
        "images": mosaic.numbers(images),
        "top": data.levels - 1,
        "is_cifar": data.name == "cifar10",
    }


def curve(path):
    """{"step", "bits"}: held-out bits a dimension in training, from metrics.jsonl."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    kept = [line for line in lines if "eval/bits_per_dim" in line]
    return {"step": [line["step"] for line in kept], "bits": [line["eval/bits_per_dim"] for line in kept]}


def temperatures(built, params, told):
    """(images [TEMPERATURES, SHOWN, H, W, C] of one noise, {temperature: share that a classifier is sure of})."""
    draw = jax.jit(lambda params, t: built.model.sample(params, jax.random.key(0), COUNT, temperature=t).x)
    drawn = [np.asarray(draw(params, t)) for t in TEMPERATURES]
    sure = [float(np.mean(classifier.features(told, x)[1].max(axis=1) > 0.9)) for x in drawn]
    return np.stack([x[:SHOWN] for x in drawn]), dict(zip(map(str, TEMPERATURES), sure))


def attribute(built, params, train, test, told):
    """(images [AMOUNTS, SHOWN, H, W, C], {amount: share that is taken for TO}) of test images of FROM, moved to TO.

    The direction is the mean latent of the training images of TO less that of FROM.
    """
    flow, levels = glow.bijector(built.config, built.dataset.shape), built.config.data.levels
    (x, labels), (held_out, its) = train, test
    direction = jax.jit(lambda params, a, b: latent.direction(flow, params, a, b, levels))
    step = direction(params, x[labels == TO], x[labels == FROM])
    start = held_out[its == FROM]
    move = jax.jit(lambda params, amount: latent.shift(flow, params, start, step, amount, levels))
    moved = [np.asarray(move(params, amount)) for amount in AMOUNTS]
    share = [float(np.mean(classifier.features(told, y)[1].argmax(axis=1) == TO)) for y in moved]
    return np.stack([y[:SHOWN] for y in moved]), dict(zip(map(str, AMOUNTS), share))


def rows(points):
    """The order of the permutations, what temperature and the direction of a class do; in full the paper's number."""
    bits, sure, share = points["bits"], points["temperature"], points["attribute"]
    order = sorted(bits, key=bits.get)
    seen = ", ".join(f"{label} {bits[name]:.3f}" for name, label in PERMUTATIONS.items())
    found = [
        verdict.trend("bits/dim by permutation", "the 1x1 convolution is the best", seen, order[0] == "plu"),
        verdict.trend("bits/dim by permutation", "the reversal is the worst", seen, order[-1] == "reverse"),
    ]
    low, high = (sure[str(t)] for t in (TEMPERATURES[0], TEMPERATURES[-1]))
    claim, seen = "less temperature draws cleaner samples", f"{low:.3f} / {high:.3f}"
    what = f"share a classifier is sure of, T = {TEMPERATURES[0]} / {TEMPERATURES[-1]}"
    found.append(verdict.trend(what, claim, seen, low > high))
    before, after = share["0.0"], share["1.0"]
    claim, what = "a latent direction changes the attribute", f"share taken for {TO}, of {FROM} moved by 0 / 1"
    found.append(verdict.trend(what, claim, f"{before:.3f} / {after:.3f}", after > before + 0.5))
    if points["is_cifar"]:
        found.append(verdict.number("bits/dim, CIFAR-10", 3.35, bits["plu"], 0.03))
    return found


def draw(points):
    """Held-out bits by permutation, what a classifier says of temperature and direction, and images of both."""
    figure = canvas.figure(11, 7.2)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    left, middle, right = above.subplots(1, 3)
    styles = zip(("#D55E00", "#E69F00", "#0072B2"), ("--", ":", "-"), "sDo")
    for (name, label), (color, line, marker) in zip(PERMUTATIONS.items(), styles):
        found = points["curves"][name]
        left.plot(found["step"], found["bits"], line, marker=marker, color=color, markersize=4, label=label)
    left.set(xlabel="training step", ylabel="bits/dim, held out", title="Permutations")
    left.legend(fontsize=8)
    pairs = (
        (middle, "temperature", "temperature", "share a classifier is sure of", "Temperature"),
        (right, "attribute", f"amount of the direction {FROM} to {TO}", f"share taken for {TO}", "Attribute"),
    )
    for axis, name, x, y, title in pairs:
        axis.plot([float(at) for at in points[name]], list(points[name].values()), "o-", color="#0072B2")
        axis.set(xlabel=x, ylabel=y, title=title, ylim=(-0.03, 1.03))
    for axis in (left, middle, right):
        axis.grid(alpha=0.3)
    left, right = below.subplots(1, 2)
    mosaic.show(left, points["samples"], points["top"], rows=[f"{t:g}" for t in TEMPERATURES])
    left.set(xlabel="samples", ylabel="temperature", title="One noise by its temperature")
    mosaic.show(right, points["images"], points["top"], rows=[f"{a:g}" for a in AMOUNTS])
    right.set(xlabel=f"test images of {FROM}", ylabel="amount", title=f"Moved towards {TO} in the latent")
    return figure
