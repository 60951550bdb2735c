"""Stacks: the reversible backward pass against the plain one, its memory and its program at any depth, conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import bijectors as bj
from research.bijectors import masks

D = 6


def conditioner(numbers=2, width=16, noisy=False):
    """One hidden layer; a float condition [B, K] or labels [B] below 3 are added to it; dropout where it gets a key."""

    def init(key, x, condition=None):
        a, b, c = jax.random.split(key, 3)
        told = 3 if condition is None or condition.ndim == 1 else condition.shape[1]
        params = {
            "in": jax.random.normal(a, (D, width)) / 3,
            "out": jax.random.normal(b, (width, numbers * D)) / 8,
            "told": jax.random.normal(c, (told, width)),
        }
        return params if condition is not None else {k: v for k, v in params.items() if k != "told"}

    def apply(params, x, condition=None, key=None):
        h = x @ params["in"]
        if condition is not None:
            h = h + (params["told"][condition] if condition.ndim == 1 else condition @ params["told"])
        h = jnp.tanh(h)
        if key is not None:
            h = h * jax.random.bernoulli(key, 0.5, h.shape) * 2
        return h @ params["out"]

    return (init, apply, True) if noisy else (init, apply)


def layer(noisy=False):
    mask = masks.alternating(D)
    couplings = (bj.affine_coupling(conditioner(noisy=noisy), m, "tanh") for m in (mask, ~mask))
    return bj.chain(*couplings, bj.invertible_conv(), bj.actnorm())


X = np.random.default_rng(0).normal(size=(32, D)).astype(np.float32)
CONDITIONS = {
    "none": None,
    "vectors": np.random.default_rng(1).normal(size=(32, 2)).astype(np.float32),
    "labels": np.arange(32) % 3,
}


def nll(flow):
    def loss(params, x, condition):
        z, log_det = flow.forward(params, x, condition)
        return jnp.mean(jnp.sum(z**2, axis=1) / 2 - log_det)

    return loss


@pytest.mark.parametrize("name", CONDITIONS)
def test_reversible_gradients_are_the_plain_ones(name):
    condition = CONDITIONS[name]
    reversible, plain = (bj.scan_chain(layer, 8, reversible=r) for r in (True, False))
    params = jax.jit(reversible.init)(jax.random.key(0), X, condition)
    wrt = (0, 1, 2) if name == "vectors" else (0, 1)
    found, expected = (jax.jit(jax.grad(nll(flow), wrt))(params, X, condition) for flow in (reversible, plain))
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected)):
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max() + 1e-7, path


def test_a_scanned_stack_is_the_chain_of_its_layers():
    flow = bj.scan_chain(layer, 5)
    params = jax.jit(flow.init)(jax.random.key(0), X)
    x, total = X, 0.0
    for i in range(5):
        x, log_det = layer().forward(jax.tree.map(lambda p, i=i: p[i], params), x)
        total = total + log_det
    z, log_det = flow.forward(params, X)
    np.testing.assert_allclose(z, x, atol=1e-5)
    np.testing.assert_allclose(log_det, total, atol=1e-4)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-4)  # the last layer ends with a fresh ActNorm
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-3)


def test_each_condition_has_its_own_map():
    flow = bj.scan_chain(layer, 2)
    params = flow.init(jax.random.key(0), X, CONDITIONS["labels"])
    z = flow.forward(params, X, CONDITIONS["labels"])[0]
    other = flow.forward(params, X, (CONDITIONS["labels"] + (np.arange(32) < 3)) % 3)[0]
    changed = np.abs(z - other).max(axis=1) > 1e-4
    assert changed.tolist() == [True] * 3 + [False] * 29
    back = flow.inverse(params, z, CONDITIONS["labels"])[0]
    np.testing.assert_allclose(back, X, atol=1e-4)


def test_noise_is_for_training_and_reaches_every_layer():
    flow = bj.scan_chain(lambda: layer(noisy=True), 3)
    params = flow.init(jax.random.key(0), X)
    first, second, again = (bj.train(flow, params, jax.random.key(k), X)[0] for k in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any() and (first != flow.forward(params, X)[0]).any()
    grads = jax.grad(lambda p: bj.train(flow, p, jax.random.key(0), X)[0].sum())(params)["params"]
    assert all((np.abs(g).reshape(3, -1).max(axis=1) > 0).all() for g in jax.tree.leaves(grads) if g.size)


def step(depth, reversible=True):
    flow = bj.scan_chain(layer, depth, reversible)
    params = jax.eval_shape(flow.init, jax.random.key(0), X)
    return jax.jit(jax.grad(nll(flow))).lower(params, X, None)


def test_the_program_does_not_grow_with_depth():
    assert step(8).as_text().count("\n") == step(64).as_text().count("\n")


def test_memory_of_the_backward_pass_does_not_grow_with_depth():
    """Temporary bytes, less those of the stacked parameters and their gradients."""

    def temporary(depth, reversible):
        compiled = step(depth, reversible).compile().memory_analysis()
        return compiled.temp_size_in_bytes

    grown = temporary(64, True) / temporary(8, True)
    assert temporary(64, False) > 4 * temporary(64, True) and grown < 1.3


def test_a_chain_measures_each_layer_on_what_reaches_it():
    flow = bj.chain(bj.scale(), bj.actnorm(), bj.reverse(), bj.actnorm())
    params = flow.init(jax.random.key(0), 3 * X + 5)
    z, _ = flow.forward(params, 3 * X + 5)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(params["params"]["3"]["log_scale"], 0, atol=1e-4)


def test_stats_of_a_chain_are_those_of_its_layers():
    flow = bj.chain(bj.reverse(), bj.batch_norm(0.5), bj.scale())
    params = flow.init(jax.random.key(0), X)
    assert set(params["stats"]) == {"1"}
    _, _, stats = flow.forward_train(params, jax.random.key(0), X + 2)
    moved = stats["1"]["mean"] - params["stats"]["1"]["mean"]
    np.testing.assert_allclose(moved, 1.0, atol=1e-4)  # half of the way to a mean that is 2 greater


def test_scanned_stats_are_stacked():
    flow = bj.scan_chain(bj.batch_norm, 3)
    params = flow.init(jax.random.key(0), X)
    z, log_det, stats = jax.jit(flow.forward_train)(params, jax.random.key(0), X)
    assert stats["mean"].shape == (3, D)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-3)
    np.testing.assert_allclose(log_det, -np.log(X.std(axis=0)).sum(), atol=1e-3)


def test_layers_that_are_written_out_are_the_same_program_of_the_same_params():
    looped, unrolled = (bj.scan_chain(layer, 4, unroll=u) for u in (False, True))
    params = jax.jit(looped.init)(jax.random.key(0), X)
    for a, b in zip(looped.forward(params, X), unrolled.forward(params, X)):
        np.testing.assert_allclose(a, b, atol=1e-5)
    program = lambda flow: str(jax.make_jaxpr(jax.grad(nll(flow)))(params, X, None))  # noqa: E731
    assert "length=4" in program(looped) and "unroll=4" in program(unrolled) and "unroll=4" not in program(looped)


def test_named_layers_keep_their_names_and_their_order():
    flow = bj.chain(bj.shift(), double=bj.scale(), turn=bj.reverse())
    params = flow.init(jax.random.key(0), X)
    assert set(params["params"]) == {"0", "double", "turn"}
    params["params"]["double"]["log_scale"] = jnp.log(jnp.arange(1.0, D + 1))
    z, log_det = flow.forward(params, X)
    np.testing.assert_allclose(z, ((X - X.mean(axis=0)) * np.arange(1, D + 1))[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(log_det, np.log(np.arange(1, D + 1)).sum(), rtol=1e-5)


def test_the_first_bad_part_is_named_through_chains_stacks_and_levels():
    levels = bj.multiscale([bj.chain(a=bj.shift(), b=bj.actnorm()), bj.scale()], [(2, 2, 4), (2, 2, 2)])
    x = np.random.default_rng(0).normal(size=(5, 2, 2, 4)).astype(np.float32)
    params = levels.init(jax.random.key(0), x)
    find = lambda flow, params, x: bj.first_bad(flow, params, jax.random.key(1), x)  # noqa: E731
    assert find(levels, params, x) is None
    params["params"]["level1"]["log_scale"] = params["params"]["level1"]["log_scale"] * np.nan
    assert find(levels, params, x) == "level1"
    params["params"]["level0"]["b"]["bias"] = params["params"]["level0"]["b"]["bias"] * np.nan
    assert find(levels, params, x) == "level0/b"
    stack = bj.scan_chain(layer, 3)
    params = stack.init(jax.random.key(0), X)
    params["params"]["3"]["bias"] = params["params"]["3"]["bias"].at[1].set(np.inf)  # the ActNorm of the second
    assert find(stack, params, X) == "1/3"
    assert find(bj.scale(), {"params": {"log_scale": np.full(D, np.nan)}}, X) == ""


def test_a_multiscale_latent_holds_first_what_left_first():
    x = np.arange(16, dtype=np.float32).reshape(1, 2, 2, 4)
    flow = bj.multiscale([bj.shift(), bj.shift()], [(2, 2, 4), (2, 2, 2)])
    params = {"params": {f"level{i}": {"bias": np.float32(10 * i)} for i in range(2)}}
    z, _ = flow.forward(params, x)
    np.testing.assert_array_equal(z[0, :8], x[0, :, :, 2:].reshape(-1))
    np.testing.assert_array_equal(z[0, 8:], x[0, :, :, :2].reshape(-1) + 10)


def test_what_a_batch_measures_at_first():
    """A scale gives every entry the variance 1, a shift the mean 0; an entry that does not vary keeps its scale."""
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32) * [3.0, 1e-3, 0.0] + [1.0, 5.0, 2.0]
    flow = bj.chain(bj.shift(), bj.scale())
    z, _ = flow.forward(flow.init(jax.random.key(0), x), x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=2e-3)
    np.testing.assert_allclose(z.std(axis=0), [1, 1, 0], atol=1e-3)
