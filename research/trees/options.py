"""What a config says of trees: their kind, and how they grow. Entry points: `kind_of`, `options_of`, `dart_of`."""

import jax.numpy as jnp
import numpy as np

from research.errors import UserError, is_known, nearest
from research.trees import boosting, dart, ensemble, forest, levelwise, oblivious

KINDS = {"gbdt_oblivious": ensemble, "catboost": ensemble, "gbdt": forest}  # of a config's name: what holds its trees
SHARES = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")
LEAST = {"num_trees": 1, "block": 1, "early_stopping": 0, "depth": 1, "leaf_iterations": 1, "min_data_in_leaf": 0}
LEAST |= dict.fromkeys(("learning_rate", "l2_leaf_reg", "reg_lambda", "reg_alpha", "gamma", "min_child_weight"), 0)
LEAST |= dict.fromkeys(("random_strength", "bagging_temperature"), 0)
METHODS, PROPOSALS, BOOSTERS = ("hist", "exact", "approx"), ("global", "local"), ("gbtree", "dart")
DEEPEST = 16  # a level has twice the nodes of the one above, asked or not
LEAST_GAIN = 1e-6  # XGBoost's where gamma is 0


def kind_of(config):
    """The module of the trees of a config: ensemble or forest. Raises UserError for another name."""
    if config.name not in KINDS:
        raise UserError(f"the name of the trees is '{config.name}'; {nearest(config.name, KINDS)}")
    return KINDS[config.name]


def options_of(config):
    """boosting.Options of a config. Raises UserError for what is unknown or out of bounds; numbers may be traced."""
    check(config)
    shared = {
        "depth": config.depth,
        "tree_features": config.colsample_bytree,
        "level_features": config.colsample_bylevel,
        "learn_missing": config.missing == "learn",
    }
    options = {
        "rate": config.learning_rate,
        "leaf_method": config.leaf_method,
        "leaf_iterations": config.leaf_iterations,
        "row_share": config.subsample,
        "mvs": config.mvs,
    }
    if kind_of(config) is ensemble:
        tree = oblivious.Options(
            l2=config.l2_leaf_reg, score=config.score_function, random_strength=config.random_strength, **shared
        )
        return _rounded(boosting.Options(tree=_rounded(tree), temperature=config.bagging_temperature, **options))
    tree = levelwise.Options(
        l2=config.reg_lambda,
        l1=config.reg_alpha,
        least_gain=_at_least(config.gamma, LEAST_GAIN) if config.newton else config.gamma,
        least_weight=config.min_child_weight,
        least_rows=config.min_data_in_leaf,
        most_step=getattr(config, "max_delta_step", 0.0),
        node_features=config.colsample_bynode,
        cuts=cuts_of(config),
        bins=getattr(config, "border_count", 255) + 1,
        **shared,
    )
    options |= {"hessian_score": config.newton, "per_output": config.one_output_per_tree}
    options["parallel"] = getattr(config, "num_parallel_tree", 1)
    return _rounded(boosting.Options(tree=_rounded(tree), **options))


def cuts_of(config):
    """levelwise.Options.cuts of the fields `tree_method` and `proposals`, which a config may have."""
    method, proposals = getattr(config, "tree_method", "hist"), getattr(config, "proposals", "global")
    for name, value, known in (("tree_method", method, METHODS), ("proposals", proposals, PROPOSALS)):
        if value not in known:
            raise UserError(f"{name} is '{value}'; {nearest(value, known)}")
    return {"hist": "given", "exact": "exact", "approx": proposals}[method]


def dart_of(config):
    """dart.Options of the fields that a config may have, or None where its `booster` is not "dart"."""
    booster = getattr(config, "booster", "gbtree")
    if booster not in BOOSTERS:
        raise UserError(f"the booster is '{booster}'; {nearest(booster, BOOSTERS)}")
    if booster == "gbtree":
        return None
    return dart.Options(**{name: getattr(config, name) for name in dart.Options._fields if hasattr(config, name)})


def check(config):
    """Raises UserError for options that are unknown or out of bounds, as far as they are known."""
    score = getattr(config, "score_function", "l2")
    if score not in oblivious.SCORES:
        raise UserError(f"score_function is '{score}'; {nearest(score, oblivious.SCORES)}")
    for name in (*SHARES, *LEAST):
        value = getattr(config, name, 1)
        if not is_known(value):
            continue
        if name in SHARES and not 0 < value <= 1:
            raise UserError(f"{name} is {value}; it must be above 0 and at most 1.")
        if name in LEAST and not value >= LEAST[name]:
            raise UserError(f"{name} is {value}; it must be at least {LEAST[name]}.")
    if config.depth > DEEPEST:
        raise UserError(f"depth is {config.depth}; it must be at most {DEEPEST}.")
    share, temperature = config.subsample, getattr(config, "bagging_temperature", 0)
    if is_known((share, temperature)) and share < 1 and temperature > 0:
        raise UserError(f"subsample is {share} and bagging_temperature {temperature}: both draw rows, choose one.")


def _rounded(options):
    """Options with known numbers as float32 has them, in which traced ones come: both then have the same bits."""
    known = {name: value for name, value in options._asdict().items() if isinstance(value, float)}
    return options._replace(**{name: float(np.float32(value)) for name, value in known.items()})


def _at_least(value, least):
    return max(value, least) if is_known(value) else jnp.maximum(value, least)
