"""Densities measured where they are known: a Gaussian's entropy, its bits as integers, its mass in the plane."""

import math
import types

import jax.numpy as jnp
import numpy as np
import pytest

from research import densities
from research.contracts import LogProb, Model
from research.data import Dataset, from_arrays


def gaussian(std=1.0, levels=None, solved=False, train_std=None):
    """An Experiment of N(0, std^2 I) in the plane, whose model's density is that of N(0, I)."""

    def log_density(x, std=1.0):
        return -0.5 * jnp.sum((x / std) ** 2, -1) - jnp.log(2 * jnp.pi * std**2)

    def log_prob(params, key, x, condition=None):
        return LogProb(log_density(x), kind="lower_bound" if levels else "exact")

    rng = np.random.default_rng(0)
    train, test = (from_arrays((s * rng.normal(size=(4321, 2))).astype(np.float32)) for s in (train_std or std, std))
    entropy = math.log(2 * math.pi * math.e * std**2)
    known = {} if levels else {"log_prob": lambda x: log_density(x, std), "entropy": entropy}
    dataset = Dataset(train, test, (2,), levels=levels, **known)
    sampler = {"temperature": 1.0} | ({"rtol": 1e-5} if solved else {})
    return types.SimpleNamespace(
        config=types.SimpleNamespace(sampler=sampler), dataset=dataset, model=Model(None, None, None, log_prob)
    )


def data(built):
    return (source.gather(np.arange(source.size))["x"] for source in (built.dataset.train, built.dataset.test))


def test_a_digest_has_the_record_the_training_data_and_a_gaussian():
    built = gaussian(std=1.5)
    found = densities.digest(built, {}, *data(built))
    expected = -(math.log(2 * math.pi) + 1.5**2)
    assert found["likelihood/nats"] == pytest.approx(expected, abs=4 * found["likelihood/nats_stderr"])
    assert found["likelihood/examples"] == 4321
    least = math.log2(2 * math.pi * math.e * 1.5**2) / 2
    assert found["likelihood/gaussian_bits_per_dim"] == pytest.approx(least, abs=0.02)
    assert found["likelihood/train_bits_per_dim"] == pytest.approx(found["likelihood/bits_per_dim"], abs=0.1)
    assert found["likelihood/bits_per_dim"] > least + 0.1
    kl = 1.5**2 - 1 - math.log(1.5**2)  # of N(0, 1.5^2) from N(0, 1), in two dimensions
    assert found["likelihood/kl"] == pytest.approx(kl, abs=0.05)


def test_training_data_are_measured_apart():
    built = gaussian(train_std=2.0)
    found = densities.digest(built, {}, *data(built))
    bits = {std: (math.log(2 * math.pi) + std**2) / (2 * math.log(2)) for std in (1.0, 2.0)}
    assert found["likelihood/bits_per_dim"] == pytest.approx(bits[1.0], abs=0.05)
    assert found["likelihood/train_bits_per_dim"] == pytest.approx(bits[2.0], abs=0.2)


def test_integers_also_have_nats_on_the_unit_interval():
    built = gaussian(levels=16)
    found = densities.record(built, {}, np.zeros((3, 2)))
    assert found["likelihood/nats_on_unit_interval"] == pytest.approx(-math.log(2 * math.pi) + 2 * math.log(16))


def test_densities_of_an_ode_are_measured_on_few_examples_and_no_training_data():
    built = gaussian(solved=True)
    found = densities.digest(built, {}, *data(built))
    assert found["likelihood/examples"] == densities.SOLVED_FEW and "likelihood/train_bits_per_dim" not in found


def test_batches_of_one_size_give_every_example_once():
    built, shapes = gaussian(), []
    inner = built.model.log_prob

    def spy(params, key, x):
        shapes.append(x.shape)
        return inner(params, key, x)

    built.model = built.model._replace(log_prob=spy)
    x = np.random.default_rng(1).normal(size=(25, 2)).astype(np.float32)
    found = densities.log_probs(built, {}, x, batch=10)
    assert shapes == [(9, 2)]  # traced once
    np.testing.assert_allclose(found.nats, inner({}, None, x).nats, rtol=1e-6)


def test_a_density_in_the_plane_has_its_mass_and_its_truth():
    built = gaussian()
    ours, truth, mass = densities.on_plane(built, {}, next(data(built)))
    assert ours.shape == truth.shape == (densities.PLANE, densities.PLANE)
    np.testing.assert_allclose(ours, truth, rtol=1e-5)
    assert mass == pytest.approx(1, abs=1e-3)
