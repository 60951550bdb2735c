"""Laws of every sampler, on flows whose map is known; a new sampler is a line in SAMPLERS."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle, parameterize, samplers
from research.errors import UserError

FLOWS = {  # name -> options with which it follows the probability flow, and how closely in 200 steps
    "euler": ({"variable": "sigma"}, 0.03),
    "heun": ({}, 1e-4),
    "diffrax": ({"rtol": 1e-6, "atol": 1e-6}, 1e-4),
    "ddim": ({}, 0.03),
    "edm": ({}, 2e-3),
    "dpm_solver_pp": ({}, 2e-3),
    "jump": ({}, 1e-4),
}
NOISY = {  # name -> options
    "ddpm": {},
    "euler_maruyama": {},
    "predictor_corrector": {},
    "reverse_sde": {},
}
SAMPLERS = {name: options for name, (options, _) in FLOWS.items()} | NOISY
VARIABLES = ("euler", "heun")  # that step in t or in sigma
NFE = {  # of 5 steps, the last of them to sigma = 0
    ("euler", "variable", "t"): 5,
    ("euler", "variable", "sigma"): 5,
    ("heun", "variable", "t"): 10,
    ("heun", "variable", "sigma"): 10,
    ("ddim", "eta", 1.0): 5,
    ("ddpm", "variance", "beta"): 5,
    ("edm", "S_churn", 1.0): 9,
    ("dpm_solver_pp", "sde", True): 5,
    ("euler_maruyama", "lam", 0.5): 5,
    ("predictor_corrector", "corrector_steps", 2): 15,
    ("predictor_corrector", "predictor", "none"): 5,
    ("reverse_sde", "solver", "euler"): 5,
}
PAIR = oracle.gaussian_pair(1.0, 0.5, 0.0, 1.0)
PROCESS = noise.rectified()
EIGHT = oracle.gaussian_mixture(
    np.ones(8), 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1), np.full(8, 0.2)
)


def exact(x, t, to=None):
    """The pair's field, and the averages over spans that `jump` asks for."""
    found = PAIR.field()(x, t)
    if to is None:
        return found
    span = jnp.where(t == to, 1, t - to)
    return found._replace(velocity=jnp.where(t == to, found.velocity, (x - PAIR.flow_map(x, t, to)) / span))


def run(name, x, steps, field=None, process=PROCESS, start=None, key=None, **options):
    times = samplers.times(process._replace(t_max=start or process.t_max), steps)
    return samplers.find(name, **options)(field or exact, process, x, times, key, **options)


def spread(name, steps, pair, x, **options):
    return float(run(name, x, steps, field=pair.field(), **options).x.std() / x.std())


def test_every_sampler_file_is_tested():
    with pytest.raises(UserError) as error:
        samplers.find("")
    listed = set(str(error.value).partition("choose one of ")[2].rstrip(".").split(", "))
    assert listed == set(SAMPLERS) | {"probability_flow"}
    assert samplers.find("probability_flow") is samplers.find("diffrax")


@pytest.mark.parametrize("name", FLOWS)
def test_hits_the_exact_map_for_images_under_jit_and_vmap(name):
    options, close = FLOWS[name]
    x = jax.random.normal(jax.random.key(0), (2, 3, 2, 2, 1))
    got = jax.jit(jax.vmap(lambda x: run(name, x, 200, trajectory=True, **options)))(x)
    assert got.x.shape == x.shape and got.trajectory.shape == (2, 201, *x.shape[1:]) and got.nfe.shape == (2,)
    # Euler is of order 1 only: it is held to its exact factor below.
    np.testing.assert_allclose(got.x, PAIR.flow_map(x, 1.0, 0.0), atol=close)
    np.testing.assert_array_equal(got.trajectory[:, 0], x)
    np.testing.assert_array_equal(got.trajectory[:, -1], got.x)
    middle = PAIR.flow_map(x, 1.0, 0.5)
    np.testing.assert_allclose(got.trajectory[:, 100], middle, atol=max(close, 1e-3))


@pytest.mark.parametrize("name", NOISY)
def test_draws_with_the_right_moments_for_images_under_jit_and_vmap(name):
    x = PAIR.flow_map(jax.random.normal(jax.random.key(0), (2, 300, 2, 2, 1)), 1.0, 0.9)
    keys = jax.random.split(jax.random.key(1), 2)
    draw = jax.jit(jax.vmap(lambda x, key: run(name, x, 40, start=0.9, key=key, trajectory=True, **NOISY[name])))
    got, again, swapped = draw(x, keys), draw(x, keys), draw(x, keys[::-1])
    assert got.trajectory.shape == (2, 41, *x.shape[1:])
    # 2400 numbers: the mean is known to .01, the standard deviation to .007, and steps are short to a few hundredths.
    assert abs(got.x.mean() - 1) < 0.05 and abs(got.x.std() - 0.5) < 0.05
    np.testing.assert_array_equal(got.x, again.x)
    assert jnp.abs(got.x - swapped.x).mean() > 0.05
    np.testing.assert_array_equal(got.trajectory[:, 0], x)
    np.testing.assert_array_equal(got.trajectory[:, -1], got.x)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "jump"])
@pytest.mark.parametrize("process", [PROCESS, noise.trigonometric()], ids=["line", "circle"])
def test_paths_without_signal_at_t_1_are_sampled_from_there(name, process):
    x = jax.random.normal(jax.random.key(0), (2000, 1))
    field = oracle.gaussian_mixture([1.0], [[1.0]], [0.5]).field(process)
    draw = jax.jit(lambda key: run(name, x, 50, field, process, key=key, **SAMPLERS[name]).x)
    if name in ("euler_maruyama", "reverse_sde"):
        with pytest.raises(UserError, match="infinite noise at t = 1.0"):
            draw(jax.random.key(1))
        return
    got = draw(jax.random.key(1))
    assert abs(got.mean() - 1) < 0.05 and abs(got.std() - 0.5) < 0.06


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_trajectory_is_asked_for_and_changes_nothing_else(name):
    x, options = jnp.array([[0.5], [-1.0]]), {"start": 0.9, "key": jax.random.key(0)}
    plain, traced = jax.jit(lambda x: (run(name, x, 8, **options), run(name, x, 8, trajectory=True, **options)))(x)
    assert plain.trajectory is None
    np.testing.assert_allclose(plain.x, traced.x, rtol=1e-5)
    np.testing.assert_allclose(plain.times, np.linspace(0.9, 0, 9), atol=1e-6)
    assert plain.nfe == traced.nfe


@pytest.mark.parametrize("case", NFE, ids=str)
def test_nfe_counts_the_calls(case):
    (name, option, value), calls, key = case, [], jax.random.key(0)

    def counting(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return PAIR.field()(x, t)

    out = jax.jit(lambda x: run(name, x, 5, field=counting, start=0.9, key=key, **{option: value}))(jnp.ones((2, 1)))
    jax.effects_barrier()
    assert len(calls) == out.nfe == NFE[case]


@pytest.mark.parametrize("name", SAMPLERS)
def test_data_at_one_point_are_found(name):
    # Steps in x0 end on the point itself; others are off by the last step's width, or solve to t > 0.
    process = PROCESS._replace(t_min=1e-3) if name == "diffrax" else PROCESS
    ends_there = name in ("euler", "heun", "ddim", "ddpm", "edm", "dpm_solver_pp", "jump")

    def field(x, t, to=None):  # straight to the point, so the average is the velocity
        return parameterize.from_x0(jnp.full_like(x, 1.5), x, t, process)

    x = jnp.array([[-1.0], [0.0], [2.0]])
    out = run(name, x, 100, field, process, start=0.9, key=jax.random.key(0), **SAMPLERS[name])
    np.testing.assert_allclose(out.x, 1.5, atol=1e-5 if ends_there else 0.05)


@pytest.mark.parametrize(
    ("name", "options"), [(name, NOISY[name]) for name in NOISY] + [("ddim", {"eta": 0.1}), ("edm", {"S_churn": 1.0})]
)
def test_noise_needs_a_key(name, options):
    with pytest.raises(UserError, match=r"draws noise: give it a key"):
        run(name, jnp.ones((1, 1)), 3, start=0.9, **options)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("times", [[0.1, 0.5, 0.9], [0.9, 0.5, 0.5, 0.1], [0.9, np.nan], [0.9], 0.9], ids=str)
def test_times_must_fall(name, times):
    with pytest.raises(UserError, match="times must fall" if np.size(times) > 1 else "two times or more"):
        samplers.find(name)(PAIR.field(), PROCESS, jnp.ones((1, 1)), times, jax.random.key(0))


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("diffrax", "reverse_sde")])
def test_the_last_step_may_stand_still(name):
    # As in grids that end at step 1 instead of 0; Langevin steps go on there.
    x, options = jnp.ones((2, 1)), {"corrector_steps": 0} if name == "predictor_corrector" else {}
    draw, key = samplers.find(name), jax.random.key(0)
    once, twice = (
        draw(exact, PROCESS, x, times, key, trajectory=True, **SAMPLERS[name], **options)
        for times in ([0.5, 0.2], [0.5, 0.2, 0.2])
    )
    np.testing.assert_allclose(twice.trajectory[2], twice.trajectory[1], atol=1e-6)
    if name in FLOWS:
        np.testing.assert_allclose(once.x, twice.x, atol=1e-5)


def test_times_may_be_traced():
    x = jnp.ones((2, 1))
    draw = jax.jit(lambda times: samplers.find("ddim")(PAIR.field(), PROCESS, x, times).x)
    np.testing.assert_allclose(draw(np.array([1.0, 0.5, 0.0])), run("ddim", x, 2).x, rtol=1e-6)


@pytest.mark.parametrize("variable", ["t", "sigma"])
@pytest.mark.parametrize("kind", ["x0", "eps"])
def test_heun_ends_by_eulers_step_where_there_is_no_slope(kind, variable):
    # Of a net that is read from x0 or eps, at sigma = 0 where d sigma / dt is infinite.
    process = noise.vp()._replace(t_min=0.0)
    exact = oracle.gaussian_mixture([1.0], [[1.0]], [0.5]).field(process)
    field = parameterize.field(lambda x, t: getattr(exact(x, t), kind), process, kind)
    x, key = jnp.array([[0.3], [-0.4]]), jax.random.key(0)
    heun, euler = (
        samplers.find(name)(field, process, x, [0.1, 0.0], key, variable=variable).x for name in ("heun", "euler")
    )
    assert jnp.isfinite(euler).all()
    # In sigma an eps is there, as the net gives it, and counts.
    if (kind, variable) == ("eps", "sigma"):
        assert jnp.isfinite(heun).all() and (heun != euler).all()
    else:
        np.testing.assert_allclose(heun, euler, rtol=1e-6)


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("steps", [1, 7, 32])
def test_standard_deviation_after_n_steps_is_the_product_of_factors(name, steps):
    pair = oracle.gaussian_pair(3.0, 0.5, 0.0, 1.0)
    with jax.enable_x64(True):
        x = jnp.array([[-1.0], [1.0]])
        exact = getattr(pair, f"{name}_std")(steps)
        out = run(name, x, steps, field=pair.field())
        np.testing.assert_allclose(out.x, 3 + exact * x, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(spread(name, steps, pair, jnp.float32(x)), exact, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "order", "options"),
    [
        ("euler", 1, {"variable": "t"}),
        ("euler", 1, {"variable": "sigma"}),
        ("heun", 2, {"variable": "t"}),
        ("heun", 2, {"variable": "sigma"}),
        ("ddim", 1, {}),
        ("edm", 2, {}),
        ("dpm_solver_pp", 1, {"order": 1}),
        ("dpm_solver_pp", 2, {}),
        ("dpm_solver_pp", 2, {"lower_order_final": False}),
        ("euler_maruyama", 1, {"lam": 0.0}),
    ],
    ids=str,
)
def test_order_of_convergence_by_halving_on_eight_gaussians(name, order, options):
    # From t = 0.9, where sigma / alpha is finite, and fine enough for the leading term to rule.
    with jax.enable_x64(True):
        x, field = 1.5 * jax.random.normal(jax.random.key(0), (16, 2)), EIGHT.field(PROCESS)
        draw = samplers.find(name)

        def end(steps, draw=draw, **options):
            return draw(field, PROCESS, x, np.linspace(0.9, 0.3, steps + 1), **options).x

        exact = end(800, samplers.find("heun"), variable="t")
        coarse, fine = (jnp.sqrt(jnp.mean((end(steps, **options) - exact) ** 2)) for steps in (50, 100))
    assert abs(np.log2(coarse / fine) - order) < 0.15


@pytest.mark.parametrize("name", VARIABLES)
def test_steps_in_sigma_are_those_of_the_scaled_variable(name):
    # For VP alpha is never 0, so the textbook step d(x / alpha) = eps d(sigma / alpha) can be taken literally.
    process, x = noise.vp(), jnp.array([[0.3, -0.4], [1.0, 0.2]])
    field, (t, t_next) = EIGHT.field(process), (0.6, 0.5)
    y, s, s_next = x / process.alpha(t), *(process.sigma(u) / process.alpha(u) for u in (t, t_next))
    slope = field(x, t).eps
    if name == "heun":
        slope = (slope + field((y + (s_next - s) * slope) * process.alpha(t_next), t_next).eps) / 2
    want = (y + (s_next - s) * slope) * process.alpha(t_next)
    got = samplers.find(name)(field, process, x, [t, t_next], variable="sigma").x
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("name", VARIABLES)
def test_steps_in_sigma_start_at_alpha_zero(name):
    # One step from t = 1 to 0 gives E[x0]; the rectified flow's t and sigma agree for Euler, whose path is straight.
    x = jnp.array([[0.3], [-2.0]])
    np.testing.assert_allclose(run(name, x, 1, variable="sigma").x, 1.0, rtol=1e-6)
    assert jnp.isfinite(run(name, x, 4, variable="sigma").x).all()


def test_the_grid_of_times():
    np.testing.assert_allclose(samplers.times(PROCESS, 4), [1, 0.75, 0.5, 0.25, 0])
    assert samplers.times(noise.vp(t_min=1e-3), 10)[-1] == 1e-3
    with pytest.raises(UserError, match="num_steps=0"):
        samplers.times(PROCESS, 0)


def test_mistakes_name_the_nearest():
    with pytest.raises(UserError, match=r"'eulr'.*did you mean 'euler'"):
        samplers.find("eulr")
    for helper in samplers.HELPERS:
        with pytest.raises(UserError, match=f"no sampler '{helper}'"):
            samplers.find(helper)
    with pytest.raises(UserError, match=r"'euler' has no option 'varable'.*'variable'"):
        samplers.find("euler", varable="t")
    with pytest.raises(UserError, match="variable='snr'"):
        run("heun", jnp.ones((1, 1)), 2, variable="snr")
