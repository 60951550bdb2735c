"""Laws over the table of activations: formulas in float64, slopes, ranges, dtypes, large inputs, gates, widths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from research.errors import UserError
from research.nets import activations
from research.nets.activations import TABLE


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def halves(x):
    return np.split(x, 2, axis=-1)


def gated(gate, value=lambda a: a):
    return lambda x: value(halves(x)[0]) * gate(halves(x)[1])


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def relu(x):
    return np.maximum(x, 0)


def silu(x):
    return x * sigmoid(x)


def step(low):
    return lambda x: np.where(x >= 0, 1.0, low)


FORMULA = {  # written again in numpy, from the papers
    "threshold": step(0),
    "heaviside": step(0),
    "heaviside_straight_through": step(0),
    "sign": step(-1),
    "sign_straight_through": step(-1),
    "identity": lambda x: x,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "relu": relu,
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "prelu": lambda x: np.maximum(x, 0.25 * x),
    "elu": elu,
    "celu": elu,  # the same at alpha = 1
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "gelu": gelu,
    "gelu_tanh": lambda x: x * sigmoid(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "silu": silu,
    "swish": silu,
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "squared_relu": lambda x: relu(x) ** 2,
    "snake": lambda x: x + (1 - np.cos(2 * x)) / 2,
    "softmax": softmax,
    "maxout": lambda x: np.maximum(*halves(x)),
    "glu": gated(sigmoid),
    "gtu": gated(sigmoid, np.tanh),
    "bilinear": gated(lambda b: b),
    "reglu": gated(relu),
    "geglu": gated(gelu),
    "swiglu": gated(silu),
}
JAX_NN = {  # what has another name there, or other defaults; then all that has not
    "softsign": jax.nn.soft_sign,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": jax.nn.gelu,
    "prelu": lambda x: jax.nn.leaky_relu(x, 0.25),
} | {name: getattr(jax.nn, name) for name in TABLE if hasattr(jax.nn, name) and name != "gelu"}
KINKS = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, 6.0])
STEEP = {"heaviside_straight_through", "sign_straight_through"}  # whose gradient is not the derivative, on purpose
SCALAR = [name for name, row in TABLE.items() if row.slope_at_0 is not None]
SHAPED = [name for name in TABLE if name not in SCALAR]
LARGE = np.array([-1e4, -300.0, -89.0, -30.0, 30.0, 89.0, 300.0, 1e4])
GRID = np.concatenate([np.linspace(-10, 10, 401), LARGE])


def inputs(name, values):
    """Values as the function takes them: numbers, or vectors of six whose entries differ in size."""
    if name in SCALAR:
        return values
    return np.stack([np.roll(values, 7 * i) for i in range(6)], axis=-1)


@pytest.fixture(params=TABLE)
def name(request):
    return request.param


def test_every_name_has_a_formula_here_and_the_steps_are_one():
    assert list(FORMULA) == activations.names() == list(TABLE)
    assert activations.get("threshold") is activations.get("heaviside")


def test_value_is_that_of_the_formula_and_of_jax_nn(name):
    with jax.enable_x64(True):
        x = inputs(name, GRID)
        value = jax.jit(TABLE[name].function)(x)
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, FORMULA[name](x), rtol=1e-7, atol=1e-7)
        if name in JAX_NN:
            np.testing.assert_allclose(value, JAX_NN[name](x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in TABLE if name not in STEEP])
def test_gradient_is_the_central_difference_of_the_formula(name):
    x = np.linspace(-7, 7, 141) + 0.013  # off the kinks by more than the difference's step
    assert np.abs(x[:, None] - KINKS).min() > 1e-3
    x, formula, h = inputs(name, x), FORMULA[name], 1e-5
    weights = np.random.default_rng(0).normal(size=formula(x).shape)
    with jax.enable_x64(True):
        got = jax.jit(jax.grad(lambda x: jnp.sum(weights * TABLE[name].function(x))))(x)
    if name in SCALAR:
        want = weights * (formula(x + h) - formula(x - h)) / (2 * h)
    else:
        shifts = h * np.eye(x.shape[-1])
        want = [(weights * (formula(x + s) - formula(x - s))).sum(axis=-1) / (2 * h) for s in shifts]
        want = np.stack(want, axis=-1)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


def test_slope_at_zero_is_what_grad_gives():
    slopes = jax.jit(lambda x: {name: jax.grad(TABLE[name].function)(x) for name in SCALAR})(0.0)
    for name in SCALAR:
        np.testing.assert_allclose(slopes[name], TABLE[name].slope_at_0, rtol=1e-6, err_msg=name)


def test_values_stay_in_the_range_and_reach_its_ends(name):
    low, high = TABLE[name].range
    x = np.concatenate([np.linspace(-10, 10, 20001), LARGE])
    if name not in SCALAR:  # every pair of a coarser grid
        x = np.stack(np.meshgrid(*2 * [np.concatenate([np.linspace(-5, 5, 21), LARGE])]), axis=-1).reshape(-1, 2)
    with jax.enable_x64(True):
        values = np.asarray(jax.jit(TABLE[name].function)(x))
    tiny = 1e-12
    assert values.min() >= low - tiny and values.max() <= high + tiny
    near = {"softsign": 1.1e-4}.get(name, 1e-6)  # softsign comes to its ends as 1 / x
    assert values.min() < (low + near if np.isfinite(low) else -99)
    assert values.max() > (high - near if np.isfinite(high) else 9999)


def test_monotone_is_told_truly(name):
    grid = np.linspace(-6, 6, 601)
    x = np.tile(grid, (1, 1))
    if name not in SCALAR:  # 4 x 8 lines [601, 4], on each of which one input moves and the others rest
        x = np.repeat(np.random.default_rng(0).normal(size=(4, 8, 1, 4)), grid.size, axis=2)
        for i in range(4):
            x[i, ..., i] = grid
    with jax.enable_x64(True):
        values = np.asarray(jax.jit(TABLE[name].function)(x))
    rises = np.diff(values, axis=1 if name in SCALAR else 2)
    assert (rises.min() >= -1e-12) == TABLE[name].monotone


def test_dtype_is_kept_and_large_inputs_have_finite_values_and_gradients(name):
    function, x = TABLE[name].function, inputs(name, GRID)
    learned = {key: np.full(x.shape[-1:], value, np.float32) for key, value in TABLE[name].learned.items()}

    def run(x):  # the learned parameters stay f32, one a unit
        value, back = jax.vjp(lambda x, learned: function(x, **learned), x, learned)
        return value, *back(jnp.ones_like(value)), jax.vmap(function)(x)

    runs = jax.jit(lambda *xs: [run(x) for x in xs])(x.astype(jnp.bfloat16), x.astype(np.float32))
    for dtype, (value, grad, grad_learned, mapped) in zip((jnp.bfloat16, jnp.float32), runs):
        assert value.dtype == grad.dtype == dtype
        for array in (value, grad, *grad_learned.values()):
            assert np.isfinite(np.asarray(array, np.float32)).all()
        np.testing.assert_array_equal(mapped, value)


def test_learned_parameters_are_those_of_the_papers():
    learned = {name: list(row.learned) for name, row in TABLE.items() if row.learned}
    assert learned == {"prelu": ["negative_slope"], "swish": ["beta"], "snake": ["alpha"]}


@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name].learned])
def test_learned_parameters_start_at_their_default_and_matter(name):
    function, learned, x = TABLE[name].function, TABLE[name].learned, jnp.linspace(-2, 2, 15).reshape(5, 3)
    np.testing.assert_array_equal(function(x, **learned), function(x))
    for key in learned:
        each = jnp.array([0.3, 1.0, 2.5])
        together = function(x, **{key: each})
        for unit in range(3):  # broadcast over the last axis
            np.testing.assert_allclose(together[:, unit], function(x[:, unit], **{key: each[unit]}), rtol=1e-6)
        grad = jax.grad(lambda p: function(x, **{key: p}).sum())(each)  # noqa: B023
        assert grad.shape == (3,) and (grad != 0).all()


def test_a_snake_that_learned_zero_is_the_identity_and_still_learns():
    value, grad = jax.value_and_grad(activations.snake, argnums=1)(1.5, 0.0)
    assert value == 1.5
    np.testing.assert_allclose(grad, 1.5**2, rtol=1e-6)  # d/da sin^2(a x) / a = x^2 at 0
    np.testing.assert_allclose(activations.snake(1.5, 0.7), 1.5 + np.sin(0.7 * 1.5) ** 2 / 0.7, rtol=1e-6)
    np.testing.assert_allclose(activations.swish(1.5, 0.7), 1.5 * sigmoid(0.7 * 1.5), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(STEEP))
def test_straight_through_has_the_step_s_value_and_hard_tanh_s_gradient(name):
    x = jnp.array([-1e4, -1.5, -1.0, -0.3, -1e-30, 0.0, 0.7, 1.0, 1.5, 1e4])
    plain = TABLE[name.removesuffix("_straight_through")].function
    np.testing.assert_array_equal(TABLE[name].function(x), plain(x))
    np.testing.assert_array_equal(TABLE[name].function(x.astype(jnp.bfloat16)), plain(x))
    grad = jax.vmap(jax.grad(TABLE[name].function))(x)
    np.testing.assert_array_equal(grad, (abs(x) <= 1).astype(float))
    np.testing.assert_array_equal(grad, jax.vmap(jax.grad(activations.hard_tanh))(x))
    np.testing.assert_array_equal(jax.vmap(jax.grad(plain))(x), 0 * x)


def test_zero_counts_as_positive():
    assert activations.sign(0.0) == activations.sign(-0.0) == activations.heaviside(0.0) == 1
    assert activations.sign(-1e-30) == -1 and activations.heaviside(-1e-30) == 0


def test_softmax_sums_to_one_and_forgets_a_shift():
    x = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32) * 20
    np.testing.assert_allclose(activations.softmax(x).sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(activations.softmax(x + 3), activations.softmax(x), atol=1e-6)


def test_maxout_by_hand():
    x = jnp.array([[1.0, -2.0, 3.0, 0.0, 5.0, -6.0]])
    np.testing.assert_array_equal(activations.maxout(x), [[1.0, 5.0, 3.0]])
    np.testing.assert_array_equal(activations.maxout(x, pieces=3), [[5.0, 0.0]])
    np.testing.assert_array_equal(activations.maxout(x, pieces=1), x)


def test_the_second_half_is_the_gate():
    x = jnp.array([3.0, -2.0, 0.0, -1.0])  # values 3, -2; gates 0, -1
    np.testing.assert_allclose(activations.glu(x), [1.5, -2 / (1 + np.e)], rtol=1e-6)
    np.testing.assert_allclose(activations.gtu(x), [np.tanh(3) / 2, np.tanh(-2) / (1 + np.e)], rtol=1e-6)
    np.testing.assert_allclose(activations.bilinear(x), [0, 2], rtol=1e-6)
    np.testing.assert_allclose(activations.reglu(x), [0, 0], rtol=1e-6)
    np.testing.assert_allclose(activations.geglu(x), [0, 0.3173105], rtol=1e-6)  # -2 * -P(N(0, 1) < -1)
    np.testing.assert_allclose(activations.swiglu(x), [0, 2 / (1 + np.e)], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in SHAPED if TABLE[name].pieces == 2])
def test_units_of_two_inputs_halve_the_last_axis_or_say_why_not(name):
    assert TABLE[name].function(jnp.zeros((2, 3, 8))).shape == (2, 3, 4)
    with pytest.raises(UserError, match=r"divides by 2, not \(3, 5\)"):
        TABLE[name].function(jnp.zeros((3, 5)))


def test_selu_keeps_mean_zero_and_variance_one_of_a_gaussian():
    with jax.enable_x64(True):  # Klambauer et al. 2017, theorem 1's fixed point; Gauss-Legendre, split at the kink
        z, weight = np.polynomial.legendre.leggauss(80)
        z, weight = 6 * np.concatenate([z - 1, z + 1]), 6 * np.concatenate([weight, weight])
        density = weight * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        y = np.asarray(activations.selu(z))
    np.testing.assert_allclose([density.sum(), density @ y, density @ y**2], [1, 0, 1], atol=1e-12)
    assert abs(density @ FORMULA["elu"](z)) > 0.1  # which elu does not


def test_two_thirds_keeps_the_parameters_of_an_ungated_layer():
    for hidden in (192, 768, 3072, 12288):
        assert 3 * activations.two_thirds(hidden) == 2 * hidden
    for hidden in range(64, 3000, 7):
        assert activations.two_thirds(hidden) % 8 == 0
        assert abs(3 * activations.two_thirds(hidden) - 2 * hidden) <= 12  # half a step, times three matrices
    for hidden in range(1, 64):
        assert abs(3 * activations.two_thirds(hidden) - 2 * hidden) <= 1
    assert activations.two_thirds(1) == 1


def test_the_table_tells_who_and_where(name):
    row = TABLE[name]
    assert row.formula and row.used_by and all(row.used_by)
    assert any(str(year) in row.paper.split(",")[0] for year in range(1943, 2030))
    assert row.pieces == (2 if name in SHAPED and name != "softmax" else 1)
    assert row.range[0] < row.range[1]


def test_markdown_has_a_row_for_each_name_and_as_many_cells_as_its_head():
    lines = activations.markdown().splitlines()
    assert len(lines) == len(TABLE) + 2
    assert {line.replace("\\|", "").count("|") for line in lines} == {10}
    assert [line.split("`")[1] for line in lines[2:]] == list(TABLE)


def test_an_unknown_name_is_met_with_the_nearest():
    assert activations.get("relu") is jax.nn.relu
    with pytest.raises(UserError, match="no activation 'swiglo'; did you mean 'swiglu'"):
        activations.get("swiglo")
