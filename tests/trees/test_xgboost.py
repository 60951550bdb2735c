"""Levelwise trees are XGBoost's, split for split, with its cuts: make_xgboost.py wrote down what it grew.

XGBoost rounds each gradient and each gain to float32, so of two splits that gain the same to a few units of that it may
take either. A test then shows that they do, in float64 and from XGBoost's own trees, and says where that was. It goes
on where both put all rows into the same nodes, and ends where they do not, since all later trees differ. Where this was
written there was no such split: all trees of all cases were the same.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import tables as files
from research.trees import binning, boosting, levelwise, objectives
from tests.peers import tables

FILES = sorted((pathlib.Path(__file__).parents[1] / "peers").glob("xgboost_*.json"))
KEPT = {file.stem.removeprefix("xgboost_"): json.loads(file.read_text()) for file in FILES}
CASES = {f"{file}-{case['name']}": (file, case) for file, kept in KEPT.items() for case in kept["cases"]}
NAMES = ("max_depth", "lambda", "alpha", "gamma", "min_child_weight")
DEFAULTS = {"lambda": 1, "alpha": 0, "gamma": 0, "min_child_weight": 1}
SAME_GAIN = 1e-6  # of the two scores whose sum, less the parent's score, is the gain: eight units of float32


AGARICUS = pathlib.Path(__file__).parents[3] / "shared" / "data" / "agaricus"


def objective_of(case):
    """XGBoost's objective; the curvature of its softmax is twice that of the loss."""
    outputs = len(case["start"])
    if "num_class" in case["params"]:
        return objectives.softmax(outputs, factor=2.0)
    if "objective" in case["params"]:
        return objectives.logistic()
    return objectives.multi_squared(outputs) if outputs > 1 else objectives.squared()


def options_of(case):
    params = DEFAULTS | case["params"]
    depth, l2, l1, gamma, weight = (params[name] for name in NAMES)
    tree = levelwise.Options(depth, l2, l1, max(gamma, 1e-6), weight, learn_missing=True)
    several = "num_class" in params and "multi_strategy" not in params
    return boosting.Options(tree, params["eta"], "newton", hessian_score=True, per_output=several)


def prepared(file, case):
    """(borders, codes, y, w) of a case."""
    params = case["params"]
    if (found := tables.load(case["table"])) is None:
        pytest.skip("the table's file is not here")
    x, y, w = found
    kept = KEPT[file]["cuts"][f"{case['table']}_{params['max_bin']}{'_weighted' * params.get('weighted', False)}"]
    borders = binning.given(kept, "right", "learn")
    y = jnp.asarray(y, jnp.int32 if "num_class" in params else jnp.float32)
    return borders, binning.apply(borders, x), y, jnp.asarray(w) if params.get("weighted") else None


def heap(tree, depth, outputs):
    """(feature, threshold, missing right [2^depth - 1], values [2^(depth + 1) - 1, K]) of a list of nodes."""
    feature, threshold, right = np.zeros((3, 2**depth - 1), int) - [[1], [0], [0]]
    values, waiting = np.zeros((2 ** (depth + 1) - 1, outputs)), [0]
    for node in tree:
        place = waiting.pop(0)
        if isinstance(node, list) and len(node) == 3:
            feature[place], threshold[place], right[place] = node
            waiting += [2 * place + 1, 2 * place + 2]
        else:
            values[place] = np.ravel(node)
    return feature, threshold, right > 0, values


def goes_right(codes, bins, split):
    """Of all rows."""
    feature, threshold, right = split
    return np.where(codes[feature] == bins - 1, right, codes[feature] > threshold)


def walk(codes, bins, feature, threshold, right):
    """The place where each row rests."""
    place, rows, inner = np.zeros(codes.shape[1], int), np.arange(codes.shape[1]), len(feature)
    while len(rows := rows[(place[rows] < inner) & (feature[place[rows] % inner] >= 0)]):
        p = place[rows]
        code = codes[feature[p], rows]
        place[rows] = 2 * p + 1 + np.where(code == bins - 1, right[p], code > threshold[p])
    return place


def below(place, p):
    """Whether rows that rest at `place` passed the place p."""
    while (place > p).any():
        place = np.where(place > p, (place - 1) // 2, place)
    return place == p


def scores(params, g, h, right):
    """(gain, the scores of both sides) of a split of these rows, in float64."""
    sides = [(g[s].sum(0), h[s].sum(0)) for s in (right, ~right, right | ~right)]
    right, left, whole = (
        (np.maximum(abs(a) - params["alpha"], 0) ** 2 / np.maximum(b + params["lambda"], 1e-300)).sum()
        for a, b in sides
    )
    return left + right - whole, left + right


class Peer:
    """XGBoost's trees of a case, round after round, and the float64 gradients before each."""

    def __init__(self, case, codes, bins, y, w):
        self.case, self.codes, self.bins = case, codes, bins
        self.params, outputs = DEFAULTS | case["params"], len(case["start"])
        self.trees_a_round = outputs if options_of(case).per_output else 1
        self.score = np.full((codes.shape[1], outputs), case["start"], np.float64)
        self.objective, self.y, self.w = objective_of(case), np.asarray(y), w

    def gradients(self):
        with jax.enable_x64(True):
            y, w = (None if v is None else jnp.asarray(v, v.dtype) for v in (self.y, self.w))
            y = y if y.dtype == jnp.int32 else y.astype(jnp.float64)
            return map(np.asarray, self.objective.gradients(jnp.asarray(self.score), y, w))

    def gap(self, inside, j, ours, theirs):
        """How much more theirs gains on the rows `inside` a node than ours, in units of its sides' scores."""
        g, h = (a[inside][:, [j]] if self.trees_a_round > 1 else a[inside] for a in self.gradients())
        found, unit = [], 1.0
        for split in (ours, theirs):
            if split[0] < 0:  # it stops: the other one must be at the limit
                found.append(max(self.params["gamma"], 1e-6))
                continue
            gain, unit = scores(self.params, g, h, goes_right(self.codes[:, inside], self.bins, split))
            found.append(gain)
        return (found[1] - found[0]) / unit

    def missing(self, inside, split):
        return (self.codes[split[0], inside] == self.bins - 1).any()

    def compare(self, t, j, ours, record_property):
        """(where rows rest, whether both trees agree on it, their leaves) of tree j of round t."""
        depth, outputs = self.params["max_depth"], self.score.shape[1] // self.trees_a_round
        *theirs, values = heap(self.case["trees"][t * self.trees_a_round + j], depth, outputs)
        place, there = (walk(self.codes, self.bins, *tree) for tree in (ours, theirs))
        for p in np.flatnonzero(np.any([a != b for a, b in zip(ours, theirs)], axis=0)):
            inside, (a, b) = below(place, p), ([part[p] for part in tree] for tree in (ours, theirs))
            if not np.array_equal(inside, below(there, p)) or (a[:2] == b[:2] and not self.missing(inside, a)):
                continue  # below a tie that parts rows in two ways, or where the side of missing values is no matter
            difference = self.gap(inside, j, a, b)
            assert abs(difference) < SAME_GAIN, f"tree {t}, {j}, place {p}: gains differ by {difference}"
            record_property("tie", f"tree {t}, {j}, place {p}: {difference:.1e}")
        return place, np.array_equal(place, there), values


@pytest.mark.parametrize("name", CASES)
def test_trees_are_those_of_xgboost(name, record_property):
    file, case = CASES[name]
    borders, codes, y, w = prepared(file, case)
    peer = Peer(case, codes, borders.bins, y, w)
    start = jnp.broadcast_to(jnp.asarray(case["start"], jnp.float32), peer.score.shape)
    state = boosting.State(start, jax.random.key_data(jax.random.key(0)), jnp.int32(0))
    rounds = len(case["trees"]) // peer.trees_a_round
    state, grown = boosting.boost(
        codes, borders.counts, y, w, objective_of(case), options_of(case), None, rounds, state
    )
    grown = jax.tree.map(np.asarray, grown)
    spread, whole = 1.0 if "objective" in case["params"] else float(y.std()), True
    for t in range(rounds):
        found = []
        for j in range(peer.trees_a_round):
            ours = grown.feature[t, j], grown.threshold[t, j], grown.missing_right[t, j]
            place, same, values = peer.compare(t, j, ours, record_property)
            if not (whole := whole and same):
                break
            np.testing.assert_allclose(grown.leaves[t, j], values, atol=1e-5 * spread, rtol=0, err_msg=f"tree {t}, {j}")
            found.append(values[place])
        if not whole:
            break
        peer.score += np.concatenate(found, 1)
    if whole:
        ours = state.score[: len(case["predictions"]) // len(case["start"])].ravel()
        np.testing.assert_allclose(ours, case["predictions"], atol=1e-5 * spread, rtol=0)


def test_another_split_is_seen_to_gain_less():
    file, case = CASES["sparse-deep"]
    borders, codes, y, w = prepared(file, case)
    peer, params = Peer(case, codes, borders.bins, y, w), case["params"]
    *theirs, _ = heap(case["trees"][0], params["max_depth"], 1)
    root = [part[0] for part in theirs]
    place = walk(codes, borders.bins, *theirs)
    assert below(place, 0).all() and not below(place, 1).all() and below(place, 1).any()
    f, k, right = root
    assert peer.missing(below(place, 0), root)
    for other in ([f, k + 1, right], [f + 1, 30, True], [f, k, not right], [-1, 0, False]):
        assert peer.gap(below(place, 0), 0, other, root) > 1e-4


def test_errors_on_agaricus_are_those_that_xgboost_is_known_for():
    """Its first example prints them: two trees of depth 2 and eta 1."""
    if not AGARICUS.is_dir():
        pytest.skip("the table's files are not here")
    paths = (AGARICUS / name for name in ("agaricus.txt.train", "agaricus.txt.test", "featmap.txt"))
    _, ((x, y), (x_test, y_test)) = files.agaricus(*paths, None)
    borders = binning.find(x, "xgboost", 255, missing="learn")
    codes, tree = binning.apply(borders, x), levelwise.Options(2, learn_missing=True)
    options, objective = boosting.Options(tree, 1.0, "newton", hessian_score=True), objectives.logistic()
    state = boosting.init(jnp.full(len(y), 0.5), None, objective, jax.random.key(0))  # a score of 0
    _, grown = boosting.boost(codes, borders.counts, jnp.asarray(y), None, objective, options, None, 2, state)
    grown = jax.tree.map(np.asarray, grown)
    for table, labels, wanted in ((x, y, (0.046522, 0.022263)), (x_test, y_test, (0.042831, 0.021726))):
        codes, score = binning.apply(borders, table), 0.0
        for t, error in enumerate(wanted):
            place = walk(codes, borders.bins, grown.feature[t, 0], grown.threshold[t, 0], grown.missing_right[t, 0])
            score += grown.leaves[t, 0, place, 0]
            assert round(np.mean((score > 0) != labels), 6) == error
