"""What a model's density is measured by: bits a dimension on held-out and on training data, beside a Gaussian's."""

import math

import jax
import numpy as np

from research import diffusion, likelihood
from research.figures import grid
from research.metrics import gaussian

EXAMPLES = 10000  # of each set
SOLVED, SOLVED_FEW = 128, 1024  # where a density takes many calls of the net; the same of few dimensions
GAUSSIAN_LIMIT = 4096  # dimensions up to which a covariance is fitted
PLANE = 384  # cells along a side, a pixel each


def digest(experiment, params, train_x, test_x, seed=0, test_y=None):
    """A flat dict "likelihood/...": the record of held-out data, train_bits_per_dim, gaussian_bits_per_dim.

    nats are per unit of the data as stored; integer data also have nats_on_unit_interval, of x / levels, which some
    papers report. Data of a known density have kl, the mean of its logarithm less that of the model's, in nats.
    Densities of an ODE are measured on few examples, and not on training data. With test_y, the classes of test_x, they
    are those of x given its class, which no density of the data alone is set beside.
    """
    if experiment.model.log_prob is None:
        return {}
    result = record(experiment, params, test_x[:EXAMPLES], seed, test_y)
    if test_y is not None:
        return result | {"likelihood/given": "class"}
    if not is_solved(experiment):
        found = record(experiment, params, train_x[:EXAMPLES], seed)
        result["likelihood/train_bits_per_dim"] = found["likelihood/bits_per_dim"]
    if math.prod(experiment.dataset.shape) <= GAUSSIAN_LIMIT:
        result["likelihood/gaussian_bits_per_dim"] = gaussian.bits_per_dim(train_x, test_x, experiment.dataset.levels)
    if experiment.dataset.entropy is not None:
        result["likelihood/negative_entropy"] = -experiment.dataset.entropy
    if experiment.dataset.log_prob is not None:  # the data's own log-density of the same examples: less noise
        truth = np.asarray(experiment.dataset.log_prob(test_x[: result["likelihood/examples"]]), np.float64)
        result["likelihood/kl"] = float(truth.mean()) - result["likelihood/nats"]
    return result


def is_solved(experiment):
    """Whether a log-density takes the solution of an ODE: a flow's is one pass of its net."""
    return "rtol" in experiment.config.sampler


def record(experiment, params, x, seed=0, condition=None):
    """The model's mean log-density of x [N, ...] with its standard error over them, and what kind of number it is.

    condition: None, or classes of x in its order.
    """
    if is_solved(experiment):
        x = x[: SOLVED_FEW if math.prod(experiment.dataset.shape) <= diffusion.EXACT_TRACE else SOLVED]
    found = log_probs(experiment, params, x, seed, condition=condition)
    nats, shape, levels = found.nats, experiment.dataset.shape, experiment.dataset.levels
    result = {
        "likelihood/nats": float(nats.mean()),
        "likelihood/nats_stderr": float(nats.std() / np.sqrt(len(nats))),
        "likelihood/bits_per_dim": float(np.mean(likelihood.bits_per_dim(found, shape))),
        "likelihood/kind": found.kind,
        "likelihood/space": found.space,
        "likelihood/examples": len(nats),
    }
    if levels:
        result["likelihood/nats_on_unit_interval"] = result["likelihood/nats"] + math.prod(shape) * math.log(levels)
    return result


def log_probs(experiment, params, x, seed=0, batch=1000, condition=None):
    """The LogProb of x [N, ...], its nats [N] a float64 numpy array, computed in batches of one size."""
    call, key, parts = jax.jit(experiment.model.log_prob), jax.random.key(seed), []
    size = -(-len(x) // -(-len(x) // batch))  # batches of one size compile once
    for i, start in enumerate(range(0, len(x), size)):
        rows = np.arange(start, start + size) % len(x)
        told = () if condition is None else (condition[rows],)
        found = call(params, jax.random.fold_in(key, i), x[rows], *told)
        parts.append(np.asarray(found.nats, np.float64))
    return likelihood.LogProb(np.concatenate(parts)[: len(x)], None, found.kind, found.space)


def on_plane(experiment, params, train_x):
    """(log-density [n, n], truth [n, n], mass) of points in the plane, on a square that holds the data and a margin."""
    centre, half = train_x.mean(), 1.3 * np.abs(train_x - train_x.mean()).max()
    points, area = grid.plane(float(centre - half), float(centre + half), PLANE)
    found = log_probs(experiment, params, points).nats
    truth = np.asarray(experiment.dataset.log_prob(points))
    return found.reshape(PLANE, PLANE), truth.reshape(PLANE, PLANE), float(np.exp(found).sum() * area)
