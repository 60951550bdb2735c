"""Activation functions by their usual names: plain, and of the dtype of x. TABLE says what is known of each.

Where jax.nn has a function, that function is what the name means. Learned parameters are keyword arguments that
broadcast over the last axis, one number a unit.
"""

from functools import partial

import jax
import jax.numpy as jnp

from research.errors import UserError, nearest
from research.nets.activation_table import ROWS

identity = jax.nn.identity
sigmoid = jax.nn.sigmoid
hard_sigmoid = jax.nn.hard_sigmoid
tanh = jnp.tanh
hard_tanh = jax.nn.hard_tanh
softsign = jax.nn.soft_sign
softplus = jax.nn.softplus
relu = jax.nn.relu
relu6 = jax.nn.relu6
leaky_relu = jax.nn.leaky_relu
elu = jax.nn.elu
celu = jax.nn.celu
selu = jax.nn.selu
gelu = partial(jax.nn.gelu, approximate=False)
gelu_tanh = partial(jax.nn.gelu, approximate=True)
silu = jax.nn.silu
mish = jax.nn.mish
hard_swish = jax.nn.hard_swish
softmax = jax.nn.softmax


def _like(parameter, x):
    """A parameter in the floating dtype of x, so that one stored in f32 does not lift bf16 activations to f32."""
    return jnp.asarray(parameter, jnp.result_type(x, float))


def _step(x, low, straight_through):
    hard = _like(jnp.where(jnp.greater_equal(x, 0), 1, low), x)
    if not straight_through:
        return hard
    soft = hard_tanh(x)
    return hard + (soft - jax.lax.stop_gradient(soft))  # the bracket is exactly 0: the value stays that of the step


def heaviside(x, straight_through=False):
    """1 where x >= 0, else 0: McCulloch and Pitts' threshold unit.

    Its gradient is 0; with straight_through it is that of hard_tanh, 1 where |x| <= 1 (Hubara et al. 2016).
    """
    return _step(x, 0, straight_through)


def sign(x, straight_through=False):
    """+1 where x >= 0, else -1; the gradient as in `heaviside`."""
    return _step(x, -1, straight_through)


threshold = heaviside
heaviside_straight_through = partial(heaviside, straight_through=True)
sign_straight_through = partial(sign, straight_through=True)


def prelu(x, negative_slope=0.25):
    """x where x >= 0, else negative_slope x, with a learned slope (He et al. 2015, eq. 1)."""
    return leaky_relu(x, _like(negative_slope, x))


def quick_gelu(x):
    """x sigmoid(1.702 x), the sigmoid approximation of gelu (Hendrycks and Gimpel 2016, section 2)."""
    return swish(x, 1.702)


def swish(x, beta=1.0):
    """x sigmoid(beta x), with a learned beta (Ramachandran et al. 2017, section 4)."""
    return x * sigmoid(_like(beta, x) * x)


def squared_relu(x):
    """max(0, x)^2 (So et al. 2021)."""
    return jnp.square(relu(x))


def snake(x, alpha=1.0):
    """x + sin^2(alpha x) / alpha, with a learned alpha; it is x at alpha = 0 (Ziyin et al. 2020)."""
    angle = _like(alpha, x) * x
    return x + x * jnp.sin(angle) * jnp.sinc(angle / jnp.pi)


def _split(x, pieces):
    """Views [..., pieces, d] of x [..., pieces d]."""
    width = jnp.shape(x)[-1] if jnp.ndim(x) else 1
    if pieces < 1 or width % pieces:
        raise UserError(f"a unit of {pieces} inputs takes a last axis that divides by {pieces}, not {jnp.shape(x)}.")
    return jnp.reshape(x, (*jnp.shape(x)[:-1], pieces, width // pieces))


def maxout(x, pieces=2):
    """Output [..., d] of x [..., pieces d]: the greatest of x_i, x_(i+d), ... (Goodfellow et al. 2013, section 3).

    Raises UserError where the last axis does not divide by `pieces`; so do the gated units, with two pieces.
    """
    return jnp.max(_split(x, pieces), axis=-2)


# Gated units take x [..., 2 d] to [..., d]. The SECOND half is the gate, as in jax.nn.glu and Dauphin et al. 2017;
# Shazeer 2020 writes the gate first, so weights of that layout need their halves exchanged.


def _gated(x, gate, value=identity):
    x = _split(x, 2)
    return value(x[..., 0, :]) * gate(x[..., 1, :])


def glu(x):
    """a sigmoid(b) of the halves a, b of x (Dauphin et al. 2017, eq. 1): jax.nn.glu."""
    return _gated(x, sigmoid)


def gtu(x):
    """tanh(a) sigmoid(b) (van den Oord et al. 2016, eq. 2)."""
    return _gated(x, sigmoid, tanh)


def bilinear(x):
    """a b (Mnih and Hinton 2007, as cited by Dauphin et al. 2017)."""
    return _gated(x, identity)


def reglu(x):
    """a relu(b) (Shazeer 2020, eq. 5)."""
    return _gated(x, relu)


def geglu(x):
    """a gelu(b), with the exact gelu (Shazeer 2020, eq. 5)."""
    return _gated(x, gelu)


def swiglu(x):
    """a silu(b) (Shazeer 2020, eq. 5)."""
    return _gated(x, silu)


def two_thirds(hidden):
    """Hidden width with which a gated unit, three matrices, has the parameters of an ungated one, two (Shazeer 2020).

    2 hidden / 3, to the nearest multiple of 8 where hidden >= 64, below that to the nearest whole number, at least 1.
    """
    step = 8 if hidden >= 64 else 1
    return max(1, step * round(2 * hidden / 3 / step))


# Everything known of each function, by name; a row of the table has the name of its function here.
TABLE = {name: row._replace(function=globals()[name]) for name, row in ROWS.items()}


def names():
    """The names that `get` knows, in the order of the table."""
    return list(TABLE)


def get(name):
    """The function of that name. Raises UserError for a name that is not in the table."""
    if name not in TABLE:
        raise UserError(f"there is no activation {name!r}; {nearest(name, TABLE)}")
    return TABLE[name].function


def markdown():
    """The table as Markdown, a line for each activation."""
    head = ["name", "formula", "slope at 0", "range", "monotone", "inputs", "learned", "paper", "used by"]
    lines = [head, len(head) * ["---"]]
    for name, row in TABLE.items():
        slope = "" if row.slope_at_0 is None else f"{row.slope_at_0:.4g}"
        low, high = (f"{end:.4g}".replace("inf", "∞") for end in row.range)
        learned = ", ".join(f"{parameter} = {value:g}" for parameter, value in row.learned.items())
        facts = [slope, f"{low} .. {high}", "yes" if row.monotone else "no", str(row.pieces), learned]
        lines.append([f"`{name}`", row.formula, *facts, row.paper, ", ".join(row.used_by)])
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
