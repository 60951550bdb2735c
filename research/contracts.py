"""The shapes everything here speaks: a model, a program, a sampler's answer: pure functions and arrays, named."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax


class Model(NamedTuple):
    """A model as pure functions, made by `research.models.<name>.make(config, data_shape)`.

    params is a dict with "params" (trained) and, where a net keeps running statistics, "stats" (not trained).
    A batch is a dict with "x" [B, ...] and, where the data have classes, "condition" [B]; also [B, ...] "noise" or
    "partner" where each x has its own end at t = 1, "source" where any of them may be. A generative model samples, a
    discriminative one predicts.
    """

    init: Callable  # (key, batch) -> params
    loss: Callable  # (params, key, batch, train=True) -> (loss [], aux); aux = (metrics, new stats or None)
    sample: Callable | None  # (params, key, num_samples, condition=None, **sampler options) -> Samples
    log_prob: Callable | None  # (params, key, x, condition=None) -> LogProb
    predict: Callable | None = None  # (params, x [B, ...] as stored) -> logits [B, K]
    explain: Callable | None = None  # (params, key, batch) -> name of the first layer that is not finite, or None
    field: Callable | None = None  # (params, n, condition=None, guidance=None) -> field that samples follow


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogProb:
    """Log-density in nats per unit of the data as stored, so that there is no offset left to know.

    nats [B]; stderr [B] or None where the value is exact; kind says what the value is, space what it is a density of.
    """

    nats: jax.Array
    stderr: jax.Array | None = None
    kind: str = dataclasses.field(default="exact", metadata={"static": True})  # exact | unbiased | lower_bound
    # continuous | uniform_dequantized | discrete
    space: str = dataclasses.field(default="continuous", metadata={"static": True})


class Samples(NamedTuple):
    """x [N, ...]; trajectory [S + 1, N, ...] from noise to data, or None; nfe []: network evaluations per sample.

    times [S + 1] are those of the trajectory's entries, where a sampler walks along given ones.
    """

    x: jax.Array
    trajectory: jax.Array | None
    nfe: jax.Array
    times: jax.Array | None = None


class Prediction(NamedTuple):
    """Four readings of one net output, each of the shape of x; XLA drops those that nobody uses."""

    x0: jax.Array
    eps: jax.Array
    score: jax.Array
    velocity: jax.Array


class Bijector(NamedTuple):
    """An invertible map as batched, deterministic functions; log_det [B] is that of the direction just taken."""

    init: Callable  # (key, x, condition=None) -> params
    forward: Callable  # (params, x, condition=None) -> (z, log_det): data -> latent
    inverse: Callable  # (params, z, condition=None) -> (x, log_det)
    forward_train: Callable | None = None  # (params, key, x, condition=None) -> (z, log_det, new stats)
    parts: Callable | None = (
        None  # (params, key, x, condition) -> (name, bijector, params, key, x) of each it is made of
    )


class Method(NamedTuple):
    """How trees, stages or rounds grow that are no gradient boosting, as `method(config, dataset)` of a model's file.

    init's "params" are what Model.predict takes, arrays for all that will grow; what has not grown yet adds nothing. It
    is called for shapes alone, too, also without jax.enable_x64. Metrics have a "loss".
    """

    init: Callable  # (key) -> state, a dict of arrays
    grow: Callable  # (state, batch) -> (state, metrics) of a block more; state["trees"]: how many there were before
    batch: dict  # what every step gets: arrays of the whole table
    spread: bool = False  # grow takes a third argument: the mesh of several devices, over which batch is whole, or None


class Program(NamedTuple):
    """What `research.loop.run` drives: gradient training and boosting look the same to it.

    state is any pytree of arrays. A step whose numbers went bad keeps the old state and says so by a nonzero
    metrics["nonfinite"]; `explain` turns that code into the name of the first bad tensor.
    """

    init: Callable  # (key) -> state
    step: Callable  # (state, batch) -> (state, metrics): one optimiser step, or one block of trees
    evaluate: Callable  # (state, key) -> metrics
    x64: bool = False  # the loop enters jax.enable_x64 around trace and call; no 64-bit leaf crosses this border
    explain: Callable | None = None  # (state, code, batch) -> str
    params: Callable | None = None  # (state) -> params to sample, score and predict with
    batch: dict | None = None  # what every step gets, where it is always the same: a whole table
    rows: tuple = ()  # the state's entries that have a row for each of that table's, and lie where those do
