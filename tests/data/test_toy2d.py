"""Densities integrate to 1, entropies are those of the densities, and samples come from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import data
from research.data import toy2d
from research.errors import UserError

SAMPLES = 200_000


def log_prob(toy, x):
    """log p at x [B, 2] as float64 [B], in pieces, so that an array [B, centres] never exists."""
    pieces = jax.lax.map(toy.log_prob, jnp.asarray(x, jnp.float32).reshape(-1, 800, 2))
    return np.asarray(pieces, np.float64).ravel()


def draw(toy, n, seed=0):
    rng = np.random.default_rng(seed)
    component = rng.integers(0, toy.components, n)
    return toy.sample(rng, component).astype(np.float32), component


@pytest.fixture(scope="module")
def grids():
    """For each set: log p on the cells of a grid over [-6, 6]^2, and the area of a cell."""
    axis = np.arange(-6, 6, 0.06) + 0.03  # below every std, where such sums converge fast
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    return {name: (x, log_prob(toy, x), 0.06**2) for name, toy in toy2d.TOYS.items() if name != "checkerboard"}


@pytest.mark.parametrize("name", sorted(set(toy2d.TOYS) - {"checkerboard"}))
def test_density_integrates_to_one_and_entropy_is_its_own(grids, name):
    _, log_p, area = grids[name]
    p = np.exp(log_p)
    np.testing.assert_allclose(p.sum() * area, 1, atol=1e-4)
    entropy = -np.sum(p * np.where(p > 0, log_p, 0)) * area
    np.testing.assert_allclose(toy2d.TOYS[name].entropy, entropy, atol=1e-3)


def test_checkerboard_is_uniform_on_every_other_unit_square():
    toy = toy2d.TOYS["checkerboard"]
    centres = np.stack(np.meshgrid(*[np.arange(-3.5, 4)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    p = np.exp(np.asarray(toy.log_prob(jnp.asarray(centres))))
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-6)  # squares of area 1
    assert set(np.round(p, 6)) == {0, 0.125}
    np.testing.assert_allclose(toy.entropy, np.log(8))
    assert np.isfinite(log_prob(toy, draw(toy, SAMPLES)[0])).all()  # not one sample is outside


@pytest.mark.parametrize("name", sorted(toy2d.TOYS))
def test_entropy_is_minus_the_mean_log_prob_of_samples(name):
    toy = toy2d.TOYS[name]
    values = -log_prob(toy, draw(toy, SAMPLES)[0])
    # 1e-4: the stated entropy is rounded to four places.
    assert abs(values.mean() - toy.entropy) < 3 * values.std() / np.sqrt(SAMPLES) + 1e-4


@pytest.mark.parametrize("name", sorted(set(toy2d.TOYS) - {"checkerboard"}))
def test_samples_have_the_moments_of_the_density(grids, name):
    x, log_p, area = grids[name]
    p, drawn = np.exp(log_p) * area, draw(toy2d.TOYS[name], 50_000, seed=1)[0].astype(np.float64)
    for moment in (lambda x: x[:, 0], lambda x: x[:, 1], lambda x: x[:, 0] * x[:, 1], lambda x: x[:, 0] ** 2):
        stderr = moment(drawn).std() / np.sqrt(len(drawn))
        assert abs(moment(drawn).mean() - p @ moment(x)) < 4 * stderr


def test_8gaussians_has_the_stated_radius_and_std():
    x, k = draw(toy2d.TOYS["8gaussians"], 80_000)
    for component in range(8):
        own = x[k == component]
        angle = np.pi * component / 4
        np.testing.assert_allclose(own.mean(axis=0), [2 * np.cos(angle), 2 * np.sin(angle)], atol=0.01)
        np.testing.assert_allclose(own.std(axis=0), 0.2, atol=0.005)
    # Far apart, the entropy is that of the choice plus that of a Gaussian, up to the overlap.
    apart = np.log(8) + np.log(2 * np.pi * np.e * 0.2**2)
    assert apart - 1e-3 < toy2d.TOYS["8gaussians"].entropy < apart


def test_rings_in_closed_form_are_the_circle_integrated():
    rings, x = toy2d.rings(), draw(toy2d.rings(), 1600)[0]
    radii = np.array([0.5, 1.0, 1.5, 2.0])
    by_quadrature = toy2d.blurred(
        lambda k, u: toy2d.polar(radii[k], 2 * np.pi * u), components=4, std=0.08, entropy=0.0, nodes=512
    )
    np.testing.assert_allclose(log_prob(rings, x), log_prob(by_quadrature, x), atol=2e-5)


@pytest.mark.parametrize("name, curve, components, nodes", [
    ("two_moons", toy2d._moon, 2, 128), ("spirals", toy2d._spiral, 2, 384), ("swiss_roll", toy2d._roll, 1, 384),
])  # fmt: skip
def test_more_quadrature_nodes_change_nothing(name, curve, components, nodes):
    x = draw(toy2d.TOYS[name], 1600)[0]
    finer = toy2d.blurred(curve, components, std=0.1, entropy=0.0, nodes=nodes)
    np.testing.assert_allclose(log_prob(toy2d.TOYS[name], x), log_prob(finer, x), atol=1e-5)


@pytest.mark.parametrize("name", sorted(toy2d.TOYS))
def test_components_are_equally_likely_and_apart(section, name):
    batch = data.load(section(name, size=8000)).train.gather(np.arange(8000))
    if name in ("checkerboard", "swiss_roll"):
        assert "condition" not in batch
        return
    counts = np.bincount(batch["condition"])
    assert np.abs(counts - 8000 / len(counts)).max() < 5 * np.sqrt(8000 / len(counts))
    # The nearest other point has the same label nearly always: the label says where a point is.
    x, k = batch["x"][:1000], batch["condition"][:1000]
    distance = np.linalg.norm(x[:, None] - x, axis=-1) + 1e9 * np.eye(1000)
    assert (k[distance.argmin(axis=1)] == k).mean() > 0.93


@pytest.mark.parametrize("name", sorted(set(toy2d.TOYS) - {"checkerboard"}))
def test_the_score_is_finite_also_at_zero_and_far_away(name):
    x = jnp.array([[0.0, 0.0], [6.0, -6.0], [-2.0, 0.0]])
    score = jax.jit(jax.grad(lambda x: toy2d.TOYS[name].log_prob(x).sum()))(x)
    assert np.isfinite(score).all()
    if name != "pinwheel":  # whose turn grows without bound
        assert (score[1] * x[1]).sum() < 0  # towards the data


def test_turning_by_the_radius_keeps_areas():
    """The pinwheel with no turn is five blobs in a star; the turn must not change the entropy."""
    still, turned = toy2d.pinwheel(rate=0.0), toy2d.pinwheel()
    means = [-log_prob(toy, draw(toy, 40_000)[0]).mean() for toy in (still, turned)]
    np.testing.assert_allclose(*means, atol=1e-4)  # the same draws, turned


def test_no_points_is_a_mistake(section):
    with pytest.raises(UserError, match=r"data\.size is 0"):
        data.load(section("rings", size=0))
