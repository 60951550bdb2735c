"""The rectified flow's options against closed forms: times, distances, noise on the way, couplings, given ends."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from configs import base
from research import oracle
from research.errors import UserError
from research.models import rectified_flow
from research.nets import build as nets

MEAN, STD, N = 0.7, 0.5, 100_000
KEYS = jax.random.split(jax.random.key(0), 3)


def config(**overrides):
    net = {"name": "mlp", "dtype": "float32", "remat": False}
    net["mlp"] = {"width": 8, "depth": 1, "dropout": 0.0, "activation": "silu"}
    sections = {"data": {"num_classes": 0, "levels": 0, "source": ""}, "net": net, "model": base.rectified_flow()}
    made = ml_collections.ConfigDict(sections | {"sampler": base.update(base.sampler(), name="euler", num_steps=1)})
    made.update_from_flattened_dict({key.replace("__", "."): value for key, value in overrides.items()})
    return ml_collections.FrozenConfigDict(made)


@pytest.fixture
def build(monkeypatch):
    """A model whose net is velocity(x, t)."""

    def make(velocity, shape=(1,), **overrides):
        apply = lambda params, x, t, *a, **k: velocity(x, t[:, None])  # noqa: E731
        monkeypatch.setattr(nets, "make", lambda *a: type("Net", (), {"apply": staticmethod(apply)}))
        return rectified_flow.make(config(**overrides), shape)

    return make


def zero(x, t):
    return 0 * x


def times(density, n=200_000, **fields):
    made = config(model__time_density=density, **{f"model__{name}": value for name, value in fields.items()})
    return np.asarray(rectified_flow.DENSITIES[density]((jnp.arange(n) + 0.5) / n, made.model), np.float64)


DENSITY = {  # the densities as stated, up to a factor
    "uniform": np.ones_like,
    "logit_normal": lambda t: np.exp(-((np.log(t / (1 - t))) ** 2) / 2) / (t * (1 - t)),
    "u_shaped": lambda t: np.exp(4 * t) + np.exp(4 * (1 - t)),
}


@pytest.mark.parametrize("name", DENSITY)
def test_times_have_the_density_that_is_stated(name):
    edges, fine = np.linspace(0, 1, 21), (np.arange(20 * 500) + 0.5) / (20 * 500)
    wanted = DENSITY[name](fine).reshape(20, -1).sum(axis=1)
    found = np.histogram(times(name), edges)[0]
    np.testing.assert_allclose(found / found.sum(), wanted / wanted.sum(), atol=2e-4)


def test_the_mode_density_at_its_middle_and_ends():
    # p(t) = 1 / |dt/du|: 1 + s (1 - pi/2) at the middle, 1 + s at the ends, s = 1.29 (Esser et al. 2024, appendix).
    t = times("mode")
    for middle, slope in ((0.5, 1 + 1.29 * (1 - np.pi / 2)), (0.002, 2.29), (0.998, 2.29)):
        np.testing.assert_allclose(np.mean(abs(t - middle) < 0.002) / 0.004, 1 / slope, rtol=0.02)


def test_logit_normal_times_are_moved_and_spread():
    t = times("logit_normal", time_mean=-1.0, time_std=0.5)
    logit = np.log(t / (1 - t))
    np.testing.assert_allclose([logit.mean(), logit.std()], [-1, 0.5], atol=2e-3)


def test_steps_are_those_of_a_student():
    found, counts = np.unique(times("steps", 8000, num_steps=4), return_counts=True)
    np.testing.assert_allclose(found, [0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(counts, 2000)


def test_pseudo_huber_of_a_known_error(build):
    # Noise and data are given, so the error of a zero net is known: sqrt(mean |e|^2 + c^2) - c.
    model = build(zero, (3,), model__huber=0.2)
    x, given = jnp.array([[1.0, 2, 2], [0, 0, 0]]), jnp.zeros((2, 3))
    found = model.loss({}, KEYS[0], {"x": x, "noise": given})[0]
    np.testing.assert_allclose(found, (np.sqrt(9 / 3 + 0.04) - 0.2 + 0.0) / 2, rtol=1e-5)


def test_pseudo_huber_of_an_error_of_x0(build):
    # At t an error e of the velocity is t e of x0, and t is 1/2 or 1.
    model = build(zero, model__huber=0.2, model__loss="x0", model__time_density="steps", model__num_steps=2)
    found = model.loss({}, KEYS[0], {"x": jnp.full((8, 1), 3.0), "noise": jnp.zeros((8, 1))})[0]
    np.testing.assert_allclose(found, (np.hypot(1.5, 0.2) + np.hypot(3, 0.2)) / 2 - 0.2, rtol=1e-5)


def interpolant(gamma, t):
    """Moments of x = (1 - t) x0 + t x1 + g z and of its slope v: var x, cov(v, x), var v."""
    g, dg = gamma * np.sin(np.pi * t) ** 2, gamma * np.pi * np.sin(2 * np.pi * t)
    var = (1 - t) ** 2 * STD**2 + t**2 + g**2
    return var, -(1 - t) * STD**2 + t + g * dg, STD**2 + 1 + dg**2


def test_a_stochastic_interpolants_floor_and_flow(build):
    # The best velocity of jointly Gaussian ends is linear in x; noise on the way raises the floor, not where it leads.
    def velocity(x, t):
        g, dg = 0.8 * jnp.sin(jnp.pi * t) ** 2, 0.8 * jnp.pi * jnp.sin(2 * jnp.pi * t)
        var = (1 - t) ** 2 * STD**2 + t**2 + g**2
        return -MEAN + (t - (1 - t) * STD**2 + g * dg) / var * (x - (1 - t) * MEAN)

    model, x = build(velocity, model__gamma=0.8), MEAN + STD * jax.random.normal(KEYS[0], (N, 1))
    var, cov, var_v = interpolant(0.8, (np.arange(2000) + 0.5) / 2000)
    np.testing.assert_allclose(model.loss({}, KEYS[1], {"x": x})[0], np.mean(var_v - cov**2 / var), rtol=0.02)
    assert np.mean(var_v - cov**2 / var) > 2 * oracle.gaussian_pair(MEAN, STD, 0.0, 1.0).loss_floor()
    start = jnp.linspace(-2, 2, 5)[:, None]
    found = model.sample({}, KEYS[0], 5, sampler="heun", num_steps=200, noise=start).x
    np.testing.assert_allclose(found, MEAN + STD * start, atol=1e-3)


@pytest.mark.parametrize("coupling", ["exact", "sinkhorn"])
def test_a_coupling_costs_what_sorted_pairs_cost(coupling, build):
    # A zero net loses E|x1 - x0|^2: (1 - s)^2 + mu^2 where noise is sorted as the data are, 1 + s^2 + mu^2 else.
    x, losses = MEAN + STD * jax.scipy.special.ndtri((jnp.arange(512)[:, None] + 0.5) / 512), {}
    for name in ("independent", coupling):
        model = build(zero, model__coupling=name)
        losses[name] = np.mean([jax.jit(model.loss)({}, key, {"x": x})[0] for key in jax.random.split(KEYS[1], 8)])
    np.testing.assert_allclose(losses["independent"], 1 + STD**2 + MEAN**2, rtol=0.1)
    np.testing.assert_allclose(losses[coupling], (1 - STD) ** 2 + MEAN**2, rtol=0.06 if coupling == "exact" else 0.2)


@pytest.mark.parametrize("class_wise, dropped", [(True, 0.1), (False, 0.1), (True, 1.0)])
def test_classes_keep_their_noise_unless_the_model_is_told_none(class_wise, dropped, build):
    # Data at -5 and 5: within a class noise stays N(0, 1), across classes the left one gets the lower half of it.
    label = jnp.arange(512) % 2
    x = jnp.where(label == 1, 5.0, -5.0)[:, None]
    fields = {"model__coupling": "exact", "model__class_wise": class_wise, "model__label_dropout": dropped}
    loss = build(zero, data__num_classes=2, **fields).loss({}, KEYS[0], {"x": x, "condition": label})[0]
    within = class_wise and dropped < 1
    np.testing.assert_allclose(loss, 25 + 1 - (0 if within else 2 * 5 * np.sqrt(2 / np.pi)), rtol=0.05)


def straight(x, t):
    """The velocity of the lines between z and its end MEAN + STD z."""
    z = (x - (1 - t) * MEAN) / ((1 - t) * STD + t)
    return z - MEAN - STD * z


def test_after_a_perfect_reflow_the_loss_is_0_and_one_step_is_exact(build):
    z = jax.random.normal(KEYS[0], (1000, 1))
    model = build(straight)
    pairs = {"x": MEAN + STD * z, "noise": z}
    assert model.loss({}, KEYS[1], pairs)[0] < 1e-11 < 0.1 < model.loss({}, KEYS[1], {"x": pairs["x"]})[0]
    out = model.sample({}, KEYS[2], 1000, num_steps=1, noise=z)
    np.testing.assert_allclose(out.x, MEAN + STD * z, atol=1e-6)
    assert out.nfe == 1
    # A first rectified flow's one step returns the mean.
    first = build(lambda x, t: oracle.gaussian_pair(MEAN, STD, 0.0, 1.0).field()(x, t).velocity)
    np.testing.assert_allclose(first.sample({}, KEYS[2], 1000, num_steps=1, noise=z).x, MEAN, atol=1e-6)


def test_pairs_of_integer_data_enter_as_they_were_drawn(build):
    # Samples that are not rounded: nothing is added, and drawing them is the way back.
    model = build(zero, (2,), data__levels=17)
    z = jax.random.normal(KEYS[0], (4, 2))
    out = model.sample({}, KEYS[1], 4, noise=z, rounded=False)
    np.testing.assert_allclose(out.x, (z + 1) / 2 * 17, rtol=1e-5, atol=1e-5)
    assert model.loss({}, KEYS[1], {"x": out.x, "noise": z})[0] < 1e-10
    assert model.sample({}, KEYS[1], 4, noise=z).x.dtype == jnp.uint8


def test_transport_between_two_sets(build):
    pair = oracle.gaussian_pair(MEAN, STD, -1.0, 2.0)
    model = build(lambda x, t: pair.field()(x, t).velocity, data__source="other")
    key_0, key_1 = jax.random.split(KEYS[0])
    batch = {"x": MEAN + STD * jax.random.normal(key_0, (N, 1)), "source": -1 + 2 * jax.random.normal(key_1, (N, 1))}
    np.testing.assert_allclose(model.loss({}, KEYS[1], batch)[0], pair.loss_floor(), rtol=0.03)
    out = model.sample({}, KEYS[2], 6, sampler="heun", num_steps=200, source=batch["source"][:6])
    np.testing.assert_allclose(out.x, pair.flow_map(batch["source"][:6], 1.0, 0.0), atol=1e-3)
    assert model.log_prob is None
    with pytest.raises(UserError, match="starts from examples of other: give it source"):
        model.sample({}, KEYS[2], 6)


def test_two_sets_meet_in_every_pairing(build):
    # Row i of a batch brings its own source; the loss of a zero net must be that of independent ends all the same.
    model, x = build(zero, data__source="other"), jnp.linspace(-1, 1, 4096)[:, None]
    np.testing.assert_allclose(model.loss({}, KEYS[0], {"x": x, "source": x})[0], 2 / 3, rtol=0.05)


@pytest.mark.parametrize("coupling", ["independent", "exact"])
def test_partners_stay_together(coupling, build):
    # A zero net loses |x1 - x0|^2, 0 of images that meet themselves: neither dealt out, nor mirrored, nor coupled anew.
    model = build(zero, (2, 2, 1), data__source="other", model__flip=True, model__coupling=coupling)
    x = jax.random.normal(KEYS[0], (64, 2, 2, 1))
    assert model.loss({}, KEYS[1], {"x": x, "partner": x})[0] < 1e-12
    assert model.loss({}, KEYS[1], {"x": x, "source": x})[0] > 0.1
    y = jnp.roll(x, 1, axis=0)
    np.testing.assert_allclose(model.loss({}, KEYS[1], {"x": x, "partner": y})[0], jnp.mean((y - x) ** 2), rtol=1e-5)


class Chebyshev:
    """A net a(t) + b(t) x whose a and b are polynomials of degree 9: it holds the lines between Gaussians."""

    def init(self, key, x, t, label):
        return {"params": {"a": jnp.zeros(10), "b": jnp.zeros(10)}}

    def apply(self, params, x, t, label, train, **rngs):
        basis = jnp.cos(jnp.arange(10) * jnp.arccos(jnp.clip(2 * t - 1, -1, 1))[:, None])
        return (basis @ params["params"]["a"])[:, None] + (basis @ params["params"]["b"])[:, None] * x


@pytest.mark.parametrize("density, weight", [("uniform", "velocity"), ("u_shaped", "velocity"), ("steps", "velocity")])
def test_one_step_learned_from_pairs_is_the_exact_map(density, weight, monkeypatch):
    """Reflow, as it is trained, and a student of one step, on pairs of the exact flow of a Gaussian pair."""
    monkeypatch.setattr(nets, "make", lambda *a: Chebyshev())
    model = rectified_flow.make(config(model__time_density=density, model__loss=weight), (1,))
    pair = oracle.gaussian_pair(MEAN, STD, 0.0, 1.0)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, 1500))

    def step(carry, key):
        params, state = carry
        z = jax.random.normal(key, (256, 1))
        batch = {"x": pair.flow_map(z, 1.0, 0.0), "noise": z}
        grads = jax.grad(lambda p: model.loss(p, key, batch)[0])(params)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    params = model.init(KEYS[0], {"x": jnp.zeros((1, 1))})
    start = params, optimizer.init(params)
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, jax.random.split(KEYS[1], 1500)))(start)
    z = jnp.linspace(-2.5, 2.5, 51)[:, None]
    found = model.sample(params, KEYS[2], 51, num_steps=1, noise=z).x
    np.testing.assert_allclose(found, pair.flow_map(z, 1.0, 0.0), atol=1e-3)


@pytest.mark.parametrize("field", ["interpolant", "time_density", "loss", "coupling"])
def test_mistakes_in_the_config(field):
    with pytest.raises(UserError, match=f"config.model.{field} is 'nowt'"):
        rectified_flow.make(config(**{f"model__{field}": "nowt"}), (1,))


@pytest.mark.parametrize("density", ["uniform", "logit_normal"])
def test_an_older_run_has_the_one_field(density, build):
    batch, model = {"x": jnp.ones((64, 1))}, build(zero, model__time_density=density)
    fields = config(model__time_density=density).to_dict()
    fields["model"] = {name: fields["model"][name] for name in {*base.denoiser(""), "time_density"}}
    older = rectified_flow.make(ml_collections.FrozenConfigDict(fields), (1,))
    assert older.loss({}, KEYS[0], batch)[0] == model.loss({}, KEYS[0], batch)[0]


def test_a_flow_has_no_averages(build):
    with pytest.raises(UserError, match="knows no averages over spans of time"):
        build(zero).sample({}, KEYS[0], 2, sampler="jump")


JOINED = [{"model__coupling": "exact"}, {"model__coupling": "given"}, {"model__gamma": 0.5}, {"data__source": "other"}]


@pytest.mark.parametrize("fields", JOINED, ids=lambda fields: "-".join(map(str, *fields.items())))
def test_samplers_that_take_noise_for_independent_are_refused(fields, build):
    model, start = build(zero, **fields), jnp.ones((2, 1))
    start = {"source": start} if "data__source" in fields else {"noise": start}
    with pytest.raises(UserError, match="'ddim' takes noise for independent of the data"):
        model.sample({}, KEYS[0], 2, sampler="ddim", **start)
    np.testing.assert_allclose(model.sample({}, KEYS[0], 2, sampler="heun", num_steps=2, **start).x, 1)
