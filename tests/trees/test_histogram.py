"""Sums over feature, bin and leaf against loops in numpy, in each mode and lowering."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.trees import histogram

ROWS, FEATURES, BINS, LEAVES = 203, 3, 7, 4
LOWERINGS = {"scatter": histogram.by_scatter, "product": histogram.by_product, "atomics": histogram.by_atomics}


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def table(outputs=1, seed=0, rows=ROWS):
    """codes, leaf, gradients of very different sizes, weights."""
    rng = np.random.default_rng(seed)
    codes = jnp.asarray(rng.integers(0, BINS, (FEATURES, rows)), jnp.uint8)
    leaf = jnp.asarray(rng.integers(0, LEAVES, rows), jnp.int32)
    g = rng.normal(size=(rows, outputs)) * 10.0 ** np.arange(outputs)
    return codes, leaf, jnp.asarray(g, jnp.float32), jnp.asarray(rng.uniform(0, 3, (rows, 1)), jnp.float32)


def brute(codes, leaf, values):
    """[F, B, L, C] in float64: rows of a leaf with code <= bin."""
    codes, leaf, values = np.asarray(codes), np.asarray(leaf), np.asarray(values, np.float64)
    sums = np.zeros((len(codes), BINS, LEAVES, values.shape[1]))
    for f, b, l in np.ndindex(sums.shape[:3]):
        sums[f, b, l] = values[(codes[f] <= b) & (leaf == l)].sum(0)
    return sums


def sums(how, codes, leaf, packed):
    return LOWERINGS[how](codes, leaf, packed, BINS, LEAVES, lambda sums: sums)


@pytest.mark.parametrize("how", LOWERINGS)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("mode", ["one word", "weights", "many rows", "float32"])
def test_sums_are_those_of_a_loop(how, outputs, mode, monkeypatch):
    codes, leaf, g, w = table(outputs)
    if mode == "many rows":
        monkeypatch.setattr(histogram, "ONE_WORD_ROWS", 10)
    packed = histogram.pack(g, w if mode == "weights" else None, num_rows=ROWS, exact=mode != "float32")
    assert (packed.words.shape[1] == outputs) == (mode == "one word")
    got_g, got_w = histogram.unpack(packed, sums(how, codes, leaf, packed))
    tolerance = 1e-5 if mode == "float32" else 1e-7
    want = brute(codes, leaf, g)
    np.testing.assert_allclose(got_g, want, rtol=0, atol=tolerance * ROWS * np.abs(g).max())
    for k in range(outputs):  # each output has a scale of its own
        np.testing.assert_allclose(got_g[..., k], want[..., k], rtol=0, atol=tolerance * ROWS * np.abs(g[:, k]).max())
    np.testing.assert_allclose(got_w, brute(codes, leaf, w if mode == "weights" else jnp.ones_like(w)), atol=1e-3)


@pytest.mark.parametrize("outputs", [7, 8, 10])
def test_any_number_of_columns_has_the_same_bits(outputs):
    """One word an output, and one more for the weight."""
    codes, leaf, g, w = table(outputs)
    for weight in (None, w):
        packed = histogram.pack(g, weight, num_rows=ROWS)
        np.testing.assert_array_equal(*(sums(how, codes, leaf, packed) for how in LOWERINGS))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [64, 2**15])
def test_lowerings_have_the_same_bits(weighted, chunk, monkeypatch):
    codes, leaf, g, w = table(2)
    packed = histogram.pack(g, w if weighted else None, num_rows=ROWS)
    monkeypatch.setattr(histogram, "CHUNK", chunk)
    np.testing.assert_array_equal(*(sums(how, codes, leaf, packed) for how in LOWERINGS))


@pytest.mark.parametrize("rows", [1, 2, 127, 128, 129])
def test_no_gradient_overflows(rows):
    """All rows as large as the largest, in one leaf, of either sign; counts stay apart."""
    for value in (1e-30, 0.999999, 1.0, 3e20):
        for sign in (1, -1):
            g = jnp.full((rows, 1), sign * value, jnp.float32)
            packed = histogram.pack(g, num_rows=rows)
            for how in LOWERINGS:
                zeros = jnp.zeros(rows, jnp.int32)
                got_g, got_w = histogram.unpack(packed, sums(how, zeros[None], zeros, packed)[0, -1, 0])
                np.testing.assert_allclose(got_g, [rows * g[0, 0].astype(jnp.float64)], rtol=1e-9)
                assert got_w == rows


def test_order_of_rows_changes_no_bit():
    codes, leaf, g, _ = table()
    order = np.random.default_rng(1).permutation(ROWS)
    a, b = (histogram.pack(x, num_rows=ROWS) for x in (g, g[order]))
    for how in LOWERINGS:
        np.testing.assert_array_equal(sums(how, codes, leaf, a), sums(how, codes[:, order], leaf[order], b))
    np.testing.assert_array_equal(histogram.total(g, ROWS), histogram.total(g[order], ROWS))
    np.testing.assert_array_equal(
        *(histogram.leaf_total(x, i, LEAVES, ROWS) for x, i in [(g, leaf), (g[order], leaf[order])])
    )


def test_rows_out_of_the_sample_are_not_there():
    codes, leaf, g, _ = table()
    inside = np.arange(ROWS) % 3 > 0
    packed = histogram.pack(g, sample=jnp.asarray(inside), num_rows=ROWS)
    got_g, got_w = histogram.unpack(packed, histogram.each(codes, leaf, packed, BINS, LEAVES))
    np.testing.assert_allclose(got_g, brute(codes[:, inside], leaf[inside], g[inside]), atol=1e-4)
    np.testing.assert_array_equal(got_w, brute(codes[:, inside], leaf[inside], jnp.ones((inside.sum(), 1))))


@pytest.mark.parametrize("how", LOWERINGS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_of_models_is_each_of_them(how, weighted):
    """Two batch dimensions, of which the codes and the weights have none."""
    codes, leaf, g, w = table()
    leaves = jnp.stack([leaf, leaf[::-1], jnp.zeros_like(leaf)])
    gs = jnp.stack([g, -2 * g])

    def one(leaf, g):
        return sums(how, codes, leaf, histogram.pack(g, w if weighted else None, num_rows=ROWS))

    many = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(leaves, gs)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_array_equal(many[i, j], one(leaves[i], gs[j]))


@pytest.mark.parametrize("weighted", [False, True])
def test_two_features_at_a_time_have_the_same_bits(weighted, monkeypatch):
    """Three features: the last one has no partner. A batch, too."""
    codes, leaf, g, w = table()
    monkeypatch.setattr(histogram, "pair_pays", lambda *_: True)
    pairs = histogram.pairs(codes, BINS)
    assert pairs.shape == (2, ROWS) and pairs.dtype == jnp.uint16

    def one(g, pairs):
        packed = histogram.pack(g, w if weighted else None, num_rows=ROWS)
        return histogram.by_scatter(codes, leaf, packed, BINS, LEAVES, lambda sums: 2 * sums, pairs)

    np.testing.assert_array_equal(one(g, pairs), one(g, None))
    many = jax.vmap(lambda g: one(g, pairs))(jnp.stack([g, -g]))
    np.testing.assert_array_equal(many[1], one(-g, None))


def test_pairs_are_made_only_where_they_pay():
    codes = jnp.zeros((2, 1000), jnp.uint8)
    assert histogram.pairs(codes, 20) is not None and histogram.pairs(codes, 64) is None
    assert histogram.pairs(jnp.zeros((2, 200_000), jnp.uint16), 300) is None  # 300^2 is no uint16


def test_each_hands_the_features_to_finish_and_runs_on_this_platform():
    codes, leaf, g, _ = table()
    packed = histogram.pack(g, num_rows=ROWS)
    whole = histogram.each(codes, leaf, packed, BINS, LEAVES)
    last = jax.jit(lambda: histogram.each(codes, leaf, packed, BINS, LEAVES, lambda sums: sums[-1]))()
    np.testing.assert_array_equal(last, whole[:, -1])
    np.testing.assert_array_equal(histogram.over_features(lambda sums: sums[-1], whole), last)


def test_a_total_over_leaves_has_the_digits_of_float64():
    _, leaf, g, _ = table(2)
    got = histogram.leaf_total(g, leaf, LEAVES, ROWS)
    for l in range(LEAVES):
        np.testing.assert_allclose(got[l], np.asarray(g, np.float64)[leaf == l].sum(0), rtol=1e-12)
    np.testing.assert_allclose(histogram.total(g, ROWS), np.asarray(g, np.float64).sum(0), rtol=1e-12)
