"""A model from a bijector and the density of its latent, by the change of variables (Dinh et al. 2015, NICE, eq. 2)."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research import bijectors as bj
from research.contracts import LogProb, Model, Samples
from research.encoding import decode, encode, labels, quantize
from research.errors import UserError, is_known, nearest
from research.likelihood import as_stored, bits_per_dim, standard_normal
from research.nets import build


class Prior(NamedTuple):
    """The density of a latent, the same in every coordinate."""

    log_prob: Callable  # (z [B, ...]) -> nats [B]
    sample: Callable  # (key, shape) -> z


def _logistic(z):
    return jnp.sum(jax.scipy.stats.logistic.logpdf(z).reshape(len(z), -1), axis=1)


PRIORS = {
    "gaussian": Prior(standard_normal(), jax.random.normal),
    "logistic": Prior(_logistic, jax.random.logistic),  # NICE's: its gradients are bounded
}


def classes(config):
    """How many classes the flow of a config is told, or None."""
    if config.model.conditional and not config.data.num_classes:
        raise UserError(f"model.conditional needs labelled data, and '{config.data.name}' has no classes.")
    return config.data.num_classes if config.model.conditional else None


def stack(config, make, number, unroll=False):
    """`number` layers make() with the memory that a config asks for. Raises UserError for bfloat16 that is undone."""
    own = config.model
    if own.reversible and own.conditioner.dtype != "float32":
        raise UserError(
            f"model.reversible undoes layers, which {own.conditioner.dtype} nets make inexact: deep stacks lose "
            "digits of their gradients; take model.remat, or model.conditioner.dtype=float32."
        )
    return bj.scan_chain(make, number, own.reversible, unroll, own.remat)


def alternating(config, coupling, size):
    """A stack of couplings of the second half of vectors [B, size]; the halves change places after each."""
    return stack(config, lambda: bj.chain(coupling=coupling(), turn=bj.swap(size)), config.model.couplings)


def half(config, kind, size, numbers, **told):
    """(conditioner, mask) of a compact coupling that tells the second half of `size` channels from the first."""
    net = build.conditioner(kind, config.model.conditioner, numbers, moved=size - size // 2, **told)
    return net, bj.masks.half(size)


def table(num_classes, numbers):
    """A conditioner that returns the same numbers at every place, for each class its own: a learned prior's."""

    def init(key, x, condition=None):
        return {"table": jnp.zeros((num_classes or 1, numbers * x.shape[-1]))}

    def apply(params, x, condition=None, key=None):
        row = jnp.zeros(len(x), jnp.int32)
        if num_classes:
            if jnp.shape(condition) != (len(x),):
                raise UserError(f"this flow is told classes: give a condition [{len(x)}], one class an example.")
            row = condition
        told = params["table"][row]
        return jnp.broadcast_to(told.reshape(len(x), *(1,) * (x.ndim - 2), -1), (*x.shape[:-1], told.shape[-1]))

    return init, apply


def make(flow, config, data_shape, penalty=None):
    """Model of data of shape `data_shape` whose latent, flow.forward of the data, has the density config.model.prior.

    Integers 0 .. data.levels - 1 get uniform noise within their level and enter on [-1, 1]; floats enter as they are.
    penalty: params -> what the loss has besides bits a dimension. A model that is told classes takes them as equally
    likely where it gets none. Raises UserError for an unknown prior.
    """
    if config.model.prior not in PRIORS:
        raise UserError(f"model.prior is '{config.model.prior}'; {nearest(config.model.prior, PRIORS)}")
    prior, levels, num_classes = PRIORS[config.model.prior], config.data.levels or None, classes(config)
    stored = functools.partial(as_stored, levels=levels, data_shape=data_shape)

    def inputs(key, batch):
        """Data with noise within their level, and their labels where the model is told them."""
        x = encode(batch["x"], levels, jax.random.uniform(key, batch["x"].shape) if levels else 0)
        return x, batch["condition"] if num_classes else None

    def init(key, batch):
        """What a flow measures at first (ActNorm), it measures on this batch."""
        key_u, key_flow = jax.random.split(key)
        return flow.init(key_flow, *inputs(key_u, batch))

    def loss(params, key, batch, train=True):
        """Bits a dimension as stored, and the penalty."""
        key_u, key_flow = jax.random.split(key)
        x, condition = inputs(key_u, batch)
        if train:
            z, log_det, stats = bj.train(flow, params, key_flow, x, condition)
        else:
            (z, log_det), stats = flow.forward(params, x, condition), params.get("stats")
        record = stored(LogProb(prior.log_prob(z) + log_det))
        bits = jnp.mean(bits_per_dim(record, data_shape))
        value = bits + (penalty(params["params"]) if penalty and train else 0.0)
        return value, ({"loss": value, "bits_per_dim": bits, "nats": jnp.mean(record.nats)}, stats or None)

    def sample(params, key, num_samples, condition=None, *, temperature=None, **others):
        """Samples in the data's own type; temperature, that of the config if not given, scales the latent."""
        if others:
            raise UserError(f"a flow samples in one pass: it takes a temperature, and no {', '.join(others)}.")
        temperature = config.sampler.temperature if temperature is None else temperature
        if is_known(temperature) and not 0 <= temperature < math.inf:
            raise UserError(f"the temperature is {temperature}; it must be 0 or more, and finite.")
        key_z, key_class = jax.random.split(key)
        label = _labels(key_class, condition, num_samples)
        like = jax.ShapeDtypeStruct((num_samples, *data_shape), jnp.float32)
        shape = jax.eval_shape(flow.forward, params, like, label)[0].shape
        x, _ = flow.inverse(params, temperature * prior.sample(key_z, shape), label)
        calls = jnp.where(jnp.isfinite(x).all(), 1.0, jnp.nan)  # integers have no NaN to show that samples are none
        return Samples(quantize(decode(x, levels), levels), None, calls)

    def _labels(key, condition, n):
        if num_classes and condition is None:
            return jax.random.randint(key, (n,), 0, num_classes)
        return labels(condition, n, num_classes) if num_classes or condition is not None else None

    def log_prob(params, key, x, condition=None):
        """LogProb of x [B, ...] as stored. Integers get one uniform draw each: on average a lower bound of log P(x)."""
        x = encode(x, levels, jax.random.uniform(key, x.shape) if levels else 0)

        def density(label):
            z, log_det = flow.forward(params, x, label)
            return prior.log_prob(z) + log_det

        if num_classes and condition is None:
            each = jax.lax.map(lambda k: density(jnp.full(len(x), k)), jnp.arange(num_classes))
            return stored(LogProb(jax.nn.logsumexp(each, axis=0) - math.log(num_classes)))
        return stored(LogProb(density(_labels(None, condition, len(x)))))

    def explain(params, key, batch):
        key_u, key_flow = jax.random.split(key)
        x, condition = inputs(key_u, batch)
        layer = bj.first_bad(flow, params, key_flow, x, condition)
        if layer is None and not jnp.isfinite(prior.log_prob(bj.train(flow, params, key_flow, x, condition)[0])).all():
            return "prior"
        return layer

    return Model(init, loss, sample, log_prob, explain=explain)
