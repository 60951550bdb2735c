"""Samples in batches: of one compiled size, split over the local devices, kept as shards that a rerun goes on from."""

import functools
import hashlib
import json
import math
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from research import data, interrupts, samplers, workdir
from research.atomic import replacing
from research.errors import UserError

SAMPLING_BATCH = 1024
SEED_STRIDE = 7919  # batches, from a seed's first example of another data set to the next seed's
SPLIT_FROM = 8  # samples a device: a batch of fewer stays on one
PATH_BYTES = 2**28  # what a trajectory may take when it is looked through for its first bad entry


class Stopped(interrupts.Preempted):
    """Asked to stop; the batches before `step` are in their shards."""

    def __str__(self):
        return f"stopped after batch {self.step}"


def sizes(num_samples):
    """(samples a batch, number of batches): batches of one size compile once."""
    size = -(-num_samples // -(-num_samples // SAMPLING_BATCH))
    return size, -(-num_samples // size)


def batches(experiment, params, num_samples, condition=None, seed=0, start=0, ends=False, **options):
    """Yields (x [n, ...] in the data's own scale, nfe) of each batch from number `start` on; num_samples are in all.

    condition: labels [num_samples] or None; options go to the model's `sample`. A model of transport starts from the
    other data set's test examples. With ends=True, from its training examples, and x is a dict of "x", not rounded, of
    "noise" (N(0, 1)) or "source" and, where there is one, "condition". With several local devices the rows of a batch
    are computed split over them. Raises UserError, also where a batch is not finite.
    """
    if experiment.model.sample is None:
        raise UserError(f"a {experiment.config.model.name} predicts and has no samples: see its predictions.npz.")
    _check_condition(condition, experiment.config.data.num_classes)
    options |= {"rounded": False} if ends else {}
    source = experiment.dataset.source and experiment.dataset.source[0]
    if source and not ends:
        source = data.chain(experiment.dataset.source[1], source)
    size, number = sizes(num_samples)
    devices = jax.local_devices() if size >= SPLIT_FROM * jax.local_device_count() else jax.local_devices()[:1]
    # Rows that fill up the devices are left out again: threefry draws the others the same numbers with and without.
    rows, split, whole = -(-size // len(devices)) * len(devices), None, None
    if len(devices) > 1:
        mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
        split, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
        params = jax.device_put(params, whole)

    def place(x):
        return jax.device_put(jnp.resize(jnp.asarray(x), (rows, *x.shape[1:])), split)

    fixed = tuple((name, tuple(x) if isinstance(x, list) else x) for name, x in sorted(options.items()))
    noisy = experiment.dataset.shape if ends and source is None else None
    draw = _compiled(experiment.model.sample, rows, fixed, noisy, ends, split and (split, whole))
    for i in range(start, number):
        labels, given, key = None, {}, jax.random.fold_in(jax.random.key(seed), i)
        if condition is not None:
            labels = place(condition[i * size : (i + 1) * size])
        if source is not None:
            given = {"source": place(_unrounded(source, i, size, seed))}
        found, nfe = draw(params, key, labels, given)
        wanted = min(size, num_samples - i * size)
        found, nfe = {name: np.asarray(x)[:wanted] for name, x in found.items()}, float(np.mean(nfe))
        # Integers have no NaN; models say it by their nfe.
        if not (np.isfinite(nfe) and np.isfinite(found["x"]).all()):
            raise UserError(_where_not_finite(experiment, params, key, labels, rows, options | given))
        if ends and condition is not None:
            found["condition"] = condition[i * size : (i + 1) * size]
        yield found if ends else found["x"], nfe


@functools.lru_cache(maxsize=4)  # trials of a sweep share their model: they compile once
def _compiled(model_sample, rows, options, noisy, ends, shardings):
    """The jitted (params, key, labels, given) -> (a batch of `batches` as a dict, nfe). noisy: shape of x or None."""

    def sample(params, key, labels, given):
        if noisy is not None:
            given = {"noise": jax.random.normal(jax.random.fold_in(key, 1), (rows, *noisy))}
        out = model_sample(params, key, rows, labels, **given, **dict(options))
        return {"x": out.x} | (given if ends else {}), out.nfe

    return jax.jit(sample, out_shardings=shardings)


def _unrounded(source, i, size, seed):
    """Batch i of the examples, which another seed starts elsewhere; integers get uniform noise below 1."""
    start = (seed * SEED_STRIDE + i) * size
    x = source.gather(np.arange(start, start + size) % source.size)["x"]
    if not np.issubdtype(x.dtype, np.integer):
        return x
    return x + np.random.default_rng([seed, i]).random(x.shape, np.float32)


def _check_condition(condition, num_classes):
    """Raises UserError for labels that the model does not know; inside of jit it is too late to look at them."""
    if condition is not None and not num_classes:
        raise UserError("this model has no classes; leave the condition out.")
    if condition is not None and not ((condition >= 0) & (condition < num_classes)).all():
        raise UserError(f"a condition is a class from 0 to {num_classes - 1}, not {int(condition[0])}.")


def _where_not_finite(experiment, params, key, labels, rows, options):
    """A sentence: from which step on, where the model returns a trajectory along given times."""

    def path(params, key, labels, n):
        out = experiment.model.sample(params, key, n, labels, **options | {"trajectory": True})
        return out.trajectory, out.times

    general = "the samples are not finite; give the sampler more steps, a looser rtol and atol, or a lower temperature."
    name = options.get("sampler", experiment.config.sampler.get("name"))
    if name and "rtol" in samplers.takes(samplers.find(name)):  # adaptive: it gave up, after all the steps it may take
        return general
    try:
        found, times = jax.eval_shape(lambda *x: path(*x, rows), params, key, labels)
    except (UserError, TypeError):  # it knows no trajectories
        return general
    if found is None or times is None:
        return general
    n = min(rows, max(PATH_BYTES * rows // (4 * math.prod(found.shape)), 1))
    found, times = jax.jit(path, static_argnums=3)(params, key, None if labels is None else labels[:n], n)
    bad = ~np.isfinite(found).reshape(len(found), -1).all(axis=1)
    step = int(bad.argmax())
    if not step:  # a good trajectory, or none
        return general
    return (
        f"the samples of sampler '{name}' are not finite from step {step} of {len(bad) - 1} on "
        f"(t = {times[step]:.4g}): give it more steps, another spacing or less guidance, or take another sampler."
    )


def join(parts):
    """(x [N, ...], nfe) of all batches."""
    x, nfe = zip(*parts)
    return np.concatenate(x), float(np.mean(nfe))


def identity(experiment, step, num_samples, condition, seed, options):
    """What batches belong together by, as a dict of JSON: the weights, and all that chooses the samples."""
    fields = workdir.flatten(json.loads(experiment.config.to_json()))
    fields = {name: value for name, value in fields.items() if not name.startswith(workdir.FREE)}
    made = {"step": step, "config": _digest(json.dumps(fields, sort_keys=True).encode()), "num_samples": num_samples}
    labels = np.unique([] if condition is None else condition).tolist()
    if len(labels) > 1:
        labels = _digest(np.asarray(condition, np.int64).tobytes())
    made |= {"seed": seed, "condition": labels, "batch": sizes(num_samples)[0]}
    return json.loads(json.dumps(workdir.finite(made | {f"option {name}": value for name, value in options.items()})))


def _digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def in_shards(folder, identity, number, draw):
    """(x, nfe) of `number` batches: those that `folder` holds, and the rest from draw(start), which is kept there.

    Raises UserError where the folder holds batches of another identity, Stopped on SIGTERM and Ctrl-C.
    """
    fill(folder, identity, number, draw)
    return join(_read(folder, i) for i in range(number))


def fill(folder, identity, number, draw):
    """Writes those of `number` batches that `folder` does not hold yet, from draw(start); raises as `in_shards`."""
    if list(folder.glob("[!.]*")):  # a kill in the first write leaves a temporary file alone
        _check_same(folder, identity)
    done = next((i for i in range(number) if _read(folder, i) is None), number)
    bar = tqdm.tqdm(total=number, initial=done, unit="batch", mininterval=0.1 if sys.stderr.isatty() else 10)
    with interrupts.catch() as asked, bar:
        for i, (x, nfe) in enumerate(draw(done) if done < number else (), done):
            folder.mkdir(parents=True, exist_ok=True)  # a mistake shows by the first batch, and has left nothing
            if i == 0:
                workdir.write_json(folder / "identity.json", identity)
            with replacing(_shard(folder, i)) as file:
                np.savez(file, **(x if isinstance(x, dict) else {"x": x}), nfe=nfe)
            bar.update()
            if i + 1 < number and asked(i + 1):
                raise Stopped(i + 1, asked(i + 1))


def _shard(folder, i):
    return folder / f"{i:05}.npz"


def _read(folder, i):
    """(x, nfe) of a shard, or None where there is none, or a damaged one, which is drawn again."""
    try:
        with _shard(folder, i).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}  # all of them, so that damage shows
            return arrays["x"], float(arrays["nfe"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _check_same(folder, identity):
    try:
        found = json.loads((folder / "identity.json").read_text())
    except (OSError, ValueError):
        raise UserError(f"{folder} has no readable identity.json; remove that folder, or write elsewhere.") from None
    changed = [name for name in sorted(found | identity) if found.get(name) != identity.get(name)]
    if changed:
        what = "; ".join(f"{name} is {found.get(name)} there, {identity.get(name)} here" for name in changed[:3])
        raise UserError(f"{folder} holds batches of other samples: {what}; finish those, or remove that folder.")
