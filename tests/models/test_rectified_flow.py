"""The rectified flow's contract, with a tiny net: types, scales, labels, guidance, and a density that is known."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import base
from research import diffusion, oracle
from research.contracts import Samples
from research.errors import UserError
from research.models import rectified_flow
from research.nets import build as nets

DIGITS = (2, 2, 1)


def config(**overrides):
    fields = ml_collections.ConfigDict(
        {
            "data": {"num_classes": 3, "levels": 17},
            "net": {
                "name": "mlp",
                "dtype": "float32",
                "remat": False,
                "mlp": {"width": 8, "depth": 1, "dropout": 0.0, "activation": "silu"},
            },
            "model": base.rectified_flow(),
            "sampler": base.update(base.sampler(), name="euler", num_steps=2),
        }
    )
    fields.update_from_flattened_dict({key.replace("__", "."): value for key, value in overrides.items()})
    return ml_collections.FrozenConfigDict(fields)


def batch(n=4, shape=DIGITS, levels=17):
    x = np.random.default_rng(0).integers(0, levels, (n, *shape)).astype(np.uint8)
    return {"x": jnp.asarray(x), "condition": jnp.arange(n) % 3}


def setup(shape=DIGITS, fresh=False, **overrides):
    """(model, params); the fresh net's last layer is zero, so unless asked for, all its weights are drawn anew."""
    model = rectified_flow.make(config(**overrides), shape)
    params = model.init(jax.random.key(0), batch(shape=shape))
    if fresh:
        return model, params
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return model, tree.unflatten([0.3 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves)])


KEYS = jax.random.split(jax.random.key(2), 2)


@pytest.mark.parametrize("net", ["mlp"])  # the U-Net is run by the experiments of tests/configs
def test_every_function_is_jitted_and_vmapped(net):
    model, params = setup(net__name=net)
    assert set(params) == {"params"}
    data = batch()

    @jax.jit
    @jax.vmap
    def everything(key):
        fresh = model.init(key, data)
        loss, (metrics, stats) = model.loss(params, key, data)
        assert stats is None
        samples = model.sample(params, key, 5, jnp.arange(5) % 3, guidance=2.0, trajectory=True)
        return fresh, loss, metrics, samples

    fresh, loss, metrics, samples = everything(KEYS)
    assert jax.tree.leaves(fresh)[0].shape[0] == 2 and loss.shape == (2,)
    np.testing.assert_array_equal(metrics["loss"], loss)
    assert samples.x.shape == (2, 5, *DIGITS) and samples.x.dtype == jnp.uint8
    assert samples.trajectory.shape == (2, 3, 5, *DIGITS)


def test_the_loss_belongs_to_its_key():
    model, params = setup()
    losses = [float(model.loss(params, key, batch())[0]) for key in (KEYS[0], KEYS[0], KEYS[1])]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("density", rectified_flow.DENSITIES)
def test_a_zero_net_loses_the_variance_of_the_velocity(density):
    # E|eps - x0|^2 = 1 + x0^2 whatever t is; dequantised level 8 of 17 is uniform on +-1/17.
    model, params = setup(fresh=True, model__time_density=density)
    data = {"x": jnp.full((20000, *DIGITS), 8, jnp.uint8)}
    loss = jax.jit(model.loss)(params, KEYS[0], data)[0]
    np.testing.assert_allclose(loss, 1 + 1 / 17**2 / 3, rtol=4 * np.sqrt(2 / 80000))


def test_a_perfect_velocity_reaches_the_loss_floor(monkeypatch):
    # The loss with the exact field of a Gaussian in place of a net, against the closed form pi s0 s1 / 2.
    pair = oracle.gaussian_pair(0.7, 0.5, 0.0, 1.0)
    net = type("Net", (), {"apply": staticmethod(lambda p, x, t, *a, **k: pair.field()(x, t).velocity)})
    monkeypatch.setattr(nets, "make", lambda *a: net)
    model = rectified_flow.make(config(data__num_classes=0, data__levels=0), (1,))
    x = 0.7 + 0.5 * jax.random.normal(KEYS[0], (100_000, 1))
    np.testing.assert_allclose(model.loss({}, KEYS[1], {"x": x})[0], pair.loss_floor(), rtol=0.02)
    assert pair.loss_floor() == pytest.approx(np.pi / 4)
    out = model.log_prob({}, KEYS[1], x[:5])
    np.testing.assert_allclose(out.nats, jax.scipy.stats.norm.logpdf(x[:5, 0], 0.7, 0.5), atol=1e-3)
    assert (out.kind, out.space) == ("exact", "continuous")
    steps = model.sample({}, KEYS[0], 4000, num_steps=8).x
    np.testing.assert_allclose(steps.std(), oracle.gaussian_pair(0.7, 0.5, 0.0, 1.0).euler_std(8), rtol=0.05)
    assert steps.dtype == jnp.float32


def test_times_cover_the_interval_evenly():
    t = np.sort(diffusion.even_times(KEYS[0], 10))
    np.testing.assert_allclose(np.diff(t), 0.1, atol=1e-6)
    assert 0 <= t[0] < 0.1 and t[0] != np.sort(diffusion.even_times(KEYS[1], 10))[0]


def test_samples_are_integers_over_the_whole_range():
    model, params = setup(fresh=True)  # velocity 0: the prior itself, clipped
    out = model.sample(params, KEYS[0], 200, trajectory=True)
    assert out.x.dtype == jnp.uint8 and out.x.min() == 0 and out.x.max() == 16 and len(jnp.unique(out.x)) == 17
    np.testing.assert_array_equal(jnp.clip(jnp.floor(out.trajectory[-1]), 0, 16), out.x)


def test_dequantize_off_uses_the_middle_of_the_bin():
    model, params = setup(fresh=True, model__dequantize=False)
    x0 = np.asarray(batch()["x"] + 0.5, np.float32) / 17 * 2 - 1
    # A zero net's loss is |eps - x0|^2, so that its difference from that of mid-range data gives x0 away.
    loss = lambda x: model.loss(params, KEYS[0], {"x": jnp.asarray(x, jnp.uint8)})[0]  # noqa: E731
    eps = jax.random.normal(jax.random.split(KEYS[0], 5)[1], x0.shape)
    np.testing.assert_allclose(loss(batch()["x"]), ((eps - x0) ** 2).mean(), rtol=1e-5)


def test_conditions_matter_and_scalars_are_broadcast():
    model, params = setup(sampler__name="heun")
    trajectory = lambda c: model.sample(params, KEYS[0], 3, c, trajectory=True).trajectory[-1]  # noqa: E731
    np.testing.assert_allclose(trajectory(1), trajectory(jnp.array([1, 1, 1])), rtol=1e-6)
    mixed = trajectory(jnp.array([1, 2, 1]))
    np.testing.assert_allclose(mixed[0], trajectory(1)[0], rtol=1e-4, atol=1e-4)
    assert abs(mixed[1] - trajectory(1)[1]).max() > 1e-3 and abs(trajectory(None) - trajectory(1)).max() > 1e-3


def test_guidance_doubles_the_calls_and_changes_the_samples():
    model, params = setup()
    plain, guided = (model.sample(params, KEYS[0], 3, 1, guidance=g, trajectory=True) for g in (1.0, 4.0))
    assert (plain.nfe, guided.nfe) == (2, 4)
    assert abs(plain.trajectory[-1] - guided.trajectory[-1]).max() > 1e-3
    unconditional = model.sample(params, KEYS[0], 3, trajectory=True).trajectory
    zero = model.sample(params, KEYS[0], 3, 1, guidance=0.0, trajectory=True).trajectory
    np.testing.assert_allclose(zero, unconditional, rtol=1e-4, atol=1e-4)


def test_dropped_labels_leave_no_trace():
    other = batch() | {"condition": jnp.array([2, 2, 0, 1])}
    for rate, same in ((1.0, True), (0.0, False)):
        model, params = setup(model__label_dropout=rate)
        losses = [model.loss(params, KEYS[0], data)[0] for data in (batch(), other)]
        assert (losses[0] == losses[1]) == same
    model, params = setup(model__label_dropout=1.0)  # evaluation keeps labels
    losses = [model.loss(params, KEYS[0], data, train=False)[0] for data in (batch(), other)]
    assert losses[0] != losses[1]


def test_class_dropout_changes_nothing_at_guidance_1():
    samples = []
    for rate in (0.0, 0.5, 0.9):
        model, params = setup(model__label_dropout=rate)
        out = jax.jit(lambda p, m=model: m.sample(p, KEYS[0], 3, 1, guidance=1.0, trajectory=True))(params)
        samples.append(out.trajectory)
    np.testing.assert_array_equal(samples[0], samples[1])
    np.testing.assert_array_equal(samples[0], samples[2])


def test_dropout_is_for_training_only():
    wet, params = setup(net__mlp__dropout=0.5, model__label_dropout=0.0)
    dry, _ = setup(model__label_dropout=0.0)
    for train, same in ((True, False), (False, True)):
        losses = [m.loss(params, KEYS[0], batch(), train=train)[0] for m in (wet, dry)]
        assert (losses[0] == losses[1]) == same


@pytest.mark.parametrize("shape", [(2, 2, 1), (4, 5, 1)], ids=["exact trace", "hutchinson"])
def test_log_prob_is_per_unit_of_the_stored_data(shape):
    # Velocity 0 leaves x where it is: the density is the prior's at the scaled point, times (2 / levels)^d.
    model, params = setup(shape, fresh=True)
    x = batch(shape=shape)["x"]
    out = jax.jit(jax.vmap(lambda key: model.log_prob(params, key, x, 1, num_probes=2)))(KEYS)
    for key, nats in zip(KEYS, out.nats):
        u = jax.random.uniform(jax.random.split(key)[0], x.shape)
        z = ((x + u) / 17 * 2 - 1).reshape(len(x), -1)
        want = jax.scipy.stats.norm.logpdf(z).sum(1) + z.shape[1] * np.log(2 / 17)
        np.testing.assert_allclose(nats, want, rtol=1e-5)
    assert (out.kind, out.space) == ("lower_bound", "uniform_dequantized")
    assert (out.stderr is None) == (z.shape[1] <= 16)


def test_the_adaptive_sampler_gets_its_tolerance_from_the_config(monkeypatch):
    seen = []

    def adaptive(field, noise, x, times, key=None, *, rtol=1.0, atol=1.0, max_steps=9, trajectory=False):
        seen.append((rtol, atol, max_steps, len(times)))
        return Samples(x, None, jnp.ones(()))

    monkeypatch.setattr("research.samplers.diffrax.sample", adaptive)
    model, params = setup(fresh=True, sampler__rtol=1e-2, sampler__atol=1e-3, sampler__name="diffrax")
    model.sample(params, KEYS[0], 2)
    model.sample(params, KEYS[0], 2, rtol=1e-6, max_steps=5, num_steps=7)
    assert seen == [(1e-2, 1e-3, 9, 3), (1e-6, 1e-3, 5, 8)]


MISTAKES = {
    "no sampler 'eulr'.*'euler'": ({}, {"sampler": "eulr"}),
    "num_steps=0": ({}, {"num_steps": 0}),
    "no option 'rtol'": ({}, {"rtol": 1e-3}),
    "class from 0 to 2, not 3": ({}, {"condition": 3}),
    r"class from 0 to 2, not \[0, -1\]": ({}, {"condition": jnp.array([0, -1])}),
    r"integer class or \[2\]": ({}, {"condition": jnp.array([0, 1, 2])}),
    "guidance=2.0 needs a condition": ({}, {"guidance": 2.0}),
    "guidance=2.0 needs a model with classes": ({"data__num_classes": 0}, {"guidance": 2.0}),
    "guidance=3.0 needs a model with classes": ({"data__num_classes": 0, "sampler__guidance": 3.0}, {}),
    "leave the condition out": ({"data__num_classes": 0}, {"condition": 1}),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_in_sampling(message):
    overrides, options = MISTAKES[message]
    model, params = setup(fresh=True, **overrides)
    with pytest.raises(UserError, match=message):
        model.sample(params, KEYS[0], 2, **options)


def test_mistakes_in_the_config():
    with pytest.raises(UserError, match="no net 'vit'"):
        setup(net__name="vit")
    with pytest.raises(UserError, match="config.model.time_density is 'cosine': choose one of uniform"):
        model, params = setup(model__time_density="cosine")
        model.loss(params, KEYS[0], batch())


def test_a_run_from_before_some_fields_is_still_read():
    fields = ml_collections.ConfigDict(config().to_dict())
    for section, names in (("model", ("standardize", "flip")), ("sampler", ("spacing", "end", "threshold", "eta"))):
        for name in names:
            del fields[section][name]
    model = rectified_flow.make(ml_collections.FrozenConfigDict(fields), DIGITS)
    params = model.init(KEYS[0], batch())
    assert jnp.isfinite(model.loss(params, KEYS[0], batch())[0])
    assert model.sample(params, KEYS[0], 3).x.shape == (3, *DIGITS)
