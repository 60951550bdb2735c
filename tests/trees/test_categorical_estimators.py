"""CatBoost's estimators: tables with words in each form that users have them, and what they choose of themselves."""

import json
import pathlib
import pickle

import numpy as np
import pytest

from research.errors import UserError
from research.trees.estimators import CatBoostingClassifier, CatBoostingRegressor, ObliviousBoostingRegressor
from tests.peers import make_categorical as peer

SMALL = dict(n_estimators=15, learning_rate=0.3, max_depth=2, border_count=32, random_state=0)
RNG = np.random.default_rng(0)
COLOURS = np.array(["red", "green", "blue", "grey", "black"], object)[RNG.integers(0, 5, 240)]
NUMBERS = RNG.normal(size=240)
Y = np.where((COLOURS == "red") | (COLOURS == "blue"), 1.0, 0.0) * 4 + NUMBERS
X = np.stack([COLOURS, NUMBERS], 1)


def regressor(**options):
    return CatBoostingRegressor(**SMALL | options)


def same_model(forms):
    wanted = regressor().fit(X, Y).predict(X)
    assert np.mean((wanted - Y) ** 2) < 0.1 * np.var(Y)
    for train, options in forms:
        np.testing.assert_array_equal(regressor(**options).fit(train, Y).predict(train), wanted)


def test_each_form_of_a_table_gives_the_same_model():
    codes = {w: i for i, w in enumerate(dict.fromkeys(COLOURS))}
    whole = np.stack([[codes[w] for w in COLOURS], NUMBERS], 1)
    same_model(
        [(X.tolist(), {}), (X, {"cat_features": [0]}), (whole, {"cat_features": (0,)}), (whole, {"cat_features": [-2]})]
        + [(whole, {"cat_features": mask}) for mask in ([True, False], np.array([True, False]))]
    )


def test_each_form_of_a_frame_gives_the_same_model():
    frame = pytest.importorskip("pandas").DataFrame({"colour": COLOURS, "size": NUMBERS})
    own = [(frame.astype({"colour": kind}), {}) for kind in ("category", "string", object)]
    same_model([(frame, {"cat_features": ["colour"]}), (frame, {"cat_features": "colour"}), *own])
    model = regressor().fit(frame, Y)
    assert model.feature_names_in_.tolist() == ["colour", "size"]
    with pytest.raises(ValueError, match="did you mean 'colour'"):
        regressor(cat_features=["color"]).fit(frame, Y)
    frame["colour"] = frame["colour"].where(frame["size"] > 0)
    frame["size"] = frame["size"].astype("Float64").where(frame["size"] < 1)
    assert np.isfinite(regressor().fit(frame, Y).predict(frame)).all()


def test_without_the_categories_it_is_oblivious_boosting():
    x, same = NUMBERS[:, None], dict(subsample=0.8, mvs=True, random_strength=1.0)
    wanted = ObliviousBoostingRegressor(**SMALL, **same).fit(x, Y).predict(x)
    np.testing.assert_array_equal(regressor().fit(x, Y).predict(x), wanted)


def test_the_estimator_has_catboosts_predictions():
    kept = json.loads(pathlib.Path(peer.__file__).with_name("categorical.json").read_text())["cases"]["numbers"]
    x, y, new = peer.made("numbers")
    options = dict(SMALL, max_depth=3, subsample=1.0, random_strength=0.0, has_time=True)
    borders = [kept["borders"][0], [], kept["borders"][1], [], []]
    model = CatBoostingRegressor(**options, cat_features=peer.COLUMNS, borders=borders).fit(x, y)
    np.testing.assert_allclose(model.predict(new), kept["unseen"], atol=1e-5)


def test_missing_and_unseen_words():
    x = X.copy()
    x[::3, 0] = None
    model = regressor().fit(x, Y + 9 * (np.arange(240) % 3 == 0))
    new = np.array([[None, 0.0], [np.nan, 0.0], ["pink", 0.0], ["blue", 0.0]], object)
    missing, nan, unseen, blue = model.predict(new)
    assert missing == nan and missing > blue > 2 and np.isfinite(unseen)


def test_pairs_tell_what_single_columns_do_not():
    x = RNG.integers(0, 4, (600, 2))
    table = np.array([[f"a{a}", f"b{b}"] for a, b in x], object)
    y = np.array(["no", "yes"])[(x[:, 0] + x[:, 1]) % 2]
    score = [
        CatBoostingClassifier(**SMALL | {"max_depth": 1}, max_ctr_complexity=c).fit(table, y).score(table, y)
        for c in (1, 2)
    ]
    assert score[0] < 0.7 and score[1] > 0.95


def test_importances_are_of_the_columns_of_the_table():
    model = regressor(max_ctr_complexity=2).fit(np.column_stack([X, COLOURS[RNG.permutation(240)]]), Y)
    shares = model.feature_importances_
    assert shares.shape == (3,) and shares.sum() == pytest.approx(1) and shares[0] > shares[2]
    assert shares[0] + shares[1] > 0.8


def test_it_stops_early_pickles_and_has_stages():
    model = regressor(n_estimators=60, early_stopping=5).fit(X[:120], Y[:120], eval_set=(X[120:], -Y[120:]))
    assert len(model.ensemble_.feature) < 30
    with pytest.raises(UserError, match="save the estimator itself"):
        model.save_model("no.json")
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_allclose(list(model.staged_predict(X))[-1], model.predict(X), rtol=1e-5)


RATES = [  # read off from CatBoost 1.2.10: rows, trees, early stopping, its rate
    (CatBoostingClassifier, 2, 500, 1000, 0, 0.007663),
    (CatBoostingClassifier, 2, 60, 100, 0, 0.025598),
    (CatBoostingClassifier, 2, 20000, 100, 0, 0.305826),
    (CatBoostingClassifier, 2, 1000, 100, 9, 0.08628),
    (CatBoostingClassifier, 3, 500, 1000, 0, 0.076378),
    (CatBoostingClassifier, 3, 60, 100, 0, 0.479743),
    (CatBoostingClassifier, 3, 20000, 100, 9, 0.276279),
    (CatBoostingRegressor, 0, 500, 1000, 0, 0.036696),
    (CatBoostingRegressor, 0, 20000, 100, 0, 0.427309),
    (CatBoostingRegressor, 0, 60, 100, 9, 0.133372),
    (CatBoostingRegressor, 0, 1000, 10, 0, 0.5),
]


@pytest.mark.parametrize("kind, classes, rows, trees, patience, rate", RATES)
def test_the_rate_is_catboosts(kind, classes, rows, trees, patience, rate):
    model = kind(n_estimators=trees, early_stopping=patience)
    config = model._config({0: "squared", 2: "logistic", 3: "softmax:classes=3"}[classes])
    model._choose(config, rows)
    assert config.learning_rate == pytest.approx(rate, rel=2e-3)
    assert (config.bagging_temperature, config.subsample) == ((1, 1) if classes == 3 else (0, 0.8 if rows > 99 else 1))
    assert config.leaf_iterations == (10 if classes == 2 else 1)


LISTS = X.copy()
LISTS[7, 0] = ["red"]
MISTAKES = {
    "the mask of categorical columns has 1 of them; the table has 2": lambda: regressor(cat_features=[True]).fit(X, Y),
    "the categorical column 1.5 is none of": lambda: regressor(cat_features=1.5).fit(X, Y),
    "the categorical column 2 is none of the 2 columns": lambda: regressor(cat_features=[2]).fit(X, Y),
    "column 'a' is not in the table": lambda: regressor(cat_features=["a"]).fit(X, Y),
    "row 0, column 1 of the table holds .*, no category": lambda: regressor(cat_features=[0, 1]).fit(X, Y),
    "row 7, column 0 of the table holds .*'red'.*, no category": lambda: regressor().fit(LISTS, Y),
    "learning_rate must be an instance of float, not str; by default it is 'auto'": lambda: regressor(
        learning_rate="fast"
    ).fit(X, Y),
    "max_ctr_complexity == 3": lambda: regressor(max_ctr_complexity=3).fit(X, Y),
    "row 0, column 0 of the table holds 'red'": lambda: (
        regressor().fit(NUMBERS[:, None], Y).predict(np.array([["red"]], object))
    ),
    "2 features": lambda: regressor().fit(X, Y).predict(X[:, :1]),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message):
    with pytest.raises(ValueError, match=message) as caught:
        MISTAKES[message]()
    assert isinstance(caught.value, UserError) or message == "2 features"
