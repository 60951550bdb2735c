"""Kinds of borders: functions of a column's distinct values [V], two or more, their weights [V] and a count of borders.

A border lies midway between two neighbours, but in "uniform" and "xgboost".
"""

import numpy as np


def quantile(values, weights, count):
    """Bins of equal weight, a border before the value that passes i / (count + 1) of it; all midpoints if they fit."""
    if len(values) <= count + 1:
        return exact(values, weights, count)
    total = np.cumsum(weights)
    places = np.searchsorted(total, np.arange(1, count + 1) * total[-1] / (count + 1), "right")
    return _midpoints(values, np.unique(np.maximum(places, 1)))


def uniform(values, weights, count):
    """Bins of equal width, in float32 as CatBoost's."""
    low, steps = values[0], np.arange(1, count + 1, dtype=np.float32)
    borders = np.unique(low + steps * (values[-1] - low) / np.float32(count + 1))
    return borders[(borders >= low) & (borders < values[-1])]


def exact(values, weights, count):
    """All midpoints, however many."""
    return _midpoints(values, np.arange(1, len(values)))


def greedy_log_sum(values, weights, count):
    """CatBoost's GreedyLogSum: the bin whose halving adds most to the sum of the bins' log-weights is halved next."""
    total = np.concatenate([[0], np.cumsum(weights)])
    heap = [_halve(total, 0, len(values))]
    while len(heap) <= count and heap[0][0] > -np.inf:
        _, start, middle, end = _pop(heap)
        _push(heap, _halve(total, start, middle))
        _push(heap, _halve(total, middle, end))
    return _midpoints(values, np.array(sorted(start for _, start, *_ in heap if start), int))


def _halve(total, start, end):
    """(gain, start, middle, end) of the better of two ways to part values start..end - 1, beside the median."""
    median = start + np.searchsorted(total[start + 1 : end + 1], (total[start] + total[end]) / 2)
    best = -np.inf, start, start, end
    for middle in (median, median + 1):
        if start < middle < end:
            parts = total[middle] - total[start], total[end] - total[middle], total[end] - total[start]
            left, right, whole = np.log(np.array(parts) + 1e-8)
            best = max(best, (left + right - whole, start, middle, end), key=lambda found: found[0])
    return best


# A binary heap that takes the left child where two gain the same, as that of the C++ library which CatBoost is built
# with does; Python's takes the right one, and bins of equal weight would be halved in another order.
def _push(heap, item):
    heap.append(item)
    i = len(heap) - 1
    while i and heap[up := (i - 1) // 2][0] < heap[i][0]:
        heap[i], heap[up], i = heap[up], heap[i], up


def _pop(heap):
    heap[0], heap[-1] = heap[-1], heap[0]
    top, i = heap.pop(), 0
    while (child := 2 * i + 1) < len(heap):
        child += child + 1 < len(heap) and heap[child][0] < heap[child + 1][0]
        if heap[child][0] < heap[i][0]:
            break
        heap[i], heap[child], i = heap[child], heap[i], child
    return top


def xgboost(values, weights, count):
    """XGBoost's cuts for max_bin = count + 1, each at a value, without the one below and the one above all values.

    Its summary of exact ranks, in float32, is thinned to eight entries a bin, and those to an entry a bin and one.
    """
    weights = weights.astype(np.float32)
    high = np.cumsum(weights)
    entries = values, high - weights, high, weights
    for size in (8 * (count + 1), count + 2):
        entries = [a[_spread(*entries[1:], size)] for a in entries]
    return entries[0][1 : count + 1]


def _spread(low, high, weights, size):
    """Which entries, of ranks between low and high, are nearest to even ranks: both ends and size - 2 between."""
    last = len(low) - 1
    if last < size:
        return np.arange(last + 1)
    n = np.float32(size - 1)
    ranks = 2 * (np.arange(1, size - 1, dtype=np.float32) * (low[last] - high[0]) / n + high[0])
    before = np.maximum(np.searchsorted(low + high, ranks, "right") - 1, 1)
    before = before[before < last]
    nearer = ranks[: len(before)] >= low[before] + weights[before] + high[before + 1] - weights[before + 1]
    return np.unique(np.concatenate([[0], before + nearer, [last]]))


def _midpoints(values, places):
    """Borders float32 between the values at `places` and those before them."""
    low, high = values[places - 1], values[places]
    middle = np.float32(0.5) * low + np.float32(0.5) * high
    return np.where(middle < high, middle, low)  # rounding may reach the upper one


KINDS = {f.__name__: f for f in (quantile, uniform, exact, greedy_log_sum, xgboost)}
