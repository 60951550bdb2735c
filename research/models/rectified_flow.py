"""Rectified flow (Liu et al. 2022, "Flow straight and fast"): regress the velocity of lines from data to noise.

Their time runs from noise to data; here t = 0 is data, so the velocity eps - x0 is theirs with the sign turned.
"""

import math

import jax
import jax.numpy as jnp

from research import likelihood, noise, parameterize, samplers
from research.contracts import Model
from research.encoding import decode, encode, is_known, labels, quantize
from research.errors import UserError
from research.nets import build
from research.nets.embedding import drop_labels
from research.samplers.guidance import guide

EXACT_TRACE = 16  # dimensions up to which the likelihood's trace is exact


def draw_times(key, n, density):
    """t [n]: "uniform" spreads one draw evenly (Kingma et al. 2021, appendix I.1); "logit_normal" is Esser et al.'s."""
    if density == "uniform":
        return (jax.random.uniform(key) + jnp.arange(n) / n) % 1
    if density == "logit_normal":
        return jax.nn.sigmoid(jax.random.normal(key, (n,)))
    raise UserError(f"config.model.time_density is 'uniform' or 'logit_normal', not {density!r}")


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config`.

    Data are integers 0 .. data.levels - 1 as stored, or, without levels, floats that enter as they are.
    """
    process = noise.rectified()
    num_classes, levels = config.data.num_classes or None, config.data.levels or None
    net = build.make(config.net, num_classes)

    def field(params, label):
        return parameterize.field(lambda x, t: net.apply(params, x, t, label), process, "velocity")

    def init(key, batch):
        """{"params": ...} from one example of a batch."""
        return net.init(key, encode(batch["x"][:1], levels, 0.5), jnp.zeros(1), jnp.full((1,), -1))

    def loss(params, key, batch, train=True):
        """Mean squared error of the velocity (eq. 1)."""
        key_u, key_eps, key_t, key_label, key_dropout = jax.random.split(key, 5)
        x, n = batch["x"], len(batch["x"])
        x0 = encode(x, levels, jax.random.uniform(key_u, x.shape) if config.model.dequantize else 0.5)
        eps = jax.random.normal(key_eps, x0.shape)
        t = draw_times(key_t, n, config.model.time_density)
        label = labels(batch.get("condition") if num_classes else None, n, num_classes)
        if train:
            label = drop_labels(key_label, label, config.model.label_dropout)
        t_x = noise.expand(t, x0)
        x_t = (1 - t_x) * x0 + t_x * eps
        velocity = net.apply(params, x_t, t, label, train, rngs={"dropout": key_dropout})
        value = jnp.mean((velocity - (eps - x0)) ** 2)
        return value, ({"loss": value}, None)

    def sample(
        params,
        key,
        num_samples,
        condition=None,
        *,
        sampler=None,
        num_steps=None,
        guidance=None,
        trajectory=False,
        **options,
    ):
        """Samples in the data's own type, conditioned on one class or [num_samples] of them, by default on none.

        What is not given comes from config.sampler; `options` go to the sampler. The trajectory, in the data's unit,
        is not rounded. Guidance other than 1 doubles nfe. Raises UserError.
        """
        name = config.sampler.name if sampler is None else sampler
        draw = samplers.find(name, **options)
        options = {o: getattr(config.sampler, o) for o in ("rtol", "atol") if o in samplers.takes(draw)} | options
        steps = config.sampler.num_steps if num_steps is None else num_steps
        scale = _guidance(guidance, condition)
        key_x, key_sampler = jax.random.split(key)
        x = process.prior(key_x, (num_samples, *data_shape))
        flow = field(params, labels(condition, num_samples, num_classes))
        if scale is not None:
            flow = guide(flow, field(params, labels(None, num_samples, num_classes)), scale)
        out = draw(flow, process, x, samplers.times(process, steps), key_sampler, trajectory=trajectory, **options)
        path = decode(out.trajectory, levels) if trajectory else None
        return out._replace(
            x=quantize(decode(out.x, levels), levels), trajectory=path, nfe=out.nfe * (1 if scale is None else 2)
        )

    def _guidance(guidance, condition):
        """The scale, or None where one call of the net does."""
        scale = config.sampler.guidance if guidance is None else guidance
        if is_known(scale) and float(scale) == 1:
            return None
        if not num_classes:
            raise UserError(f"guidance={scale} needs a model with classes (config.data.num_classes)")
        if condition is None and guidance is not None:
            raise UserError(f"guidance={scale} needs a condition: the class to guide to")
        return None if condition is None else scale

    def log_prob(params, key, x, condition=None, *, num_probes=1, rtol=None, atol=None):
        """LogProb of x [B, ...] as stored; the trace is exact up to 16 dimensions, beyond by num_probes probes.

        Integers get one uniform draw each, so their nats are, on average, a lower bound of log P(x).
        """
        key_u, key_probe = jax.random.split(key)
        out = likelihood.probability_flow(
            field(params, labels(condition, len(x), num_classes)),
            process,
            encode(x, levels, jax.random.uniform(key_u, x.shape)),
            key_probe,
            trace="exact" if math.prod(data_shape) <= EXACT_TRACE else "hutchinson",
            num_probes=num_probes,
            rtol=config.sampler.rtol if rtol is None else rtol,
            atol=config.sampler.atol if atol is None else atol,
        )
        return likelihood.as_stored(out, levels, data_shape)

    return Model(init, loss, sample, log_prob)
