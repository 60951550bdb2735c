"""Laws of every diffusion model, with the exact denoiser of Gaussian data for a net: floors, samples, densities."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import base
from research import noise, oracle
from research.errors import UserError
from research.models import ddpm, edm, ode_diffusion, rectified_flow, score_sde
from research.nets import build as nets
from tests.models import laws

MEAN, STD, SIGMA_DATA, N = 0.7, 0.5, 0.4, 100_000
KEYS = jax.random.split(jax.random.key(0), 2)
GAUSSIAN = oracle.gaussian_mixture([1.0], [[MEAN]], [STD])
EVEN = (np.arange(20000) + 0.5) / 20000


def denoised(var):
    """E Var(x0 | x0 + N(0, var)): the least error of a denoiser."""
    return STD**2 * var / (STD**2 + var)


def heat():
    return noise.heat(lambda t: 80 * t)._replace(t_min=0.002 / 80)


def karras_floor(sigma):
    return np.mean((sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2 * denoised(sigma**2))


def steps_floor(weight):
    """Of the mean over DDPM's steps of weight(SNR) times the squared error of x0."""
    bar = noise.alpha_bar()[1:]
    return np.mean(weight(bar / (1 - bar)) * denoised((1 - bar) / bar))


def score_floor(process, t):
    """Of the squared error of eps at times t: that of x0 times the SNR."""
    snr = np.exp(np.asarray(process.log_snr(t), np.float64))
    return np.mean(snr * denoised(1 / snr))


def sub(process):
    return {"process": process, "prediction": "edm" if process == "ve" else "eps"}


def t_of(process):
    return process.t_min + (process.t_max - process.t_min) * EVEN


def even_log_snr(process):
    ends = np.asarray(process.log_snr(np.array([process.t_min, process.t_max])))
    return process.time(ends[0] + (ends[1] - ends[0]) * EVEN)


def velocity_floor(process, t, weight=np.ones_like):
    """Of the squared error of the velocity: Var(a' x0 + s' eps | a x0 + s eps) is a quotient of determinants."""
    a, s, da, ds = (
        np.asarray(c(t), np.float64) for c in (process.alpha, process.sigma, process.d_alpha, process.d_sigma)
    )
    return np.mean(weight(t) * STD**2 * (da * s - a * ds) ** 2 / (a**2 * STD**2 + s**2))


STEPS = noise.discrete(noise.alpha_bar())
MODELS = {  # name: (module, fields of its section, process, what the net predicts, the least loss)
    "rectified_flow": (rectified_flow, {}, noise.rectified(), "velocity", np.pi / 2 * STD),
    "rectified_flow trigonometric": (
        rectified_flow,
        {"interpolant": "trigonometric"},
        noise.trigonometric(),
        "velocity",
        velocity_floor(noise.trigonometric(), EVEN),
    ),
    "rectified_flow vp": (
        rectified_flow,
        {"interpolant": "vp"},
        noise.vp(),
        "velocity",
        velocity_floor(noise.vp(), t_of(noise.vp())),
    ),
    "rectified_flow x0": (
        rectified_flow,
        {"loss": "x0"},
        noise.rectified(),
        "velocity",
        velocity_floor(noise.rectified(), EVEN, np.square),
    ),
    "ddpm": (ddpm, {}, STEPS, "eps", steps_floor(lambda snr: snr)),
    "ddpm x0": (ddpm, {"prediction": "x0"}, STEPS, "x0", steps_floor(np.ones_like)),
    "ddpm v": (ddpm, {"prediction": "v"}, STEPS, "v", steps_floor(lambda snr: snr + 1)),
    "ddpm v, weight of eps": (ddpm, {"prediction": "v", "weight": "score"}, STEPS, "v", steps_floor(lambda snr: snr)),
    "ddpm min_snr": (ddpm, {"weight": "min_snr"}, STEPS, "eps", steps_floor(lambda snr: np.minimum(snr, 5))),
    "vp": (score_sde, sub("vp"), noise.vp(), "eps", score_floor(noise.vp(), t_of(noise.vp()))),
    "sub_vp": (score_sde, sub("sub_vp"), noise.sub_vp(), "eps", score_floor(noise.sub_vp(), t_of(noise.sub_vp()))),
    "cosine": (score_sde, sub("cosine"), noise.cosine(), "eps", score_floor(noise.cosine(), t_of(noise.cosine()))),
    "ve": (score_sde, sub("ve"), noise.ve(), "edm", score_floor(noise.ve(), t_of(noise.ve()))),
    "vp likelihood": (
        score_sde,
        {"weight": "likelihood"},
        noise.vp(),
        "eps",
        score_floor(noise.vp(), even_log_snr(noise.vp())),
    ),
    "edm": (
        edm,
        {},
        noise.edm(),
        "edm",
        karras_floor(np.exp(-1.2 + 1.2 * np.random.default_rng(0).normal(size=10**6))),
    ),
    "ode_diffusion": (ode_diffusion, {}, heat(), "edm", karras_floor(0.002 * 40000.0**EVEN)),
}


def config(name, num_classes=0, levels=0, **overrides):
    module, fields, _, _, _ = MODELS[name]
    model = getattr(base, module.__name__.rpartition(".")[2])()
    net = {"name": "mlp", "dtype": "float32", "remat": False}
    net["mlp"] = {"width": 8, "depth": 1, "dropout": 0.0, "activation": "silu"}
    data = {"num_classes": num_classes, "levels": levels}
    sections = {"data": data, "net": net, "model": base.update(model, **fields), "sampler": base.sampler()}
    made = ml_collections.ConfigDict(sections)
    if "sigma_data" in made.model:
        made.model.sigma_data = SIGMA_DATA
    made.update_from_flattened_dict({key.replace("__", "."): value for key, value in overrides.items()})
    return module, ml_collections.FrozenConfigDict(made)


def build(name, shape=(1,), **overrides):
    module, made = config(name, **overrides)
    return module.make(made, shape)


def exact(name, error=0.0):
    """A net that returns what the perfect one would, times 1 + error, written without the project's own readings."""
    _, _, process, kind, _ = MODELS[name]

    def apply(params, x, told, *_, **__):
        if kind == "edm":
            sigma = jnp.exp(4 * told)[:, None]
            y = x * jnp.sqrt(sigma**2 + SIGMA_DATA**2)
            x0 = (STD**2 * y + sigma**2 * MEAN) / (STD**2 + sigma**2)
            skip = SIGMA_DATA**2 / (sigma**2 + SIGMA_DATA**2)
            return (1 + error) * (x0 - skip * y) / (sigma * SIGMA_DATA / jnp.sqrt(sigma**2 + SIGMA_DATA**2))
        t = told + 1 / 1000 if name.startswith("ddpm") else told
        found = GAUSSIAN.field(process)(x, t)
        v = process.alpha(t)[:, None] * found.eps - process.sigma(t)[:, None] * found.x0
        return (1 + error) * {"v": v, **found._asdict()}[kind]

    return type("Net", (), {"apply": staticmethod(apply)})


@pytest.fixture
def perfect(monkeypatch):
    def make(name, error=0.0, **overrides):
        monkeypatch.setattr(nets, "make", lambda *a: exact(name, error))
        return build(name, **overrides)

    return make


def test_every_model_of_diffusion_is_listed():
    assert {module.__name__.rpartition(".")[2] for module, *_ in MODELS.values()} == {
        "rectified_flow",
        "ddpm",
        "score_sde",
        "edm",
        "ode_diffusion",
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_perfect_net_reaches_the_least_loss_and_no_other_does(name, perfect):
    x, floor = MEAN + STD * jax.random.normal(KEYS[0], (N, 1)), MODELS[name][-1]
    losses = [jax.jit(perfect(name, error).loss)({}, KEYS[1], {"x": x})[0] for error in (0.0, 0.3)]
    np.testing.assert_allclose(losses[0], floor, rtol=0.03)
    assert losses[1] > losses[0] * 1.02


@pytest.mark.parametrize("name", [name for name in MODELS if "weight" not in name and "min_snr" not in name])
def test_samples_of_the_perfect_net_have_the_datas_mean_and_spread(name, perfect):
    draw, spacing = ("ddim", "uniform") if name.startswith("ddpm") else ("heun", "uniform")
    if name in ("edm", "ode_diffusion", "ve"):
        spacing = "karras"
    model = perfect(name)
    out = jax.jit(lambda key: model.sample({}, key, 4000, sampler=draw, num_steps=50, spacing=spacing))(KEYS[0])
    np.testing.assert_allclose(out.x.mean(), MEAN, atol=0.04)
    np.testing.assert_allclose(out.x.std(), STD, rtol=0.06)
    assert out.nfe == (50 if draw == "ddim" else 100) and out.x.dtype == jnp.float32


@pytest.mark.parametrize("name", ["ddpm", "vp", "cosine", "ve", "edm", "ode_diffusion"])
def test_densities_of_the_perfect_net(name, perfect):
    if name == "ddpm":  # the bound, one draw of noise a term, so on average over many examples
        x = MEAN + STD * jax.random.normal(KEYS[1], (4000, 1))
    else:
        x = jnp.linspace(-0.5, 2, 6)[:, None]
    model = perfect(name)
    found = jax.jit(lambda key: model.log_prob({}, key, x))(KEYS[0])
    truth = jax.scipy.stats.norm.logpdf(x[:, 0], MEAN, STD)
    if name == "ddpm":
        assert (found.kind, found.space) == ("lower_bound", "continuous")
        assert abs(jnp.mean(truth - found.nats)) < 0.1  # with beta 1000 steps lose nothing to speak of
        model = perfect(name, model__variance="beta_tilde")
        found = jax.jit(lambda key: model.log_prob({}, key, x))(KEYS[0])
        bar = noise.alpha_bar()[1:]
        snr = bar / (1 - bar)
        kl = -np.diff(snr) / 2 * denoised(1 / snr[1:])
        var = (1 - bar[0]) * (1 - snr[1] / snr[0])  # of the decoder: beta_tilde of step 2
        decoder = np.log(2 * np.pi * var) / 2 + denoised(1 / snr[0]) / var / 2
        entropy = np.log(2 * np.pi * np.e * STD**2) / 2
        np.testing.assert_allclose(jnp.mean(truth - found.nats), kl.sum() + decoder - entropy, atol=0.1)
    else:  # within what the prior and t_min leave out
        np.testing.assert_allclose(found.nats, truth, atol=0.05 if name == "ve" else 0.03)
        assert (found.kind, found.space) == ("exact", "continuous")


@pytest.mark.parametrize("name", ["rectified_flow", "ddpm", "ve", "edm", "ode_diffusion"])  # one of each file
def test_every_function_is_jitted_and_vmapped(name):
    model = build(name, (2, 2, 1), num_classes=3, levels=17)
    laws.every_function_is_jitted_and_vmapped(model, KEYS, sampler="ddpm")


def test_times_of_ddpm_are_every_step_alike():
    seen = []
    net = type("Net", (), {"apply": staticmethod(lambda p, x, told, *a, **k: seen.append(told) or x)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nets, "make", lambda *a: net)
        model = build("ddpm")
        model.loss({}, KEYS[0], {"x": jnp.zeros((3000, 1))})
    steps, counts = np.unique(np.round(np.asarray(seen[0]) * 1000), return_counts=True)
    np.testing.assert_array_equal(steps, np.arange(1000))  # n - 1
    np.testing.assert_array_equal(counts, 3)


def test_nfe_says_when_samples_are_not_finite(perfect):
    good, bad = perfect("ddpm"), perfect("ddpm", np.nan)
    assert good.sample({}, KEYS[0], 2, sampler="ddim", num_steps=2).nfe == 2
    assert jnp.isnan(bad.sample({}, KEYS[0], 2, sampler="ddim", num_steps=2).nfe)


def test_thresholds_keep_images_in_range(perfect):
    paths = {}
    for threshold in ("none", "static", "dynamic"):
        model = perfect("ddpm v", 0.5, levels=17)  # a net that exaggerates
        draw = jax.jit(
            lambda key, m=model, t=threshold: m.sample(
                {}, key, 200, sampler="ddim", num_steps=20, threshold=t, trajectory=True
            )
        )
        paths[threshold] = np.asarray(draw(KEYS[0]).trajectory[-1])
    assert paths["none"].max() > 17.1 and paths["static"].min() >= 0 and paths["static"].max() <= 17
    assert paths["dynamic"].min() >= 0 and paths["dynamic"].max() <= 17


def test_the_guidance_interval_is_the_configs():
    fields = {"num_classes": 3, "sampler__name": "euler", "sampler__guidance": 3.0}
    draws = []
    for interval in ((0.0, 1.0), (0.4, 0.6), (2.0, 3.0)):
        model = build("rectified_flow", (2,), sampler__guidance_interval=interval, **fields)
        params = model.init(jax.random.key(1), {"x": jnp.zeros((1, 2))})
        params = jax.tree.map(lambda a: a + 0.3 * jnp.cos(jnp.arange(a.size, dtype=float)).reshape(a.shape), params)
        draws.append(model.sample(params, KEYS[0], 3, 1).x)
    plain = model.sample(params, KEYS[0], 3, 1, guidance=1.0).x
    np.testing.assert_allclose(draws[2], plain, rtol=1e-5)
    assert abs(draws[0] - draws[1]).max() > 1e-3 < abs(draws[1] - plain).max()


def test_sampler_fields_of_the_config_reach_the_sampler(perfect):
    # eta = 1 and the seed give one ancestral path, eta = 0 another.
    ends = [
        perfect("ddpm", sampler__name="ddim", sampler__num_steps=5, sampler__eta=eta).sample({}, KEYS[0], 4).x
        for eta in (0.0, 1.0)
    ]
    given = perfect("ddpm", sampler__name="ddim", sampler__num_steps=5).sample({}, KEYS[0], 4, eta=1.0).x
    np.testing.assert_array_equal(ends[1], given)
    assert abs(ends[0] - ends[1]).max() > 1e-2


@pytest.mark.parametrize("name", ["ddpm", "edm", "ode_diffusion", "cosine"])
@pytest.mark.parametrize("draw", ["probability_flow", "reverse_sde"])
def test_samplers_by_diffrax_reach_the_data(name, draw, perfect):
    # An adaptive one reads the field at its last time, and there is none at sigma = 0: it stops just short of it.
    model, steps = perfect(name), 60
    spacing = "log_snr" if name in ("edm", "ode_diffusion") else "uniform"
    options = {"sampler": draw, "num_steps": steps, "spacing": spacing}
    out = jax.jit(lambda key: model.sample({}, key, 4000, **options))(KEYS[0])
    np.testing.assert_allclose(out.x.mean(), MEAN, atol=0.05)
    np.testing.assert_allclose(out.x.std(), STD, rtol=0.1)


MISTAKES = {
    "num_steps=1001 is more than the 1000 steps": ("ddpm", {}, {"num_steps": 1001, "sampler": "ddim"}),
    "per_sample=True solves one by one": (
        "edm",
        {"num_classes": 3},
        {"sampler": "diffrax", "per_sample": True, "spacing": "karras"},
    ),
    "without classes .model.label_dropout is 1.": (
        "edm",
        {"num_classes": 3, "model__label_dropout": 1.0},
        {"condition": 1},
    ),
    "trained with classes alone .model.label_dropout is 0.": (
        "edm",
        {"num_classes": 3, "model__label_dropout": 0.0},
        {},
    ),
    "guidance=3.0 needs a model that was also trained without classes": (
        "edm",
        {"num_classes": 3, "model__label_dropout": 0.0},
        {"condition": 1, "guidance": 3.0},
    ),
    "infinite noise at t = 1.0": ("rectified_flow", {}, {"sampler": "euler_maruyama"}),
    "num_steps=0": ("ddpm", {}, {"num_steps": 0, "sampler": "ddim"}),
    "eta": ("ddpm", {}, {"sampler": "ddim", "eta": 1.5}),
    "no spacing 'karass'": ("edm", {}, {"spacing": "karass"}),
    "no threshold 'clip'": ("ddpm", {"levels": 17}, {"threshold": "clip"}),
    "threshold=static clips to the range of integer data": ("ddpm", {}, {"threshold": "static"}),
    "guidance=2.0 needs a model with classes": ("edm", {}, {"guidance": 2.0}),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_in_sampling(message):
    name, overrides, options = MISTAKES[message]
    model = build(name, **overrides)
    params = model.init(KEYS[0], {"x": jnp.zeros((1, 1))})
    with pytest.raises(UserError, match=message):
        model.sample(params, KEYS[0], 2, **options)


def test_a_density_without_classes_is_of_a_model_that_knows_some():
    model, x, classes = build("edm", num_classes=3, model__label_dropout=0.0), jnp.zeros((2, 1)), jnp.array([0, 2])
    params = model.init(KEYS[0], {"x": x})
    with pytest.raises(UserError, match="trained with classes alone"):
        jax.eval_shape(model.log_prob, params, KEYS[0], x)
    jax.eval_shape(model.log_prob, params, KEYS[0], x, classes)
    jax.eval_shape(build("edm", num_classes=3).log_prob, params, KEYS[0], x)


WRONG = {
    "flip mirrors images": ("ddpm", {"model__flip": True}),
    "no weight 'min_snrs'": ("ddpm", {"model__weight": "min_snrs"}),
    "config.model.prediction is 'epsilon'": ("ddpm", {"model__prediction": "epsilon"}),
    "config.model.variance is 'learned'": ("ddpm", {"model__variance": "learned"}),
    "no signal at the last step": ("ddpm", {"model__zero_terminal_snr": True}),
    "no schedule 'cosin'": ("ddpm", {"model__schedule": "cosin"}),
    "config.model.process is 'vpsde'": ("vp", {"model__process": "vpsde"}),
}


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_in_the_config(message):
    with pytest.raises(UserError, match=message):
        build(WRONG[message][0], **WRONG[message][1])


def test_a_density_of_another_shape_is_refused():
    model = build("vp", (2, 2, 1))
    with pytest.raises(UserError, match=r"shape \(2, 2, 1\), not \(3, 3, 1\)"):
        model.log_prob(None, KEYS[0], jnp.zeros((5, 3, 3, 1)))


def test_standardized_data_are_in_their_own_unit_outside(monkeypatch):
    # The exact net of standardized data: samples and densities of N(300, 20^2) in the unit as stored.
    apply = lambda p, x, told, *a, **k: exact_standard(x, told)  # noqa: E731
    net = type("Net", (), {"apply": staticmethod(apply), "init": staticmethod(lambda *a: {"params": {}})})
    monkeypatch.setattr(nets, "make", lambda *a: net)
    model, x = build("vp", model__standardize=True), 300 + 20 * jax.random.normal(KEYS[0], (20000, 1))
    params = model.init(KEYS[0], {"x": x})
    loss, (_, stats) = model.loss(params, KEYS[1], {"x": x})
    assert stats is params["stats"]
    floor = np.mean(noise.vp().alpha(t_of(noise.vp())) ** 2)  # Var(eps | x_t) = alpha^2 of data N(0, 1)
    np.testing.assert_allclose(loss, floor, rtol=0.03)
    out = model.sample(params, KEYS[1], 4000, trajectory=True)
    np.testing.assert_allclose([out.x.mean(), out.x.std()], [300, 20], rtol=0.02)
    np.testing.assert_array_equal(out.trajectory[-1], out.x)
    found = model.log_prob(params, KEYS[0], x[:4])
    np.testing.assert_allclose(found.nats, jax.scipy.stats.norm.logpdf(x[:4, 0], 300, 20), atol=0.03)


def exact_standard(x, t):
    return x * noise.vp().sigma(t)[:, None]


def test_standardize_is_for_continuous_data():
    with pytest.raises(UserError, match="standardize is for continuous data"):
        build("vp", levels=17, model__standardize=True)


def test_flip_mirrors_half_of_the_images_in_training_only(monkeypatch):
    net = type("Net", (), {"apply": staticmethod(lambda p, x, told, *a, **k: 0 * x)})
    monkeypatch.setattr(nets, "make", lambda *a: net)
    # Of a zero net that predicts x0 the loss is the mean of x0^2: the left column alone is weighed by its own place.
    model = build("ddpm x0", (1, 2, 1), model__flip=True)
    seen = []
    monkeypatch.setattr(noise, "expand", lambda a, x, expand=noise.expand: seen.append(x) or expand(a, x))
    x = jnp.tile(jnp.array([0.5, -0.5]).reshape(1, 1, 2, 1), (1000, 1, 1, 1))
    for train, share in ((True, 0.5), (False, 0.0)):
        seen.clear()
        model.loss({}, KEYS[0], {"x": x}, train=train)
        x0 = seen[-1]  # alpha, sigma and their slopes are expanded to the shape of x0
        np.testing.assert_allclose((x0[:, 0, 0, 0] < 0).mean(), share, atol=0.05)
        np.testing.assert_array_equal(x0[:, 0, 0, 0], -x0[:, 0, 1, 0])
