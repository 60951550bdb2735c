"""The loss between data and noise, or two data sets: both ends of each example, and the regression on the way."""

import functools

import jax
import jax.numpy as jnp

from research import noise, parameterize
from research.contracts import Prediction
from research.encoding import labels
from research.nets.embedding import drop_labels

OWN = {"noise", "partner"}  # of a batch: the other end of each x, which stays its own


def loss(parts, params, key, batch, train=True):
    """The loss between the two ends of each example, averaged over the batch."""
    key_u, key_eps, key_t, key_label, key_dropout = jax.random.split(key, 5)
    n, fields, denoiser = len(batch["x"]), parts.config.model, parts.denoiser
    label = labels(batch.get("condition") if parts.num_classes else None, n, parts.num_classes)
    x0, x1 = _ends(parts, params, key_u, key_eps, batch, train)
    if denoiser.couple and not OWN & batch.keys():
        x1 = x1[denoiser.couple(jax.random.fold_in(key_eps, 1), x0, x1, label)]
    if train:
        label = drop_labels(key_label, label, fields.label_dropout)

    def conditioned(label, train=train):
        return parts.field(params, label, train, rngs={"dropout": key_dropout})

    distance = denoiser.loss or functools.partial(_regression, denoiser)
    value = jnp.mean(distance(conditioned, x0, x1, label, key_t))
    return value, ({"loss": value}, params.get("stats"))


def _ends(parts, params, key_u, key_eps, batch, train):
    """x0 and x1 [B, ...] in the net's unit: noise, where the batch does not bring its own, or examples of another set.

    Floats among integer data are samples that were not rounded, to which nothing is added.
    """
    x, n, fields = batch["x"], len(batch["x"]), parts.config.model
    if fields.get("flip") and train and not OWN & batch.keys():
        key_u, key_flip = jax.random.split(key_u)
        x = jnp.where(noise.expand(jax.random.bernoulli(key_flip, shape=(n,)), x), jnp.flip(x, axis=2), x)

    def enter(x, key):
        if jnp.issubdtype(x.dtype, jnp.floating):
            return parts.enter(params, x, 0)
        return parts.enter(params, x, jax.random.uniform(key, x.shape) if fields.dequantize else 0.5)

    if "source" in batch:
        # An example always brings the same one of the other set: dealt out anew within the batch, it may be any.
        return enter(x, key_u), jax.random.permutation(jax.random.fold_in(key_eps, 2), enter(batch["source"], key_eps))
    if "partner" in batch:
        return enter(x, key_u), enter(batch["partner"], key_eps)
    return enter(x, key_u), batch["noise"] if "noise" in batch else jax.random.normal(key_eps, x.shape)


def _regression(denoiser, fields, x0, x1, label, key):
    """Weighted distance [B] of the net's output from what it should be at x_t = alpha x0 + sigma x1 (+ gamma z)."""
    t, process, kind = denoiser.draw_times(key, len(x0)), denoiser.process, denoiser.kind
    alpha, sigma, d_alpha, d_sigma = (
        noise.expand(c(t), x0) for c in (process.alpha, process.sigma, process.d_alpha, process.d_sigma)
    )
    x, velocity = alpha * x0 + sigma * x1, d_alpha * x0 + d_sigma * x1
    if denoiser.gamma:
        gamma, slope = jax.jvp(denoiser.gamma, (t,), (jnp.ones_like(t),))
        z = jax.random.normal(jax.random.fold_in(key, 1), x0.shape)
        x, velocity = x + noise.expand(gamma, z) * z, velocity + noise.expand(slope, z) * z
    found, truth = fields(label)(x, t), Prediction(x0, x1, None, velocity)
    ours, exact = (parameterize.reading(p, t, process, kind, denoiser.sigma_data) for p in (found, truth))
    error = (ours - exact).reshape(len(x0), -1)
    return denoiser.distance(jnp.sqrt(denoiser.weigh(t))[:, None] * error)
