"""Trees on sorted columns: all splits, and those at weighted quantiles, against a search in numpy and against hist."""

import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from configs import base
from research import trees
from research.errors import UserError
from research.trees import approx, boosting, exact, levelwise, objectives

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3)).astype(np.float32)
G, H = RNG.normal(size=120).astype(np.float32), RNG.uniform(0.1, 1, 120).astype(np.float32)
HOLES = np.where(RNG.random(X.shape) < [0.2, 0, 0.5], np.nan, np.round(X, 1)).astype(np.float32)


def grow(x, options, sample=None, g=G, h=H):
    """(Tree, node) in numpy."""
    with jax.enable_x64(True):
        columns, counts = exact.columns(x)
        args = columns, counts, jnp.asarray(g)[:, None], jnp.asarray(h)[:, None], options, jax.random.key(0)
        return jax.tree.map(np.asarray, jax.jit(lambda: exact.grow(*args, sample=sample))())


def search(x, rows, options):
    """(gain, feature, border, missing right) of the best split of some rows, by trying all."""

    def score(part):
        g, h = G[part].astype(float).sum(), H[part].astype(float).sum()
        return max(abs(g) - options.l1, 0) ** 2 / (h + options.l2), h

    found = (0.0, -1, 0, False)
    for f in range(x.shape[1]):
        column = x[rows, f]
        values = np.unique(column[~np.isnan(column)])
        borders = [(np.float32(a) + np.float32(b)) / 2 for a, b in itertools.pairwise(values)]
        if np.isnan(column).any() and len(values):
            borders.append(values[-1] + abs(values[-1]) + np.float32(1e-6))
        for border in borders:
            for right in (True, False) if np.isnan(x[:, f]).any() else (False,):
                goes = np.where(np.isnan(column), right, column >= border)
                sides = [score(rows[goes]), score(rows[~goes])]
                if goes.any() and not goes.all() and min(h for _, h in sides) >= options.least_weight:
                    gain = sides[0][0] + sides[1][0] - score(rows)[0]
                    found = max(found, (gain, f, border, right), key=lambda a: a[0])
    return found


@pytest.mark.parametrize("x", [X, HOLES], ids=["dense", "holes"])
@pytest.mark.parametrize("sampled", [False, True])
def test_each_node_takes_the_best_of_all_splits(x, sampled):
    options = levelwise.Options(3, l2=0.5, l1=0.2, least_weight=2.0, learn_missing=True, cuts="exact")
    sample = jnp.asarray(RNG.random(120) < 0.7) if sampled else None
    tree, node = grow(x, options, sample)
    inside = {0: np.arange(120)}
    for i in range(7):
        if i not in inside:
            assert tree.feature[i] == -1
            continue
        rows = inside[i][np.asarray(sample)[inside[i]]] if sampled else inside[i]
        gain, f, border, _ = search(x, rows, options)
        assert tree.feature[i] == f and tree.gain[i] == pytest.approx(gain, rel=1e-5)
        assert tree.threshold[i] == pytest.approx(border, rel=1e-6)
        if f < 0:
            np.testing.assert_array_equal(node[inside[i]], i)
            continue
        column = x[inside[i], tree.feature[i]]
        goes = np.where(np.isnan(column), tree.missing_right[i], column >= tree.threshold[i])
        inside[2 * i + 1], inside[2 * i + 2] = inside[i][~goes], inside[i][goes]
    for place, rows in inside.items():
        if place >= 7:
            np.testing.assert_array_equal(node[rows], place)


@pytest.mark.parametrize("least, kept", [(0.0, [0, 1, 2]), (7.9, [0, 1, 2]), (8.1, [0, 2]), (31.9, [0, 2]), (32.1, [])])
def test_a_split_is_taken_back_unless_one_below_gains_enough(least, kept):
    # Four rows a corner, near an exclusive or. Scores are G^2 / rows: 36 / 8 on either side of the root, which gains 9;
    # its children gain (1 + 49) / 4 - 36 / 8 = 8 and (25 + 121) / 4 - 36 / 8 = 32.
    x = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], 4, axis=0).astype(np.float32)
    g = np.repeat([0.25, -1.75, -1.25, 2.75], 4).astype(np.float32)
    options = levelwise.Options(2, l2=0.0, least_weight=0.0, least_gain=least, cuts="exact")
    tree, node = grow(x, options, g=g, h=np.ones_like(g))
    assert np.flatnonzero(tree.feature >= 0).tolist() == kept
    np.testing.assert_allclose(tree.gain[kept], np.array([9, 8, 32])[kept], rtol=1e-6)
    right, upper = x.T.astype(int)
    wanted = np.where(right == 1, 5 + upper, 3 + upper if 1 in kept else 1) if kept else 0
    np.testing.assert_array_equal(node, wanted)


def model(x, y, **fields):
    config = base.gbdt().to_dict() | {"num_trees": 4, "depth": 3, "borders": "xgboost", "newton": True, "block": 4}
    return trees.fit(x, y, types.SimpleNamespace(**config | {"leaf_method": "newton"} | fields))


def test_with_few_values_all_methods_part_rows_alike():
    x = np.where(np.isnan(HOLES), np.nan, np.clip(np.round(HOLES * 2), -3, 3)).astype(np.float32)
    y = (x[:, 1] + np.isnan(x[:, 0])).astype(np.float32) + G
    wanted = trees.predict(model(x, y), x)
    for how in ({"tree_method": "exact"}, {"tree_method": "approx"}, {"tree_method": "approx", "proposals": "local"}):
        np.testing.assert_allclose(trees.predict(model(x, y, **how), x), wanted, atol=1e-5, err_msg=str(how))


@pytest.mark.parametrize("bins", [4, 10, 30])
@pytest.mark.parametrize("h", [H, np.ones_like(H), H**4], ids=["weights", "equal", "uneven"])
def test_cuts_are_weighted_quantiles(bins, h):
    with jax.enable_x64(True):
        codes, table = jax.tree.map(np.asarray, approx.cut(exact.columns(X)[0], jnp.asarray(h)[:, None], bins))
    for f in range(3):
        borders = table[f][np.isfinite(table[f])]
        assert len(borders) <= bins - 1
        np.testing.assert_array_equal(codes[f], np.searchsorted(borders, X[:, f], "right"))
        below = np.array([0, *(h[X[:, f] < b].sum() for b in borders), h.sum()]) / h.sum()
        for i in range(1, bins):  # the rank error: each quantile has a cut less than a row's weight above it
            above = below[below >= i / bins - 1e-6].min()
            assert above - i / bins <= h.max() / h.sum() + 1e-6
        if (h == 1).all():
            np.testing.assert_array_equal(below[1:-1], np.ceil(120 * np.arange(1, bins) / bins) / 120)


def test_missing_values_have_a_code_of_their_own():
    with jax.enable_x64(True):
        codes, _ = approx.cut(exact.columns(HOLES)[0], None, 5)
    np.testing.assert_array_equal(np.asarray(codes).T == 5, np.isnan(HOLES))


def test_local_proposals_do_with_fewer_bins():
    """Figure 3 of the paper: with as few bins local cuts fit better, for they are refined as the tree deepens."""
    x = RNG.random((1000, 1)).astype(np.float32)
    y = np.sin(20 * x[:, 0])
    how = {"depth": 5, "num_trees": 1, "learning_rate": 1.0, "reg_lambda": 0.0, "tree_method": "approx"}
    error = {
        (kind, bins): np.mean((trees.predict(model(x, y, **how, proposals=kind, border_count=bins - 1), x) - y) ** 2)
        for kind, bins in (("global", 4), ("local", 4), ("global", 64))
    }
    assert error["local", 4] < 0.2 * error["global", 4]
    assert error["local", 4] < 4 * error["global", 64]


def test_what_sorted_columns_cannot_is_refused():
    columns, counts = exact.columns(X)
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    options = boosting.Options(levelwise.Options(2, cuts="exact"))
    with pytest.raises(UserError, match="grow on one device, not 2"):
        boosting.boost(columns, counts, G, None, objectives.squared(), options, jax.random.key(0), 1, mesh=mesh)
