"""GradientBoosting as scikit-learn's: the predictions of every stage, up to the first tie between two splits."""

import types

import jax
import numpy as np
import pytest
from sklearn import datasets, ensemble

from configs import base
from research import trees
from research.trees import estimators

STAGES, NEAR, SAME_GAIN = 50, 1e-6, 1e-9
RNG = np.random.default_rng(0)


def friedman(rows=2000, levels=8):
    """X with few values a column, and what is to be found out."""
    x, y = datasets.make_friedman1(rows, random_state=0)
    return np.round(x * levels) / levels, y


def weights(y):
    return RNG.uniform(0.5, 1.5, len(y))


FRIEDMAN, DIABETES = friedman(), datasets.load_diabetes(return_X_y=True)
CANCER, WINE = (load(return_X_y=True) for load in (datasets.load_breast_cancer, datasets.load_wine))
CASES = {  # loss, data, weights, options
    "diabetes": ("squared_error", DIABETES, None, {}),
    "diabetes, deep": ("squared_error", DIABETES, None, {"max_depth": 5, "min_samples_leaf": 5}),
    "diabetes, weights": ("squared_error", DIABETES, weights(DIABETES[1]), {}),
    "friedman": ("squared_error", FRIEDMAN, None, {}),
    "medians": ("absolute_error", FRIEDMAN, weights(FRIEDMAN[1]), {"max_depth": 2}),
    "medians, diabetes": ("absolute_error", DIABETES, weights(DIABETES[1]), {}),
    "two classes": ("log_loss", CANCER, None, {}),
    "three classes": ("log_loss", (FRIEDMAN[0], np.digitize(FRIEDMAN[1], [12, 17])), None, {}),
    "wine": ("log_loss", WINE, weights(WINE[1]), {}),
    "exponential": ("exponential", CANCER, None, {}),
}
TIES = {"medians, diabetes": 19}  # there scikit-learn splits six equal slopes, whose variance it rounds above 0


def splits(tree, x):
    """{path: (rows that come there, whether each goes right)} of the nodes (feature, border, left, right)."""
    found, todo = {}, [((), 0, np.arange(len(x)))]
    while todo:
        path, node, rows = todo.pop()
        feature, border, left, right = (part[node] for part in tree)
        if left > 0:
            goes = x[rows, feature] > border
            found[path] = rows, goes
            todo += [((*path, 0), left, rows[~goes]), ((*path, 1), right, rows[goes])]
    return found


def gap(ours, theirs, g, w):
    """(path, difference) of the first question that two trees' `splits` do not share: of gains, by what is to gain."""

    def gain(rows, goes):
        return sum((w * g)[part].sum() ** 2 / w[part].sum() for part in (rows[~goes], rows[goes]))

    def nothing(rows):
        return (w * g)[rows].sum() ** 2 / w[rows].sum()

    for path in sorted(ours.keys() | theirs.keys(), key=len):
        both = [tree.get(path) for tree in (ours, theirs)]
        if None in both or not np.array_equal(both[0][1], both[1][1]):
            rows = next(split for split in both if split)[0]
            one, other = (nothing(rows) if split is None else gain(*split) for split in both)
            return path, abs(one - other) / (w * g * g)[rows].sum()


def trees_at(ours, theirs, stage, output, x):
    """`splits` of both models' trees."""
    theirs, of = theirs.estimators_[stage, output].tree_, ours.ensemble_
    feature, border, left = (np.asarray(part)[stage, output] for part in (of.feature, of.border, of.left))
    right = theirs.feature, theirs.threshold, theirs.children_left, theirs.children_right
    return splits((feature, border, left, left + 1), x), splits(right, x)


def slopes(theirs, stage, x, y):
    """[N, K] what scikit-learn fits the trees of a stage to."""
    raw = theirs._raw_predict_init(x) if stage == 0 else list(theirs._staged_raw_predict(x))[stage - 1]
    y = np.searchsorted(theirs.classes_, y) if hasattr(theirs, "classes_") else y
    return -theirs._loss.gradient(y.astype(float), raw if raw.shape[1] > 1 else raw[:, 0]).reshape(len(y), -1)


def fitted(case):
    loss, (x, y), w, options = CASES[case]
    x, kind = x.astype(np.float32), "Regressor" if "error" in loss else "Classifier"
    options = {"n_estimators": STAGES, "loss": loss} | options
    ours = getattr(estimators, f"GradientBoosting{kind}")(borders="exact", **options).fit(x, y, w)
    theirs = getattr(ensemble, f"GradientBoosting{kind}")(random_state=0, **options).fit(x, y, w)
    return ours, theirs, x, y, np.ones(len(y)) if w is None else w


@pytest.mark.parametrize("case", CASES)
def test_stages_are_scikit_learns(case, record_property):
    ours, theirs, x, y, w = fitted(case)
    predict = "staged_predict_proba" if hasattr(theirs, "classes_") else "staged_predict"
    for stage, (mine, right) in enumerate(zip(getattr(ours, predict)(x), getattr(theirs, predict)(x), strict=True)):
        if np.abs(mine - right).max() <= NEAR * np.abs(right).max():
            continue
        assert stage >= TIES.get(case, STAGES), f"stage {stage} differs"
        slope = slopes(theirs, stage, x, y).T
        found = [gap(*trees_at(ours, theirs, stage, k, x), g, w) for k, g in enumerate(slope)]
        assert any(found), f"stage {stage}: the same splits with other leaves"
        for path, difference in filter(None, found):
            assert difference < SAME_GAIN, f"stage {stage}, node {path}: the gains differ by {difference}"
        record_property("tie", f"stage {stage}")
        break


def test_another_split_is_seen_to_gain_less():
    ours, theirs, x, y, w = fitted("diabetes")
    (mine, right), g = trees_at(ours, theirs, 9, 0, x), slopes(theirs, 9, x, y)[:, 0]
    assert gap(mine, right, g, w) is None
    rows, goes = mine[0,]
    path, difference = gap(mine | {(0,): (rows, ~goes | (x[rows, 0] > 0))}, right, g, w)
    assert path == (0,) and difference > 1e6 * SAME_GAIN
    path, difference = gap({(): mine[()]}, right, g, w)
    assert len(path) == 1 and difference > 1e6 * SAME_GAIN


NAMES = {"n_estimators": "num_trees", "max_depth": "depth", "min_samples_leaf": "min_data_in_leaf", "loss": "objective"}
XGBOOST = {"newton": True, "reg_lambda": 1.5, "reg_alpha": 0.1, "gamma": 0.2, "min_child_weight": 2.0}
XGBOOST |= {"borders": "xgboost", "border_count": 16, "max_depth": 2, "n_estimators": 5, "min_samples_leaf": 3}


def config(**fields):
    """That of `trees.fit` for an estimator's parameters."""
    fields = {NAMES.get(name, name): value for name, value in fields.items()}
    return types.SimpleNamespace(**base.gbdt().to_dict() | fields)


def test_its_parameters_are_the_configs():
    """All but those that it chooses itself."""
    ours = {NAMES.get(name, name) for name in estimators.GradientBoostingRegressor().get_params()}
    assert ours - {"random_state"} == set(base.gbdt()) - {"name", "block", "one_output_per_tree"}


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_with_xgboosts_options_the_trees_are_those_of_fit(classes):
    x, y = FRIEDMAN
    x, own = x.astype(np.float32), {"block": 5}
    if classes:
        y = np.digitize(y, [14] if classes == 2 else [12, 17])
        own["objective"] = "logistic" if classes == 2 else "softmax:classes=3"
        own["one_output_per_tree"] = classes == 3
    kind = estimators.GradientBoostingClassifier if classes else estimators.GradientBoostingRegressor
    model = kind(**XGBOOST).fit(x, y)
    of = trees.fit(x, y, config(**XGBOOST | own))
    jax.tree.map(np.testing.assert_array_equal, model.ensemble_, of)
    predicted = model.predict_proba(x) if classes else model.predict(x)
    np.testing.assert_array_equal(predicted[:, 1] if classes == 2 else predicted, trees.predict(of, x))
    np.testing.assert_array_equal(model.feature_importances_, trees.importances(of))


@pytest.mark.parametrize("classes", [0, 3])
def test_a_saved_model_predicts_the_same(tmp_path, classes):
    x, y = FRIEDMAN
    y = np.array(["low", "mid", "top"])[np.digitize(y, [12, 17])] if classes else y
    kind = estimators.GradientBoostingClassifier if classes else estimators.GradientBoostingRegressor
    model = kind(n_estimators=5).fit(x, y)
    model.save_model(tmp_path / "model.json")
    loaded = kind().load_model(tmp_path / "model.json")
    predict = "predict_proba" if classes else "predict"
    np.testing.assert_allclose(getattr(loaded, predict)(x), getattr(model, predict)(x), rtol=1e-5)
    with pytest.raises(ValueError, match="not oblivious"):
        model.save_model(tmp_path / "model.json", "catboost_json")
