"""Processes from data to noise, discrete ones by tables, and the times at which samplers stop."""

from research.noise.continuous import cosine, edm, heat, pair, rectified, sub_vp, trigonometric, ve, vp
from research.noise.discrete import alpha_bar, discrete, step
from research.noise.process import Process, as_time, expand
from research.noise.spacing import times

__all__ = [
    "Process",
    "alpha_bar",
    "as_time",
    "cosine",
    "discrete",
    "edm",
    "expand",
    "heat",
    "pair",
    "rectified",
    "step",
    "sub_vp",
    "times",
    "trigonometric",
    "ve",
    "vp",
]
