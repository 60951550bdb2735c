"""Guidance, classifier-free or by a classifier, wrapped around a field before a sampler sees it."""

import jax
import jax.numpy as jnp

from research.contracts import Prediction
from research.noise import as_time, expand


def guide(field_conditional, field_unconditional, scale, interval=(0.0, 1.0)):
    """Field u + scale (c - u) for t within interval, c outside of it: scale 1 is conditional, 0 unconditional.

    The scale is 1 + w of Ho & Salimans (2022, eq. 6); the interval is Kynkaanniemi et al.'s (2024). One call of the
    result is two of the net. All four parts are combined, which keeps them consistent, as the weights sum to 1.
    """
    low, high = interval

    def field(x, t, *to):
        t = as_time(t)
        weight = expand(jnp.where((t >= low) & (t <= high), scale, 1.0), x)
        # Written so, the ends 0 and 1 are exact.
        return jax.tree.map(
            lambda c, u: weight * c + (1 - weight) * u, field_conditional(x, t, *to), field_unconditional(x, t, *to)
        )

    return field


def classifier_guide(field, noise, log_prob, scale):
    """Field whose score is score + scale grad log p(y | x_t), of log_prob(x [B, ...], t) -> [B] at the wanted classes.

    eps = eps - scale sigma grad (Dhariwal & Nichol 2021, algorithm 2 and eq. 14); x0 and velocity are those of that
    eps, so scale 1 with the exact classifier is the class's own field. Where alpha = 0, x0 does not follow from eps:
    there the field is left as it is. A call is one of the net and one of the classifier.
    """

    def guided(x, t):
        t, old = as_time(t), field(x, t)
        push = scale * jax.grad(lambda x: jnp.sum(log_prob(x, t)))(x)
        alpha, sigma, d_alpha, d_var = (
            expand(c(t), x) for c in (noise.alpha, noise.sigma, noise.d_alpha, noise.d_variance)
        )
        push = jnp.where(alpha == 0, 0, push)
        x0 = sigma**2 / jnp.where(alpha == 0, 1, alpha) * push
        # d x_t / dt = alpha' x0 + sigma' eps; sigma' sigma is half of the variance's slope, finite at sigma = 0.
        return Prediction(
            old.x0 + x0, old.eps - sigma * push, old.score + push, old.velocity + d_alpha * x0 - d_var / 2 * push
        )

    return guided
