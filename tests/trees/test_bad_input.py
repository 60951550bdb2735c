"""What cannot be fitted or predicted: a sentence that names the row or column, or the right answer."""

import functools
import types

import numpy as np
import pyarrow
import pytest

from configs import base
from research import trees
from research.errors import UserError
from research.trees import estimators

RNG = np.random.default_rng(0)
X = RNG.random((20, 3)).astype(np.float32)
Y, ONES = 3 * X[:, 0], np.ones(20)
LABELS = (Y > 1.5).astype(int)
COLUMNS = dict(zip("abc", X.T))


def put(array, at, value):
    array = array.astype(object if isinstance(value, str) else np.float64)
    array[at] = value
    return array


def config(name, **fields):
    fields = {"num_trees": 3, "block": 3, "depth": 1} | fields
    return types.SimpleNamespace(**getattr(base, name)().to_dict() | fields)


def fit(name="gbdt_oblivious", **fields):
    """A function (x, y, weight) -> predictions of x by what `trees.fit` grows."""
    return lambda x, y, weight=None: trees.predict(trees.fit(x, y, config(name, **fields), sample_weight=weight), x)


def estimator(name):
    """The same of an estimator."""
    make = functools.partial(getattr(estimators, name), n_estimators=3, max_depth=1)
    return lambda x, y, weight=None: make().fit(x, y, weight).predict(x)


NUMBERS = {
    "fit": fit(),
    "given borders": fit(borders=[[0.5], [0.3, 0.6], [0.5]]),
    "level-wise": fit("gbdt"),
    "oblivious": estimator("ObliviousBoostingRegressor"),
    "gradient": estimator("GradientBoostingRegressor"),
}
CLASSES = {
    "fit": fit(objective="logistic"),
    "level-wise": fit("gbdt", objective="logistic"),
    "oblivious": estimator("ObliviousBoostingClassifier"),
    "gradient": estimator("GradientBoostingClassifier"),
}
TABLES = {  # x, y, weights and what is said of them
    "NaN label": (X, put(Y, 4, np.nan), None, "y is nan in row 4"),
    "infinite label": (X, put(Y, 4, -np.inf), None, "y is -inf in row 4"),
    "label beyond float32": (X, put(Y, 4, 1e300), None, r"y is 1e\+300 in row 4"),
    "text label": (X, put(Y, 4, "a"), None, "y holds 'a' in row 4"),
    "labels of another number": (X, Y[:-1], None, "x has 20 rows and y 19|inconsistent numbers of samples"),
    "labels of two columns": (X, np.stack([Y, Y], 1), None, r"y has shape \[20, 2\]"),
    "infinite x": (put(X, (4, 1), np.inf), Y, None, "row 4, column 1 of the table is infinite"),
    "x beyond float32": (put(X, (4, 1), 1e39), Y, None, "row 4, column 1 of the table is infinite"),
    "text in x": (put(X, (4, 1), "red"), Y, None, "row 4, column 1 of the table holds 'red'"),
    "no rows": (X[:0], Y[:0], None, r"y has shape \[0\]|the table has no rows"),
    "no columns": (X[:, :0], Y, None, "the table has 0 columns"),
    "a vector": (X[:, 0], Y, None, r"the table has shape \[20\]"),
    "NaN weight": (X, Y, put(ONES, 4, np.nan), "the weight of row 4 is nan"),
    "negative weight": (X, Y, put(ONES, 4, -1), "the weight of row 4 is -1"),
    "infinite weight": (X, Y, put(ONES, 4, 1e39), r"the weight of row 4 is (1e\+39|inf)"),
    "text weight": (X, Y, put(ONES, 4, "a"), "row 4, the column of weights of the table holds 'a'"),
    "weights of another number": (X, Y, ONES[:-1], r"the weights have shape \[19\]; there are 20 rows"),
    "weights of two columns": (X, Y, np.stack([ONES, ONES], 1), r"the weights have shape \[20, 2\]"),
    "no weight": (X, Y, 0 * ONES, "all weights are 0|at least one non-zero"),
    "loss beyond float32": (X, Y * 1e30, None, "the loss is not finite in float32"),
}
LABELLED = {
    "NaN": (X, put(LABELS, 4, np.nan), None, "y is nan in row 4"),
    "a fraction": (X, put(LABELS, 4, 0.5), None, "y is 0.5 in row 4|Unknown label type: continuous"),
    "one class": (X, 0 * LABELS, None, "no row of y is of class 1|y has 1 class"),
    "one row": (X[:1], LABELS[:1], None, "no row of y is of class [01]|y has 1 class"),
    "a class without weight": (X, LABELS, LABELS, "weight above 0: no row of y is of class 0|no row of class 0"),
}


@pytest.mark.parametrize("family", NUMBERS)
@pytest.mark.parametrize("case", TABLES)
def test_tables_that_cannot_be(case, family):
    x, y, weight, message = TABLES[case]
    with pytest.raises((UserError, ValueError), match=message):
        NUMBERS[family](x, y, weight)


@pytest.mark.parametrize("family", CLASSES)
@pytest.mark.parametrize("case", LABELLED)
def test_labels_that_cannot_be(case, family):
    x, y, weight, message = LABELLED[case]
    with pytest.raises((UserError, ValueError), match=message):
        CLASSES[family](x, y, weight)


EVAL_SETS = {
    "another number of labels": ((X[:5], Y[:4]), "eval_set has 5 rows and its y 4"),
    "fewer columns": ((X[:, :2], Y), "2 columns; it should have 3|X has 2 features"),
    "infinite x": ((put(X, (4, 1), np.inf), Y), "row 4, column 1 of the table is infinite"),
    "NaN label": ((X, put(Y, 4, np.nan)), "y is nan in row 4"),
}


@pytest.mark.parametrize("case", EVAL_SETS)
def test_eval_sets_that_cannot_be(case):
    held_out, message = EVAL_SETS[case]
    with pytest.raises(UserError, match=message):
        trees.fit(X, Y, config("gbdt_oblivious", early_stopping=2), eval_set=held_out)
    model = estimators.ObliviousBoostingRegressor(n_estimators=3, max_depth=2, early_stopping=2)
    with pytest.raises((UserError, ValueError), match=message):
        model.fit(X, Y, eval_set=held_out)


DOMAINS = {
    "logistic": (put(LABELS, 4, 2), "y is 2.0 in row 4; logistic needs 0 or 1"),
    "poisson": (-Y, "poisson needs numbers from 0"),
    "exponential": (Y, "exponential needs 0 or 1"),
    "softmax:classes=3": (np.arange(20) % 4, "y is 3 in row 3; softmax needs 0 to 2"),
    "multi_squared:outputs=2": (Y, "needs a label a row"),
}


@pytest.mark.parametrize("name", ["gbdt_oblivious", "gbdt"])
@pytest.mark.parametrize("objective", DOMAINS)
def test_labels_outside_the_objectives_domain(objective, name):
    y, message = DOMAINS[objective]
    with pytest.raises(UserError, match=message):
        fit(name, objective=objective)(X, y)


class Frame:
    """As much of a pandas frame as trees.fit needs."""

    def __init__(self, columns):
        self.columns, self.iloc, self.arrays = list(columns), self, list(columns.values())

    def __getitem__(self, place):
        array = self.arrays[place[1]]
        return types.SimpleNamespace(dtype=array.dtype, to_numpy=lambda *_, **__: array)


PREDICTED = {
    "fewer columns": ({"a": X[:, 0], "b": X[:, 1]}, "2 columns; it should have 3|names should match"),
    "another order": (
        {"b": X[:, 1], "a": X[:, 0], "c": X[:, 2]},
        "column 0 of the table is 'b' and should be 'a'|order",
    ),
    "another name": (dict(zip("abz", X.T)), "column 2 of the table is 'z' and should be 'c'|- z"),
    "infinite": (COLUMNS | {"b": put(X[:, 1], 4, np.inf)}, "row 4, column 'b' of the table is infinite"),
    "text": (COLUMNS | {"b": np.array(20 * ["red"], object)}, "row 0, column 'b' of the table holds 'red'"),
}


@pytest.mark.parametrize("name", ["gbdt_oblivious", "gbdt", "ObliviousBoostingRegressor", "GradientBoostingRegressor"])
def test_rows_that_cannot_be_predicted(name):
    if name.startswith("gbdt"):
        table, of = Frame, trees.fit(Frame(COLUMNS), Y, config(name))
        predict = functools.partial(trees.predict, of)
    else:
        table, model = pyarrow.table, getattr(estimators, name)(n_estimators=3, max_depth=2)
        predict = model.fit(table(COLUMNS), Y).predict
    for columns, message in PREDICTED.values():
        with pytest.raises((UserError, ValueError), match=message):
            predict(table(columns))
    with pytest.raises((UserError, ValueError), match="the table has no rows"):
        predict(table({name: x[:0] for name, x in COLUMNS.items()}))


@pytest.mark.parametrize("name", ["ObliviousBoostingRegressor", "CatBoostingRegressor", "RandomForestRegressor"])
def test_frames_that_cannot_be_predicted_or_watched(name):
    pandas = pytest.importorskip("pandas")
    frame, model = pandas.DataFrame(COLUMNS), getattr(estimators, name)(n_estimators=3, max_depth=2)
    bad = [(pandas.DataFrame(columns), message.partition("|")[0]) for columns, message in PREDICTED.values()]
    for x, message in [*bad, (frame[:0], "the table has no rows")]:
        with pytest.raises(UserError, match=message):
            model.fit(frame, Y).predict(x)
        if "Boosting" in name:
            with pytest.raises(UserError, match=message):
                model.fit(frame, Y, eval_set=(x, Y))
    for use in (lambda series: model.fit(series, Y), lambda series: model.fit(X, Y).predict(series)):
        with pytest.raises(UserError, match=r"the table has shape \[20\]"):
            use(frame["a"])


@pytest.mark.parametrize("name", ["ObliviousBoostingClassifier", "RandomForestClassifier"])
@pytest.mark.parametrize("missing", ["None", "nan", "<NA>"])
def test_words_among_which_a_label_is_missing(missing, name):
    y = np.array(["no", "yes"], object)[LABELS]
    y[4] = {"None": None, "nan": np.nan}[missing] if missing != "<NA>" else pytest.importorskip("pandas").NA
    for labels in (y, y.tolist(), y[:, None]):
        with pytest.raises(UserError, match=f"y is {missing} in row 4; give the row a label"):
            estimator(name)(X, labels)


class Words(list):
    """Labels whose dtype is none of numpy's."""

    dtype = "String"


@pytest.mark.parametrize("name", ["ObliviousBoostingClassifier", "AdaBoostClassifier"])
def test_labels_may_have_a_dtype_of_their_own(name):
    y = np.where(LABELS, "yes", "no").tolist()
    np.testing.assert_array_equal(estimator(name)(X, Words(y)), estimator(name)(X, y))


@pytest.mark.parametrize("family", NUMBERS)
def test_little_to_learn_from_is_answered_rightly(family):
    run = NUMBERS[family]
    for x in (np.ones((20, 3)), np.full((20, 3), np.nan)):  # constant, and all missing
        np.testing.assert_allclose(run(x, Y), Y.mean(), rtol=1e-6)
    np.testing.assert_allclose(run(X[:1], Y[:1]), Y[:1], rtol=1e-6)
    np.testing.assert_allclose(run(X, 2 * ONES), 2)
    np.testing.assert_allclose(run(X, Y, np.eye(20)[7]), Y[7], rtol=1e-6)


@pytest.mark.parametrize("family", ["oblivious", "gradient"])
def test_classes_of_constant_features_are_the_most_frequent(family):
    y = np.where(np.arange(20) < 13, "no", "yes")
    assert CLASSES[family](np.ones((20, 3)), y).tolist() == 20 * ["no"]
