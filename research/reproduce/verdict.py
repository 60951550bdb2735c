"""Rows of REPRODUCTION.md. A verdict is computed from numbers; nobody types one."""

import numpy as np
from scipy import stats

REPRODUCED, TREND, DIFFERS = "reproduced", "smaller scale: trend holds", "differs"
METRIC, NOT_RUN = "different metric", "not run"


def number(what, paper, ours, tolerance):
    """A row: ours, a number or one a seed, beside the paper's, which it reproduces within the tolerance.

    what: the item, such as "bits/dim, CIFAR-10"; tolerance: in the same unit, 0 for what is exact.
    """
    mean, interval, seeds = spread(ours)
    verdict = REPRODUCED if abs(mean - paper) <= tolerance else DIFFERS
    return _row(what, paper, mean, interval, seeds, tolerance, verdict)


def trend(what, paper, ours, holds):
    """A row whose setting is smaller than the paper's: the words of what the paper saw, ours, and whether it holds.

    ours: a number, one a seed, or words.
    """
    mean, interval, seeds = (ours, None, None) if isinstance(ours, str) else spread(ours)
    return _row(what, paper, mean, interval, seeds, None, TREND if holds else DIFFERS)


def other_metric(what, paper, ours, metric):
    """A row whose number is of another metric than the paper's, which it says: nothing follows from comparing them."""
    mean, interval, seeds = spread(ours)
    return _row(f"{what} (ours: {metric})", paper, mean, interval, seeds, None, METRIC)


def fid(what, paper, ours, other):
    """A row of an FID, which is the paper's within 5 %; without one (None) of another distance, which is not."""
    if ours is None:
        return other_metric(what, paper, other, "Frechet distance in a classifier's features")
    return number(what, paper, ours, 0.05 * paper)


def spread(values):
    """(mean, half width of the 95 % t interval, number) of one number a seed; the width is None of one."""
    values = np.atleast_1d(np.asarray(values, float))
    if len(values) == 1:
        return float(values[0]), None, 1
    deviation = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * deviation), len(values)


def _row(what, paper, ours, interval, seeds, tolerance, verdict):
    return {
        **{"what": what, "paper": paper, "ours": ours, "interval": interval, "seeds": seeds},
        **{"tolerance": tolerance, "verdict": verdict},
    }
