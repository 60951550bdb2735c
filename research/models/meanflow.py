"""MeanFlow (Geng et al. 2025, "Mean flows for one-step generative modeling"): the average velocity over a span of time.

u(x_t, to, t) is the mean of the velocity over [to, t] along the path through x_t, so x_to = x_t - (t - to) u: one call
goes from noise to data. Their r is `to`; time runs as here.
"""

import jax
import jax.numpy as jnp

from research import diffusion, noise
from research.errors import UserError

LEAST = 1e-3  # c of the weight
SLOWER = 16  # times are told divided by it: targets hold the slope in t, and with fast sinusoids power 0 diverges


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config` (algorithm 1).

    Each example costs |error|^2, summed over its entries, over (|error|^2 + 1e-3)^power (section 4.3). The net is run
    twice where spans are above 0, once elsewhere, and once more with guidance. Raises UserError for a ratio outside of
    [0, 1], and for guidance of a model that does not learn both fields.
    """
    fields, spanned = config.model, diffusion.share(config.model.ratio)
    guided = fields.guidance != 1
    if guided and not (config.data.num_classes and 0 < fields.label_dropout < 1):
        raise UserError(
            f"config.model.guidance is {fields.guidance}: it needs data with classes, and model.label_dropout between "
            "0 and 1"
        )

    def loss(fields_of, x0, x1, label, key):
        n, rows = len(x0), spanned(len(x0))
        times = jax.nn.sigmoid(fields.time_mean + fields.time_std * jax.random.normal(key, (2, n)))
        t, to = times.max(axis=0), times.min(axis=0)
        x, velocity = noise.expand(1 - t, x0) * x0 + noise.expand(t, x0) * x1, x1 - x0
        if guided:
            velocity = guide(fields_of, x, t, velocity, label, fields.guidance)
        errors = []
        if rows:
            field = fields_of(label[:rows])
            u, target = average(field, x[:rows], t[:rows], to[:rows], velocity[:rows])
            errors.append(u - target)
        if rows < n:  # plain flow matching
            errors.append(fields_of(label[rows:])(x[rows:], t[rows:]).velocity - velocity[rows:])
        square = jnp.sum(jnp.concatenate(errors).reshape(n, -1) ** 2, axis=1)
        return square / jax.lax.stop_gradient(square + LEAST) ** fields.power

    denoiser = diffusion.Denoiser(noise.rectified(), "velocity", None, None, spans=True, loss=loss)
    return diffusion.make(config, data_shape, denoiser._replace(net_time=lambda t: t / SLOWER))


def average(field, x, t, to, velocity):
    """(u, target) [B, ...]: the field's own average over [to, t], and v - (t - to) du/dt, which it is to equal.

    du/dt = v d_x u + d_t u is along the path with that velocity; no gradient goes through the target (section 4.1).
    """
    u, slope = jax.jvp(lambda x, t: field(x, t, to).velocity, (x, t), (velocity, jnp.ones_like(t)))
    return u, jax.lax.stop_gradient(velocity - noise.expand(t - to, x) * slope)


def guide(fields_of, x, t, velocity, label, scale):
    """The guided velocity, scale v + (1 - scale) u(x, t, t | no label), of rows that kept their label (section 4.2)."""
    free = fields_of(jnp.full_like(label, -1), train=False)(x, t).velocity
    guided = scale * velocity + (1 - scale) * jax.lax.stop_gradient(free)
    return jnp.where(noise.expand(label >= 0, x), guided, velocity)
