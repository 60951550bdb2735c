"""Gradient programs, on a model whose loss, gradient and optimum are known: least squares of x against a constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from research import loop
from research.contracts import Model
from research.errors import UserError
from research.programs import gradient


def config(train=None, **optimizer):
    fields = {"name": "sgd", "beta1": 0.0, "schedule": "constant", "warmup_steps": 0, "clip_norm": 0.0} | optimizer
    return base.config(
        train=base.update(base.train(), **({"num_steps": 10} | (train or {}))),
        optimizer=base.update(base.optimizer(), **fields),
        mesh=base.update(base.mesh(), data=1),
        precision=base.precision(),
    )


def mean_model(noise=0.0, stats=False):
    """loss = mean |x - m + noise|^2 / 2, whose gradient in m is m - mean(x) - mean(noise)."""

    def init(key, batch):
        params = {"params": {"dense": {"kernel": jnp.zeros(batch["x"].shape[1:])}}}
        return {**params, "stats": {"count": jnp.zeros(())}} if stats else params

    def loss(params, key, batch, train=True):
        x = batch["x"] + noise * jax.random.normal(key, batch["x"].shape)
        value = jnp.mean(jnp.sum((x - params["params"]["dense"]["kernel"]) ** 2, -1)) / 2
        return value, ({"first": x[0, 0]}, {"count": params["stats"]["count"] + 1} if stats else None)

    return Model(init, loss, None, None)


BATCH = {"x": np.array([[1.0, 2.0], [3.0, 6.0], [0.0, 0.0], [4.0, 4.0]], np.float32)}  # mean (2, 3)


def start(program):
    return program.init(jax.random.key(0)), jax.jit(program.step)


def weight(state):
    return np.asarray(state["params"]["params"]["dense"]["kernel"])


def test_one_step_is_the_gradient():
    state, step = start(gradient.make(mean_model(), config(learning_rate=0.5), BATCH))
    state, metrics = step(state, BATCH)
    np.testing.assert_allclose(weight(state), [1.0, 1.5])
    np.testing.assert_allclose(metrics["grad_norm"], np.sqrt(13.0), rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], (5 + 45 + 0 + 32) / 8)
    assert metrics["nonfinite"] == 0 and state["step"] == 1


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_changes_nothing_but_memory(parts):
    one, step = start(gradient.make(mean_model(), config(), BATCH))
    many, step_many = start(gradient.make(mean_model(), config(accumulate=parts), BATCH))
    for _ in range(3):
        (one, a), (many, b) = step(one, BATCH), step_many(many, BATCH)
    np.testing.assert_allclose(weight(one), weight(many), rtol=1e-6)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-6)


def test_average_of_the_weights_in_f32():
    """EMA with decay min(d, k / (k + 9)) at step k."""
    state, step = start(gradient.make(mean_model(), config(learning_rate=0.1, ema_decay=0.15), BATCH))
    expected = np.zeros(2)
    for k in range(1, 6):
        state, _ = step(state, BATCH)
        decay = min(0.15, k / (k + 9))
        expected = decay * expected + (1 - decay) * weight(state)
    average = gradient.sampling_params(state)["params"]["dense"]["kernel"]
    assert average.dtype == jnp.float32
    np.testing.assert_allclose(average, expected, rtol=1e-6)


def test_statistics_are_carried_and_taken_as_they_are():
    state, step = start(gradient.make(mean_model(stats=True), config(), BATCH))
    for _ in range(3):
        state, _ = step(state, BATCH)
    assert state["params"]["stats"]["count"] == 3
    assert gradient.sampling_params(state)["stats"]["count"] == 3


def test_every_step_has_its_own_noise_and_a_restart_repeats_it():
    program = gradient.make(mean_model(noise=1.0), config(), BATCH)
    state, step = start(program)
    firsts = []
    for _ in range(4):
        state, metrics = step(state, BATCH)
        firsts.append(float(metrics["first"]))
    assert len(set(firsts)) == 4
    again, step = start(program)
    again = {**again, "step": jnp.int32(3)}
    assert float(step(again, BATCH)[1]["first"]) == firsts[3]


def bad_batch(value=np.nan):
    x = BATCH["x"].copy()
    x[1, 1] = value
    return {"x": x}


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


def test_a_bad_step_freezes_the_state_for_good():
    program = gradient.make(mean_model(), config(), BATCH)
    good, step = start(program)
    good, _ = step(good, BATCH)
    after, metrics = step(good, bad_batch())
    later, metrics_later = step(after, BATCH)  # already dispatched when the numbers arrive
    assert metrics["nonfinite"] == metrics_later["nonfinite"] == 1
    assert same(good, {**later, "bad": good["bad"]})
    assert program.explain(later, metrics["nonfinite"], bad_batch()) == "batch['x']"


def test_a_bad_step_is_left_out_and_counted_when_asked():
    program = gradient.make(mean_model(), config(train={"on_nonfinite": "skip"}), BATCH)
    good, step = start(program)
    after, metrics = step(good, bad_batch(np.inf))
    assert metrics["skipped"] == 1 and after["step"] == 1 and same(after["params"], good["params"])
    after, metrics = step(after, BATCH)
    assert metrics["skipped"] == 1 and weight(after).any()


def test_names_the_first_bad_gradient():
    """The loss is finite, one gradient is not: sqrt at zero."""

    def loss(params, key, batch, train=True):
        p = params["params"]
        return jnp.sqrt(jnp.sum(p["b"]["bias"] ** 2)) + jnp.sum(p["a"]["kernel"]), ({}, None)

    model = Model(lambda *_: {"params": {"a": {"kernel": jnp.ones(2)}, "b": {"bias": jnp.zeros(2)}}}, loss, None, None)
    program = gradient.make(model, config(), BATCH)
    state, step = start(program)
    _, metrics = step(state, BATCH)
    assert program.explain(state, metrics["nonfinite"], None) == "gradient of b/bias"


def test_a_model_that_can_say_so_names_the_layer_of_the_bad_step():
    """Its explanation gets the frozen params, the key of the bad step and the batch, and none where data are bad."""
    seen, inner = [], mean_model()

    def tell(params, key, batch):
        seen.append((params, jax.random.key_data(key), batch))
        return "level0/coupling"

    loss = lambda params, key, batch, train=True: (inner.loss(params, key, batch)[0] * jnp.nan, ({}, None))  # noqa: E731
    program = gradient.make(inner._replace(loss=loss, explain=tell), config(), BATCH)
    state, step = start(program)
    after, metrics = step(state, BATCH)
    words = program.explain(after, metrics["nonfinite"], BATCH)
    assert words == "loss, from what layer 'level0/coupling' returns on,"
    params, key, batch = seen[0]
    expected = jax.random.fold_in(jax.random.wrap_key_data(state["key"]), 0)
    assert same(params, state["params"]) and same(key, jax.random.key_data(expected)) and batch is BATCH
    _, metrics = step(state, bad_batch())
    assert program.explain(state, metrics["nonfinite"], bad_batch()) == "batch['x']" and len(seen) == 1


@pytest.mark.parametrize("mode", ["stop", "skip"])
def test_in_the_loop(mode, tmp_path, line):
    from research import data

    poisoned = data.Source(
        64, lambda i: {"x": np.where((i == 5)[:, None], np.nan, 1.0).astype(np.float32) * np.ones((1, 2))}
    )
    made = config(train={"on_nonfinite": mode, "num_steps": 30, "log_every": 1, "checkpoint_every": 1})
    program = gradient.make(mean_model(), made, BATCH)
    iterator = data.iterate(
        data.Source(64, lambda i: {k: v.astype(np.float32) for k, v in poisoned.gather(i).items()}), 4, 0
    )
    if mode == "stop":
        with pytest.raises(
            UserError, match=r"step \d+: batch\['x'\] is not finite; (the last good|there is no) checkpoint"
        ):
            loop.run(program, iterator, made, tmp_path)
    else:
        state = loop.run(program, iterator, made, tmp_path)
        assert state["skipped"] in (1, 2) and np.isfinite(weight(state)).all()


def test_heldout_loss_is_of_the_averaged_weights_and_weighs_short_batches():
    heldout = [BATCH, {"x": np.full((2, 2), 3.0, np.float32)}]
    program = gradient.make(mean_model(), config(), BATCH, heldout)
    state, _ = start(program)
    found = program.evaluate(state, jax.random.key(0))["eval/loss"]
    np.testing.assert_allclose(found, (4 * (5 + 45 + 0 + 32) / 8 + 2 * 9.0) / 6, rtol=1e-6)


def test_metrics_by_layer_become_one_number_each():
    def loss(params, key, batch):
        return batch["x"].sum(), ({"norm": batch["x"][0]}, None)

    batches = [{"x": np.array([[1.0, 2.0]])}, {"x": np.array([[4.0, 8.0], [0.0, 0.0]])}]
    found = gradient.averages(loss, {}, jax.random.key(0), batches)
    assert found == {"eval/norm/00": 3.0, "eval/norm/01": 6.0, "eval/loss": 9.0}


@pytest.mark.parametrize(
    "kwargs, words",
    [
        ({"accumulate": 3}, "does not divide a batch of 4"),
        ({"accumulate": 0}, "does not divide a batch of 4"),
        ({"train": {"on_nonfinite": "ignore"}}, "train.on_nonfinite is 'ignore'"),
    ],
)
def test_mistakes(kwargs, words):
    with pytest.raises(UserError, match=words):
        gradient.make(mean_model(), config(**kwargs), BATCH)
