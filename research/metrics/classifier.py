"""A classifier trained on the same data as the generative model: it is the feature space of the Frechet distance."""

import functools
import json
import pathlib
import zipfile
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from research.atomic import replacing
from research.errors import UserError
from research.nets.classifier import FEATURES
from research.nets.classifier import Classifier as Net

BATCH, LEARNING_RATE = 64, 3e-3  # measured on digits: 99 % of the test set after 1000 steps, 97 % of it confident
CHUNK = 512  # examples per call when features are read out


class Classifier(NamedTuple):
    """params of the net, and the recipe that made them: plain JSON, enough to tell whether to train again."""

    params: dict
    recipe: dict


def train(x, labels, num_classes, levels, *, seed=0, steps=1000, name="data"):
    """A `Classifier` of x [N, H, W, C] or [N, D] into labels [N] in 0 .. num_classes - 1; about 10 s on digits.

    levels is the number of integer values (digits 17, images 256), or None where x are continuous. Images are shifted
    by up to one pixel. Raises UserError where x and labels do not fit each other.
    """
    recipe = _recipe(x, labels, num_classes, levels, seed, steps, name)
    init, step = _trainer(Net(num_classes), steps)
    key = jax.random.key(seed)
    params, state = init(key, jnp.zeros((1, *x.shape[1:])))
    # A Python loop: XLA's CPU compiler runs the kernel gradient of a convolution 100 times slower inside a scan.
    for i, (batch, y) in enumerate(_batches(np.asarray(x), np.asarray(labels, np.int32), steps, seed)):
        params, state = step(params, state, jax.random.fold_in(key, i), _normalise(batch, recipe), y)
    return Classifier(jax.device_get(params), recipe)


def features(classifier, x):
    """(features [N, 64], probabilities [N, K]) of x [N, ...] as stored, as numpy arrays."""
    x, net = np.asarray(x), Net(classifier.recipe["num_classes"])
    if list(x.shape[1:]) != classifier.recipe["shape"]:
        raise UserError(f"the classifier was trained on {classifier.recipe['shape']}, not on {list(x.shape[1:])}.")
    parts = []
    for start in range(0, len(x), CHUNK):
        chunk = x[start : start + CHUNK]
        filled = np.resize(chunk, (CHUNK, *x.shape[1:]))  # repeated to one shape, for one compile
        out = _forward(net, classifier.params, _normalise(filled, classifier.recipe))
        parts.append([np.asarray(part)[: len(chunk)] for part in out])
    return tuple(np.concatenate(part) for part in zip(*parts))


def accuracy(classifier, x, labels):
    """The share of x [N, ...] whose most probable class is its label [N]."""
    return float(np.mean(features(classifier, x)[1].argmax(-1) == np.asarray(labels)))


def load_or_train(
    path, train_x, train_y, test_x, test_y, num_classes, levels, *, seed=0, steps=1000, name="data", say=print
):
    """The `Classifier` in the npz file `path`, if its recipe is the one asked for; else trains one and stores it there.

    The recipe adds "test_accuracy" to what `train` states. A file that is damaged or differs is replaced, with a line.
    """
    path, wanted = pathlib.Path(path), _recipe(train_x, train_y, num_classes, levels, seed, steps, name)
    if path.exists():
        try:
            found = _load(path)
            differs = sorted(k for k in wanted if found.recipe.get(k) != wanted[k])
            if not differs:
                return found
            say(f"the classifier in {path} differs in {', '.join(differs)}; training a new one.")
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            say(f"the classifier in {path} is damaged ({str(error)[:80]}); training a new one.")
    made = train(train_x, train_y, num_classes, levels, seed=seed, steps=steps, name=name)
    made.recipe["test_accuracy"] = accuracy(made, test_x, test_y)
    _save(path, made)
    return made


@functools.lru_cache
def _trainer(net, steps):
    """(init(key, x) -> (params, state), step(params, state, key, x, y) -> (params, state)), compiled once a shape."""
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    @jax.jit
    def init(key, x):
        params = net.init(key, x)["params"]
        return params, optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, key, x, y):
        def loss(params):
            _, logits = net.apply({"params": params}, x, train=True, rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    return init, step


@functools.partial(jax.jit, static_argnums=0)
def _forward(net, params, x):
    hidden, logits = net.apply({"params": params}, x)
    return hidden, jax.nn.softmax(logits)


def _normalise(x, recipe):
    return ((x.astype(np.float32) - recipe["center"]) / recipe["scale"]).astype(np.float32)


def _recipe(x, labels, num_classes, levels, seed, steps, name):
    x, labels = np.ascontiguousarray(x), np.ascontiguousarray(labels)
    if len(x) != len(labels) or labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"a classifier needs one label in 0 .. {num_classes - 1} an example: there are {len(x)} examples and "
            f"{len(labels)} labels in {labels.min()} .. {labels.max()}."
        )
    center, scale = (np.mean(x), np.std(x)) if levels is None else ((levels - 1) / 2, (levels - 1) / 2)
    return {
        "name": name,
        "shape": list(x.shape[1:]),
        "num_classes": num_classes,
        "levels": levels,
        "seed": seed,
        "steps": steps,
        "learning_rate": LEARNING_RATE,
        "batch": BATCH,
        "architecture": f"width {Net.width}, dropout {Net.dropout}, {FEATURES} features",
        "crc32": zlib.crc32(labels, zlib.crc32(x)),
        "center": float(center),
        "scale": float(scale),
    }


def _batches(x, labels, steps, seed):
    """Random batches (x, labels); each image is moved by up to one pixel, its border repeated."""
    rng = np.random.default_rng(seed)
    if x.ndim == 4:
        moved = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        moved = np.lib.stride_tricks.sliding_window_view(moved, x.shape[1:3], axis=(1, 2))  # [N, 3, 3, C, H, W]
    for _ in range(steps):
        i = rng.integers(len(x), size=BATCH)
        if x.ndim == 4:
            yield np.moveaxis(moved[i, *rng.integers(3, size=(2, BATCH))], 1, -1), labels[i]
        else:
            yield x[i], labels[i]


def _load(path):
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        recipe = json.loads(str(file["recipe"]))
        flat = {k: file[k] for k in file.files if k != "recipe"}
    return Classifier(traverse_util.unflatten_dict(flat, sep="/"), recipe)


def _save(path, classifier):
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = traverse_util.flatten_dict(classifier.params, sep="/")
    with replacing(path) as file:
        np.savez(file, recipe=json.dumps(classifier.recipe), **flat)
