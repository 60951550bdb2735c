"""Every config file: locked, documented, and its :tiny form is small."""

import importlib
import pkgutil

import pytest

import configs
from configs import rectified_flow_toy2d
from launch import frozen
from research import sweep, workdir

NAMES = [module.name for module in pkgutil.iter_modules(configs.__path__) if module.name != "base"]


@pytest.fixture(params=NAMES)
def module(request):
    return importlib.import_module(f"configs.{request.param}")


@pytest.mark.parametrize("arg", ["", "tiny"])
def test_locked(module, arg):
    config = module.get_config(arg)
    with pytest.raises(AttributeError, match="Did you mean"):
        config.train.num_step = 3
    with pytest.raises(TypeError):
        config.train.num_steps = "three"


def test_the_docstring_gives_the_command(module):
    name = module.__name__.removeprefix("configs.")
    assert f"python -m launch.run --config=configs/{name}.py" in module.__doc__


def test_tiny_is_small_and_has_the_same_fields(module):
    full, tiny = module.get_config(), module.get_config("tiny")
    assert tiny.train.num_steps <= 10 < full.train.num_steps
    assert set(sweep.flatten(full.to_dict())) == set(sweep.flatten(tiny.to_dict()))


def test_what_is_frozen_for_a_launch_is_the_config(module, tmp_path):
    config = module.get_config()
    workdir.freeze(tmp_path, config)
    again = frozen.get_config(tmp_path / "frozen.json")
    before, after = sweep.flatten(config.to_dict()), sweep.flatten(again.to_dict())
    assert before == after and [*map(type, map(before.get, after))] == [*map(type, after.values())] and again.is_locked


def test_a_variants_tiny_form_is_small_too():
    full, tiny = (rectified_flow_toy2d.get_config(arg) for arg in ("moons", "tiny_moons"))
    assert tiny.train.num_steps <= 10 < full.train.num_steps and tiny.data.size < full.data.size
    assert (tiny.data.name, tiny.data.source) == (full.data.name, full.data.source) == ("two_moons", "8gaussians")


def test_every_sweep_fits_its_config(module):
    names = [name.removeprefix("sweep_") for name in vars(module) if name.startswith("sweep_")]
    for name in names:
        trials = sweep.trials(module, name, module.get_config())
        assert len({label for label, _ in trials}) == len(trials) > 1


@pytest.mark.parametrize("arg", ["", "tiny"])
def test_trials_of_trees_have_a_whole_number_of_blocks(module, arg):
    for name in [name.removeprefix("sweep_") for name in vars(module) if name.startswith("sweep_")]:
        for label, trial in sweep.trials(module, name, module.get_config(arg)):
            model = trial.get("model", {})
            if "num_trees" in model:
                assert model.num_trees == model.block * trial.train.num_steps, label
                assert model.get("splitter") != "random" or not model.border_count, label
