"""Fitting boosted linear functions, and watching held-out tables on the way. Entry points: `run`, `predict_raw`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError
from research.trees import fitting, linear, watching

boost = jax.jit(linear.boost, static_argnames=("objective", "num_rounds"))


class Model(NamedTuple):
    """A linear.Linear with what ensembles know of themselves: the objective's name and the names of features."""

    linear: linear.Linear
    objective: str
    names: tuple | None = None

    @property
    def columns(self):
        """How many features a row has."""
        return len(self.linear.weights)

    @property
    def start(self):
        """[K], what is added to the products."""
        return self.linear.bias

    @property
    def loss_name(self):
        """The objective's name without its options."""
        return self.objective.partition(":")[0]


def predict_raw(of, x):
    """[N, K] scores of the rows of x [N, F] by a Model."""
    return np.asarray(linear.predict(of.linear, jnp.asarray(x).T))


def run(x, y, objective, options, rounds, *, sample_weight=None, eval_set=None, metrics=None, patience=0):
    """fitting.Fitted of a Model after so many rounds on x [N, F] and y [N]; options: linear.Options.

    metrics and eval_set are those of fitting.run; patience: its early_stopping. Raises UserError as it does.
    """
    y = fitting.targets(y, objective)
    weight = None if sample_weight is None else fitting.weights(sample_weight, y, objective)
    held = [(jnp.asarray(x).T, fitting.targets(truth, objective, beside=y)) for x, truth in watching.pairs(eval_set)]
    if patience and not held:
        raise UserError(f"early_stopping_rounds is {patience}; it needs an eval_set to watch.")
    metrics = metrics or {"loss": watching.loss(objective)}
    evals, kept, best, size = [{name: [] for name in metrics} for _ in held], [], None, None
    columns, at_once = jnp.asarray(x).T, 1 if held else rounds
    with jax.enable_x64(True):
        model = linear.init(columns, objective.start(y, weight))
        for _ in range(rounds // at_once):
            model, loss = boost(model, columns, y, weight, objective, options, at_once)
            if not np.isfinite(loss).all():
                raise UserError("the loss is not finite in float32; lower learning_rate, or scale y down.")
            kept.append(model)
            for values, (table, truth) in zip(evals, held):
                for name, (measure, _) in metrics.items():
                    values[name].append(measure(linear.predict(model, table), truth))
            if patience:
                last, (_, greater) = list(metrics.items())[-1]
                best, size = watching.stop(evals[-1][last], greater, patience)
                if size:
                    break
    return fitting.Fitted(Model(kept[-1 if best is None else best], objective.name), evals, best)
