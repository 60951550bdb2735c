"""What an ensemble of either kind is made of: importances of features, and all of it in plain Python."""

import numpy as np

from research.errors import UserError, nearest
from research.trees.forest import Forest
from research.trees.prediction import predict_raw

QUESTION = {"left": "x > border", "right": "x >= border"}


def importances(of, kind="gain"):
    """[F] float64 that sum to 1: each feature's share of the "gain", of the "splits", or of the "cover" they see.

    All are 0 where nothing was gained; a loss counts as 0. Raises UserError for another kind, and for one that an
    imported model lacks.
    """
    asks = of.left > 0 if isinstance(of, Forest) else np.ones(of.feature.shape)
    kinds = {"gain": of.gain, "splits": asks, "cover": of.cover}
    if kind not in kinds:
        raise UserError(f"the kind of importance is '{kind}'; {nearest(kind, kinds)}")
    if kinds[kind] is None:
        raise UserError(f"the trees do not say their {kind}; choose 'splits', or `permutation`.")
    value = np.maximum(np.asarray(kinds[kind], np.float64), 0)
    if kind == "cover" and not isinstance(of, Forest):  # of leaves: all rows pass each question
        value = value.sum(1, keepdims=True)
    found = np.bincount(np.ravel(of.feature), np.ravel(value * np.asarray(asks)), of.columns)
    return found / (found.sum() or 1)


def of_trees(of):
    """[T, F] float64: of each tree of a Forest each feature's share of the gain; 0 where a tree gains nothing."""
    gain = np.maximum(np.asarray(of.gain, np.float64), 0).reshape(len(of.gain), -1)
    place = np.asarray(of.feature).reshape(gain.shape) + of.columns * np.arange(len(gain))[:, None]
    found = np.bincount(place.ravel(), gain.ravel(), gain.shape[0] * of.columns).reshape(len(gain), -1)
    return found / np.where(found.any(axis=1), found.sum(axis=1), 1)[:, None]


def permutation(of, x, score, seed=0, repeats=5, orders=None, each=False):
    """[F] float64: how much score(raw predictions [N, K]) falls when a column of x [N, F] is shuffled, on average.

    orders [repeats, N]: in which the rows of a column come, in the place of drawing. each: [F, repeats], not the mean.
    """
    whole = float(score(predict_raw(of, x)))  # of x as it came, so that names of its columns are looked at
    x, random = np.array(x, np.float32), np.random.default_rng(seed)
    found = np.zeros((x.shape[1], repeats if orders is None else len(orders)))
    for f in np.unique(of.feature):  # the others change nothing
        column = x[:, f].copy()
        for i in range(found.shape[1]):
            x[:, f] = random.permutation(column) if orders is None else column[orders[i]]
            found[f, i] = whole - float(score(predict_raw(of, x)))
        x[:, f] = column
    return found if each else found.mean(axis=1)


def describe(of):
    """A dict of plain Python: the objective, start [K], and trees.

    An oblivious tree has its splits, leaves and cover; bit d of a leaf's place is the answer to split d. Of a Forest a
    tree is its root: a node has a "value", or a question and the nodes "left" and "right", where its answers lead; with
    a tree for each output a round is a list of roots. A value is a number where there is one, otherwise a list.
    """
    round_ = _nested(of) if isinstance(of, Forest) else _flat(of)
    head = {"objective": of.objective, "start": np.asarray(of.start).tolist()}
    return head | {"trees": [round_(t) for t in range(len(of.feature))]}


def _question(of, feature, border, right, gain):
    name = of.names[feature] if of.names else int(feature)
    found = {"feature": name, "question": QUESTION[of.side], "border": float(border)}
    return found | {"missing": "right" if right else "left"} | ({} if gain is None else {"gain": float(gain)})


def _flat(of):
    """A function of a tree's number."""
    feature, threshold, leaves = (np.asarray(x) for x in (of.feature, of.threshold, of.leaves))
    border, gain = np.asarray(of.borders)[feature, threshold], of.gain
    right = np.asarray(of.missing_right) if of.missing == "learn" else np.full(feature.shape, of.missing == "max")
    leaves = leaves[..., 0] if leaves.shape[-1] == 1 else leaves

    def tree(t):
        splits = zip(feature[t], border[t], right[t], [None] * len(feature[t]) if gain is None else np.asarray(gain[t]))
        cover = {} if of.cover is None else {"cover": np.asarray(of.cover[t]).tolist()}
        return {"splits": [_question(of, *split) for split in splits], "leaves": leaves[t].tolist()} | cover

    return tree


def _nested(of):
    """A function of a round's number."""
    feature, border, right, left, value = (
        np.asarray(x) for x in (of.feature, of.border, of.missing_right, of.left, of.value)
    )
    value = value[..., 0] if value.shape[-1] == 1 else value
    gain, cover = (None if x is None else np.asarray(x) for x in (of.gain, of.cover))

    def node(*at):
        found = {} if cover is None else {"cover": float(cover[at])}
        if not left[at]:
            return found | {"value": value[at].tolist()}
        asked = _question(of, feature[at], border[at], right[at], None if gain is None else gain[at])
        *tree, child = *at[:2], left[at]
        return found | asked | {"left": node(*tree, child), "right": node(*tree, child + 1)}

    def round_(t):
        roots = [node(t, j, 0) for j in range(feature.shape[1])]
        return roots if len(roots) > 1 else roots[0]

    return round_
