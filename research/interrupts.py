"""SIGTERM and Ctrl-C as a question the loop asks between steps, on one process or on many."""

import contextlib
import os
import signal

import jax
from jax.experimental import multihost_utils


class Preempted(Exception):
    """The run was asked to stop; its state is saved at `step`. `signal` is the number of the signal."""

    def __init__(self, step, signal_number):
        super().__init__(f"preempted at step {step}")
        self.step, self.signal = step, signal_number


@contextlib.contextmanager
def catch():
    """Yields `asked(step)`: the signal that asks this run to stop after `step`, or None.

    The first signal is kept for the loop to answer, a second one acts at once. With several processes all agree on one
    step, through JAX's preemption service.
    """
    received = []

    def remember(number, _):
        received.append(number)
        if several:  # the service tells the others, so that all stop at one step
            os.kill(os.getpid(), signal.SIGTERM)
        for each, handler in before.items():
            signal.signal(each, handler)

    several = jax.process_count() > 1  # then SIGTERM belongs to the service, which installed its own handler
    numbers = (signal.SIGINT,) if several else (signal.SIGTERM, signal.SIGINT)
    before = {each: signal.signal(each, remember) for each in numbers}

    def asked(step):
        if several and not multihost_utils.reached_preemption_sync_point(step):
            return None
        return received[0] if received else (signal.SIGTERM if several else None)

    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
