"""Trees are CatBoost's, split for split, with its borders: make_trees.py wrote down what it grew.

Where two splits gain the same to nine digits CatBoost may take either. A test then shows that they do, in float64 and
from CatBoost's own trees, and says where that was. It goes on where both put all rows into the same leaves, and ends
where they do not, since all later trees differ.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.trees import binning, boosting, objectives, oblivious
from tests.peers import tables

FILES = sorted((pathlib.Path(__file__).parents[1] / "peers").glob("catboost_*.json"))
KEPT = {file.stem.removeprefix("catboost_"): json.loads(file.read_text()) for file in FILES}
CASES = {f"{file}-{case['name']}": (file, case) for file, kept in KEPT.items() for case in kept["cases"]}
OBJECTIVES = {  # of CatBoost's losses: (number of outputs, parameter) -> ours
    "RMSE": lambda outputs, value: objectives.get("squared"),
    "MAE": lambda outputs, value: objectives.get("absolute"),
    "Quantile": lambda outputs, value: objectives.get("quantile", alpha=value),
    "Logloss": lambda outputs, value: objectives.get("logistic"),
    "MultiClass": lambda outputs, value: objectives.get("softmax", classes=outputs),
    "MultiRMSE": lambda outputs, value: objectives.get("multi_squared", outputs=outputs),
}
SAME_GAIN = 1e-9


def objective_of(case):
    name, _, value = case["params"]["loss_function"].partition(":alpha=")
    return OBJECTIVES[name](len(case["start"]), float(value) if value else None)


def prepared(file, case):
    """(borders, codes, y, w) of a case."""
    params = case["params"]
    if (found := tables.load(case["table"])) is None:
        pytest.skip("the table's file is not here")
    x, y, w = found
    kept = KEPT[file]["borders"][f"{case['table']}_{params['border_count']}"]
    borders = binning.given(kept, "left", params.get("nan_mode", "Min").lower())
    return borders, binning.apply(borders, x), y, w if params.get("weighted") else None


def options_of(case):
    params = case["params"]
    method = params.get("leaf_estimation_method", "Gradient").lower()
    if params["loss_function"] == "MultiClass" and method == "newton":
        method = "newton_full"
    tree = oblivious.Options(params["depth"], params["l2_leaf_reg"], params["score_function"].lower())
    return boosting.Options(tree, params["learning_rate"], method, params.get("leaf_estimation_iterations", 1))


def leaf_of(codes, splits):
    return sum((codes[f] > k).astype(int) << d for d, (f, k) in enumerate(splits))


def score(case, codes, g, w, splits):
    """CatBoost's score of a tree's splits, in float64."""
    leaf, size = leaf_of(codes, splits), 2 ** len(splits)
    weight = np.bincount(leaf, w, size)
    scale = weight + case["params"]["l2_leaf_reg"] * w.mean()
    of_g = np.stack([np.bincount(leaf, column, size) for column in g.T], 1)
    mean = np.divide(of_g, scale[:, None], out=np.zeros_like(of_g), where=weight[:, None] > 0)
    gain = (mean * of_g).sum()
    if case["params"]["score_function"] == "L2":
        return gain
    return gain / np.sqrt((mean**2 * weight[:, None]).sum())


def gap(case, codes, y, w, t, ours):
    """(level, relative difference of scores) of the first of our splits of tree t that is another."""
    theirs = case["trees"][t]["splits"]
    at = next(d for d, (a, b) in enumerate(zip(ours, theirs)) if a != b)
    total = np.full((len(y), len(case["start"])), case["start"], np.float64)
    for tree in case["trees"][:t]:
        leaves = np.reshape(tree["leaves"], (-1, total.shape[1]))
        total += leaves[leaf_of(codes, tree["splits"])]
    w = np.ones(len(y)) if w is None else np.asarray(w, np.float64)
    with jax.enable_x64(True):
        g, _ = objective_of(case).gradients(jnp.asarray(total), jnp.asarray(y, np.float64), jnp.asarray(w))
    a, b = (score(case, codes, np.asarray(g), w, splits[: at + 1]) for splits in (ours, theirs))
    return at, (b - a) / abs(b)


@pytest.mark.parametrize("name", CASES)
def test_trees_are_those_of_catboost(name, record_property):
    file, case = CASES[name]
    borders, codes, y, w = prepared(file, case)
    objective, outputs = objective_of(case), len(case["start"])
    start = jnp.broadcast_to(jnp.asarray(case["start"], jnp.float32), (len(y), outputs))
    state = boosting.State(start, jax.random.key_data(jax.random.key(0)), jnp.int32(0))
    labels = jnp.asarray(y, jnp.int32) if case["params"]["loss_function"] == "MultiClass" else jnp.asarray(y)
    weights = None if w is None else jnp.asarray(w)
    state, grown = boosting.boost(
        codes, borders.counts, labels, weights, objective, options_of(case), None, len(case["trees"]), state
    )
    spread, whole = y.std() if case["params"]["loss_function"] not in ("Logloss", "MultiClass") else 1.0, True
    for t, tree in enumerate(case["trees"]):
        ours = np.stack([grown.feature[t], grown.threshold[t]], -1).tolist()
        if ours != tree["splits"]:
            level, difference = gap(case, codes, y, w, t, ours)
            assert abs(difference) < SAME_GAIN, f"tree {t}, level {level}: the scores differ by {difference}"
            record_property("tie", f"tree {t}, level {level}")
            if not (whole := np.array_equal(leaf_of(codes, ours), leaf_of(codes, tree["splits"]))):
                break
        theirs = np.reshape(tree["leaves"], (-1, outputs))
        np.testing.assert_allclose(grown.leaves[t], theirs, atol=1e-5 * spread, rtol=0, err_msg=f"tree {t}")
    if whole:
        np.testing.assert_allclose(state.score[:5].ravel(), case["predictions"], atol=1e-5 * spread, rtol=0)


def test_another_split_is_seen_to_gain_less():
    file, case = CASES["diabetes-shallow"]
    _, codes, y, w = prepared(file, case)
    (first, (feature, border)), t = case["trees"][9]["splits"], 9
    for other in ([feature, border + 1], [(feature + 1) % 10, 3]):
        level, difference = gap(case, codes, y, w, t, [first, other])
        assert level == 1 and difference > 1e-4
