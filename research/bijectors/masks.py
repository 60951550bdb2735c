"""Which entries of an example pass through a coupling and condition the rest: boolean arrays, True = passes through."""

import numpy as np


def half(size, flip=False):
    """[size]: the first half passes, the second is transformed; flip turns it round. On the last axis: channels."""
    return (np.arange(size) < size // 2) ^ flip


def alternating(size, flip=False):
    """[size]: entries 0, 2, 4 ... pass (Dinh et al. 2015, NICE, section 5.1); flip: the others."""
    return (np.arange(size) % 2 == 0) ^ flip


def checkerboard(height, width, flip=False):
    """[H, W, 1]: pixels whose row and column add up to an even number pass (RealNVP, figure 3); flip: the others."""
    return ((np.arange(height)[:, None] + np.arange(width)) % 2 == 0)[..., None] ^ flip
