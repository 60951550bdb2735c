"""MeanFlow and shortcut models, whose net is told a span of time: the exact averages of a Gaussian pair for a net."""

import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from numpy.polynomial import legendre

from configs import base
from research import noise, oracle
from research.errors import UserError
from research.models import ddpm, edm, meanflow, rectified_flow, shortcut
from research.nets import build as nets
from tests.models import laws

MEAN, STD, N = 0.7, 0.5, 100_000
PAIR = oracle.gaussian_pair(MEAN, STD, 0.0, 1.0)
KEYS = jax.random.split(jax.random.key(0), 3)
MODULES = {"meanflow": meanflow, "shortcut": shortcut}
X = jnp.linspace(-2.5, 2.5, 11)[:, None]


def build(name, shape=(1,), num_classes=0, levels=0, **overrides):
    module = MODULES.get(name) or {"rectified_flow": rectified_flow, "ddpm": ddpm, "edm": edm}[name]
    net = {"name": "mlp", "dtype": "float32", "remat": False}
    net["mlp"] = {"width": 8, "depth": 1, "dropout": 0.0, "activation": "silu"}
    sections = {"data": {"num_classes": num_classes, "levels": levels}, "net": net, "model": getattr(base, name)()}
    config = ml_collections.ConfigDict(sections | {"sampler": base.update(base.sampler(), name="jump", num_steps=1)})
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in overrides.items()})
    return module.make(ml_collections.FrozenConfigDict(config), shape)


@pytest.fixture
def with_net(monkeypatch):
    """A function: apply(params, x, told [B, 2], label) of a net, and what `build` takes -> the model with that net."""

    def make(apply, name, *args, **overrides):
        scale = meanflow.SLOWER if name == "meanflow" else 1

        def told_times(params, x, told, label, *_, **__):
            return apply(params, x, scale * told, label)

        net = types.SimpleNamespace(apply=told_times)
        monkeypatch.setattr(nets, "make", lambda *a: net)
        return build(name, *args, **overrides)

    return make


def std(t):
    return jnp.sqrt((1 - t) ** 2 * STD**2 + t**2)


def average(x, t, to):
    """The mean velocity from x_t to x_to, (x_t - x_to) / (t - to), written so that it has a value at t = to too."""
    t, to = (noise.expand(jnp.asarray(a), x) for a in (t, to))
    slope = (t + to - STD**2 * (2 - t - to)) / (std(t) + std(to))  # (std(t) - std(to)) / (t - to)
    return slope / std(t) * (x - (1 - t) * MEAN) - MEAN


def exact(params, x, told, label):
    """A net that is right where params are 0, and else off by a factor and a shift."""
    right = average(x, told[:, 0], told[:, 0] - told[:, 1])
    return (1 + params["factor"]) * right + params["shift"]


RIGHT = {"factor": 0.0, "shift": 0.0}


def field(x, t, to=None):
    return types.SimpleNamespace(velocity=average(x, t, t if to is None else to))


@pytest.mark.parametrize("name", MODULES)
def test_every_function_is_jitted_and_vmapped(name):
    more = {"model__guidance": 2.0} if name == "meanflow" else {}
    model = build(name, (2, 2, 1), num_classes=3, levels=17, **more)
    laws.every_function_is_jitted_and_vmapped(model, KEYS)


@pytest.mark.parametrize("num_steps", [1, 2, 7])
@pytest.mark.parametrize("name", MODULES)
def test_jumps_of_the_perfect_net_are_the_flow(name, num_steps, with_net):
    model = with_net(exact, name)
    out = jax.jit(lambda x: model.sample(RIGHT, KEYS[0], 11, noise=x, num_steps=num_steps, trajectory=True))(X)
    np.testing.assert_allclose(out.x, PAIR.flow_map(X, 1.0, 0.0), atol=1e-5)
    np.testing.assert_allclose(out.trajectory[1], PAIR.flow_map(X, 1.0, 1 - 1 / num_steps), atol=1e-5)
    assert out.nfe == num_steps


@pytest.mark.parametrize("name", MODULES)
def test_solvers_and_densities_read_the_instantaneous_field(name, with_net):
    model = with_net(exact, name)
    out = jax.jit(lambda x: model.sample(RIGHT, KEYS[0], 11, noise=x, sampler="heun", num_steps=100).x)(X)
    np.testing.assert_allclose(out, PAIR.flow_map(X, 1.0, 0.0), atol=1e-3)
    x = jnp.linspace(-0.5, 2, 6)[:, None]
    found = jax.jit(lambda x: model.log_prob(RIGHT, KEYS[0], x))(x)
    np.testing.assert_allclose(found.nats, jax.scipy.stats.norm.logpdf(x[:, 0], MEAN, STD), atol=1e-3)


def meanflow_floor(ratio):
    """Of power 0: given x_t, v has the variance STD^2 / std(t)^2, of which a span leaves (d x_to / d x_t)^2."""
    times = np.sort(1 / (1 + np.exp(0.4 - np.random.default_rng(0).normal(size=(2, 10**6)))), axis=0)
    to, t = np.hypot((1 - times) * STD, times)
    return np.mean(ratio * STD**2 * to**2 / t**4 + (1 - ratio) * STD**2 / t**2)


FLOORS = {  # (model, overrides): the loss of the perfect net
    "meanflow": ("meanflow", {}, meanflow_floor(0.25)),
    "meanflow, spans only": ("meanflow", {"model__ratio": 1.0}, meanflow_floor(1.0)),
    "meanflow, no spans": ("meanflow", {"model__ratio": 0.0}, meanflow_floor(0.0)),
    "shortcut": ("shortcut", {"model__ratio": 0.4}, 0.6 * PAIR.loss_floor()),
    "shortcut, jumps only": ("shortcut", {"model__ratio": 1.0}, 0.0),
    "shortcut, no jumps": ("shortcut", {"model__ratio": 0.0}, PAIR.loss_floor()),
}


@pytest.mark.parametrize("case", FLOORS)
def test_the_perfect_net_has_the_least_loss_and_no_slope(case, with_net):
    name, overrides, floor = FLOORS[case]
    power = {"model__power": 0.0} if name == "meanflow" else {}
    model, x = with_net(exact, name, **overrides, **power), MEAN + STD * jax.random.normal(KEYS[0], (N, 1))
    grad = jax.jit(jax.value_and_grad(lambda params: model.loss(params, KEYS[1], {"x": x})[0]))
    loss, slopes = grad(RIGHT)
    np.testing.assert_allclose(loss, floor, rtol=0.03, atol=1e-3)
    assert max(abs(slope) for slope in slopes.values()) < 0.03
    for off in (-0.3, 0.3):
        if case != "shortcut, jumps only":  # which any flow fits, or nearly
            assert np.sign(off) * grad({"factor": off, "shift": 0.0})[1]["factor"] > 0.1
        if "only" not in case:  # there the target moves too
            assert grad({"factor": off, "shift": 0.0})[0] > 1.02 * loss
            assert np.sign(off) * grad({"factor": 0.0, "shift": off})[1]["shift"] > 0.1


def test_meanflows_target_is_the_average_of_the_exact_field():
    t, to = jnp.array([0.9, 1.0, 0.5, 0.3]), jnp.array([0.2, 0.0, 0.4, 0.3])
    x = jnp.array([[0.4, -2.0], [1.0, 2.5], [0.0, -0.7], [1.5, 0.1]])
    nodes, weights = legendre.leggauss(20)
    want = 0.0
    for node, part in zip(nodes, weights / 2):
        s = to + (t - to) * (node + 1) / 2
        want += part * PAIR.field()(PAIR.flow_map(x, t, s), s).velocity
    u, target = meanflow.average(field, x, t, to, PAIR.field()(x, t).velocity)
    np.testing.assert_allclose(u, want, atol=1e-5)
    np.testing.assert_allclose(target, want, atol=1e-5)
    through = jax.grad(lambda x: jnp.sum(meanflow.average(field, x, t, to, PAIR.field()(x, t).velocity)[1]))(x)
    assert (through == 0).all()


def test_a_shortcuts_target_is_two_jumps():
    x, d = jnp.array([[0.4, -2.0], [1.0, 2.5], [0.0, -0.7]]), jnp.array([1 / 8, 1 / 4, 1 / 2])
    t = 2 * d * jnp.array([3, 2, 1])
    np.testing.assert_allclose(shortcut.two_jumps(field, x, t, d), average(x, t, t - 2 * d), atol=1e-5)

    def instantaneous(x, t, _):
        return PAIR.field()(x, t)

    wide = d[:, None]
    middle = x - wide * PAIR.field()(x, t).velocity
    end = middle - wide * PAIR.field()(middle, t - d).velocity
    np.testing.assert_allclose(shortcut.two_jumps(instantaneous, x, t, d), (x - end) / (2 * wide), atol=1e-5)
    assert (jax.grad(lambda x: jnp.sum(shortcut.two_jumps(field, x, t, d)))(x) == 0).all()


def test_shortcuts_are_drawn_on_their_grid(with_net):
    seen = []
    net = lambda params, x, told, label: seen.append(np.asarray(told)) or 0 * x  # noqa: E731
    model = with_net(net, "shortcut", model__num_steps=16, model__ratio=0.25)
    model.loss({}, KEYS[0], {"x": jnp.zeros((4000, 1))})
    first, second, whole = seen
    assert len(first) == len(second) == 1000 and len(whole) == 4000
    (t, span), (rest_t, rest_span) = whole[:1000].T, whole[1000:].T
    np.testing.assert_array_equal(np.unique(span, return_counts=True), [[1 / 8, 1 / 4, 1 / 2, 1], [250] * 4])
    for d in (1 / 8, 1 / 4, 1 / 2, 1):
        np.testing.assert_array_equal(np.unique(t[span == d]), np.arange(1, round(1 / d) + 1) * d)
    np.testing.assert_array_equal(first, np.stack([t, np.where(span > 1 / 8, span / 2, 0)], axis=1))
    np.testing.assert_array_equal(second, np.stack([t - span / 2, first[:, 1]], axis=1))
    assert (rest_span == 0).all() and rest_t.min() < 1e-3 and rest_t.max() > 1 - 1e-3
    np.testing.assert_allclose([rest_t.mean(), rest_t.std()], [1 / 2, 12**-0.5], rtol=1e-3)


def test_times_of_meanflow_are_two_draws_in_order(with_net):
    # jvp traces the call of spans, so theirs are told by a jit's callback.
    spans, rest = [], []

    def net(params, x, told, label):
        jax.debug.callback(lambda a: (rest if len(a) == 3000 else spans).append(a), told)
        return 0 * x

    model = with_net(net, "meanflow", model__time_mean=0.5, model__time_std=2.0)
    jax.block_until_ready(jax.jit(lambda: model.loss({}, KEYS[0], {"x": jnp.zeros((4000, 1))})[0])())
    jax.effects_barrier()
    (t, span), (rest_t, rest_span) = spans[0].T, rest[0].T
    assert len(t) == 1000 and (span > 0).all() and (rest_span == 0).all()
    draws = np.random.default_rng(0).normal(0.5, 2.0, (2, 10**6))
    logits = [np.log(a / (1 - a)) for a in (t, t - span, rest_t)]
    for found, want in zip(logits, (draws.max(axis=0), draws.min(axis=0), draws.max(axis=0))):
        np.testing.assert_allclose([found.mean(), found.std()], [want.mean(), want.std()], atol=0.2)


ROWS = {  # (model, ratio): how many of 3 rows each call of the net is for
    ("meanflow", 0.01): [1, 2],
    ("meanflow", 0.0): [3],
    ("meanflow", 1.0): [3],
    ("shortcut", 0.01): [1, 1, 3],
    ("shortcut", 0.0): [3],
    ("shortcut", 1.0): [3, 3, 3],
}


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_calls_are_for_the_rows_that_need_them(case, with_net):
    (name, ratio), seen = case, []
    model = with_net(lambda params, x, told, label: seen.append(len(told)) or 0 * x, name, model__ratio=ratio)
    assert jnp.isfinite(model.loss({}, KEYS[0], {"x": jnp.zeros((3, 1))})[0])
    assert seen == ROWS[case]


def test_the_weight_of_an_error_is_of_its_sum_and_has_no_gradient(with_net):
    x0, x1, power = jax.random.normal(KEYS[0], (50, 3)), jax.random.normal(KEYS[1], (50, 3)), 0.75
    model = with_net(
        lambda params, x, told, label: 0 * x + params["b"], "meanflow", (3,), model__ratio=0.0, model__power=power
    )
    loss, grad = jax.value_and_grad(lambda b: model.loss({"b": b}, KEYS[2], {"x": x0, "noise": x1})[0])(
        jnp.full(3, 0.2)
    )
    error = 0.2 - (x1 - x0)
    square = jnp.sum(error**2, axis=1)
    np.testing.assert_allclose(loss, jnp.mean(square / (square + 1e-3) ** power), rtol=1e-5)
    np.testing.assert_allclose(grad, jnp.mean(2 * error / ((square + 1e-3) ** power)[:, None], axis=0), rtol=1e-4)


def test_guidance_acts_where_a_label_was_kept():
    def fields(label, train=True):
        assert not train and (label == -1).all()
        return field

    x, t, velocity = jnp.ones((3, 2)), jnp.array([0.2, 0.5, 0.9]), jnp.full((3, 2), 4.0)
    out = meanflow.guide(fields, x, t, velocity, jnp.array([0, -1, 1]), 3.0)
    free = PAIR.field()(x, t).velocity
    np.testing.assert_allclose(out, jnp.where(jnp.array([[1], [0], [1]]), 12 - 2 * free, 4), rtol=1e-5)


def test_guidance_turns_the_path_too(with_net):
    # The one class is all data, so what is guided to is the same, and the error of v counts `guidance` times.
    x, fields = MEAN + STD * jax.random.normal(KEYS[0], (N, 1)), {"model__power": 0.0, "model__ratio": 1.0}
    batch = {"x": x, "condition": jnp.zeros(N, int)}
    model = with_net(exact, "meanflow", num_classes=1, model__guidance=2.0, model__label_dropout=0.5, **fields)
    loss = jax.jit(lambda key: model.loss(RIGHT, key, batch)[0])(KEYS[1])
    np.testing.assert_allclose(loss, (2**2 + 1) / 2 * meanflow_floor(1.0), rtol=0.03)


def affine(basis):
    """apply of a net a(t, span) + b(t, span) x, whose a and b are linear in their weights [2, F]."""

    def apply(params, x, told, label):
        a, b = params["weights"] @ basis(*told.T)
        return a[:, None] + b[:, None] * x

    return apply


def polynomials(s, degree):
    """Legendre's [degree + 1, B] of s on [0, 1]."""
    z, found = 2 * s - 1, [jnp.ones_like(s), 2 * s - 1]
    for n in range(1, degree):
        found.append(((2 * n + 1) * z * found[-1] - n * found[-2]) / (n + 1))
    return jnp.stack(found)


def train(model, features, steps, n):
    """Params after so many of Newton's steps on the gradient of the loss: where it is 0, training stands still.

    As errors are affine in x0 and x1, the mean of such a gradient over Gaussians is that over 2 x 2 points, at the same
    times: nothing is left to chance but these. The gradient's own slope is a difference of gradients, since targets,
    which stop gradients, move with the weights.
    """
    ends = [(MEAN + STD * a, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    params = lambda weights: {"weights": weights.reshape(2, features)}  # noqa: E731

    def loss(weights):
        batches = [{"x": jnp.full((n, 1), x0), "noise": jnp.full((n, 1), x1)} for x0, x1 in ends]
        return sum(model.loss(params(weights), KEYS[0], batch)[0] for batch in batches)

    slope, unit = jax.jit(lambda weights: jax.lax.map(jax.grad(loss), weights)), np.eye(2 * features)
    weights = np.zeros(2 * features)
    for _ in range(steps):
        first, *others = np.float64(slope(jnp.float32(weights + np.concatenate([0 * unit[:1], unit]))))
        weights = weights - np.linalg.lstsq(np.stack(others - first, axis=1), first, rcond=1e-6)[0]
    return params(jnp.float32(weights))


def test_meanflow_trains_to_the_exact_map(with_net):
    def basis(t, span):  # holds the exact averages, among others
        p, q, to = polynomials(t, 2), polynomials(span, 2), t - span
        products = jnp.stack([p[i] * q[j] for i in range(3) for j in range(3 - i)])
        return jnp.concatenate([products, products / (std(t) * (std(t) + std(to)))])

    # Times near the ends are drawn more often than in the paper, as it is the map from one to the other that is read.
    model = with_net(affine(basis), "meanflow", model__power=0.0, model__ratio=0.5, model__time_std=3.0)
    params = train(model, 12, 3, 500)
    for num_steps in (1, 2):
        out = model.sample(params, KEYS[0], 11, noise=X, num_steps=num_steps).x
        np.testing.assert_allclose(out, PAIR.flow_map(X, 1.0, 0.0), atol=1e-3)


@pytest.mark.parametrize("num_steps", [4, 2048])
def test_a_shortcut_trains_to_eulers_steps(num_steps, with_net):
    levels = np.float32(np.append(0, 2.0 ** -np.arange(int(np.log2(num_steps)))))

    def basis(t, span):  # polynomials of the time for each size of a jump
        chosen = (span == levels[:, None]).astype(t.dtype)
        return (chosen[:, None] * polynomials(t, 8)).reshape(-1, len(t))

    model = with_net(affine(basis), "shortcut", model__num_steps=num_steps, model__ratio=0.5)
    params = train(model, 9 * len(levels), len(levels) + 1, 1024)
    for steps in (1, 2, num_steps):
        out = model.sample(params, KEYS[0], 11, noise=X, num_steps=steps).x
        np.testing.assert_allclose(out, MEAN + PAIR.euler_std(num_steps) * X, atol=1e-3)
    if num_steps == 2048:
        np.testing.assert_allclose(out, PAIR.flow_map(X, 1.0, 0.0), atol=1e-3)


MISTAKES = {
    "num_steps is 96: .* power of 2": ("shortcut", {"model__num_steps": 96}),
    "num_steps is 1: .* power of 2": ("shortcut", {"model__num_steps": 1}),
    "num_steps is 0: .* power of 2": ("shortcut", {"model__num_steps": 0}),
    "ratio is 1.5: .* from 0 to 1": ("meanflow", {"model__ratio": 1.5}),
    "ratio is -0.1: .* from 0 to 1": ("shortcut", {"model__ratio": -0.1}),
    "guidance is 2.0: it needs data with classes": ("meanflow", {"model__guidance": 2.0}),
    "guidance is 3.0: .* model.label_dropout between": (
        "meanflow",
        {"num_classes": 3, "model__guidance": 3.0, "model__label_dropout": 0.0},
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_in_the_config(message):
    name, overrides = MISTAKES[message]
    with pytest.raises(UserError, match=message):
        build(name, **overrides)


@pytest.mark.parametrize("name", ["rectified_flow", "ddpm", "edm"])
def test_other_models_know_no_averages(name):
    model = build(name)
    params = model.init(KEYS[0], {"x": jnp.zeros((1, 1))})
    with pytest.raises(UserError, match=f"a {name} knows no averages"):
        model.sample(params, KEYS[0], 2)


def test_a_jump_has_no_x0_to_clip():
    model = build("meanflow", levels=17)
    params = model.init(KEYS[0], {"x": jnp.zeros((1, 1), jnp.uint8)})
    with pytest.raises(UserError, match="jump without one"):
        model.sample(params, KEYS[0], 2, threshold="static")
    assert model.sample(params, KEYS[0], 2, sampler="euler", num_steps=2, threshold="static").x.dtype == jnp.uint8
