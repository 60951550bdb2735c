"""The multi-scale architecture (Dinh et al. 2017, RealNVP, section 3.6): half of the channels leave at each level."""

import math

import jax
import jax.numpy as jnp

from research.bijectors.batched import same
from research.bijectors.compose import collect, own, train
from research.contracts import Bijector


def multiscale(levels, shapes):
    """Images [B, H, W, C] to vectors [B, D], by `levels` of Bijectors; shapes[i] is (h, w, c) of what the i-th returns.

    The second half of a level's channels is done with it and goes into the vector, the first half goes on to the next.
    What the paper calls a learned prior of the half that leaves is the last layer of its level: an affine coupling.
    """
    names = [f"level{i}" for i in range(len(levels))]
    sizes = [math.prod(shape) // (1 if i == len(levels) - 1 else 2) for i, shape in enumerate(shapes)]

    def split(h, i):
        """(what goes on, what leaves [B, n])."""
        kept = 0 if i == len(levels) - 1 else h.shape[-1] // 2
        return h[..., :kept], h[..., kept:].reshape(len(h), -1)

    def walk(x, run):
        """(latent, log-det) of x, where run(i, x) -> (what level i returns, its log-det)."""
        total, gone = same(x, 0.0), []
        for i in range(len(levels)):
            x, log_det = run(i, x)
            x, left = split(x, i)
            total, gone = total + log_det, [*gone, left]
        return jnp.concatenate(gone, axis=1), total

    def init(key, x, condition=None):
        found = {}

        def run(i, x):
            found[names[i]] = levels[i].init(jax.random.fold_in(key, i), x, condition)
            return levels[i].forward(found[names[i]], x, condition)

        walk(x, run)
        return collect(found)

    def forward(params, x, condition=None):
        return walk(x, lambda i, x: levels[i].forward(own(params, names[i]), x, condition))

    def inverse(params, z, condition=None):
        total, end, x = same(z, 0.0), z.shape[1], None
        for i, name in reversed(list(enumerate(names))):
            left = z[:, end - sizes[i] : end]
            end -= sizes[i]
            left = left.reshape(len(z), *shapes[i][:2], -1)
            x = left if x is None else jnp.concatenate([x, left], axis=-1)
            x, log_det = levels[i].inverse(own(params, name), x, condition)
            total = total + log_det
        return x, total

    def forward_train(params, key, x, condition=None):
        stats = {}

        def run(i, x):
            params_i = own(params, names[i])
            x, log_det, new = train(levels[i], params_i, jax.random.fold_in(key, i), x, condition)
            stats.update({names[i]: new} if "stats" in params_i else {})
            return x, log_det

        return *walk(x, run), stats

    def parts(params, key, x, condition=None):
        for i, name in enumerate(names):
            this = name, levels[i], own(params, name), jax.random.fold_in(key, i), x
            yield this
            x, _ = split(train(*this[1:], condition)[0], i)

    trained = any(level.forward_train for level in levels)
    return Bijector(init, forward, inverse, forward_train if trained else None, parts)
