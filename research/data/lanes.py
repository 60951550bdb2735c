"""The order of an epoch whose rows lie in groups that are costly to read. Entry point: `permutation`."""

import numpy as np

LANES = 64  # at most; as many processes read groups of their own
OPEN = 256  # groups that are open at once, over all lanes
MEMORY = 2**28  # bytes of those, where a row group is not larger


def permutation(groups, row_bytes, rng, size, batch_size, start):
    """indices [size] of an epoch that goes once through the first groups [G] of so many rows, and reads few at a time.

    A batch has `lanes` parts of equal size; groups are dealt out to lanes at random, and shuffled together within
    windows of some groups of a lane. So of P processes, which each take a P-th of every batch, each reads groups of its
    own, but for those at the borders of lanes, wherever P divides the lanes; and the order does not depend on P.
    start: the place in a batch at which the epoch begins. row_bytes: of memory.
    """
    groups = groups[: np.searchsorted(np.cumsum(groups), size) + 1]
    each = groups.mean()
    lanes, chunk = plan(groups, row_bytes, batch_size)
    starts, dtype = np.cumsum(groups) - groups, np.int32 if size < 2**31 else np.int64
    rows = [np.arange(starts[g], starts[g] + groups[g], dtype=dtype) for g in rng.permutation(len(groups))]
    rows = np.concatenate(rows)
    # Places of the epoch, by lane and then by time; those before it and behind it are of other epochs.
    places = np.arange(-start, size + -(start + size) % batch_size, dtype=np.int64)
    places = places.reshape(-1, lanes, batch_size // lanes).swapaxes(0, 1).reshape(lanes, -1)
    inside = (places >= 0) & (places < size)
    stops = np.cumsum(inside.sum(axis=1))
    for lane, (begin, stop) in enumerate(zip([0, *stops[:-1]], stops)):
        window = max(int(chunk * each), 1)
        # Each lane opens its windows at other times: reading is spread over the epoch.
        for first in range(begin - window * lane // lanes, stop, window):
            rng.shuffle(rows[max(first, begin) : min(first + window, stop)])
    order = np.empty(size, dtype)
    order[places[inside]] = rows
    return order


def plan(groups, row_bytes, batch_size):
    """(lanes, a power of two that divides batch_size; groups in a window of a lane)."""
    group_bytes = max(groups.mean() * row_bytes, 1)
    lanes = min(batch_size & -batch_size, LANES, 1 << (len(groups).bit_length() - 1))
    while lanes > 1 and lanes * group_bytes > MEMORY:
        lanes //= 2
    return lanes, max(int(min(OPEN, MEMORY / group_bytes)) // lanes, 1)
