"""The classifier: accurate and confident on real digits, stored with its recipe, trained again when that differs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import UserError
from research.metrics import classifier
from research.nets.classifier import FEATURES, Classifier

rng = np.random.default_rng(0)
Y = rng.integers(3, size=200)
STEPS = 50  # the same everywhere, so that the step is compiled once
X = rng.normal(size=(200, 2)).astype(np.float32) * 0.2 + np.stack([np.cos(2.1 * Y), np.sin(2.1 * Y)], axis=1)


def test_digits_are_recognised_with_confidence(digits, judge):
    _, probabilities = classifier.features(judge, digits[2])
    assert classifier.accuracy(judge, digits[2], digits[3]) >= 0.97
    assert np.mean(probabilities.max(axis=-1) > 0.9) >= 0.93


def test_noise_is_not_taken_for_digits_as_often(judge):
    noise = rng.integers(17, size=(200, 8, 8, 1))
    assert np.mean(classifier.features(judge, noise)[1].max(axis=-1) > 0.9) < 0.8


def test_features_are_those_of_each_example_alone(digits, judge):
    x = digits[0][: classifier.CHUNK + 3]  # the last chunk is filled up
    hidden, probabilities = classifier.features(judge, x)
    assert hidden.shape == (len(x), FEATURES) and probabilities.shape == (len(x), 10)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(hidden[-2:], classifier.features(judge, x[-2:].astype(np.float64))[0], atol=1e-5)
    with pytest.raises(UserError, match="trained on"):
        classifier.features(judge, x[:, :4])


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (7,)])
def test_the_net_takes_every_shape(shape):
    hidden, logits = jax.eval_shape(Classifier(4).init_with_output, jax.random.key(0), jnp.ones((2, *shape)))[0]
    assert hidden.shape == (2, FEATURES) and logits.shape == (2, 4)


def test_dropout_acts_in_training_only():
    net, x = Classifier(4), jnp.ones((2, 7))
    params = net.init(jax.random.key(0), x)
    (hidden, _), (again, _) = net.apply(params, x), net.apply(params, x)
    dropped, _ = net.apply(params, x, train=True, rngs={"dropout": jax.random.key(1)})
    np.testing.assert_array_equal(hidden, again)
    assert not np.allclose(hidden, dropped)


def test_shifts_move_by_one_pixel_at_most_and_keep_the_label():
    x = np.zeros((2, 5, 5, 1), np.uint8)
    x[0, 2, 2], x[1, 1, 3] = 7, 9
    seen = set()
    for batch, labels in classifier._batches(x, np.array([0, 1]), 5, seed=0):
        for image, label in zip(batch[..., 0], labels):
            (place,) = np.argwhere(image)
            assert image.max() == (7, 9)[label]
            seen.add((label, *(place - [(2, 2), (1, 3)][label]).tolist()))
    assert seen == {(label, i, j) for label in (0, 1) for i in (-1, 0, 1) for j in (-1, 0, 1)}


def test_vectors_train_and_repeat_by_seed():
    first = classifier.train(X, Y, 3, None, steps=STEPS)
    assert classifier.accuracy(first, X, Y) > 0.97
    again, other = (classifier.train(X, Y, 3, None, steps=STEPS, seed=s).params for s in (1, 2))
    same = classifier.train(X, Y, 3, None, steps=STEPS, seed=1).params
    np.testing.assert_array_equal(again["logits"]["kernel"], same["logits"]["kernel"])
    assert not np.array_equal(again["logits"]["kernel"], other["logits"]["kernel"])


def test_labels_that_do_not_fit_are_refused():
    for x, labels in [(X[:5], Y), (X, Y + 1)]:
        with pytest.raises(UserError, match="one label"):
            classifier.train(x, labels, 3, None)


def store(path, lines, **changes):
    options = {"steps": STEPS, "name": "toy", "say": lines.append} | changes
    return classifier.load_or_train(path, X[:150], Y[:150], X[150:], Y[150:], 3, None, **options)


def test_a_stored_classifier_is_used_again(tmp_path, monkeypatch):
    lines, path = [], tmp_path / "deep" / "judge.npz"
    made = store(path, lines)
    assert [p.name for p in path.parent.iterdir()] == ["judge.npz"]  # no temporary file is left
    assert made.recipe["test_accuracy"] == classifier.accuracy(made, X[150:], Y[150:])
    json.dumps(made.recipe)
    monkeypatch.setattr(classifier, "train", None)
    found = store(path, lines)
    assert found.recipe == made.recipe and lines == []
    jax.tree.map(np.testing.assert_array_equal, found.params, made.params)
    np.testing.assert_array_equal(classifier.features(found, X)[0], classifier.features(made, X)[0])


@pytest.mark.parametrize("change", [{"seed": 5}, {"steps": 1}, {"name": "other"}])
def test_another_recipe_is_trained_again_with_a_line(tmp_path, change):
    lines, path = [], tmp_path / "judge.npz"
    store(path, lines)
    assert store(path, lines, **change).recipe | change == store(path, lines, **change).recipe
    assert len(lines) == 1 and next(iter(change)) in lines[0]


def test_other_data_are_noticed(tmp_path):
    lines, path = [], tmp_path / "judge.npz"
    store(path, lines)
    X[0, 0] += 1
    store(path, lines)
    X[0, 0] -= 1
    assert len(lines) == 1 and "crc32" in lines[0]


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"not a file", lambda b: b[: len(b) // 2], "flip"])
def test_a_damaged_file_is_trained_again_with_a_line(tmp_path, damage):
    lines, path = [], tmp_path / "judge.npz"
    made = store(path, lines)
    whole = path.read_bytes()
    flip = whole[:3000] + bytes(b ^ 255 for b in whole[3000:3100]) + whole[3100:]
    path.write_bytes(flip if damage == "flip" else damage(whole))
    jax.tree.map(np.testing.assert_array_equal, store(path, lines).params, made.params)
    assert len(lines) == 1 and "damaged" in lines[0]
    store(path, lines)
    assert len(lines) == 1


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path, lines = tmp_path / "judge.npz", []
    store(path, lines)
    before = path.read_bytes()

    def full(file, **_):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError):
        store(path, lines, seed=9)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
