"""What a finished run is measured by: sample metrics beside their baselines, and a likelihood with its record."""

import functools
import json

import jax
import numpy as np

from research import data, densities, sampling
from research.errors import UserError
from research.metrics import classifier as classifiers
from research.metrics import fid, report
from research.nets import cost as costs
from research.programs import gradient
from research.workdir import finite


def sample(experiment, params, num_samples, condition=None, seed=0, **options):
    """(x [N, ...] in the data's own scale, nfe) drawn in batches; `condition` [N] labels or None.

    options go to the model's `sample`: sampler, num_steps, guidance, spacing, threshold, rtol, atol, what else the
    sampler takes; temperature of a flow. Raises UserError, also where samples are not finite.
    """
    return sampling.join(sampling.batches(experiment, params, num_samples, condition, seed, **options))


def balanced_labels(experiment, num_samples):
    """Labels [N] that ask for every class equally often, or None where the run samples unconditionally."""
    config = experiment.config
    classes = config.data.num_classes if config.model.get("conditional", True) else None
    return np.arange(num_samples, dtype=np.int32) % classes if classes and config.sampler.balanced else None


def everything(source, limit=60000):
    """(x, labels or None) of the first `limit` examples of a source."""
    batch = source.gather(np.arange(min(source.size, limit)))
    return batch["x"], batch.get("condition")


def evaluate(experiment, params, x, condition, workdir, seed=0, brief=False):
    """A flat, JSON-ready dict: sample metrics of x [N, ...], the likelihood of held-out data and its record.

    The classifier whose features the metrics use is kept in the workdir. brief leaves out the likelihood, and what is
    memorized.
    """
    config, dataset = experiment.config.data, experiment.dataset
    (train_x, train_y), (test_x, test_y) = everything(dataset.train), everything(dataset.test)
    classifier = None
    if config.num_classes and config.levels:  # a learned feature space for images; coordinates are their own
        classifier = classifiers.load_or_train(
            workdir / "classifier.npz",
            train_x,
            train_y,
            test_x,
            test_y,
            config.num_classes,
            config.levels,
            name=config.name,
        )
    result = report.digest(
        x,
        train_x,
        test_x,
        train_y,
        test_y,
        scale=config.levels - 1 if config.levels else 1.0,
        levels=config.levels,
        num_classes=config.num_classes,
        classifier=classifier,
        condition=condition,
        memorized=not brief,
    )
    if embed := embedding(experiment):
        result |= fid.digest(embed(x), _real(embed, dataset)) | {"fid/features": features(experiment)}
    if brief:
        return result
    told = test_y if config.num_classes and experiment.config.model.get("label_dropout") == 0 else None
    return result | densities.digest(experiment, params, train_x, test_x, seed, told)


def features(experiment):
    """The URI that metrics.features is, "" where there is none."""
    return experiment.config.metrics.features if "metrics" in experiment.config else ""


def embedding(experiment):
    """The function of images at metrics.features, or None. Raises UserError where it does not fit the data."""
    where, shape = features(experiment), tuple(experiment.dataset.shape)
    if where and (experiment.dataset.levels != 256 or len(shape) != 3):
        name = experiment.config.data.name
        raise UserError(f"metrics.features is for images of 256 levels, not for {name}; leave it empty.")
    return fid.load(where, shape) if where else None


@functools.lru_cache(maxsize=1)
def _real(embed, dataset):
    """Features of the training data, kept for the next row of a table or trial of a sweep."""
    return embed(everything(dataset.train)[0])


def predict(experiment, params):
    """(logits [N, K] of the whole test set, its labels [N]) of a model that predicts."""
    call = jax.jit(experiment.model.predict)
    batches = data.epochs(experiment.dataset.test, experiment.config.data.batch_size)
    parts = [(np.asarray(call(params, batch["x"])), batch.get("condition", batch.get("y"))) for batch in batches]
    return tuple(np.concatenate(part) for part in zip(*parts))


def evaluate_predictions(experiment, params, seed=0):
    """A flat, JSON-ready dict: what the model's loss reports, averaged over the test set; "start/..." untrained."""
    loss = functools.partial(
        jax.jit(experiment.model.loss, static_argnames="train"), train=False
    )  # once for all trials
    result, fresh = {}, experiment.program.init(jax.random.key(experiment.config.seed))["params"]
    for prefix, weights in (("start/", fresh), ("", params)):
        batches = data.epochs(experiment.dataset.test, experiment.config.data.batch_size)
        found = gradient.averages(loss, weights, jax.random.key(seed), batches)
        result |= {prefix + name.removeprefix("eval/"): value for name, value in found.items()}
    return result


def cost(experiment, params):
    """{"cost/parameters", "cost/flops_per_example": of the loss, forward, products alone}, from shapes; {} of trees.

    The loss is that of a whole batch: some models treat a share of it otherwise, and batch norm measures it.
    """
    if "params" not in params:
        return {}
    n, one = experiment.config.data.batch_size, experiment.dataset.train.gather(np.arange(1))
    batch = {name: jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype) for name, x in one.items()}
    flops = costs.flops(experiment.model.loss, params, jax.random.key(0), batch) // n
    return {"cost/parameters": costs.parameters(params["params"]), "cost/flops_per_example": flops}


def dumps(result):
    """One line of JSON; a figure that is not finite becomes null."""
    return json.dumps(finite(result))
