"""Sample quality as a record: our row beside three that need no model, each computed from equally many samples."""

import numpy as np

from research.errors import UserError
from research.metrics import classifier as classifiers
from research.metrics.frechet import frechet, gaussian_fit
from research.metrics.memorization import memorization
from research.metrics.sliced_wasserstein import sliced_wasserstein

ROWS = ("ours", "floor", "gaussian", "uniform")
MAX_BLOCKS = 4


def digest(
    samples,
    train,
    test,
    train_labels=None,
    test_labels=None,
    *,
    scale=1.0,
    levels=None,
    num_classes=None,
    classifier=None,
    condition=None,
    seed=0,
    memorized=True,
):
    """A flat, JSON-ready dict that says how far samples [N, ...] are from the test set, all three as stored.

    Rows: ours; floor, training data against the test set, which a perfect model reaches; gaussian, draws of the
    training data's Gaussian; uniform noise. Each is the mean over "blocks" (at most 4) disjoint blocks of "num_samples"
    = min(N, len(test)) samples, against the same reference of that size. Integer data (levels not None) are divided by
    `scale`. With a `Classifier` the Frechet distance is in its features, and "classifier/..." tells how many samples
    have a class (top probability > .9), the share of the rarest class, the agreement with `condition` [N] (-1: none).
    "memorization/..." as `memorization` says, unless memorized=False: it takes longest. Raises UserError on other
    shapes, non-finite samples, or fewer than two.
    """
    samples, train, test = (np.asarray(x) for x in (samples, train, test))
    _check(samples, test)
    rng = np.random.default_rng(seed)
    n = min(len(samples), len(test))
    blocks = min(MAX_BLOCKS, len(samples) // n)
    reference = rng.permutation(test)[:n]  # samples keep their order: condition goes with them
    rows = _rows(rng, samples[: n * blocks], train, n * blocks, levels)
    unit = 1.0 if levels is None else scale
    out = {
        "num_samples": n,
        "blocks": blocks,
        "reference": f"{n} of {len(test)} test examples, {blocks} x {n} samples a row",
        "feature_space": _space(classifier, test),
    }
    for name in ROWS:
        parts = rows[name].reshape(blocks, n, *test.shape[1:])
        out |= {f"{metric}/{name}": v for metric, v in _distances(parts, reference, unit, classifier).items()}
    out["sliced_wasserstein/ratio"] = out["sliced_wasserstein/ours"] / max(out["sliced_wasserstein/floor"], 1e-12)
    if classifier:
        probabilities = {k: classifiers.features(classifier, x)[1] for k, x in (rows | {"test": test}).items()}
        out |= _classes(
            probabilities, train_labels, test_labels, condition, num_classes or classifier.recipe["num_classes"]
        )
    found = memorization(*(x / unit for x in (rows["ours"], train, test))) if memorized else {}
    return out | {f"memorization/{k}": v for k, v in found.items()}


def table(digest):
    """The four rows of a digest as aligned text: distances, their ratio to the floor, the share with a clear class."""
    lines = [f"{'':10}{'sliced W2':>11}{'x floor':>9}{'Frechet':>11}{'confident':>11}"]
    floor = max(digest["sliced_wasserstein/floor"], 1e-12)
    for name in ROWS:
        distance = digest[f"sliced_wasserstein/{name}"]
        confident = digest.get("classifier/confident" + ("" if name == "ours" else f"_{name}"))
        last = "-" if confident is None else f"{confident:.3f}"
        lines.append(f"{name:10}{distance:11.4g}{distance / floor:9.2f}{digest[f'frechet/{name}']:11.4g}{last:>11}")
    lines.append(f"{digest['reference']}; Frechet in {digest['feature_space']}")
    if "classifier/smallest_class" in digest:
        lines.append(f"rarest class {digest['classifier/smallest_class']:.1%} of the samples")
    if "classifier/agreement" in digest:
        lines[-1] += f", {digest['classifier/agreement']:.1%} in the class that was asked for"
    ratio = digest["memorization/ratio"]
    lines.append(f"distance to training data over distance to held-out data: {ratio:.3f} of what real test data have")
    return "\n".join(lines)


def _check(samples, test):
    if samples.shape[1:] != test.shape[1:] or min(len(samples), len(test)) < 2:
        raise UserError(f"a digest compares two or more examples of one shape, not {samples.shape} and {test.shape}.")
    bad = int(np.sum(~np.isfinite(samples.reshape(len(samples), -1)).all(axis=1)))
    if bad:
        raise UserError(
            f"{bad} of {len(samples)} samples hold NaN or infinity, which have no distance: mend the model."
        )


def _rows(rng, ours, train, count, levels):
    """{row: [count, ...]} as stored. The floor draws training examples once each while they last."""
    order = np.concatenate([rng.permutation(len(train)) for _ in range(-(-count // len(train)))])[:count]
    mu, R = gaussian_fit(train.reshape(len(train), -1).astype(np.float64))
    gaussian = (mu + rng.standard_normal((count, len(R))) @ R).reshape(count, *train.shape[1:])
    low, high = train.min(axis=0), train.max(axis=0)
    if levels is None:
        uniform = rng.uniform(low, high, (count, *train.shape[1:]))
    else:
        gaussian = np.clip(np.round(gaussian), 0, levels - 1)
        uniform = rng.integers(levels, size=(count, *train.shape[1:]))
    return {"ours": ours, "floor": train[order], "gaussian": gaussian, "uniform": uniform}


def _distances(parts, reference, unit, classifier):
    """Both distances of blocks [K, n, ...] to the reference [n, ...], averaged over the blocks."""

    def embed(x):
        return classifiers.features(classifier, x)[0] if classifier else x.reshape(len(x), -1) / unit

    sliced = [sliced_wasserstein(part / unit, reference / unit) for part in parts]
    target = embed(reference)
    in_features = [frechet(embed(part), target) for part in parts]
    return {"sliced_wasserstein": float(np.mean(sliced)), "frechet": float(np.mean(in_features))}


def _space(classifier, test):
    if classifier is None:
        return "raw pixels" if test.ndim == 4 else "raw coordinates"
    recipe = classifier.recipe
    tested = f", test accuracy {recipe['test_accuracy']:.4f}" if "test_accuracy" in recipe else ""
    return f"64 features of a classifier of {recipe['name']} (seed {recipe['seed']}{tested})"


def _classes(probabilities, train_labels, test_labels, condition, num_classes):
    """What the classifier says of each row's probabilities [N, K], of the test set, and of the classes asked for."""
    out = {}
    for name, p in probabilities.items():
        out["classifier/confident" + ("" if name == "ours" else f"_{name}")] = float(np.mean(p.max(axis=-1) > 0.9))
    found = probabilities["ours"].argmax(axis=-1)
    out["classifier/smallest_class"] = _smallest(found, num_classes)
    if train_labels is not None:
        out["classifier/smallest_class_train"] = _smallest(np.asarray(train_labels), num_classes)
    if test_labels is not None:
        right = probabilities["test"].argmax(axis=-1) == np.asarray(test_labels)
        out["classifier/test_accuracy"] = float(np.mean(right))
    if condition is not None:
        asked = np.asarray(condition)[: len(found)]
        if (asked >= 0).any():
            out["classifier/agreement"] = float(np.mean((found == asked)[asked >= 0]))
    return out


def _smallest(labels, num_classes):
    return float(np.bincount(labels.astype(int), minlength=num_classes).min() / len(labels))
