"""Glow's figure: directions and temperatures do what is said of them, and the rows follow the points."""

import json

import jax
import numpy as np
import pytest

from configs import glow_digits
from launch import figures
from research import evaluation, experiment, reproduce
from research.figures.papers import glow
from research.metrics import classifier
from research.reproduce import records, verdict
from research.sweep import override


@pytest.fixture(scope="module")
def started():
    """An Experiment of digits that are not told apart, params measured on a batch, and a hasty classifier."""
    built = experiment.build(override(glow_digits.get_config("tiny"), {"model.conditional": False}))
    train, labels = evaluation.everything(built.dataset.train)
    params = built.model.init(jax.random.key(0), {"x": train[:256]})
    return built, params, classifier.train(train, labels, 10, 17, steps=60)


def test_a_direction_of_amount_1_moves_the_mean_latent_onto_the_other_class(started):
    built, params, told = started
    train, test = (evaluation.everything(each) for each in (built.dataset.train, built.dataset.test))
    images, share = glow.attribute(built, params, train, test, told)
    ones = test[0][test[1] == glow.FROM][: glow.SHOWN]
    assert images.shape == (len(glow.AMOUNTS), glow.SHOWN, 8, 8, 1) and list(share) == [str(a) for a in glow.AMOUNTS]
    np.testing.assert_array_equal(images[glow.AMOUNTS.index(0.0)], ones)
    assert share["0.0"] < 0.3 and share["1.0"] > share["0.0"] + 0.3  # of a map that is nearly linear


def test_colder_samples_of_one_noise_vary_less(started):
    built, params, told = started
    images, sure = glow.temperatures(built, params, told)
    assert images.shape == (len(glow.TEMPERATURES), glow.SHOWN, 8, 8, 1)
    spread = images.astype(float).std(axis=1).mean(axis=(1, 2, 3))
    assert (np.diff(spread) > 0).all() and all(0 <= share <= 1 for share in sure.values())
    assert list(sure) == [str(t) for t in glow.TEMPERATURES]


def test_the_curve_is_that_of_held_out_bits(tmp_path):
    lines = [
        {"step": 1, "loss": 3.0},
        {"step": 100, "eval/bits_per_dim": 2.9, "eval/loss": 3.1},
        {"step": 120, "loss": 2.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert glow.curve(tmp_path) == {"step": [100], "bits": [2.9]}


@pytest.fixture
def points():
    bits = {"reverse": 2.6, "shuffle": 2.5, "plu": 2.4}
    return records.plain(
        {
            "curves": {name: {"step": [100, 200], "bits": [3.0, last]} for name, last in bits.items()},
            "bits": bits,
            "temperature": dict(zip(map(str, glow.TEMPERATURES), (0.9, 0.8, 0.6, 0.5))),
            "samples": np.zeros((len(glow.TEMPERATURES), glow.SHOWN, 8, 8), int),
            "attribute": dict(zip(map(str, glow.AMOUNTS), (0.01, 0.1, 0.4, 0.7, 0.9))),
            "images": np.zeros((len(glow.AMOUNTS), glow.SHOWN, 8, 8), int),
            "top": 16,
            "is_cifar": False,
        }
    )


def test_rows_follow_the_points(points):
    rows = glow.rows(points)
    assert [row["verdict"] for row in rows] == [verdict.TREND] * 4
    assert (
        rows[0]["ours"] == "reverse 2.600, shuffle 2.500, 1x1 convolution 2.400" and rows[3]["ours"] == "0.010 / 0.900"
    )
    points["bits"] = {"reverse": 2.4, "shuffle": 2.6, "plu": 2.5}
    points["temperature"]["0.4"], points["attribute"]["1.0"] = 0.4, 0.2
    assert [row["verdict"] for row in glow.rows(points)] == [verdict.DIFFERS] * 4


def test_at_full_scale_bits_are_beside_the_papers(points):
    row = glow.rows(points | {"is_cifar": True, "bits": {"reverse": 3.5, "shuffle": 3.4, "plu": 3.36}})[-1]
    assert (row["paper"], row["ours"], row["verdict"]) == (3.35, 3.36, verdict.REPRODUCED)


def test_every_panel_has_labels_and_every_permutation_a_line(points):
    pytest.importorskip("matplotlib")
    figure = glow.draw(points)
    assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in figure.axes)
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
    assert lines == {"reverse": [3.0, 2.6], "shuffle": [3.0, 2.5], "1x1 convolution": [3.0, 2.4]}
    assert figure.axes[2].lines[0].get_xydata().tolist()[4] == [1.0, 0.9]
    figure.draw_without_rendering()


@pytest.mark.parametrize("scale", reproduce.SCALES)
def test_runs_differ_in_their_permutation_alone(scale):
    found = {name: figures.configured(run).to_dict() for name, run in glow.runs(scale).items()}
    assert {name: config["model"].pop("permutation") for name, config in found.items()} == {n: n for n in found}
    first, *others = found.values()
    assert all(other == first for other in others) and not first["model"]["conditional"]
