"""Lines that a flow is trained on and paths that it takes, in the plane (Liu et al. 2022): paths do not cross."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from research import evaluation, results, workdir
from research.data import pairs
from research.errors import UserError
from research.figures import canvas
from research.models import rectified_flow

RADIUS, STEPS = 0.1, 32  # of a crossing, in the data's unit; of Heun's method


def load(folders, number=60):
    """{name: points} of {name: workdir} of flows in the plane; of each `number` lines and paths of the same noise.

    "lines" [N, 2, 2], the ends that training joins, and "paths" [N, S + 1, 2] of the flow, from noise (or the source)
    to data; "crossings" of the "pairs" of lines; "detour", mean length / mean distance - 1 of the paths.
    A run whose pairs are gone has no lines. Raises UserError for other runs.
    """
    return {name: _points(path, number) for name, path in folders.items()}


def _points(path, number):
    built, _, params = results.load(path)
    if built.dataset.shape != (2,) or built.model.field is None:
        raise UserError(f"{path} is no flow of points in the plane, which is what is drawn here.")
    folder = workdir.load_config(path)["data"].get("pairs")
    beside = path.parent / pathlib.Path(folder or "").name  # where launch.reflow has them, also when all was moved
    folder = beside if folder and beside.exists() else folder
    gone = folder and not pathlib.Path(folder).expanduser().exists()
    batch = _joined(built, "" if gone else folder, number)
    if evaluation.balanced_labels(built, number) is None:  # its samples are drawn without
        batch.pop("condition", None)
    x0, options = batch.pop("x"), {"sampler": "heun", "num_steps": STEPS, "spacing": "uniform", "trajectory": True}
    walk = jax.jit(functools.partial(built.model.sample, num_samples=number, **options))
    paths = np.asarray(walk(params, jax.random.key(0), **batch).trajectory, float).swapaxes(0, 1)
    # Where the walk starts is the noise in the data's unit.
    lines = np.stack([paths[:, 0], x0], axis=1)[: 0 if gone else None]
    length, whole = (np.linalg.norm(np.diff(x, axis=1), axis=2).sum(axis=1) for x in (paths, paths[:, [0, -1]]))
    return {
        "lines": lines.tolist(),
        "paths": paths.tolist(),
        "crossings": None if gone else crossings(lines),
        "pairs": number * (number - 1) // 2,
        "detour": float(length.sum() / whole.sum()) - 1,
    }


def _joined(built, folder, number):
    """A batch of `number` as training joins them: "x", "noise" (in the net's unit) or "source", and labels."""
    rng, dataset = np.random.default_rng(0), built.dataset

    def some(source, count):
        return source.gather(np.resize(rng.permutation(source.size), count))

    if folder:
        batch = some(pairs.load(folder, dataset.shape)[0], number)
        return {"source" if name == "partner" else name: rows for name, rows in batch.items()}
    batch = some(dataset.train, max(number, built.config.data.batch_size))  # a coupling is of a whole batch
    x, label, end = batch["x"], batch.get("condition"), "source" if dataset.source else "noise"
    x1 = rng.permutation(batch["source"]) if dataset.source else rng.standard_normal(x.shape, np.float32)
    couple = built.config.model.name == "rectified_flow" and rectified_flow.coupling(built.config)
    order = couple(jax.random.key(0), *map(jnp.asarray, (x, x1)), label) if couple else slice(None)
    return {name: rows[:number] for name, rows in (batch | {end: x1[order]}).items()}


def crossings(lines, radius=RADIUS):
    """How many pairs of lines [N, 2, 2] pass each other nearer than `radius` at the same time in [0, 1].

    To pass is to turn their difference by more than a right angle, which lines that only end together do not.
    """
    ends, (i, j) = np.asarray(lines, float).swapaxes(0, 1), np.triu_indices(len(lines), 1)
    start, end = ends[:, i] - ends[:, j]
    across = np.abs(start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0])  # twice the triangle's area
    return int(np.sum((across < radius * np.linalg.norm(end - start, axis=1)) & (np.sum(start * end, axis=1) < 0)))


def draw(points):
    """A matplotlib Figure, a row a run: the lines of training at the left, the flow's paths at the right."""
    figure = canvas.figure(9, 4.6 * len(points))
    rows = figure.subplots(len(points), 2, squeeze=False, sharex="row", sharey="row")
    for axes, (name, run) in zip(rows, points.items()):
        lines = f"{run['crossings']} of {run['pairs']} pairs cross" if run["lines"] else "its pairs are gone"
        axes[0].set_title(f"{name}: lines of training, {lines}")
        axes[1].set_title(f"{name}: paths, {run['detour']:.2%} longer than straight")
        for axis, walks in zip(axes, (run["lines"], run["paths"])):
            x = np.asarray(walks).reshape(len(walks), -1, 2) if walks else np.zeros((0, 2, 2))
            axis.plot(x[:, :, 0].T, x[:, :, 1].T, color="0.6", linewidth=0.8)
            for end, colour, label in ((0, "C0", "noise or source"), (-1, "C1", "data")):
                axis.scatter(*x[:, end].T, s=12, color=colour, label=label, zorder=2)
            axis.set_aspect("equal")
    names, title = axes[1].get_legend_handles_labels(), f"to cross: to pass nearer than {RADIUS} at the same time"
    figure.legend(*names, loc="outside lower center", ncols=2, title=title)
    return figure
