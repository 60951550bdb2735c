"""A coupling flow from the command line: what its run leaves, its temperature, and the layer where it breaks."""

import json

import numpy as np
import pytest

from tests.processes import call

TOY = "--config=configs/realnvp_toy2d.py:tiny"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a finished tiny run."""
    workdir = tmp_path_factory.mktemp("runs") / "flow"
    done = call("run", TOY, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert "bits a dimension on held-out data" in done.stdout and "a full-covariance Gaussian" in done.stdout
    return workdir


def test_the_evaluation_has_the_density_and_what_to_hold_it_against(trained):
    found = json.loads((trained / "evaluation.json").read_text())
    assert found["likelihood/kind"] == "exact" and found["likelihood/examples"] == 10000 and found["nfe"] == 1
    names = ["train_bits_per_dim", "gaussian_bits_per_dim", "negative_entropy", "kl", "mass"]
    assert {f"likelihood/{name}" for name in names} <= set(found)
    assert found["likelihood/kl"] > 0 and 0.5 < found["likelihood/mass"] < 1.01
    assert (trained / "density.png").read_bytes()[1:4] == b"PNG"


def test_temperature_zero_is_one_point(trained, tmp_path):
    done = call("sample", f"--workdir={trained}", "--num_samples=7", "--temperature=0", f"--out={tmp_path}/s.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "s.npz") as archive:
        assert archive["x"].shape == (7, 2) and np.ptp(archive["x"], axis=0).max() < 1e-6


@pytest.mark.parametrize(
    "option, words",
    [("--sampler=euler", "takes a temperature, and no sampler"), ("--condition=1", "leave the condition out")],
)
def test_what_a_flow_does_not_take(trained, tmp_path, option, words):
    done = call("sample", f"--workdir={trained}", option, f"--out={tmp_path}/s.npz")
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "s.npz").exists()


def test_numbers_that_break_name_their_layer(tmp_path):
    options = "--config.optimizer.learning_rate=1e38", "--config.optimizer.clip_norm=0.0", "--config.model.scale=exp"
    done = call("run", TOY, f"--workdir={tmp_path}/run", *options)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "from what layer '" in done.stderr and "coupling' returns on, is not finite" in done.stderr
