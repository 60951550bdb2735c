"""Laws of every sampler, on flows whose map is known; a new sampler is a line in SAMPLERS."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import noise, oracle, samplers
from research.errors import UserError

SAMPLERS = {  # name -> options for the exact map
    "euler": {"variable": "sigma"},
    "heun": {},
    "diffrax": {"rtol": 1e-6, "atol": 1e-6},
}
CALLS = {"euler": 1, "heun": 2}  # per step, where the number of steps is given
PAIR = oracle.gaussian_pair(1.0, 0.5, 0.0, 1.0)
PROCESS = noise.rectified()
EIGHT = oracle.gaussian_mixture(
    np.ones(8), 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1), np.full(8, 0.2)
)


def run(name, x, steps, field=None, process=PROCESS, **options):
    times = samplers.times(process, steps)
    return samplers.find(name, **options)(field or PAIR.field(), process, x, times, **options)


def spread(name, steps, pair, x, **options):
    return float(run(name, x, steps, field=pair.field(), **options).x.std() / x.std())


def test_every_sampler_file_is_tested():
    with pytest.raises(UserError) as error:
        samplers.find("")
    listed = set(str(error.value).partition("choose one of ")[2].rstrip(".").split(", "))
    assert listed == set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_hits_the_exact_map_for_images_under_jit_and_vmap(name):
    x = jax.random.normal(jax.random.key(0), (2, 3, 2, 2, 1))
    got = jax.jit(jax.vmap(lambda x: run(name, x, 200, trajectory=True, **SAMPLERS[name])))(x)
    assert got.x.shape == x.shape and got.trajectory.shape == (2, 201, *x.shape[1:]) and got.nfe.shape == (2,)
    # Euler is of order 1 only: it is held to its exact factor below.
    np.testing.assert_allclose(got.x, PAIR.flow_map(x, 1.0, 0.0), atol=0.03 if name == "euler" else 1e-4)
    np.testing.assert_array_equal(got.trajectory[:, 0], x)
    np.testing.assert_array_equal(got.trajectory[:, -1], got.x)
    middle = PAIR.flow_map(x, 1.0, 0.5)
    np.testing.assert_allclose(got.trajectory[:, 100], middle, atol=0.03 if name == "euler" else 1e-3)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_trajectory_is_asked_for_and_changes_nothing_else(name):
    x = jnp.array([[0.5], [-1.0]])
    plain, traced = jax.jit(lambda x: (run(name, x, 8), run(name, x, 8, trajectory=True)))(x)
    assert plain.trajectory is None
    np.testing.assert_allclose(plain.x, traced.x, rtol=1e-6)
    assert plain.nfe == traced.nfe


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("variable", ["t", "sigma"])
def test_nfe_counts_the_calls(name, variable):
    calls = []

    def counting(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return PAIR.field()(x, t)

    out = jax.jit(lambda x: run(name, x, 5, field=counting, variable=variable))(jnp.ones((2, 1)))
    jax.effects_barrier()
    assert len(calls) == out.nfe == 5 * CALLS[name]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("steps", [1, 7, 32])
def test_standard_deviation_after_n_steps_is_the_product_of_factors(name, steps):
    pair = oracle.gaussian_pair(3.0, 0.5, 0.0, 1.0)
    with jax.enable_x64(True):
        x = jnp.array([[-1.0], [1.0]])
        exact = getattr(pair, f"{name}_std")(steps)
        out = run(name, x, steps, field=pair.field())
        np.testing.assert_allclose(out.x, 3 + exact * x, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(spread(name, steps, pair, jnp.float32(x)), exact, atol=1e-5)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
@pytest.mark.parametrize("variable", ["t", "sigma"])
def test_order_of_convergence_by_halving_on_eight_gaussians(name, order, variable):
    # From t = 0.9, where sigma / alpha is finite, and fine enough for the leading term to rule.
    with jax.enable_x64(True):
        x, field = 1.5 * jax.random.normal(jax.random.key(0), (16, 2)), EIGHT.field(PROCESS)
        draw = samplers.find(name)

        def end(steps, draw=draw, variable=variable):
            return draw(field, PROCESS, x, np.linspace(0.9, 0.3, steps + 1), variable=variable).x

        exact = end(800, samplers.find("heun"), "t")
        coarse, fine = (jnp.sqrt(jnp.mean((end(steps) - exact) ** 2)) for steps in (50, 100))
    assert abs(np.log2(coarse / fine) - order) < 0.15


@pytest.mark.parametrize("name", CALLS)
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


@pytest.mark.parametrize("name", CALLS)
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
    with pytest.raises(UserError, match="no sampler 'guidance'"):
        samplers.find("guidance")
    with pytest.raises(UserError, match=r"'euler' has no option 'varable'.*'variable'"):
        samplers.find("euler", varable="t")
    with pytest.raises(UserError, match="variable='snr'"):
        run("heun", jnp.ones((1, 1)), 2, variable="snr")
