"""What an ensemble is made of: importances of features, and all of it in plain Python."""

import numpy as np

from research.errors import UserError, nearest
from research.trees.ensemble import predict_raw

QUESTION = {"left": "x > border", "right": "x >= border"}


def importances(ensemble, kind="gain"):
    """[F] float64 that sum to 1: each feature's share of the "gain", of the "splits", or of the "cover" they see.

    All are 0 where nothing was gained; a loss counts as 0. Raises UserError for another kind, and for one that an
    imported model lacks.
    """
    kinds = {"gain": ensemble.gain, "splits": np.ones(ensemble.feature.shape), "cover": ensemble.cover}
    if kind not in kinds:
        raise UserError(f"the kind of importance is '{kind}'; {nearest(kind, kinds)}")
    if kinds[kind] is None:
        raise UserError(f"the trees do not say their {kind}; choose 'splits', or `permutation`.")
    value = np.maximum(np.asarray(kinds[kind], np.float64), 0)
    value = value.sum(1, keepdims=True) if kind == "cover" else value
    value = np.broadcast_to(value, ensemble.feature.shape)
    found = np.bincount(np.ravel(ensemble.feature), np.ravel(value), len(ensemble.counts))
    return found / (found.sum() or 1)


def permutation(ensemble, x, score, seed=0, repeats=5):
    """[F] float64: how much score(raw predictions [N, K]) falls when a column of x [N, F] is shuffled, on average."""
    x, random = np.array(x, np.float32), np.random.default_rng(seed)
    whole, found = float(score(predict_raw(ensemble, x))), np.zeros(x.shape[1])
    for f in np.unique(ensemble.feature):  # the others change nothing
        column = x[:, f].copy()
        for _ in range(repeats):
            x[:, f] = random.permutation(column)
            found[f] += (whole - float(score(predict_raw(ensemble, x)))) / repeats
        x[:, f] = column
    return found


def describe(ensemble):
    """A dict of plain Python: the objective, start [K], and trees with their splits, gains, leaves and cover.

    Bit d of a leaf's place is the answer to split d. A leaf is a number where K = 1, otherwise a list of K.
    """
    feature, threshold = np.asarray(ensemble.feature), np.asarray(ensemble.threshold)
    borders, right = np.asarray(ensemble.borders), np.asarray(ensemble.missing_right)
    right = right if ensemble.missing == "learn" else np.full(right.shape, ensemble.missing == "max")
    leaves = np.asarray(ensemble.leaves)
    leaves = leaves[..., 0] if leaves.shape[-1] == 1 else leaves

    def split(t, d):
        f = int(feature[t, d])
        found = {"feature": ensemble.names[f] if ensemble.names else f, "question": QUESTION[ensemble.side]}
        found |= {"border": float(borders[f, threshold[t, d]]), "missing": "right" if right[t, d] else "left"}
        return found | ({} if ensemble.gain is None else {"gain": float(ensemble.gain[t, d])})

    def tree(t):
        cover = {} if ensemble.cover is None else {"cover": np.asarray(ensemble.cover[t]).tolist()}
        return {"splits": [split(t, d) for d in range(feature.shape[1])], "leaves": leaves[t].tolist()} | cover

    head = {"objective": ensemble.objective, "start": np.asarray(ensemble.start).tolist()}
    return head | {"trees": [tree(t) for t in range(len(feature))]}
