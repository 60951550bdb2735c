"""Files of the peers give their predictions here, ours give ours there, as make_trees.py saw; and both come back."""

import copy
import dataclasses
import json
import pathlib

import numpy as np
import pytest

from research.errors import UserError
from research.trees import explain, forest, interop, interop_xgboost, prediction
from research.trees.fitting import get_objective
from tests.peers import tables
from tests.trees.made import random, random_forest, random_levels

KEPT = json.loads((pathlib.Path(__file__).parents[1] / "peers" / "models.json").read_text())
LAYS = {"catboost": (interop.to_catboost, interop.from_catboost)}
LAYS["xgboost"] = (interop_xgboost.to_xgboost, interop_xgboost.from_xgboost)
NAMES = [(peer, name) for peer in LAYS for name in KEPT[peer]]
OBJECTIVES = {"regression": "squared", "uneven": "quantile", "binary": "logistic", "classes": "softmax"}
OBJECTIVES |= {"counts": "poisson", "outputs": "multi_squared", "vectors": "multi_squared"}
OBJECTIVES |= {"pruned": "squared", "parallel": "softmax"}
BUILT = [{"side": side, "missing": missing} for side in ("left", "right") for missing in ("min", "max")]
BUILT += [{"outputs": 3, "trees": 2}, {"depth": 1, "trees": 1}, {"depth": 0}, {"names": ("a", "b", "c")}]
LEARNED = [{"missing": "learn"}, {"missing": "learn", "side": "right", "outputs": 2}]


def through_json(model):
    return json.loads(json.dumps(model, allow_nan=False))


def asks_catboost(model, x):
    """Predictions of a CatBoost file, a row at a time: right where x > border, NaN by the feature's treatment."""
    features, (scale, bias), found = model["features_info"]["float_features"], model["scale_and_bias"], []
    for row in x:
        total = np.array(bias, np.float64)
        for tree in model["oblivious_trees"]:
            leaf = 0
            for d, split in enumerate(tree["splits"]):
                feature = features[split["float_feature_index"]]
                value = row[feature["flat_feature_index"]]
                missing = np.isnan(value) and feature["nan_value_treatment"] == "AsTrue"
                leaf += bool(missing or value > split["border"]) << d
            total += scale * np.array(tree["leaf_values"]).reshape(-1, len(bias))[leaf]
        found.append(total)
    return np.array(found)


def asks_xgboost(model, x):
    """Margins of an XGBoost file without a base score, a row at a time: left where x < border, NaN by default."""
    learner = model["learner"]
    param, trees = learner["learner_model_param"], learner["gradient_booster"]["model"]
    found = np.zeros((len(x), max(1, int(param["num_class"]), int(param["num_target"]))))
    for row, total in zip(x, found):
        for k, tree in zip(trees["tree_info"], trees["trees"], strict=True):
            node = 0
            while tree["left_children"][node] >= 0:
                value, border = row[tree["split_indices"][node]], np.float32(tree["split_conditions"][node])
                left = tree["default_left"][node] if np.isnan(value) else value < border
                node = tree["left_children" if left else "right_children"][node]
            total[k] += tree["split_conditions"][node]
    return found


ASKS = {"catboost": asks_catboost, "xgboost": asks_xgboost}


@pytest.mark.parametrize("peer,name", NAMES, ids=lambda v: v)
def test_a_file_of_the_peer_predicts_here_as_there(peer, name):
    kept = KEPT[peer][name]
    x, truth = tables.load(kept["table"])[0][:40], np.array(kept["predictions"])
    made = LAYS[peer][1](kept["model"])
    assert made.loss_name == OBJECTIVES[name]
    assert get_objective(made.objective).outputs == len(made.start)  # so that it can predict
    found = prediction.predict_raw(made, x)
    np.testing.assert_allclose(found.ravel(), truth.ravel(), rtol=1e-6, atol=1e-6 * truth.std())
    again = LAYS[peer][1](through_json(LAYS[peer][0](made)))
    np.testing.assert_allclose(prediction.predict_raw(again, x), found, rtol=1e-6, atol=1e-6 * truth.std())
    assert again.objective == made.objective


@pytest.mark.parametrize("name", KEPT["catboost"])
def test_what_catboost_wrote_is_written_again(name):
    kept = KEPT["catboost"][name]["model"]
    classes = kept["model_info"].get("class_params", {}).get("class_names")
    labels = None if classes is None else np.array(classes, float)  # as the tables have them
    written = interop.to_catboost(interop.from_catboost(kept), labels)
    for ours, theirs in zip(written["oblivious_trees"], kept["oblivious_trees"], strict=True):
        assert ours["splits"] == theirs["splits"] and ours["leaf_weights"] == theirs["leaf_weights"]
        np.testing.assert_allclose(ours["leaf_values"], theirs["leaf_values"], rtol=1e-6, atol=1e-9)
    for ours, theirs in zip(written["features_info"]["float_features"], kept["features_info"]["float_features"]):
        for key in ("borders", "feature_id", "feature_index", "flat_feature_index"):
            assert ours[key] == theirs[key]
    assert written["model_info"].get("class_params") == kept["model_info"].get("class_params")


@pytest.mark.parametrize("peer", LAYS)
def test_the_peer_has_read_what_we_write(peer):
    of_peer = [(random, kept) for kept in KEPT["ours"][peer]]
    of_peer += [(random_forest, kept) for kept in KEPT["ours"]["forest"] if peer == "xgboost"]
    for make, kept in of_peer:
        made, x = make(**kept["case"])
        assert through_json(LAYS[peer][0](made)) == kept["model"]  # else write models.json anew
        found = prediction.predict_raw(made, x).ravel()
        np.testing.assert_allclose(found, np.array(kept["predictions"]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "peer,case", [*(("catboost", c) for c in BUILT), *(("xgboost", c) for c in BUILT + LEARNED)], ids=str
)
def test_files_ask_what_the_ensemble_asks_and_come_back(peer, case):
    made, x = random(**case)
    truth = prediction.predict_raw(made, x)
    written = through_json(LAYS[peer][0](made))
    np.testing.assert_allclose(ASKS[peer](written, x), truth, rtol=1e-5, atol=1e-5)
    back = LAYS[peer][1](written)
    np.testing.assert_allclose(prediction.predict_raw(back, x), truth, rtol=1e-5, atol=1e-5)
    assert back.names == made.names
    if peer == "xgboost":
        np.testing.assert_allclose(explain.importances(back), explain.importances(made), atol=1e-6)


FORESTS = [{"outputs": k, "per_output": j} for k, j in ((1, False), (3, False), (3, True))]
FORESTS += [{"nodes": 41}, {"nodes": 1}, {"side": "right", "names": ("a", "b", "c")}]


@pytest.mark.parametrize("case", FORESTS, ids=str)
def test_a_forest_is_written_and_comes_back(case):
    made, x = random_forest(**case)
    truth = prediction.predict_raw(made, x)
    written = through_json(interop_xgboost.to_xgboost(made))
    np.testing.assert_allclose(asks_xgboost(written, x), truth, rtol=1e-5, atol=1e-5)
    back = interop_xgboost.from_xgboost(written)
    assert back.heap == (made.depth <= forest.DENSE) and (back.depth, back.names) == (made.depth, made.names)
    np.testing.assert_allclose(prediction.predict_raw(back, x), truth, rtol=1e-5, atol=1e-5)
    if case.get("outputs", 1) == 1 or case["per_output"]:
        for kind in ("gain", "splits", "cover"):
            np.testing.assert_allclose(explain.importances(back, kind), explain.importances(made, kind), atol=1e-6)


def test_nodes_that_no_row_can_reach_are_not_written():
    trees, borders, x = random_levels(outputs=2, per_output=True)
    made = forest.collect(trees, borders, [1, 2], "multi_squared:outputs=2")
    written = through_json(interop_xgboost.to_xgboost(made))
    np.testing.assert_allclose(asks_xgboost(written, x), prediction.predict_raw(made, x), rtol=1e-5, atol=1e-5)
    for number, tree in enumerate(written["learner"]["gradient_booster"]["model"]["trees"]):
        asked = int((trees.feature[number // 2, number % 2] >= 0).sum())
        left, right = (np.array(tree[f"{side}_children"]) for side in ("left", "right"))
        assert tree["id"] == number and tree["tree_param"]["num_nodes"] == str(2 * asked + 1) == str(len(left))
        inner = np.flatnonzero(left >= 0)
        assert sorted([0, *left[inner], *right[inner]]) == list(range(2 * asked + 1))
        parents = np.array(tree["parents"])
        assert (parents[left[inner]] == inner).all() and (parents[right[inner]] == inner).all()
        cover = np.array(tree["sum_hessian"])
        np.testing.assert_allclose(cover[inner], cover[left[inner]] + cover[right[inner]])


def test_gains_and_cover_of_the_peer_are_kept():
    kept = KEPT["xgboost"]["pruned"]["model"]  # whose file has places of nodes that were deleted
    tree, made = kept["learner"]["gradient_booster"]["model"]["trees"][0], interop_xgboost.from_xgboost(kept)
    (said, *_), walk = explain.describe(made)["trees"], [0]
    nodes = [said]
    while walk:
        node, ours = walk.pop(), nodes.pop()
        np.testing.assert_allclose(ours["cover"], tree["sum_hessian"][node], rtol=1e-6)
        assert ("value" in ours) == (tree["left_children"][node] < 0)
        if "value" not in ours:
            np.testing.assert_allclose(ours["gain"], tree["loss_changes"][node], rtol=1e-6)
            walk += [tree["left_children"][node], tree["right_children"][node]]
            nodes += [ours["left"], ours["right"]]


def test_a_question_at_zero_is_kept():
    made, _ = random(side="right", depth=1, trees=1)
    made = dataclasses.replace(
        made, borders=made.borders.at[:].set([[0.0, *range(1, 7)]]), threshold=made.threshold * 0
    )
    x = np.zeros((2, 3), np.float32) + [[0], [-1e-6]]
    for peer, (to, back) in LAYS.items():
        found = prediction.predict_raw(back(to(made)), x)
        np.testing.assert_allclose(found, prediction.predict_raw(made, x), rtol=1e-6)
        np.testing.assert_allclose(ASKS[peer](through_json(to(made)), x.astype(np.float32)), found, rtol=1e-6)
    left = dataclasses.replace(made, side="left")
    np.testing.assert_allclose(
        asks_xgboost(through_json(interop_xgboost.to_xgboost(left)), x), prediction.predict_raw(left, x)
    )


def test_labels_of_classes_are_written():
    made = dataclasses.replace(random(missing="min")[0], objective="logistic")
    kinds = [
        (interop.to_catboost(made, labels)["model_info"]["class_params"]) for labels in (None, [3, 5], ["no", "yes"])
    ]
    assert [k["class_names"] for k in kinds] == [[0, 1], [3, 5], ["no", "yes"]]
    assert [k["class_label_type"] for k in kinds] == ["Integer", "Integer", "String"]


def test_base_scores_of_several_versions_are_read():
    model = copy.deepcopy(KEPT["xgboost"]["binary"]["model"])
    x = tables.load("breast_cancer")[0][:5]
    for score, start in (("5E-1", 0.0), ("[5E-1]", 0.0), ("[8.8079708E-1]", 2.0)):
        model["learner"]["learner_model_param"]["base_score"] = score
        np.testing.assert_allclose(interop_xgboost.from_xgboost(model).start, [start], atol=1e-6)
    shifted = prediction.predict_raw(interop_xgboost.from_xgboost(model), x)
    np.testing.assert_allclose(shifted.mean(), 2 + asks_xgboost(model, x).mean(), rtol=1e-5)


def test_trees_of_dart_come_with_their_weights():
    model = copy.deepcopy(KEPT["xgboost"]["regression"]["model"])
    plain = interop_xgboost.from_xgboost(model)
    booster = model["learner"]["gradient_booster"]
    weights = [0.5 + 0.1 * t for t in range(len(booster["model"]["trees"]))]
    model["learner"]["gradient_booster"] = {"name": "dart", "gbtree": booster, "weight_drop": weights}
    found = interop_xgboost.from_xgboost(model)
    np.testing.assert_allclose(found.value, plain.value * np.array(weights)[:, None, None, None], rtol=1e-6)


def test_what_cannot_be_said_is_named():
    catboost, xgboost = (copy.deepcopy(KEPT[peer]["regression"]["model"]) for peer in LAYS)
    with pytest.raises(UserError, match="train with missing values 'min' or 'max'"):
        interop.to_catboost(random(missing="learn")[0])
    with pytest.raises(UserError, match="the ensemble has no trees"):
        interop_xgboost.to_xgboost(prediction.first(random()[0], 0))
    for read in (interop.from_catboost, interop_xgboost.from_xgboost):
        for wrong in ({}, [], {"learner": 3}):
            with pytest.raises(UserError, match=r"no (oblivious CatBoost model|XGBoost model of trees)"):
                read(wrong)
    catboost["model_info"]["params"]["loss_function"]["type"] = "PairLogit"
    with pytest.raises(UserError, match="loss is PairLogit; known are RMSE"):
        interop.from_catboost(catboost)
    catboost["oblivious_trees"][1]["splits"][0]["split_type"] = "OnlineCtr"
    with pytest.raises(UserError, match="categorical features; encode"):
        interop.from_catboost(catboost)
    with pytest.raises(UserError, match="the trees are not oblivious, as those of CatBoost's file are"):
        interop.to_catboost(random_forest()[0])
    other = {"learner": xgboost["learner"] | {"objective": {"name": "rank:ndcg"}}}
    with pytest.raises(UserError, match="objective is rank:ndcg; known are reg:squarederror"):
        interop_xgboost.from_xgboost(other)
    other = {"learner": xgboost["learner"] | {"gradient_booster": {"name": "gbnet", "model": {}}}}
    with pytest.raises(UserError, match="the XGBoost model is gbnet; known are gbtree, dart and gblinear"):
        interop_xgboost.from_xgboost(other)
    xgboost["learner"]["gradient_booster"]["model"]["trees"][2]["split_type"][0] = 1
    with pytest.raises(UserError, match="tree 2 of the XGBoost model splits categories; encode"):
        interop_xgboost.from_xgboost(xgboost)
    vectors = copy.deepcopy(KEPT["xgboost"]["vectors"]["model"])
    del vectors["learner"]["gradient_booster"]["model"]["trees"][1]["leaf_weights"]
    with pytest.raises(UserError, match="tree 1 of the XGBoost model has vector leaves of another version"):
        interop_xgboost.from_xgboost(vectors)
