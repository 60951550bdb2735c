"""Shortcut models (Frans et al. 2024, "One step diffusion via shortcut models"): jumps that match two of half the size.

Their time runs from noise to data, and their net is told the size of a jump; here t = 0 is data, and the average
velocity over [t - d, t] is the field's (x, t, t - d).
"""

import jax
import jax.numpy as jnp
import numpy as np

from research import diffusion, noise
from research.errors import UserError


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config` (algorithm 1).

    A share `ratio` of a batch learns jumps of 2 / num_steps, 4 / num_steps, ..., 1, each from two of half the size; the
    rest learns the instantaneous velocity, which also serves as the jump of 1 / num_steps. The paper takes the targets
    from averaged weights, which a loss does not see: here they are the current ones, without dropout. Raises UserError
    for num_steps that are not 2, 4, 8 ... and a ratio outside of [0, 1].
    """
    steps, jumping = config.model.num_steps, diffusion.share(config.model.ratio)
    if steps < 2 or steps & (steps - 1):
        raise UserError(f"config.model.num_steps is {steps}: jumps are halved down to one step, so give a power of 2.")
    spans = 2.0 ** -np.arange(steps.bit_length() - 1)  # 1, 1/2, ..., 2 / num_steps

    def loss(fields_of, x0, x1, label, key):
        n, rows, (key_span, key_jump, key_t) = len(x0), jumping(len(x0)), jax.random.split(key, 3)
        drawn = jnp.asarray(spans)[(len(spans) * diffusion.even_times(key_span, rows)).astype(int)]
        span = jnp.append(drawn, jnp.zeros(n - rows))
        on_grid = drawn * (1 + jnp.floor(jax.random.uniform(key_jump, (rows,)) / drawn))
        t = jnp.append(on_grid, diffusion.even_times(key_t, n - rows))
        x, velocity = noise.expand(1 - t, x0) * x0 + noise.expand(t, x0) * x1, x1 - x0
        if rows:
            field = fields_of(label[:rows], train=False)
            velocity = jnp.concatenate([two_jumps(field, x[:rows], on_grid, drawn / 2), velocity[rows:]])
        error = fields_of(label)(x, t, t - span).velocity - velocity
        return jnp.mean(error.reshape(n, -1) ** 2, axis=1)

    denoiser = diffusion.Denoiser(noise.rectified(), "velocity", None, None, spans=True, loss=loss)
    return diffusion.make(config, data_shape, denoiser._replace(least_span=1 / steps))


def two_jumps(field, x, t, d):
    """The mean of the average velocities of two jumps of d [B] from x [B, ...] at t, with no gradient (algorithm 1)."""
    first = field(x, t, t - d).velocity
    second = field(x - noise.expand(d, x) * first, t - d, t - 2 * d).velocity
    return jax.lax.stop_gradient((first + second) / 2)
