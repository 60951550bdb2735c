"""Boosting: the same bits on any number of devices and in any division into blocks, and what a run must do."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from research.errors import UserError
from research.trees import boosting, objectives, oblivious

ROWS, FEATURES, BINS = 203, 5, 9  # no multiple of any number of devices


def table(seed=0, rows=ROWS):
    """codes [F, N], y [N], weights [N]."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, BINS, (FEATURES, rows))
    y = np.sin(codes[0]) + (codes[1] > 4) * codes[2] / 3 + rng.normal(size=rows) / 5
    to = lambda x: jnp.asarray(x, jnp.float32)  # noqa: E731
    return jnp.asarray(codes, jnp.uint8), to(y), to(rng.uniform(0.5, 2, rows))


def options(rate=0.3, tree=None, **fields):
    return boosting.Options(oblivious.Options(**{"depth": 3, "l2": 1.0} | (tree or {})), rate=rate, **fields)


def boost(codes, y, w=None, objective=None, num_trees=4, key=0, state=None, mesh=None, kind="rows", **fields):
    objective, counts, how = objective or objectives.squared(), np.asarray(codes).max(1), options(**fields)
    key = jax.random.key(key)
    return boosting.boost(codes, counts, y, w, objective, how, key, num_trees, state, mesh=mesh, kind=kind)


def mesh(size):
    return jax.make_mesh((size,), ("trees",), axis_types=(AxisType.Auto,), devices=jax.devices()[:size])


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


RANDOM = {"tree": {"random_strength": 1.0, "level_features": 0.5}, "row_share": 0.7}
CASES = {
    "plain": {},
    "random": RANDOM,
    "weights": {"weighted": True, "temperature": 1.0, "tree": {"score": "l2"}, "leaf_iterations": 2},
    "median": {"objective": objectives.absolute(), "leaf_method": "exact", "weighted": True},
}


@pytest.mark.parametrize("kind", ["rows", "features"])
@pytest.mark.parametrize("case", CASES)
def test_devices_change_no_bit(case, kind):
    codes, y, w = table()
    fields = dict(CASES[case])
    w = w if fields.pop("weighted", False) else None
    one = boost(codes, y, w, **fields)
    for size in (2, 4) if case == "plain" else (3,):
        same(one, boost(codes, y, w, mesh=mesh(size), kind=kind, **fields))


def test_padding_says_nothing():
    """The row that fills up a shard copies the last one, whose label is large, but falls in other leaves."""
    codes, y, _ = table()
    codes, y = codes.at[:, -1].set(8).at[:, 0].set(0), y.at[-1].set(3000)
    same(boost(codes, y, rate=0.9), boost(codes, y, rate=0.9, mesh=mesh(2)))


@pytest.mark.parametrize("kind", ["rows", "features"])
def test_devices_change_no_bit_of_many_outputs(kind):
    codes, y, _ = table()
    labels = jnp.digitize(y, jnp.asarray([-0.3, 0.5])).astype(jnp.int32)
    fields = {"objective": objectives.softmax(3), "leaf_method": "newton", "hessian_score": True}
    one = boost(codes, labels, **fields)
    assert one[1].leaves.shape == (4, 8, 3) and one[1].loss[-1] < 0.8 * np.log(3)
    same(one, boost(codes, labels, mesh=mesh(2), kind=kind, **fields))


def test_two_blocks_are_one():
    codes, y, _ = table()
    whole, trees = boost(codes, y, num_trees=5, **RANDOM)
    state, first = boost(codes, y, num_trees=2, **RANDOM)
    assert int(state.tree) == 2
    state, second = boost(codes, y, num_trees=3, state=state, key=99, **RANDOM)  # the key is the state's
    same(whole, state)
    same(trees, jax.tree.map(lambda *x: jnp.concatenate(x), first, second))
    assert not np.array_equal(trees.threshold, boost(codes, y, num_trees=5, key=1, **RANDOM)[1].threshold)


TRACED = """
import jax, jax.numpy as jnp, numpy as np
from research.trees import boosting, objectives, oblivious
codes = np.random.default_rng(0).integers(0, 9, (5, 3000))
y = jnp.asarray(1e4 * np.sin(codes[0] * codes[1]), jnp.float32)

def run(rate):
    state = boosting.init(y, None, objectives.squared(), jax.random.key(0))
    rest = (y, None, objectives.squared(), boosting.Options(oblivious.Options(), rate=rate), state, 10)
    return boosting.block(jnp.asarray(codes, jnp.uint8), jnp.full(5, 8, jnp.int32), *rest, num_bins=9)[1].leaves

with jax.enable_x64(True):
    print((jax.jit(lambda: run(0.1))() != jax.jit(run)(np.float32(0.1))).sum())
"""


def test_a_rate_has_the_same_bits_known_and_traced():
    """What the compiler makes of a number that it knows: it multiplied before it divided, which rounds otherwise.

    In a process of its own, since tests do without the part of the compiler that does so.
    """
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["0"], done.stderr


def test_no_number_of_64_bits_comes_out():
    for leaf in jax.tree.leaves(boost(*table())):
        assert leaf.dtype.itemsize <= 4


def test_scores_leaves_and_losses_belong_together():
    """The score is the start and the leaf values that the codes lead to; loss and cover are what numpy says."""
    codes, y, w = table()
    state, trees = boost(codes, y, w)
    score = np.full(ROWS, np.average(y, weights=w), np.float32)
    for t in range(4):
        right = np.asarray(codes)[trees.feature[t]] > np.asarray(trees.threshold[t])[:, None]
        leaf = (right << np.arange(3)[:, None]).sum(0)
        g, of_w = (np.bincount(leaf, x, minlength=8) for x in (w * (y - score), w))
        want = 0.3 * g / (of_w + 1.0 * float(w.mean()))  # l2 in units of a mean weight
        np.testing.assert_allclose(trees.leaves[t, :, 0], want, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(trees.cover[t], of_w, rtol=1e-5)
        score += np.asarray(trees.leaves)[t, leaf, 0]
        np.testing.assert_allclose(trees.loss[t], np.average((y - score) ** 2 / 2, weights=w), rtol=1e-5)
    np.testing.assert_allclose(state.score[:, 0], score, rtol=1e-5)


@pytest.mark.parametrize("score", ["l2", "cosine"])
def test_loss_never_rises_with_exact_leaves(score):
    codes, y, _ = table()
    loss = boost(codes, y, num_trees=30, rate=1.0, tree={"l2": 0.0, "score": score})[1].loss
    assert (np.diff(loss) <= 1e-7).all() and loss[-1] < 0.25 * loss[0]


def test_xor_is_fitted_by_a_tree_of_depth_two():
    """No first question gains anything there."""
    codes = np.zeros((FEATURES, 40), int)
    codes[1], codes[3] = np.arange(40) % 2, np.arange(40) // 2 % 2
    y = jnp.asarray(codes[1] ^ codes[3], jnp.float32)
    for score in ("l2", "cosine"):
        tree = {"depth": 2, "l2": 0.0, "score": score}
        _, trees = boost(jnp.asarray(codes, jnp.uint8), y, num_trees=1, rate=1.0, tree=tree)
        assert trees.loss[0] < 1e-12


def test_newton_takes_another_step_than_the_gradient():
    codes, y, _ = table()
    labels = (y > 0.3).astype(jnp.float32)
    fields = {"objective": objectives.logistic(), "num_trees": 1, "rate": 1.0}
    _, gradient = boost(codes, labels, **fields)
    _, newton = boost(codes, labels, leaf_method="newton", **fields)
    _, more = boost(codes, labels, leaf_method="newton", leaf_iterations=4, **fields)
    assert more.loss[0] < newton.loss[0] < gradient.loss[0]


def test_sampled_rows_shape_the_tree_and_all_rows_its_leaves():
    codes, y, _ = table()
    _, trees = boost(codes, y, row_share=0.3, num_trees=6)
    np.testing.assert_array_equal(trees.cover.sum(1), np.full(6, ROWS))
    assert not np.array_equal(trees.threshold, boost(codes, y, num_trees=6)[1].threshold)
    _, bayesian = boost(codes, y, temperature=1.0, num_trees=6)
    np.testing.assert_array_equal(bayesian.cover.sum(1), np.full(6, ROWS))
    assert not np.array_equal(trees.threshold, bayesian.threshold)
    almost = boost(codes, y, temperature=1e-6, num_trees=3)[1].threshold  # all weights near 1
    np.testing.assert_array_equal(almost, boost(codes, y, num_trees=3)[1].threshold)


def test_float32_sums_train_as_well():
    codes, y, _ = table()
    loss, exact = (boost(codes, y, num_trees=10, tree={"exact": how})[1].loss for how in (False, True))
    np.testing.assert_allclose(loss, exact, rtol=0.05)


def test_many_models_are_one_program_with_the_bits_of_each():
    """A batch over labels, keys and l2, which is traced then."""
    codes, y, _ = table()
    ys, l2s = jnp.stack([y, -y, jnp.cos(3 * y)]), jnp.asarray([0.5, 1.0, 3.0], jnp.float32)
    keys = jax.random.split(jax.random.key(0), 3)

    def one(y, key, l2):
        state = boosting.init(y, None, objectives.squared(), key)
        how = options(tree={"l2": l2}, row_share=0.7)
        counts = codes.max(1).astype(jnp.int32)
        return boosting.block(codes, counts, y, None, objectives.squared(), how, state, 3, num_bins=BINS)

    with jax.enable_x64(True):
        many = jax.jit(jax.vmap(one))(ys, keys, l2s)
        for i in range(3):
            same(jax.tree.map(lambda x: x[i], many), jax.jit(one)(ys[i], keys[i], l2s[i]))  # noqa: B023


def test_a_mesh_of_two_axes_is_refused():
    two = jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:4])
    with pytest.raises(UserError, match="mesh of one axis"):
        boost(*table()[:2], mesh=two)
