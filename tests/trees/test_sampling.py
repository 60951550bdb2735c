"""Rows that are drawn: how many, that sums over them are right on the average, and that devices change no bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from research.trees import boosting, objectives, oblivious, sampling

ROWS, SHARE = 400, 0.3
RNG = np.random.default_rng(0)
G = jnp.asarray(RNG.standard_t(2, (ROWS, 1)), jnp.float32)  # a few rows with great gradients
W = jnp.asarray(RNG.uniform(0.5, 2, (ROWS, 1)), jnp.float32)


def options(**fields):
    return boosting.Options(row_share=SHARE, **fields)


def draws(g=G, w=W, count=2000, **fields):
    """`draw` for many keys: (g, w) that count, [keys, N, ...] each, and sample [keys, N]."""
    keys = jax.random.split(jax.random.key(0), count)

    def one(key):
        g_drawn, w_drawn, sample = sampling.draw(key, g, w, None, options(**fields), len(g))
        w_drawn = jnp.ones_like(g[:, :1]) if w_drawn is None else w_drawn
        return *(jnp.where(sample[:, None], x, 0) for x in (g_drawn, w_drawn)), sample

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys))


def probabilities(g, share=SHARE):
    with jax.enable_x64(True):
        return np.asarray(sampling.probabilities(jnp.asarray(g, jnp.float32), share, None, len(g)))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("outputs", [1, 3])
def test_probabilities_are_those_of_the_formula(share, outputs):
    g = RNG.standard_t(2, (1000, outputs))
    p = probabilities(g, share)
    s = np.sqrt((g**2).sum(1) + np.linalg.norm(g, axis=1).mean() ** 2)
    mu = (s / p)[p < 1]
    np.testing.assert_allclose(mu, mu[0], rtol=1e-5)
    np.testing.assert_allclose(p, np.minimum(1, s / mu[0]), rtol=1e-5)
    np.testing.assert_allclose(p.sum(), share * 1000, rtol=1e-5)
    assert p.min() > 0 and (share != 0.9 or (p == 1).sum() > 100)


def test_sums_are_unbiased_and_vary_less_than_with_bernoulli():
    g, w, sample = draws(mvs=True)
    error = np.sqrt(ROWS * SHARE / len(sample))
    assert abs(sample.sum(1).mean() - ROWS * SHARE) < 4 * error
    for drawn, whole in ((g, G), (w, W)):
        sums = drawn.sum((1, 2))
        assert abs(sums.mean() - float(whole.sum())) < 4 * sums.std() / np.sqrt(len(sums))
    bernoulli = draws()[0].sum((1, 2)) / SHARE
    assert g.sum((1, 2)).std() < 0.6 * bernoulli.std()


@pytest.mark.parametrize("mvs", [False, True])
def test_rows_that_are_drawn_weigh_what_they_should(mvs):
    g, w, sample = draws(count=20, mvs=mvs)
    p = probabilities(G) if mvs else np.ones(ROWS)
    for drawn, whole in ((g, G), (w, W)):
        np.testing.assert_allclose(drawn[..., 0], sample * np.asarray(whole)[:, 0] / p, rtol=1e-5)


def test_without_weights_rows_weigh_their_probabilities_inverse():
    _, w, sample = draws(w=None, count=5, mvs=True)
    np.testing.assert_allclose(w[..., 0], sample / probabilities(G), rtol=1e-5)


@pytest.mark.parametrize("g", [np.full((ROWS, 1), -2.5), np.zeros((ROWS, 1)), np.full((ROWS, 2), 1e-12)])
def test_equal_gradients_are_drawn_as_by_bernoulli(g):
    g = jnp.asarray(g, jnp.float32)
    np.testing.assert_array_equal(draws(g, count=50, mvs=True)[2], draws(g, count=50)[2])
    np.testing.assert_allclose(probabilities(g), SHARE, rtol=1e-6)


def test_rows_with_huge_gradients_always_count_and_no_more_than_once():
    g = jnp.asarray(RNG.normal(size=(ROWS, 1)), jnp.float32).at[jnp.asarray([3, 77])].set(1000)
    found, _, sample = draws(g, count=200, mvs=True)
    assert sample[:, [3, 77]].all() and (found[:, [3, 77]] == 1000).all()
    assert 0 < sample[:, 0].mean() < 1


@pytest.mark.parametrize("share", [1.0, jnp.float32(1.0)])
def test_a_share_of_all_rows_is_all_rows(share):
    np.testing.assert_array_equal(probabilities(G, share), np.ones(ROWS))


@pytest.mark.parametrize("kind, size", [("rows", 3), ("features", 2)])
def test_devices_change_no_bit(kind, size):
    codes = RNG.integers(0, 9, (5, 203))
    y, w = np.sin(codes[0]) + RNG.standard_t(2, 203), RNG.uniform(0.5, 2, 203)
    mesh = jax.make_mesh((size,), ("trees",), axis_types=(AxisType.Auto,), devices=jax.devices()[:size])

    def boost(mesh=None):
        how = options(tree=oblivious.Options(depth=2), mvs=True)
        args = (jnp.asarray(codes, jnp.uint8), codes.max(1), *(jnp.asarray(x, jnp.float32) for x in (y, w)))
        return boosting.boost(*args, objectives.squared(), how, jax.random.key(0), 4, mesh=mesh, kind=kind)

    jax.tree.map(np.testing.assert_array_equal, boost(), boost(mesh))


def test_mu_is_the_same_for_many_models_at_once():
    gs = jnp.stack([G, G[::-1] ** 3, jnp.ones_like(G)])
    with jax.enable_x64(True):
        many = jax.jit(jax.vmap(lambda g: sampling.probabilities(g, SHARE, None, ROWS)))(gs)
    for g, p in zip(gs, many):
        np.testing.assert_array_equal(p, probabilities(g))


def test_padding_takes_no_share():
    with jax.enable_x64(True):
        longer = jnp.concatenate([G, jnp.zeros((11, 1))]).astype(jnp.float32)
        p = sampling.probabilities(longer, SHARE, jnp.arange(ROWS + 11) < ROWS, ROWS)
    np.testing.assert_array_equal(p[ROWS:], 0)
    np.testing.assert_array_equal(p[:ROWS], probabilities(G))
