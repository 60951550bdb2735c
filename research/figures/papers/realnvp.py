"""RealNVP in the plane: learned densities beside the exact ones, and what lies between two points of the latent."""

import jax
import jax.numpy as jnp
import numpy as np

from research import latent, results, workdir
from research.figures import canvas, grid
from research.models import realnvp
from research.reproduce import Run, verdict

TITLE = "RealNVP: densities in the plane, interpolation in the latent"
SOURCE = "Dinh, Sohl-Dickstein & Bengio 2017, figures 1 and 4, table 1"
MINUTES, FULL = 0.3, "one H100 for about 40 h"
TOYS = ("two_moons", "8gaussians")
CELLS, PAIRS, BETWEEN = 40, 8, 60
SHOWN = 255  # a density is kept as a whole number, this at the truth's peak


def runs(scale):
    """A flow for each of three toys; in full also that of CIFAR-10."""
    short = {
        "train.num_steps": 1000,
        "train.eval_every": 0,
        "train.checkpoint_every": 0,
        "data.size": 50_000,
        "sampler.num_samples": 2000,
    }
    short = short if scale == "smoke" else {}
    toys = {name: Run("realnvp_toy2d", {"data.name": name, **short}) for name in TOYS}
    return toys | ({"cifar10": Run("realnvp_cifar10", {})} if scale == "full" else {})


def load(workdirs, scale):
    """{"toys": {name: of `toy`}, "bits": of CIFAR-10 in bits a dimension, or None}."""
    bits = workdir.load_evaluation(workdirs["cifar10"])["likelihood/bits_per_dim"] if "cifar10" in workdirs else None
    return {"toys": {name: toy(workdirs[name]) for name in TOYS}, "bits": bits}


def toy(path):
    """{"kl", "mass", "inverse": errors, "ours", "truth": [CELLS, CELLS], "extent", "paths", "on_path", "on_line"}."""
    built, _, params = results.load(path)
    found = workdir.load_evaluation(path)
    flow, dataset = realnvp.bijector(built.config, built.dataset.shape), built.dataset
    x = dataset.test.gather(np.arange(2000))["x"]
    back = jax.jit(lambda x: flow.inverse(params, flow.forward(params, x)[0])[0])(x)
    return {
        "kl": found["likelihood/kl"],
        "mass": found["likelihood/mass"],
        "inverse": float(jnp.abs(back - x).max()),
        **density(built, params, x),
        **between(flow, params, dataset.log_prob, x[: 2 * PAIRS]),
    }


def density(built, params, x):
    """Ours and the exact density at CELLS^2 cells of a square, the first axis upwards, in parts of the truth's peak."""
    centre, half = float(x.mean()), 1.15 * float(np.abs(x - x.mean()).max())
    points, _ = grid.plane(centre - half, centre + half, CELLS)
    ours = np.exp(np.asarray(jax.jit(built.model.log_prob)(params, jax.random.key(0), points).nats))
    truth = np.exp(np.asarray(built.dataset.log_prob(points)))
    tables = {"ours": ours, "truth": truth}
    shown = {name: np.round(SHOWN * p.reshape(CELLS, CELLS).T / truth.max()).astype(int) for name, p in tables.items()}
    return shown | {"extent": [centre - half, centre + half]}


def between(flow, params, log_prob, ends):
    """Ways from the first half of points to the second, straight in the latent; log-densities on them and on lines.

    The means are over the ways' inner thirds, of the data's exact log-density, in nats.
    """
    first, second = np.array_split(ends, 2)
    paths = np.asarray(jax.jit(lambda a, b: latent.interpolate(flow, params, a, b, BETWEEN))(first, second))
    weights = np.linspace(0, 1, BETWEEN)[:, None, None]
    lines = ((1 - weights) * first + weights * second).astype(np.float32)
    inner = slice(BETWEEN // 3, -(BETWEEN // 3))
    means = [float(jnp.mean(log_prob(jnp.asarray(way[inner].reshape(-1, 2))))) for way in (paths, lines)]
    return {"paths": np.round(paths.swapaxes(0, 1), 3), "on_path": means[0], "on_line": means[1]}


def rows(points):
    """Exact maths: invertible, of mass 1; how near the densities are; and whether the latent keeps to the data."""
    found = []
    for name, one in points["toys"].items():
        found.append(verdict.number(f"mass of the density in the square, {name}", 1, one["mass"], 0.01))
        found.append(verdict.number(f"largest |x - inverse of the latent|, {name}", 0, one["inverse"], 1e-3))
        claim = "log-likelihood training fits densities of several modes"
        found.append(verdict.trend(f"KL to the exact density, {name} (nats)", claim, one["kl"], one["kl"] < 0.1))
        claim = "ways in the latent stay where data are: their log-density is above that of straight lines"
        seen = f"{one['on_path']:.2f} / {one['on_line']:.2f}"
        what = f"log-density half way, latent / straight, {name} (nats)"
        found.append(verdict.trend(what, claim, seen, one["on_path"] > one["on_line"]))
    if points["bits"] is not None:
        found.append(verdict.number("bits/dim, CIFAR-10", 3.49, points["bits"], 0.03))
    return found


def draw(points):
    """A row a toy: the exact density, ours, and ways between points that are straight in the latent."""
    figure = canvas.figure(9.5, 3.1 * len(points["toys"]))
    axes = figure.subplots(len(points["toys"]), 3, sharex="row", sharey="row", squeeze=False)
    for row, (name, one) in zip(axes, points["toys"].items()):
        titles = (f"{name}: exact density", f"ours, KL {one['kl']:.3f} nats", "straight in the latent")
        for axis, title, table in zip(row, titles, ("truth", "ours", "truth")):
            axis.set(title=title, xlabel="$x_1$")
            colours = {"cmap": "cividis" if axis is not row[2] else "Greys", "vmin": 0, "vmax": SHOWN}
            axis.imshow(one[table], origin="lower", extent=one["extent"] * 2, interpolation="bilinear", **colours)
        row[0].set_ylabel("$x_2$")
        for i, path in enumerate(np.array(one["paths"])):
            row[2].plot(*path.T, "-", color="#0072B2", linewidth=1.3, label=None if i else "way")
            row[2].plot(*path[[0, -1]].T, "o", color="#D55E00", markersize=4, label=None if i else "its ends")
    axes[0, 2].legend(fontsize=8)
    return figure
