"""Lines and paths in the plane: crossings counted by hand, a run trained for a few steps, what is drawn of them."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from configs import rectified_flow_toy2d
from research import data, experiment, loop, results, workdir
from research.errors import UserError
from research.figures import trajectories

SQUARE = [  # from noise to data
    [[0, 0], [2, 2]],
    [[2, 0], [0, 2]],  # meets the first at (1, 1), both half way
    [[0, 1], [9, 1]],  # crosses the first at (1, 1) too, which it passes at an earlier time
    [[0, 5], [2, 2]],  # ends where the first ends, and does not cross it
]


def test_crossings_counted_by_hand():
    assert trajectories.crossings(SQUARE) == 1
    assert trajectories.crossings(SQUARE[2:] + SQUARE[:2]) == 1
    assert trajectories.crossings(SQUARE[1:]) == 0
    # The first and the third differ by (0, -1), then by (-7, 1): nearest to 0 where they are 7 / sqrt(53) apart.
    near = 7 / 53**0.5
    assert trajectories.crossings([SQUARE[0], SQUARE[2]], radius=1.001 * near) == 1
    assert trajectories.crossings([SQUARE[0], SQUARE[2]], radius=0.999 * near) == 0
    assert trajectories.crossings(np.zeros((0, 2, 2))) == trajectories.crossings(SQUARE[:1]) == 0
    # A parallel neighbour, however near, does not cross; one that overtakes does.
    assert trajectories.crossings([[[0, 0], [1, 0]], [[0.01, 0], [1.01, 0]]]) == 0
    assert trajectories.crossings([[[0, 0], [1, 0]], [[0.01, 0], [0.5, 0]]]) == 1


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of the tiny config as far as its checkpoints."""
    config = rectified_flow_toy2d.get_config("tiny")
    config.mesh.data = 1
    built = experiment.build(config)
    path = workdir.open_for(tmp_path_factory.mktemp("runs") / "first", built.config)
    loop.run(built.program, data.iterate(built.dataset.fitted[0], 16, 0), built.config, path)
    return path


def changed(first, path, **fields):
    """The same weights in a run whose config has other fields; "__" stands for the dot."""
    shutil.copytree(first, path)
    config = workdir.load_config(first)
    for name, value in fields.items():
        section, field = name.split("__")
        assert field in config[section]
        config[section][field] = value
    workdir.write_json(path / "config.json", config)
    return path


def write_pairs(folder, **arrays):
    folder.mkdir()
    workdir.write_json(folder / "identity.json", {"num_samples": len(arrays["x"]), "batch": len(arrays["x"])})
    np.savez(folder / "00000.npz", **arrays, nfe=4.0)


def test_a_first_round_joins_its_noise_to_any_data(first):
    points = trajectories.load({"a": first}, number=5)
    assert json.loads(json.dumps(points)) == points
    lines, paths = np.array(points["a"]["lines"]), np.array(points["a"]["paths"])
    assert lines.shape == (5, 2, 2) and paths.shape == (5, trajectories.STEPS + 1, 2)
    np.testing.assert_array_equal(paths[:, 0], lines[:, 0])
    built, _, params = results.load(first)
    found = {tuple(row) for row in built.dataset.train.gather(np.arange(64))["x"].tolist()}
    assert {tuple(row) for row in lines[:, 1].tolist()} <= found and len(np.unique(lines[:, 1], axis=0)) == 5
    options = {"noise": lines[:, 0].astype(np.float32), "sampler": "heun", "num_steps": trajectories.STEPS}
    out = built.model.sample(params, jax.random.key(7), 5, **options)
    np.testing.assert_allclose(paths[:, -1], out.x, atol=1e-5)
    assert points["a"]["pairs"] == 10 and points["a"]["crossings"] == trajectories.crossings(lines)
    steps = np.sqrt((np.diff(paths, axis=1) ** 2).sum(-1)).sum(1)
    whole = np.sqrt(((paths[:, -1] - paths[:, 0]) ** 2).sum(-1))
    assert (
        points["a"]["detour"] == pytest.approx(steps.mean() / whole.mean() - 1, rel=1e-6) and points["a"]["detour"] > 0
    )


def test_noise_is_standard_normal_and_many_lines_cross(first):
    run = trajectories.load({"a": first}, number=400)["a"]
    noise = np.array(run["lines"])[:, 0]
    assert abs(noise.mean()) < 4 / 800**0.5 and abs(noise.std() - 1) < 4 / 1600**0.5
    assert run["crossings"] > 0.01 * run["pairs"]


def test_a_round_on_pairs_shows_them_while_they_are_there(first, tmp_path):
    rng = np.random.default_rng(3)
    pairs = {name: rng.normal(size=(40, 2)).astype(np.float32) for name in ("x", "noise")}
    write_pairs(tmp_path / "pairs_2", **pairs)
    path = changed(first, tmp_path / "round_2", data__pairs=str(tmp_path / "pairs_2"))
    run = trajectories.load({"a": path}, number=20)["a"]
    given = {tuple(map(tuple, line)) for line in np.stack([pairs["noise"], pairs["x"]], axis=1).tolist()}
    assert {tuple(map(tuple, line)) for line in run["lines"]} <= given and len(run["lines"]) == 20
    shutil.rmtree(tmp_path / "pairs_2")
    run = trajectories.load({"a": path}, number=20)["a"]
    assert run["lines"] == [] and run["crossings"] is None and len(run["paths"]) == 20


def test_a_source_and_a_coupling_are_those_of_the_training(first, tmp_path):
    path = changed(first, tmp_path / "moons", data__source="two_moons")
    run = trajectories.load({"a": path}, number=8)["a"]
    moons = results.load(path)[0].dataset.source[0].gather(np.arange(64))["x"].tolist()
    starts = np.array(run["lines"])[:, 0]
    np.testing.assert_array_equal(starts, np.array(run["paths"])[:, 0])
    assert {tuple(row) for row in starts.tolist()} <= {tuple(row) for row in moons}
    exact = changed(first, tmp_path / "exact", model__coupling="exact", model__class_wise=False)
    costs = []
    for path in (first, exact):
        lines = np.array(trajectories.load({"a": path}, number=16)["a"]["lines"])
        costs.append(np.mean(np.sum((lines[:, 1] - lines[:, 0]) ** 2, axis=1)))
    assert costs[1] < 0.7 * costs[0]


def test_paths_have_the_classes_of_the_lines_where_samples_are_balanced(first, tmp_path):
    fields = {"sampler__balanced": True, "sampler__guidance": 100.0, "model__label_dropout": 0.1}
    path = changed(first, tmp_path / "balanced", **fields)  # six steps taught few differences: guidance enlarges them
    run = trajectories.load({"a": path}, number=8)["a"]
    lines = np.array(run["lines"], np.float32)
    built, _, params = results.load(path)
    every = built.dataset.train.gather(np.arange(64))
    label = [every["condition"][(every["x"] == x).all(axis=1).argmax()] for x in lines[:, 1]]
    options = {"noise": lines[:, 0], "sampler": "heun", "num_steps": trajectories.STEPS}
    ends = [built.model.sample(params, jax.random.key(7), 8, c, **options).x for c in (np.array(label), None)]
    np.testing.assert_allclose(np.array(run["paths"])[:, -1], ends[0], atol=1e-4)
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


def test_runs_that_are_not_in_the_plane_are_named(monkeypatch):
    config = rectified_flow_toy2d.get_config("tiny")
    config.data.update({"name": "synthetic", "shape": (3,)})
    built = experiment.build(config)
    monkeypatch.setattr(results, "load", lambda path: (built, 0, {}))
    with pytest.raises(UserError, match="space is no flow of points in the plane"):
        trajectories.load({"a": pathlib.Path("space")})


def test_a_row_of_two_panels_a_run():
    pytest.importorskip("matplotlib")
    paths = [[[0, 0], [1, 0], [1, 1]], [[1, 0], [1, 0.5], [0, 1]]]
    run = {"lines": SQUARE, "paths": paths, "crossings": 1, "pairs": 6, "detour": 0.0625}
    gone = run | {"lines": [], "crossings": None}
    axes = trajectories.draw({"one": run, "two": gone}).axes
    assert len(axes) == 4
    drawn = [[line.get_xydata().tolist() for line in axis.lines] for axis in axes]
    assert drawn == [SQUARE, paths, [], paths]
    noise, ends = axes[1].collections
    assert noise.get_offsets().tolist() == [[0, 0], [1, 0]] and ends.get_offsets().tolist() == [[1, 1], [0, 1]]
    assert not np.array_equal(noise.get_facecolor(), ends.get_facecolor())
    assert "1 of 6 pairs" in axes[0].get_title() and "6.25%" in axes[1].get_title() and "gone" in axes[2].get_title()
