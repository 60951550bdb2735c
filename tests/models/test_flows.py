"""Laws over every coupling flow: exact inverses and determinants, densities of mass 1, entropies never undercut."""

import math

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
import scipy.stats

from configs import base
from research import bijectors as bj
from research import flow
from research.contracts import LogProb
from research.errors import UserError
from research.likelihood import as_stored, bits_per_dim
from research.models import glow, jet, nice, realnvp, spline_flow

KEY = jax.random.key(0)
FLOWS = {  # name: (module, shape of an example, fields of its section that differ)
    "nice": (nice, (5,), {}),
    "nice plane": (nice, (2,), {"prior": "gaussian"}),
    "nice images": (nice, (2, 3, 1), {"couplings": 3}),
    "realnvp": (realnvp, (5,), {"couplings": 4, "batch_norm": False}),
    "realnvp plane": (realnvp, (2,), {"couplings": 4, "scale": "exp"}),
    "realnvp images": (realnvp, (4, 4, 1), {}),
    "realnvp row": (realnvp, (1, 2, 1), {"levels": 1, "logit": 0.0, "batch_norm": False}),  # two pixels
    "glow": (glow, (4, 4, 1), {"levels": 2, "steps": 2}),
    "glow additive": (glow, (2, 2, 1), {"levels": 1, "steps": 2, "coupling": "additive", "permutation": "shuffle"}),
    "glow scanned": (glow, (2, 2, 1), {"levels": 1, "steps": 2, "unroll": False, "reversible": True}),
    "spline": (spline_flow, (3,), {"couplings": 2}),
    "spline plane": (spline_flow, (2,), {"couplings": 3, "reversible": True}),
    "jet": (jet, (4, 4, 1), {"couplings": 2, "patch": 2, "reversible": True}),
    "jet row": (jet, (1, 1, 2), {"couplings": 4, "patch": 1}),
}
PLANE = [name for name, (_, shape, _) in FLOWS.items() if math.prod(shape) == 2]


def config(name, integers=None, num_classes=None, width=8, activation="relu", **fields):
    """(module, its config at a size for tests, shape of an example)."""
    module, shape, own = FLOWS[name]
    model = getattr(base, module.__name__.rpartition(".")[2])()
    base.update(model, **own | fields)
    base.update(model.conditioner, width=width, depth=1, activation=activation)
    if module is jet:
        model.conditioner.heads = 2
    data = {"name": "toy", "levels": integers, "num_classes": num_classes}
    sections = {"data": data, "model": model, "sampler": base.one_pass()}
    return module, ml_collections.FrozenConfigDict(ml_collections.ConfigDict(sections)), shape


def data_like(shape, n, seed=0):
    """Floats x [n, ...] on about [-1, 1], as a flow's bijector sees images."""
    return np.clip(np.random.default_rng(seed).normal(size=(n, *shape)) / 2, -0.99, 0.99).astype(np.float32)


def moved(params, scale=0.1):
    """Params in general position."""
    rng = np.random.default_rng(1)
    return {**params, "params": jax.tree.map(lambda p: p + scale * rng.normal(size=p.shape), params["params"])}


@pytest.fixture(scope="module", params=FLOWS)
def built(request):
    """(bijector, params in general position, x [6, ...])."""
    module, own, shape = config(request.param)
    bijector, x = module.bijector(own, shape), data_like(shape, 6)
    return bijector, moved(jax.jit(bijector.init)(KEY, data_like(shape, 64))), x


def test_a_round_trip_comes_back(built):
    bijector, params, x = built
    z, log_det = jax.jit(bijector.forward)(params, x)
    back, log_det_back = jax.jit(bijector.inverse)(params, z)
    assert z.dtype == log_det.dtype == jnp.float32 and log_det.shape == (6,)
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-3)


def test_log_det_is_that_of_the_jacobian(built):
    bijector, params, x = built
    one = lambda x: bijector.forward(params, x[None])[0].reshape(-1)  # noqa: E731
    jacobians = np.asarray(jax.jit(jax.vmap(jax.jacrev(one)))(x), np.float64).reshape(6, x[0].size, x[0].size)
    np.testing.assert_allclose(jax.jit(bijector.forward)(params, x)[1], np.linalg.slogdet(jacobians)[1], atol=1e-3)


def test_a_batch_is_its_rows(built):
    bijector, params, x = built
    forward = jax.jit(bijector.forward)
    z, log_det = forward(params, x)
    for i in range(2):
        z_i, log_det_i = forward(params, x[i : i + 1])
        np.testing.assert_allclose(z_i[0], z[i], atol=1e-4)
        np.testing.assert_allclose(log_det_i[0], log_det[i], atol=1e-3)


def test_a_hundred_times_the_scale_stays_finite(built):
    bijector, params, x = built
    loss = lambda params: jnp.mean(sum(jnp.mean(a) for a in bijector.forward(params, 100 * x)))  # noqa: E731
    value, grads = jax.jit(jax.value_and_grad(loss))(params)
    assert jnp.isfinite(value) and all(jnp.isfinite(g).all() for g in jax.tree.leaves(grads["params"]))


@pytest.mark.parametrize(
    "name, couplings, full",
    [("nice images", 2, False), ("nice images", 3, True), ("nice", 3, False), ("nice", 4, True)],
)
def test_three_couplings_fill_the_jacobian_of_nice_and_four_that_of_an_odd_size(name, couplings, full):
    module, own, shape = config(name, couplings=couplings, activation="silu")
    bijector, x = module.bijector(own, shape), data_like(shape, 6)
    params = moved(bijector.init(KEY, x))
    jacobians = jax.vmap(jax.jacrev(lambda x: bijector.forward(params, x[None])[0][0]))(x)
    jacobians = jacobians.reshape(6, *2 * (math.prod(shape),))
    assert (np.abs(jacobians).max(axis=0) > 0).all() == full


def test_a_part_that_breaks_is_named(built):
    bijector, params, x = built
    leaves = jax.tree_util.tree_leaves_with_path(params["params"])
    path = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in leaves]
    last = max(i for i, name in enumerate(path) if "coupling" in name or "scale" in name)
    broken = jax.tree.leaves(params["params"])
    broken[last] = broken[last] * jnp.nan
    broken = {**params, "params": jax.tree.unflatten(jax.tree.structure(params["params"]), broken)}
    assert bj.first_bad(bijector, params, KEY, x) is None
    named = [part for part in bj.first_bad(bijector, broken, KEY, x).split("/") if not part.isdigit()]
    assert named and named == [part for part in path[last].split("/") if part in named]


@pytest.mark.parametrize("name", ["nice", "realnvp plane", "glow", "spline plane", "jet row"])
def test_every_function_is_jitted_and_vmapped(name):
    module, own, shape = config(name, integers=17, num_classes=3, conditional=True)
    model = module.make(own, shape)
    x = np.random.default_rng(0).integers(0, 17, (6, *shape)).astype(np.uint8)
    batch = {"x": jnp.asarray(x), "condition": jnp.arange(6) % 3}

    @jax.jit
    @jax.vmap
    def everything(key):
        params = model.init(key, batch)
        (value, (metrics, stats)), grads = jax.value_and_grad(model.loss, has_aux=True, allow_int=True)(
            params, key, batch
        )
        record = model.log_prob(params, key, batch["x"], batch["condition"])
        return value, metrics, stats, grads["params"], record, model.sample(params, key, 4, jnp.arange(4) % 3)

    value, metrics, stats, grads, record, samples = everything(jax.random.split(KEY, 2))
    assert set(metrics) == {"loss", "bits_per_dim", "nats"} and jnp.isfinite(value).all()
    assert (stats is None) == ("stats" not in jax.eval_shape(model.init, KEY, batch))
    assert record.nats.shape == (2, 6) and (record.kind, record.space) == ("lower_bound", "uniform_dequantized")
    assert samples.x.shape == (2, 4, *shape) and samples.x.dtype == jnp.uint8 and samples.x.max() <= 16
    assert any((jnp.abs(g) > 0).any() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize("name", PLANE)
def test_a_density_in_the_plane_has_mass_one(name):
    module, own, shape = config(name)
    model = module.make(own, shape)
    params = moved(model.init(KEY, {"x": data_like(shape, 64)}))
    side = np.linspace(-8, 8, 401)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, *shape).astype(np.float32)
    nats = jax.jit(model.log_prob)(params, KEY, points).nats
    assert np.exp(np.asarray(nats, np.float64)).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=0.01)


def test_a_density_of_four_pixels_has_mass_one():
    """By draws from a wider Gaussian, each weighted by the quotient of the two densities."""
    module, own, shape = config("glow scanned")
    model = module.make(own, shape)
    params = moved(model.init(KEY, {"x": data_like(shape, 64)}), 0.2)
    x = 1.0 * jax.random.normal(KEY, (200000, *shape))
    wide = jnp.sum(jax.scipy.stats.norm.logpdf(x), axis=(1, 2, 3))
    weights = jnp.exp(jax.jit(model.log_prob)(params, KEY, x).nats - wide)
    assert float(weights.mean()) == pytest.approx(1, abs=5 * float(weights.std()) / math.sqrt(200000))
    assert float(weights.std()) < 20


def train(model, draw, steps=400, rate=1e-2):
    """Params after `steps` of Adam on fresh batches of draw(key) -> x."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    @jax.jit
    def step(params, opt, key):
        loss = lambda trained: model.loss({**params, "params": trained}, key, {"x": draw(key)})  # noqa: E731
        (_, (_, stats)), grads = jax.value_and_grad(loss, has_aux=True)(params["params"])
        updates, opt = optimizer.update(grads, opt)
        new = {"params": optax.apply_updates(params["params"], updates)}
        return new if stats is None else new | {"stats": stats}, opt

    params = model.init(KEY, {"x": draw(KEY)})
    opt = optimizer.init(params["params"])
    for i in range(steps):
        params, opt = step(params, opt, jax.random.fold_in(KEY, i))
    return params


COVARIANCE = np.array([[1.0, 1.2], [1.2, 2.0]])


@pytest.mark.parametrize("name", [name for name in PLANE if name != "realnvp row"])
def test_a_gaussian_is_reached_and_never_undercut(name):
    """The mean of log p(x) - log q(x) is a KL divergence: near 0 after training, and never below it."""
    module, own, shape = config(name, width=16)
    model = module.make(own, shape)
    L = np.linalg.cholesky(COVARIANCE).astype(np.float32)
    draw = lambda key, n=256: (jax.random.normal(key, (n, 2)) @ L.T).reshape(n, *shape)  # noqa: E731
    params = train(model, draw)
    x = draw(jax.random.key(9), 20000)
    truth = jax.scipy.stats.multivariate_normal.logpdf(x.reshape(-1, 2), jnp.zeros(2), COVARIANCE)
    gap = np.asarray(truth - jax.jit(model.log_prob)(params, KEY, x).nats, np.float64)
    assert -4 * gap.std() / math.sqrt(len(gap)) < gap.mean() < 0.05


def test_a_volume_preserving_flow_stops_at_its_bound():
    """Of all densities of entropy H the one nearest to N(0, I) is N(0, c I): a NICE without a scale gets to that."""
    stds = jnp.array([2.0, 0.5])
    entropy = float(jnp.sum(jnp.log(stds))) + math.log(2 * math.pi * math.e)
    bound = math.log(2 * math.pi) + math.exp(entropy) / (2 * math.pi * math.e)
    module, own, shape = config("nice plane", width=16, diagonal=False, couplings=4)
    model = module.make(own, shape)
    draw = lambda key, n=256: stds * jax.random.normal(key, (n, 2))  # noqa: E731
    params = train(model, draw, steps=600)
    nll = -np.asarray(jax.jit(model.log_prob)(params, KEY, draw(jax.random.key(9), 40000)).nats, np.float64)
    assert bound - 4 * nll.std() / 200 < nll.mean() < bound + 0.05
    free = module.make(config("nice plane", diagonal=True)[1], shape)  # which only has to standardise
    start = free.init(KEY, {"x": draw(KEY, 40000)})
    nll = -free.log_prob(start, KEY, draw(jax.random.key(9), 40000)).nats
    assert float(nll.mean()) == pytest.approx(entropy, abs=0.02)


def test_a_uniform_density_has_eight_bits():
    record = as_stored(LogProb(jnp.full(3, 12 * math.log(1 / 2))), 256, (2, 2, 3))  # on [-1, 1] in 12 dimensions
    np.testing.assert_allclose(bits_per_dim(record, (2, 2, 3)), 8, rtol=1e-6)


def test_the_logit_dequantisation_and_scale_come_out_in_bits():
    """A logistic latent behind the logit alone is uniform on a share 1 - alpha of the interval, up to its ends."""
    _, own, _ = config("nice")
    own = ml_collections.FrozenConfigDict(own.to_dict() | {"data": {"name": "toy", "levels": 256, "num_classes": None}})
    model = flow.make(bj.logit(0.05, -1.0, 1.0), own, (7,))
    x = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)
    record = model.log_prob(model.init(KEY, {"x": x}), KEY, x)
    np.testing.assert_allclose(bits_per_dim(record, (7,)), 8 - math.log2(0.95), rtol=1e-5)


def test_a_flow_that_is_told_classes_has_their_mixture_without_one():
    module, own, shape = config("glow", num_classes=3, conditional=True)
    model = module.make(own, shape)
    batch = {"x": data_like(shape, 30), "condition": np.arange(30) % 3}
    params = moved(model.init(KEY, batch), 0.2)
    each = np.stack([model.log_prob(params, KEY, batch["x"], k).nats for k in range(3)])
    assert (np.abs(each[0] - each[1]) > 1e-3).all()
    whole = jax.jit(model.log_prob)(params, KEY, batch["x"]).nats
    np.testing.assert_allclose(whole, jax.nn.logsumexp(each, axis=0) - math.log(3), rtol=1e-4)
    nats = model.loss(params, KEY, batch, train=False)[1][0]["nats"]
    np.testing.assert_allclose(nats, each[batch["condition"], np.arange(30)].mean(), rtol=1e-4)


@pytest.mark.parametrize("name", ["nice", "realnvp", "realnvp row", "spline", "jet", "glow"])
def test_each_class_has_its_own_map_and_way_back(name):
    module, own, shape = config(name, num_classes=3, conditional=True)
    bijector, x = module.bijector(own, shape), data_like(shape, 6)
    params = moved(bijector.init(KEY, x, jnp.arange(6) % 3), 0.1)
    forward, inverse = jax.jit(bijector.forward), jax.jit(bijector.inverse)
    z, other = (forward(params, x, (jnp.arange(6) + k) % 3)[0] for k in (0, 1))
    assert (np.abs(z - other).reshape(6, -1).max(axis=1) > 1e-4).all()
    np.testing.assert_allclose(inverse(params, z, jnp.arange(6) % 3)[0], x, atol=1e-4)
    changed = forward(params, x, jnp.arange(6).at[0].set(1) % 3)[0]  # the class of the first example alone
    assert np.abs(z[0] - changed[0]).max() > 1e-4
    np.testing.assert_allclose(z[1:], changed[1:], atol=1e-5)


@pytest.mark.parametrize("prior", ["gaussian", "logistic"])
def test_samples_have_the_latent_of_the_prior(prior):
    module, own, shape = config("nice plane", prior=prior)
    model, bijector = module.make(own, shape), module.bijector(own, shape)
    params = moved(model.init(KEY, {"x": data_like(shape, 64)}))
    z = bijector.forward(params, model.sample(params, KEY, 5000).x)[0]
    truth = {"gaussian": scipy.stats.norm, "logistic": scipy.stats.logistic}[prior]
    assert scipy.stats.kstest(np.asarray(z).ravel(), truth.cdf).statistic < 0.02  # 1.6 / sqrt(10000)
    tempered = model.sample(params, KEY, 64, temperature=0.5).x
    cool = module.make(ml_collections.FrozenConfigDict(own.to_dict() | {"sampler": {"temperature": 0.5}}), shape)
    np.testing.assert_array_equal(cool.sample(params, KEY, 64).x, tempered)


def test_an_unconditional_draw_of_a_conditional_flow_has_every_class():
    module, own, shape = config("glow", num_classes=3, conditional=True)
    model = module.make(own, shape)
    batch = {"x": data_like(shape, 30), "condition": np.arange(30) % 3}
    params = model.init(KEY, batch)
    table = params["params"]["level1"]["prior"]["table"]
    params["params"]["level1"]["prior"]["table"] = table.at[:, ::2].set(
        1000.0 * jnp.arange(3)[:, None]  # the shift of a class, far from the others'
    )
    top = module.bijector(own, shape).forward(params, model.sample(params, KEY, 300).x, jnp.zeros(300, int))[0][:, -1]
    shares = np.bincount(np.round(-np.asarray(top) / 1000).astype(int), minlength=3) / 300
    assert (np.abs(shares - 1 / 3) < 0.12).all()


def test_integers_get_noise_within_their_level_and_no_more():
    module, own, shape = config("nice", integers=4)
    model = module.make(own, shape)
    x = jnp.full((64, *shape), 1, jnp.uint8)
    params = model.init(KEY, {"x": np.random.default_rng(0).integers(0, 4, (64, *shape))})
    nats = [model.log_prob(params, jax.random.key(k), x).nats for k in (0, 1)]
    losses = [model.loss(params, jax.random.key(k), {"x": x}, train=False)[0] for k in (0, 1)]
    assert (nats[0] != nats[1]).all() and len(np.unique(nats[0])) > 60 and losses[0] != losses[1]


def test_training_draws_dropout_and_moves_the_running_statistics():
    module, own, shape = config("realnvp", batch_norm=True, couplings=2)
    own = own.to_dict()
    own["model"]["conditioner"]["dropout"] = 0.5
    model = module.make(ml_collections.FrozenConfigDict(own), shape)
    batch = {"x": data_like(shape, 32)}
    params = moved(model.init(KEY, batch))
    first, second, again = (model.loss(params, jax.random.key(k), batch) for k in (0, 1, 0))
    assert first[0] != second[0] and first[0] == again[0]
    heldout = [model.loss(params, jax.random.key(k), batch, train=False)[0] for k in (0, 1)]
    assert heldout[0] == heldout[1]
    before, after = params["stats"]["coupling"]["norm"], first[1][1]["coupling"]["norm"]
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after)):
        assert (old != new).any() and np.abs(new - old).max() < 0.1  # a hundredth of the way


def test_the_penalty_is_on_the_lengths_of_weight_normed_kernels():
    module, own, shape = config("realnvp images", l2_scale=0.5)
    model = module.make(own, shape)
    batch = {"x": data_like(shape, 16)}
    params = model.init(KEY, batch)
    value, (metrics, _) = model.loss(params, KEY, batch)
    # 3 + 3 + 4 couplings, each a layer and a block of two, of 8 channels whose length is 1 at first
    assert float(value - metrics["bits_per_dim"]) == pytest.approx(0.5 * 10 * 3 * 8, rel=1e-4)
    heldout = model.loss(params, KEY, batch, train=False)
    assert heldout[0] == heldout[1][0]["bits_per_dim"]


def test_the_half_that_leaves_a_level_of_glow_is_told_by_the_half_that_stays():
    module, own, shape = config("glow", steps=1)
    bijector, x = module.bijector(own, shape), data_like(shape, 6)
    params = bijector.init(KEY, x)
    z, log_det = bijector.forward(params, x)
    out = params["params"]["level0"]["prior"]["out"]
    shift, s = np.split(np.arange(1.0, 5.0) / 4, 2)  # the bias alone: a shift and a log-scale of two channels
    params["params"]["level0"]["prior"]["out"] = out | {"bias": jnp.concatenate([shift, s])}
    told, log_det_told = bijector.forward(params, x)
    gone = 2 * 2 * 2  # places and channels that leave first
    np.testing.assert_allclose(told[:, :gone], z[:, :gone] * np.exp(np.tile(s, 4)) + np.tile(shift, 4), rtol=1e-4)
    np.testing.assert_allclose(told[:, gone:], z[:, gone:], atol=1e-5)
    np.testing.assert_allclose(log_det_told - log_det, 4 * s.sum(), rtol=1e-4)
    params["params"]["level0"]["prior"]["out"] = out | {"kernel": jnp.ones_like(out["kernel"])}
    assert np.abs(bijector.forward(params, x)[0][:, :gone] - z[:, :gone]).max() > 0.01


def test_memory_options_change_no_number_and_reach_the_stack():
    batch, found = {"x": data_like((2, 2, 1), 8)}, {}
    for options in ({}, {"remat": True}, {"reversible": True}, {"unroll": True}):
        module, own, shape = config("glow scanned", **{"unroll": False, "reversible": False, "remat": False} | options)
        model = module.make(own, shape)
        params = moved(model.init(KEY, batch))
        step = jax.value_and_grad(
            lambda p, params=params, model=model: model.loss({**params, "params": p}, KEY, batch)[0]
        )
        found[str(options)] = step(params["params"]), str(jax.make_jaxpr(step)(params["params"]))
    (value, grads), plain = found["{}"]
    for name, ((other, other_grads), program) in found.items():
        np.testing.assert_allclose(other, value, rtol=1e-5)
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(other_grads)):
            np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(a).max() + 1e-6)
        assert ("remat" in program) == ("remat" in name)
        assert name == "{}" or program != plain


def test_layers_that_are_undone_need_float32():
    module, own, shape = config("jet")
    own = own.to_dict()
    own["model"]["conditioner"]["dtype"] = "bfloat16"
    with pytest.raises(UserError, match="model.remat"):
        module.make(ml_collections.FrozenConfigDict(own), shape)


def test_a_prior_that_overflows_is_named():
    module, own, shape = config("spline plane")
    model = module.make(own, shape)
    params = model.init(KEY, {"x": data_like(shape, 64)})
    params["params"]["scale"]["log_scale"] = jnp.full(2, 12.0)
    assert model.explain(params, KEY, {"x": data_like(shape, 8)}) is None
    assert model.explain(params, KEY, {"x": 1e18 * data_like(shape, 8)}) == "prior"


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_temperatures_that_are_none(temperature):
    module, own, shape = config("nice")
    model = module.make(own, shape)
    with pytest.raises(UserError, match="0 or more"):
        model.sample(model.init(KEY, {"x": data_like(shape, 8)}), KEY, 2, temperature=temperature)


def test_samples_that_are_not_finite_show_where_integers_cannot():
    module, own, shape = config("nice", integers=17)
    model = module.make(own, shape)
    params = model.init(KEY, {"x": np.random.default_rng(0).integers(0, 17, (8, *shape))})
    assert model.sample(params, KEY, 2).nfe == 1
    params["params"]["shift"]["bias"] = params["params"]["shift"]["bias"] * jnp.nan
    assert np.isnan(model.sample(params, KEY, 2).nfe)


@pytest.mark.parametrize("name", ["realnvp", "glow", "jet", "spline plane", "nice"])
def test_temperature_scales_the_latent(name):
    module, own, shape = config(name)
    model, bijector = module.make(own, shape), module.bijector(own, shape)
    params = moved(model.init(KEY, {"x": data_like(shape, 64)}))
    draw = jax.jit(lambda temperature: model.sample(params, KEY, 500, temperature=temperature).x)
    whole, half = (bijector.forward(params, draw(t))[0] for t in (1.0, 0.5))
    np.testing.assert_allclose(half, whole / 2, atol=0.02)
    assert np.ptp(np.asarray(draw(0.0)), axis=0).max() < 1e-5


@pytest.mark.parametrize(
    "name, fields, sentence",
    [
        ("nice", {"prior": "student"}, "model.prior is 'student'"),
        ("nice", {"conditional": True}, "needs labelled data"),
        ("glow", {"levels": 4}, "divide by 16"),
        ("glow", {"permutation": "svd"}, "model.permutation"),
        ("glow", {"coupling": "spline"}, "affine or additive"),
        ("realnvp images", {"levels": 5}, "divide by 16"),
        ("jet", {"patch": 3}, "model.patch of 3"),
        ("realnvp images", {"logit": 1.5}, "model.logit is 1.5"),
        ("spline", {"bound": 0.0}, "bound above 0"),
        ("spline", {"bins": 1200}, "1000 bins"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(name, fields, sentence):
    with pytest.raises(UserError, match=sentence):
        module, own, shape = config(name, **fields)
        module.make(own, shape)


def test_a_flow_takes_no_steps_and_no_class_it_was_not_told():
    module, own, shape = config("nice")
    model = module.make(own, shape)
    params = model.init(KEY, {"x": data_like(shape, 8)})
    with pytest.raises(UserError, match="temperature, and no sampler, num_steps"):
        model.sample(params, KEY, 2, sampler="euler", num_steps=3)
    with pytest.raises(UserError, match="no classes"):
        model.sample(params, KEY, 2, 1)


@pytest.mark.parametrize("module", [spline_flow, glow, realnvp, jet])
def test_data_of_another_shape_are_a_mistake(module):
    name = next(name for name, entry in FLOWS.items() if entry[0] is module)
    with pytest.raises(UserError, match="examples of shape"):
        module.make(config(name)[1], (4, 4))


def test_inpainting_ends_at_the_mean_of_what_is_missing():
    """Of a Gaussian the density given what is known is highest at the conditional mean."""
    precision = jnp.linalg.inv(COVARIANCE)
    x = jnp.array([[1.0, 0.3], [-2.0, 0.0]])
    log_prob = lambda x: -0.5 * jnp.sum((x @ precision) * x, axis=1)  # noqa: E731
    known = np.array([True, False])
    found = nice.inpaint(log_prob, x, known, KEY, num_steps=400, noise=0.0)
    np.testing.assert_allclose(found, [[1.0, 1.2], [-2.0, -2.4]], atol=1e-4)
    held = nice.inpaint(log_prob, x, known, KEY, num_steps=400, low=-1.0, high=1.0)
    assert (held[:, 0] == x[:, 0]).all() and (np.abs(held[:, 1]) <= 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glow", "jet", "realnvp", "spline"])
def test_the_deepest_configs_come_back_in_float32(name):
    """As many layers as glow_cifar10 and twice jet_imagenet64, narrow; latents reach 3 to 8, as of trained flows."""
    deep = {"glow": {"levels": 2, "steps": 48, "unroll": False}, "jet": {"couplings": 64}, "realnvp": {"couplings": 64}}
    module, own, shape = config(name, width=16, **deep.get(name, {"couplings": 32}))
    bijector, x = module.bijector(own, shape), data_like(shape, 64)
    params = moved(jax.jit(bijector.init)(KEY, x), 0.02)
    z, log_det = jax.jit(bijector.forward)(params, x)
    back, log_det_back = jax.jit(bijector.inverse)(params, z)
    assert np.abs(back - x).max() < 1e-4
    np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-4, atol=1e-2)


@pytest.mark.slow
def test_bf16_conditioners_leave_the_arithmetic_in_float32():
    module, own, shape = config("glow", width=16)
    own = own.to_dict()
    own["model"]["conditioner"]["dtype"] = "bfloat16"
    bijector, x = module.bijector(ml_collections.FrozenConfigDict(own), shape), data_like(shape, 64)
    params = moved(bijector.init(KEY, x))
    z, log_det = jax.jit(bijector.forward)(params, x)
    back, _ = jax.jit(bijector.inverse)(params, z)
    assert z.dtype == log_det.dtype == jnp.float32
    assert np.abs(back - x).max() < 1e-4  # both directions ask the same net the same question
