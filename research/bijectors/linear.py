"""Linear maps: a diagonal, orders of the channels, and the invertible 1x1 convolution in three parameterisations."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from research.bijectors.batched import LIMIT, moments, per_example, same
from research.contracts import Bijector
from research.errors import UserError


def shift():
    """z = x + b, one b an entry of an example; the batch given to init comes out with mean 0."""
    return Bijector(
        lambda key, x, condition=None: {"params": {"bias": -moments(x, 0)[0]}},
        lambda params, x, condition=None: (x + params["params"]["bias"], same(x, 0.0)),
        lambda params, z, condition=None: (z - params["params"]["bias"], same(z, 0.0)),
    )


def scale():
    """z = exp(s) x, one s an entry of an example (Dinh et al. 2015, NICE, section 3.3).

    The batch given to init comes out with variance 1: a pixel that hardly varies needs s = 5 and more, and Adam at 1e-3
    would take 5000 steps to get there from 0.
    """

    def run(params, x, sign):
        s = sign * jnp.clip(params["params"]["log_scale"], -LIMIT, LIMIT)
        return x * jnp.exp(s), same(x, 0.0) + jnp.sum(s)

    return Bijector(
        lambda key, x, condition=None: {"params": {"log_scale": -moments(x, 0)[1]}},
        lambda params, x, condition=None: run(params, x, 1),
        lambda params, z, condition=None: run(params, z, -1),
    )


def permutation(order):
    """z[..., i] = x[..., order[i]] on the last axis. Raises UserError where order [C] is no permutation."""
    order = np.asarray(order)
    if order.ndim != 1 or sorted(order.tolist()) != list(range(len(order))):
        raise UserError(f"a permutation holds each of 0 .. n - 1 once; {order.tolist()} does not.")
    back = np.argsort(order)
    return Bijector(
        lambda key, x, condition=None: {"params": {}},
        lambda params, x, condition=None: (x[..., order], same(x, 0.0)),
        lambda params, z, condition=None: (z[..., back], same(z, 0.0)),
    )


def shuffle():
    """A random permutation of the last axis, drawn by init and never trained: in a stack each layer has its own.

    It is kept as a matrix, in `stats`, since accelerators multiply faster than they gather.
    """

    def init(key, x, condition=None):
        order = jax.random.permutation(key, x.shape[-1])
        return {"params": {}, "stats": {"permutation": jnp.eye(x.shape[-1])[order]}}

    return Bijector(
        init,
        lambda params, x, condition=None: (_product(x, params["stats"]["permutation"]), same(x, 0.0)),
        lambda params, z, condition=None: (_product(z, params["stats"]["permutation"].T), same(z, 0.0)),
    )


def swap(size):
    """The last half of the last axis comes first; applied again and again, every place comes first in turn."""
    by = size // 2
    return Bijector(
        lambda key, x, condition=None: {"params": {}},
        lambda params, x, condition=None: (jnp.roll(x, by, axis=-1), same(x, 0.0)),
        lambda params, z, condition=None: (jnp.roll(z, -by, axis=-1), same(z, 0.0)),
    )


def reverse():
    """z[..., i] = x[..., C - 1 - i] on the last axis."""

    def flip(params, x, condition=None):
        return x[..., ::-1], same(x, 0.0)

    return Bijector(lambda key, x, condition=None: {"params": {}}, flip, flip)


def invertible_conv(kind="plu"):
    """z = W x over the last axis at every place (Kingma & Dhariwal 2018, Glow, section 3.2); W is a rotation at first.

    kind: "direct": W itself, its determinant by an LU decomposition of each call; "plu": P L (U + diag s), the
    determinant read off, the inverse by two triangular solves; "householder": C reflections, always orthogonal, so the
    determinant is 1 and the inverse a transpose. Raises UserError for others.
    """
    if kind not in KINDS:
        raise UserError(f"the 1x1 convolution is '{kind}'; choose one of {', '.join(KINDS)}.")
    start, matrices = KINDS[kind]

    def run(params, x, backward):
        forward, inverse, log_det = matrices(params["params"], params.get("stats"))
        x32, places = x.astype(jnp.float32), math.prod(x.shape[1:-1])
        if backward:
            return inverse(x32), same(x, 0.0) - places * log_det
        return forward(x32), same(x, 0.0) + places * log_det

    return Bijector(
        lambda key, x, condition=None: start(key, x.shape[-1]),
        lambda params, x, condition=None: run(params, x, False),
        lambda params, z, condition=None: run(params, z, True),
    )


def _rotation(key, n):
    return jax.random.orthogonal(key, n)


def _product(x, matrix):
    return jnp.matmul(x.astype(jnp.float32), matrix.T, precision="highest")


def _direct(params, _):
    w = params["matrix"]  # no kernel: weight decay would pull it to a singular one
    log_det = jnp.linalg.slogdet(w)[1]
    return lambda x: _product(x, w), lambda z: _product(z, jnp.linalg.inv(w)), log_det


def _start_plu(key, n):
    p, lower, upper = jax.scipy.linalg.lu(_rotation(key, n))
    s = jnp.diag(upper)
    params = {"lower": jnp.tril(lower, -1), "upper": jnp.triu(upper, 1), "log_s": jnp.log(jnp.abs(s))}
    return {"params": params, "stats": {"permutation": p, "sign": jnp.sign(s)}}


def _plu(params, fixed):
    n = params["log_s"].shape[0]
    log_s = jnp.clip(params["log_s"], -LIMIT, LIMIT)
    lower = jnp.tril(params["lower"], -1) + jnp.eye(n)
    upper = jnp.triu(params["upper"], 1) + jnp.diag(fixed["sign"] * jnp.exp(log_s))

    def inverse(z):
        z = _product(z, fixed["permutation"].T)
        return _product(_product(z, _triangular_inverse(lower)), _triangular_inverse(upper))

    w = jnp.matmul(fixed["permutation"], jnp.matmul(lower, upper, precision="highest"), precision="highest")
    return lambda x: _product(x, w), inverse, jnp.sum(log_s)


def _triangular_inverse(a):
    """The inverse of a triangular matrix [C, C]: diagonal blocks, inverted, grow from size 1 by a factor of 2.

    It takes 2 log2 C products, which every device is fast at; by triangular solves Glow sampled 13 times slower.
    """
    place, size = np.arange(len(a)), 1
    x = jnp.diag(1 / jnp.diag(a))
    while size < len(a):
        pairs, blocks = (place[:, None] // s == place // s for s in (2 * size, size))
        between = jnp.where(pairs & ~blocks, a, 0)
        x = x - jnp.matmul(jnp.matmul(x, between, precision="highest"), x, precision="highest")
        size *= 2
    return x


def _householder(params, _):
    def reflect(w, v):
        return w - 2 * jnp.outer(jnp.matmul(w, v, precision="highest"), v) / jnp.sum(v**2), None

    vectors = params["vectors"]
    w, _ = jax.lax.scan(reflect, jnp.eye(vectors.shape[-1]), vectors)
    return lambda x: _product(x, w), lambda z: _product(z, w.T), jnp.zeros(())


KINDS = {
    "direct": (lambda key, n: {"params": {"matrix": _rotation(key, n)}}, _direct),
    "plu": (_start_plu, _plu),
    "householder": (lambda key, n: {"params": {"vectors": jax.random.normal(key, (n, n))}}, _householder),
}


def logit(alpha=0.05, low=0.0, high=1.0):
    """z = log(y / (1 - y)) of y = alpha / 2 + (1 - alpha) (x - low) / (high - low).

    After Dinh et al. 2017, section 4.1, with their alpha on both sides. Data in [low, high] stay alpha / 2 from the
    ends. Within 1e-6 of these, and beyond, z goes on as a straight line, so that the density has the mass 1.
    """
    slope, edge = (1 - alpha) / (high - low), 1e-6
    steepest, end = 1 / (edge * (1 - edge)), math.log(1 - edge) - math.log(edge)

    def forward(params, x, condition=None):
        whole = alpha / 2 + slope * (x.astype(jnp.float32) - low)
        y = jnp.clip(whole, edge, 1 - edge)
        z = jnp.log(y) - jnp.log1p(-y) + steepest * (whole - y)
        return z, per_example(math.log(slope) - jnp.log(y) - jnp.log1p(-y))

    def inverse(params, z, condition=None):
        whole = z.astype(jnp.float32)
        z = jnp.clip(whole, -end, end)
        x = low + (jax.nn.sigmoid(z) + (whole - z) / steepest - alpha / 2) / slope
        return x, per_example(jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z) - math.log(slope))

    return Bijector(lambda key, x, condition=None: {"params": {}}, forward, inverse)
