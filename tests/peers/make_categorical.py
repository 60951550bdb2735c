"""Writes categorical.json: what CatBoost predicts and which splits it chooses where columns are categories.

python -m tests.peers.make_categorical, by hand, where catboost is installed. No test imports this file but for `made`,
which needs no catboost. Statistics see the rows before them as they are given (has_time).
"""

import numpy as np

COLUMNS = (1, 3, 4)  # of categories
SAME = {"has_time": True, "boosting_type": "Plain", "bootstrap_type": "No", "random_strength": 0, "model_size_reg": 0}
SAME |= {"leaf_estimation_backtracking": "No", "leaf_estimation_iterations": 1, "max_ctr_complexity": 1}
SAME |= {"thread_count": 1, "random_seed": 0, "allow_writing_files": False, "logging_level": "Silent"}
SAME |= {"iterations": 15, "learning_rate": 0.3, "l2_leaf_reg": 3.0, "depth": 3, "border_count": 32}
TWO, NUMBERS = {"loss_function": "Logloss", "boost_from_average": False}, {"loss_function": "RMSE"}
CASES = {
    "two": TWO | {"one_hot_max_size": 1, "leaf_estimation_method": "Gradient"},
    "two_one_hot": TWO | {"one_hot_max_size": 6, "leaf_estimation_method": "Newton"},
    "numbers": NUMBERS | {"one_hot_max_size": 2, "leaf_estimation_method": "Gradient"},
    "classes": {"loss_function": "MultiClass", "one_hot_max_size": 2, "leaf_estimation_method": "Gradient"},
}


def made(kind, rows=700):
    """(x [N, 5], y [N], unseen x [20, 5]): two columns of numbers, and of 3, of 12 and of 40 categories."""
    rng = np.random.default_rng(11)
    x = np.stack([rng.random(rows), rng.integers(0, 3, rows), rng.normal(size=rows)], 1)
    x = np.concatenate([x, np.stack([rng.integers(0, 12, rows), np.minimum(rng.geometric(0.1, rows), 40)], 1)], axis=1)
    effect = rng.normal(size=(3, 41))
    score = 2 * x[:, 0] + sum(effect[i, x[:, f].astype(int)] for i, f in enumerate(COLUMNS)) + rng.normal(size=rows)
    y = score if kind == "numbers" else np.digitize(score, [0, 2] if kind == "classes" else [1]).astype(float)
    new = np.array(x[:20], np.float32)
    new[::2, 3], new[5:, 4] = 99, 77
    return x.astype(np.float32), y.astype(np.float32), new


def main():
    """Writes the file beside this one."""
    import json
    import pathlib

    import catboost

    from tests.peers.make_trees import borders, digits, raw, saved

    def words(x, y=None):
        found = np.array(x, object)
        for f in COLUMNS:
            found[:, f] = [f"{value:.0f}" for value in x[:, f]]
        return catboost.Pool(found, y, cat_features=list(COLUMNS))

    kept = {}
    for name, options in CASES.items():
        x, y, new = made(name)
        pool = words(x, y)
        model = catboost.CatBoost(SAME | options).fit(pool)
        numeric = catboost.Pool(x[:, [0, 2]], y)
        numeric.quantize(border_count=32)
        found = saved(model)
        trees = [
            {"types": [split["split_type"] for split in tree["splits"]], "leaves": digits(tree["leaf_values"])}
            for tree in found["oblivious_trees"]
        ]
        kept[name] = {
            "borders": borders(numeric, 2),
            "start": found["scale_and_bias"][1],
            "trees": trees,
            "predictions": raw(model, pool),
            "unseen": raw(model, words(new)),
        }
    path = pathlib.Path(__file__).with_name("categorical.json")
    path.write_text(json.dumps({"versions": [catboost.__version__], "cases": kept}, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
