"""Overrides are checked before anything starts, and a sweep names its trials."""

import pathlib

import pytest

from configs import rectified_flow_toy2d
from research import sweep
from research.errors import UserError

CONFIG = rectified_flow_toy2d.get_config("tiny")
FILE = pathlib.Path(rectified_flow_toy2d.__file__)


def test_override_copies_and_keeps_the_lock():
    changed = sweep.override(CONFIG, {"optimizer.learning_rate": 1, "seed": 3, "net.mlp.width": 7})
    assert (changed.optimizer.learning_rate, changed.seed, changed.net.mlp.width) == (1.0, 3, 7)
    assert CONFIG.seed == 0 and CONFIG.net.mlp.width == 16
    with pytest.raises(AttributeError, match="Did you mean"):
        changed.train.num_step = 3


@pytest.mark.parametrize(
    "overrides, words",
    [
        (
            {"optimizer.learning_rat": 1.0},
            r"no field 'optimizer.learning_rat'; did you mean 'optimizer.learning_rate'\?",
        ),
        ({"optimzer.learning_rate": 1.0}, r"did you mean 'optimizer.learning_rate'\?"),
        ({"sed": 1}, r"did you mean 'seed'\?"),
        ({"train.num_steps": 1.5}, "'train.num_steps' takes a int, not 1.5"),
        ({"train.num_steps": "many"}, "takes a int, not 'many'"),
        ({"sampler.balanced": 1}, "takes a bool, not 1"),
        ({"optimizer.name": 3}, "takes a str, not 3"),
        ({"net.mlp": 3}, "no field 'net.mlp'"),
        ({"net.unet.channels": 3}, "takes a tuple, not 3"),
    ],
)
def test_mistakes_name_the_field(overrides, words):
    with pytest.raises(UserError, match=words):
        sweep.override(CONFIG, overrides)


def test_trials_of_a_file():
    trials = sweep.trials(sweep.load_module(FILE), "time_density", CONFIG)
    names = ("uniform", "logit_normal", "mode", "u_shaped")
    assert [name for name, _ in trials] == [f"time_density={name}" for name in names]
    assert [config.model.time_density for _, config in trials] == list(names)


def test_an_unknown_sweep_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'time_density'"):
        sweep.trials(sweep.load_module(FILE), "time_densty", CONFIG)


def test_a_bad_trial_is_found_before_the_first_starts(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("def sweep_x():\n    yield {'seed': 1}\n    yield {'sead': 1}\n")
    with pytest.raises(UserError, match="did you mean 'seed'"):
        sweep.trials(sweep.load_module(file), "x", CONFIG)


def test_labels_are_folder_names():
    assert sweep.label({"optimizer.learning_rate": 0.1, "data.name": "a/b c"}) == "learning_rate=0.1,name=a_bc"


def test_trials_have_different_folders(tmp_path):
    file = tmp_path / "two.py"
    file.write_text("def sweep_x():\n    yield {'net.mlp.width': 8}\n    yield {'net.dit.width': 8}\n")
    names = [name for name, _ in sweep.trials(sweep.load_module(file), "x", CONFIG)]
    assert names == ["net.mlp.width=8", "net.dit.width=8"]
    file.write_text("def sweep_x():\n    yield {'seed': 8}\n    yield {'seed': 8}\n")
    with pytest.raises(UserError, match="seed=8 more than once"):
        sweep.trials(sweep.load_module(file), "x", CONFIG)


def test_no_file():
    with pytest.raises(UserError, match="no config file"):
        sweep.load_module("nowhere.py")
