"""Gradient training of any `Model` as a `Program`: one optimiser step, an average of the weights, guarded numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research import optimizers
from research.contracts import Program
from research.errors import UserError


def make(model, config, example, heldout=()):
    """A Program that trains `model` as the config's `optimizer` and `train` sections say.

    example: one batch, for the shapes. heldout: batches for the held-out metrics, evaluated with the averaged weights.
    Its state: params (with "stats" where the model has them), ema (f32), opt, key, step, skipped, bad.
    Raises UserError where the batch does not divide into `optimizer.accumulate` parts.
    """
    optimizer = optimizers.make(config.optimizer, config.train.num_steps)
    skip = _choice(config.train.on_nonfinite, "train.on_nonfinite", ("stop", "skip")) == "skip"
    parts, rows = config.optimizer.accumulate, len(example["x"])
    if parts < 1 or rows % parts:
        raise UserError(f"optimizer.accumulate is {parts}, which does not divide a batch of {rows}.")

    def init(key):
        key_params, key_steps = jax.random.split(key)
        params = model.init(key_params, example)
        zero = jnp.zeros((), jnp.int32)
        return {
            "params": params,
            "ema": jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), params["params"]),
            "opt": optimizer.init(params["params"]),
            "key": jax.random.key_data(key_steps),
            **dict.fromkeys(("step", "skipped", "bad"), zero),
        }

    def step(state, batch):
        key = jax.random.fold_in(jax.random.wrap_key_data(state["key"]), state["step"])
        loss, (metrics, stats), grads = _gradients(model, state["params"], key, batch, parts)
        updates, opt = optimizer.update(grads, state["opt"], state["params"]["params"])
        params = {"params": optax.apply_updates(state["params"]["params"], updates)}
        if stats is not None:
            params["stats"] = stats
        count = state["step"] + 1
        decay = jnp.minimum(config.optimizer.ema_decay, count / (count + 9.0))  # a young average forgets its start
        ema = optax.incremental_update(params["params"], state["ema"], 1 - decay)
        norms = _squared_norms(grads)
        bad = jnp.maximum(_first_bad(batch, loss, norms), state["bad"])
        new = {**state, "params": params, "ema": ema, "opt": opt, "step": count}
        if skip:  # the step is counted, so that the next key differs; nothing else moves
            kept = {**state, "step": count, "skipped": state["skipped"] + 1}
        else:  # frozen for good: the steps already dispatched after a bad one change nothing either
            kept = {**state, "bad": bad}
        new = jax.tree.map(lambda a, b: jnp.where(bad == 0, a, b), new, kept)
        metrics = {**metrics, "loss": loss, "grad_norm": jnp.sqrt(sum(norms)), "nonfinite": bad}
        return new, metrics | ({"skipped": new["skipped"]} if skip else {})

    heldout_metrics = jax.jit(functools.partial(model.loss, train=False))

    def evaluate(state, key):
        return averages(heldout_metrics, sampling_params(state), key, heldout)

    def explain(state, code, batch):
        tensor = _names(state["params"]["params"], example)[int(code) - 1]
        if model.explain is None or tensor.startswith("batch") or jax.process_count() > 1:
            return tensor
        # The state is frozen, so this is the key of the bad step.
        key = jax.random.fold_in(jax.random.wrap_key_data(state["key"]), state["step"])
        layer = model.explain(state["params"], key, batch)
        return f"{tensor}, from what layer '{layer}' returns on," if layer else tensor

    return Program(init, step, evaluate, explain=explain, params=sampling_params)


def sampling_params(state):
    """The params to sample and score with: the averaged weights, and the statistics as they are."""
    return {**state["params"], "params": state["ema"]}


def averages(loss, params, key, batches):
    """{"eval/NAME": average over batches} of the loss and metrics that loss(params, key, batch) returns.

    A metric [depth] becomes one number a layer: eval/NAME/00, eval/NAME/01 ...
    """
    weights, found = [], []
    for i, batch in enumerate(batches):
        value, (metrics, _) = loss(params, jax.random.fold_in(key, i), batch)
        weights.append(len(batch["x"]))
        found.append(jax.device_get({**metrics, "loss": value}))
    result = {}
    for name in found[0] if found else ():
        mean = np.average([metrics[name] for metrics in found], axis=0, weights=weights)
        layers = {f"eval/{name}/{i:02d}": x for i, x in enumerate(mean)} if mean.ndim else {f"eval/{name}": mean}
        result |= {name: float(x) for name, x in layers.items()}
    return result


def _choice(value, name, choices):
    if value not in choices:
        raise UserError(f"{name} is '{value}'; choose one of {', '.join(choices)}.")
    return value


def _gradients(model, params, key, batch, parts):
    """Loss, aux and gradients of one batch, averaged over `parts` slices taken one after another to save memory."""
    fixed = {name: value for name, value in params.items() if name != "params"}

    def loss(trained, key, batch):
        return model.loss({**fixed, "params": trained}, key, batch)

    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        (value, aux), grads = value_and_grad(params["params"], key, batch)
        return value, aux, grads
    # Rows are dealt out like cards, so that each slice keeps the batch's sharding over devices.
    slices = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

    def add(_, inputs):
        (value, aux), grads = value_and_grad(params["params"], *inputs)
        return None, (value, aux, grads)

    _, stacked = jax.lax.scan(add, None, (jax.random.split(key, parts), slices))
    return jax.tree.map(lambda x: x.mean(0), stacked)


def _squared_norms(grads):
    return [jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(grads)]


def _names(params, batch):
    leaves = jax.tree_util.tree_leaves_with_path(params)
    grads = ["gradient of " + jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return [f"batch['{name}']" for name in _floats(batch)] + ["loss", *grads]


def _floats(batch):
    return sorted(name for name, x in batch.items() if jnp.issubdtype(x.dtype, jnp.floating))


def _first_bad(batch, loss, norms):
    """0 where all is finite, else 1 + the index into `_names` of the first tensor that is not."""
    finite = [jnp.all(jnp.isfinite(batch[name])) for name in _floats(batch)]
    bad = ~jnp.stack([*finite, jnp.isfinite(loss), *map(jnp.isfinite, norms)])
    return jnp.where(jnp.any(bad), jnp.argmax(bad) + 1, 0).astype(jnp.int32)
