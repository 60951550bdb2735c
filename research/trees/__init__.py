"""Boosted oblivious trees as one XLA program: binning, histograms, growing, objectives, ensembles, interop."""

from research.trees.ensemble import Ensemble, predict_raw, staged
from research.trees.explain import describe, importances, permutation
from research.trees.fitting import fit, predict

__all__ = ["Ensemble", "describe", "fit", "importances", "permutation", "predict", "predict_raw", "staged"]
