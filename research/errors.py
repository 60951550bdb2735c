"""The one exception for a mistake that the user can mend, and what its sentences need."""

import difflib

import jax


class UserError(Exception):
    """One clear sentence: what was wrong, where, and what to do. The command lines print it and exit with 2."""


def nearest(name, names):
    """The end of a sentence about an unknown name: what was probably meant, or what there is."""
    close = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(names)}."


def is_known(value):
    """Whether a value, or each of a list of them, can be looked at now: it is not being traced."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))
