"""Summaries of a column: its distinct values and their weights, merged block by block in bounded memory.

A summary is (values float32 [V] ascending, weights float64 [V]). Pruned to S entries, the share of the weight
at or below a value is off by at most 1 / (S - 1); a merge adds no error. Blocks are merged like the digits of a binary
counter, so the error of n blocks is at most (2 + log2 n) / (S - 1); the same blocks in the same order give the same
bits.
"""

import numpy as np

BLOCK = 65536  # rows that are read at a time
SIZE = 4096  # entries a summary of a stream is pruned to: 1000 blocks are off by a third of one of 100 bins at most


def summarise(values, weights=None):
    """The summary of values [N], each of weight 1 or of positive weights [N]."""
    if weights is None:
        values, counts = np.unique(values, return_counts=True)
        return values, counts.astype(np.float64)
    values, place = np.unique(values, return_inverse=True)
    return values, np.bincount(place, weights, len(values))


def merge(a, b):
    """The summary of what two summaries are of."""
    return summarise(*(np.concatenate(pair) for pair in zip(a, b)))


def prune(summary, size):
    """A summary of at most `size` entries; a value that is left out gives its weight to the next one that is kept."""
    values, weights = summary
    if len(values) <= size:
        return summary
    total = np.cumsum(weights)
    kept = np.searchsorted(total, np.arange(1, size - 1) * total[-1] / (size - 1))
    kept = np.unique(np.concatenate([[0], kept, [len(values) - 1]]))
    return values[kept], np.diff(total[kept], prepend=0)


def add(levels, summary, size):
    """`levels` with a block's summary: entry i is None or the summary of 2**i blocks."""
    summary, levels = prune(summary, size), list(levels)
    for i, held in enumerate(levels):
        if held is None:
            return [*levels[:i], summary, *levels[i + 1 :]]
        summary, levels[i] = prune(merge(held, summary), size), None
    return [*levels, summary]


def total(levels):
    """The summary of all blocks."""
    summary = np.zeros(0, np.float32), np.zeros(0)
    for held in levels:
        summary = summary if held is None else merge(held, summary)
    return summary
