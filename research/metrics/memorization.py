"""Are samples closer to the training data than real held-out data are? Near 1: no; well below 1: they copy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError


def memorization(samples, train, test, seed=0):
    """Two floats on samples, train, test [N, ...], by Euclidean distance of the flattened examples:

    ratio   how much nearer samples are to training than to held-out data, against real data: the test set is split into
            halves; r(q, H) = mean over disjoint training blocks of |H| examples of median_q(distance to the block)
            / median_q(distance to H); ratio = mean over both roles of r(samples, H) / r(other half, H). Blocks as large
            as H, because the nearest of more examples is nearer.
    copies  share of samples not farther from their nearest training example than the nearest 1 % of real test examples
            are from theirs: about .01 for an honest model, 1 for a copier. Blocks dilute a copy, this does not.

    Raises UserError where the shapes differ or there are fewer than two test examples.
    """
    rng = np.random.default_rng(seed)  # data may be stored by class: halves and blocks are drawn
    center = np.mean(train, axis=0, dtype=np.float64)
    samples, train, test = (_rows(x, center) for x in (samples, train, test))
    if len(test) < 2 or len(train) == 0 or len(samples) == 0:
        raise UserError(
            f"memorization needs samples, training data and two or more test examples, not {len(samples)}, "
            f"{len(train)} and {len(test)}."
        )
    train, test = rng.permutation(train), rng.permutation(test)
    n = min(len(test) // 2, len(train))
    halves = test[:n], test[n : 2 * n]
    # to_train[i] [blocks, queries]; the last block, when smaller, counts for the whole set but not for the medians.
    of_halves, across = _of_halves(_Arrays(train, *halves))
    to_train = [_to_blocks(samples, train, n), *of_halves]

    tiny = 1e-6 * np.std(train) + 1e-30  # where half of the real examples have an equal, as in coarse discrete data

    def r(to_blocks, to_heldout):
        medians = np.median(to_blocks[: len(train) // n], axis=1)
        return (np.mean(medians) + tiny) / (np.median(to_heldout) + tiny)

    roles = [  # samples against the real half that is not H
        r(to_train[0], _nearest(samples, halves[i])) / r(to_train[2 - i], across[i]) for i in (0, 1)
    ]
    threshold = np.percentile(np.concatenate([to_train[1].min(0), to_train[2].min(0)]), 1)
    return {"ratio": float(np.mean(roles)), "copies": float(np.mean(to_train[0].min(0) <= threshold))}


class _Arrays(tuple):
    """Arrays that are equal where their bytes are, for a cache."""

    def __new__(cls, *arrays):
        return super().__new__(cls, arrays)

    def __hash__(self):
        return hash(tuple(hash(x.tobytes()) for x in self))

    def __eq__(self, other):
        return len(self) == len(other) and all(map(np.array_equal, self, other))


@functools.lru_cache(maxsize=1)  # trials of a sweep are measured against the same data
def _of_halves(arrays):
    """(distances of both halves to the blocks of train, of each half's other half to it)."""
    train, *halves = arrays
    across = [_nearest(halves[1 - i], halves[i]) for i in (0, 1)]
    return [_to_blocks(half, train, len(half)) for half in halves], across


def _to_blocks(queries, train, n):
    """Distances [blocks, queries] to the nearest of each n training examples."""
    return np.stack([_nearest(queries, train[start : start + n]) for start in range(0, len(train), n)])


def _rows(x, center):
    x = np.asarray(x)
    if x.shape[1:] != center.shape:
        raise UserError(f"memorization compares examples of one shape, not {x.shape[1:]} and {center.shape}.")
    return (x - center).reshape(len(x), -1).astype(np.float32)


@jax.jit
def _nearest_jit(queries, references):
    norms = jnp.sum(references**2, axis=1)

    def one(q):
        nearest = jnp.argmin(norms - 2 * jnp.dot(references, q, precision="highest"))
        return jnp.linalg.norm(references[nearest] - q)  # from the difference: a copy is at distance 0, not 1e-3

    return jax.lax.map(one, queries, batch_size=1024)


def _nearest(queries, references):
    """Distances [N] of queries [N, D] to the nearest of references [M, D]."""
    return np.asarray(_nearest_jit(queries, references))
