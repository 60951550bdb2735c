"""The item on activations: factors of nets known by hand, what rows say of bent points, what is drawn."""

import json
import types

import jax.numpy as jnp
import numpy as np
import pytest

from configs import activations_mlp
from launch import figures
from research import experiment, reproduce
from research.figures.papers import activations
from research.reproduce import records, verdict


def built(**fields):
    """An Experiment of the config, on digits."""
    config = activations_mlp.get_config()
    config.model.update(fields)
    return experiment.build(config)


def test_a_linear_net_of_one_layer_more_has_a_factor_near_1():
    found = activations.factors(built(activation="identity", initializer="glorot", width=64, depth=6), range(2))
    assert len(found) == 2 and found[0] != found[1]
    np.testing.assert_allclose(found, 1, atol=0.15)


def test_the_factor_is_a_root_of_the_norms(monkeypatch):
    norms = jnp.array([1.0, 2.0, 4.0, 8.0])  # of four layers
    model = types.SimpleNamespace(loss=lambda *_, train: (0.0, ({"gradient": norms}, None)))
    source = built(depth=2, width=8)
    program = types.SimpleNamespace(init=lambda key: 0, params=lambda state: {})
    fake = types.SimpleNamespace(dataset=source.dataset, model=model, program=program)
    assert activations.factors(fake, range(3)) == pytest.approx([0.5] * 3)


def test_factors_of_relu_and_sigmoid():
    he, glorot = (
        np.mean(activations.factors(built(activation="relu", initializer=name, depth=12), range(4)))
        for name in ("he", "glorot")
    )
    assert he == pytest.approx(1, abs=0.06) and glorot / he == pytest.approx(0.5**0.5, rel=5e-3)
    sigmoid = activations.factors(built(activation="sigmoid", initializer="glorot", depth=6), [0])[0]
    assert 0.2 < sigmoid < 0.26  # its slope is at most 1/4


@pytest.fixture
def points():
    norms = {name: {"start": [0.5, 1.0], "trained": [1.0, 0.0]} for name in activations.NETS}
    factors = {
        "relu, He": [0.99, 1.01],
        "relu, Glorot": [0.70, 0.71],
        "tanh, Glorot": [0.97],
        "sigmoid, Glorot": [0.24],
    }
    accuracy = {"relu, He": 0.95, "relu, Glorot": 0.1, "tanh, Glorot": 0.97, "sigmoid, Glorot": 0.1}
    gallery = activations.activations.points(5)
    return {"gallery": gallery, "norms": norms, "factors": factors, "accuracy": accuracy}


def test_rows_turn_with_the_points(points):
    rows = activations.rows(points)
    assert [row["verdict"] for row in rows] == [verdict.REPRODUCED] * 2 + [verdict.TREND] * 3
    assert rows[0]["seeds"] == 2 and rows[1]["paper"] == pytest.approx(2**-0.5)
    bends = (
        ({"factors": points["factors"] | {"relu, He": [0.9]}}, [0]),
        ({"factors": points["factors"] | {"sigmoid, Glorot": [0.2, 0.9]}}, [2]),
        ({"factors": points["factors"] | {"tanh, Glorot": [0.5]}}, [3]),
        ({"accuracy": points["accuracy"] | {"relu, Glorot": 0.9}}, [4]),
        ({"accuracy": points["accuracy"] | {"relu, He": 0.1}}, [4]),
    )
    for bend, which in bends:
        rows = activations.rows(points | bend)
        assert [i for i, row in enumerate(rows) if row["verdict"] == verdict.DIFFERS] == which


def test_what_is_read_of_runs(tmp_path, monkeypatch):
    result = {f"{when}gradient/{i:02d}": 10.0**-i for when in ("", "start/") for i in range(3)} | {"accuracy": 0.5}
    paths = {name: tmp_path / str(i) for i, name in enumerate(activations.NETS)}
    for path in paths.values():
        path.mkdir()
        (path / "evaluation.json").write_text(json.dumps(result))
    monkeypatch.setattr(activations.results, "load", lambda path: (path.name, 0, {}))
    monkeypatch.setattr(activations, "factors", lambda name, seeds: [float(name)] * len(seeds))
    found = records.plain(activations.load(paths, "smoke"))
    assert found["norms"]["tanh, Glorot"] == {"start": [1.0, 0.1, 0.01], "trained": [1.0, 0.1, 0.01]}
    assert found["factors"]["relu, Glorot"] == [1.0] * activations.SEEDS
    assert found["accuracy"] == dict.fromkeys(activations.NETS, 0.5)
    assert len(json.dumps(found, indent=1)) < 150_000


def test_both_scales_resolve_to_configs():
    for scale in reproduce.SCALES:
        for name, run in activations.runs(scale).items():
            config = figures.configured(run)
            assert (
                config.model.depth == 30
                and (config.model.activation, config.model.initializer) == activations.NETS[name][:2]
            )
            assert config.optimizer.name == "sgd"  # of which both papers speak
            assert config.data.name == ("mnist" if scale == "full" else "digits")


def test_two_panels_above_the_gallery(points, tmp_path):
    pytest.importorskip("matplotlib")
    figure = activations.draw(json.loads(json.dumps(points)))
    top, gallery = figure.axes[:2], figure.axes[2:]
    assert all(axis.get_xlabel() for axis in top) and top[0].get_ylabel() and top[0].get_yscale() == "log"
    labels = [line.get_label() for line in top[0].lines]
    assert labels[0] == "relu, He, factor 1.00 a layer" and top[1].lines[0].get_label() == "relu, He, 95% right"
    assert top[1].lines[0].get_ydata().tolist() == [1.0, activations.gradient_depth.NOTHING]
    assert len(gallery) == len(points["gallery"]["curves"])
    assert {panel.get_title().split("\n")[0] for panel in gallery} >= {"relu", "sigmoid", "gelu"}
