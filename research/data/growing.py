"""Data sets that grow while they are trained on: between epochs, each row once an epoch, told in checkpoints."""

import threading

import grain

from research.errors import UserError


class Sizes:
    """Which epochs there are: [epoch, place where it begins, rows] from which on epochs have so many rows.

    grown: () -> rows, asked once for each new epoch; None: they stay as they are.
    """

    def __init__(self, size, grown):
        self.spans, self.known, self.grown, self.lock = [[0, 0, size]], 0, grown, threading.Lock()

    def epochs(self, begin, end):
        """[(epoch, place where it begins, rows)] of those that have places begin .. end - 1."""
        found = []
        with self.lock:
            while not found or sum(found[-1][1:]) < end:
                place = sum(found[-1][1:]) if found else begin
                found.append(self._at(int(place)))
        return found

    def _at(self, place):
        first, start, size = next(span for span in reversed(self.spans) if span[1] <= place)
        epoch = first + (place - start) // size
        while self.known < epoch:
            self.known += 1
            if self.grown and (now := self.grown()) != size:
                self.spans.append([self.known, start + (self.known - first) * size, now])
                return self._at(place)
        return epoch, start + (epoch - first) * size, size


class Growing(grain.DatasetIterator):
    """An iterator whose state tells the sizes of the epochs so far, too: a set that grew goes on as it was."""

    def __init__(self, inner, sizes):
        super().__init__()
        self.inner, self.sizes = inner, sizes

    def __next__(self):
        return next(self.inner)

    def get_state(self):
        with self.sizes.lock:
            return {
                "spans": [list(span) for span in self.sizes.spans],
                "known": self.sizes.known,
                **self.inner.get_state(),
            }

    def set_state(self, state):
        state = dict(state)
        with self.sizes.lock:
            there = self.sizes.spans[0][2]
            self.sizes.spans, self.sizes.known = state.pop("spans"), state.pop("known")
        if (before := self.sizes.spans[-1][2]) > there:
            raise UserError(f"the run was trained on {before} rows, and there are {there} now; bring the others back.")
        self.inner.set_state(state)
