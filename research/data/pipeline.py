"""From a Source to batches: an endless, shuffled, resumable iterator for training, a plain generator for evaluation."""

import collections
import concurrent.futures
import functools
import sys

import grain
import numpy as np

from research.data.growing import Growing, Sizes
from research.errors import UserError

# Two threads gather a few batches ahead. More threads only contend for the interpreter's lock.
AHEAD, EACH = 2, 4  # in order two threads read so many batches each before they are asked for: fewer hand-overs
READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)


def iterate(source, batch_size, seed, *, process_index=0, process_count=1):
    """An endless grain DatasetIterator of batches, reshuffled each epoch; get_state and set_state resume it exactly.

    batch_size counts all processes: batch i is the same rows in the same order however many share it, and process p
    gets the p-th contiguous part. Batches run over the end of an epoch, so each example comes once an epoch. A set that
    grows does so between epochs, and of several processes it stays as it was when the run began.
    Raises UserError for an empty source, a negative seed or a batch_size that does not divide over the processes.
    """
    if batch_size < 1 or batch_size % process_count:
        raise UserError(f"data.batch_size is {batch_size}; it must be above 0 and a multiple of {process_count}.")
    if source.size < 1:
        raise UserError("the training set is empty; check data.name, data.dir and data.size.")
    if seed < 0:
        raise UserError(f"data.seed is {seed}; it must be 0 or more.")
    rows = slice(process_index * batch_size // process_count, (process_index + 1) * batch_size // process_count)
    sizes = Sizes(source.size, source.grown if process_count == 1 else None)

    # A whole permutation at a time, not grain's shuffle(): 50 us a batch of 128 where an index at a time takes 5 ms.
    @functools.lru_cache(maxsize=2)
    def permutation(epoch, start, size):
        rng = np.random.default_rng([seed, epoch])
        if source.permutation:
            return source.permutation(rng, size, batch_size, start % batch_size)
        return rng.permutation(size)

    def batch(i):
        places = np.arange(i * batch_size, (i + 1) * batch_size)[rows]
        parts = sizes.epochs(places[0], places[-1] + 1)
        indices = [permutation(*epoch)[max(places[0] - epoch[1], 0) : places[-1] + 1 - epoch[1]] for epoch in parts]
        return source.gather(np.concatenate(indices))

    iterator = iter(grain.MapDataset.range(sys.maxsize // batch_size).map(batch).to_iter_dataset(READ))
    return Growing(iterator, sizes) if source.grown else iterator


def epochs(source, batch_size):
    """Batches that go once through a source in order, some of them read ahead; the last may be short."""
    starts, waiting = range(0, source.size, batch_size), collections.deque()

    def gather(some):
        return [source.gather(np.arange(start, min(start + batch_size, source.size))) for start in some]

    with concurrent.futures.ThreadPoolExecutor(AHEAD) as pool:
        for i in range(0, len(starts), EACH):
            waiting.append(pool.submit(gather, starts[i : i + EACH]))
            if len(waiting) > AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
