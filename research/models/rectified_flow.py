"""Rectified flow (Liu et al. 2022, "Flow straight and fast"): regress the velocity of paths from data to noise.

Their time runs from noise to data; here t = 0 is data, so the velocity eps - x0 of a line is theirs, sign turned.
The paths may be other interpolants, their ends may be paired, drawn from another data set, or given (reflow).
"""

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from research import diffusion, noise, transport
from research.errors import UserError, nearest

INTERPOLANTS = {"linear": noise.rectified, "trigonometric": noise.trigonometric, "vp": noise.vp}
DENSITIES = {  # of t, as functions of u ~ U[0, 1] and of the model section
    "uniform": lambda u, _: u,
    "logit_normal": lambda u, fields: jax.nn.sigmoid(fields.time_mean + fields.time_std * normal(u)),
    "mode": lambda u, _: 1 - u - 1.29 * (jnp.cos(jnp.pi / 2 * u) ** 2 - 1 + u),  # Esser et al. (2024), eq. 20
    "u_shaped": lambda u, _: jnp.arcsinh((2 * u - 1) * jnp.sinh(2)) / 4 + 0.5,  # cosh(4 (t - 1/2)): Lee et al. (2024)
    "steps": lambda u, fields: (jnp.floor(u * fields.num_steps) + 1) / fields.num_steps,
}
LOSSES = ("velocity", "x0")
COUPLINGS = ("independent", "exact", "sinkhorn", "given")
OLDER = {  # what runs are that were trained before there was a choice
    **{"interpolant": "linear", "gamma": 0.0, "time_mean": 0.0, "time_std": 1.0, "loss": "velocity", "huber": 0.0},
    **{"coupling": "independent", "class_wise": True},
}


def normal(u):
    """Quantiles of N(0, 1) at u, which float32 may have rounded to 0."""
    return jax.scipy.special.ndtri(jnp.clip(u, 1e-6, 1 - 1e-6))


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config` (eq. 1).

    Raises UserError for an unknown interpolant, time density, loss or coupling.
    """
    fields = fields_of(config)
    for name, known in (
        ("interpolant", INTERPOLANTS),
        ("time_density", DENSITIES),
        ("loss", LOSSES),
        ("coupling", COUPLINGS),
    ):
        if fields[name] not in known:
            raise UserError(f"config.model.{name} is {fields[name]!r}: {nearest(fields[name], known)}")
    process = INTERPOLANTS[fields.interpolant]()

    def draw_times(key, n):
        t = DENSITIES[fields.time_density](diffusion.even_times(key, n), fields)
        return process.t_min + (1 - process.t_min) * t

    def weigh(t):  # an error of the velocity, of which that of x0 is so many: t on a line
        if fields.loss == "velocity":
            return jnp.ones_like(t)
        alpha, sigma, d_alpha, d_sigma = process.alpha(t), process.sigma(t), process.d_alpha(t), process.d_sigma(t)
        return (sigma / (alpha * d_sigma - sigma * d_alpha)) ** 2

    def gamma(t):  # Albergo et al. (2023), with a slope at both ends
        return fields.gamma * jnp.sin(jnp.pi * t) ** 2

    def distance(error):  # Song & Dhariwal (2024), eq. 7
        return jnp.sqrt(jnp.mean(error**2, axis=1) + fields.huber**2) - fields.huber

    own = {"couple": coupling(config), "only_velocity": fields.coupling != "independent" or bool(fields.gamma)}
    own |= ({"distance": distance} if fields.huber else {}) | ({"gamma": gamma} if fields.gamma else {})
    return diffusion.make(config, data_shape, diffusion.Denoiser(process, "velocity", draw_times, weigh, **own))


def fields_of(config):
    """The model section, also that of an older run."""
    return config_dict.ConfigDict(OLDER | config.model.to_dict())


def coupling(config):
    """The `couple` of a Denoiser; within classes where the model is told them, whose noise stays N(0, I) each."""
    fields = fields_of(config)
    classes = config.data.num_classes and fields.label_dropout < 1 and fields.class_wise
    if fields.coupling in ("independent", "given"):
        return None

    def couple(key, x0, x1, label):
        label = label if classes else None
        if fields.coupling == "exact":
            return transport.exact_pairs(x0, x1, label)
        return transport.sinkhorn_pairs(x0, x1, key, label)

    return couple
