"""Boosted trees as one XLA program: binning, histograms, growing, objectives, ensembles, interop."""

from research.trees.ensemble import Ensemble
from research.trees.explain import describe, importances, permutation
from research.trees.fitting import fit, predict
from research.trees.forest import Forest
from research.trees.prediction import predict_raw, staged

__all__ = ["Ensemble", "Forest", "describe", "fit", "importances", "permutation", "predict", "predict_raw", "staged"]
