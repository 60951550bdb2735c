"""The :tiny form of every config trains, and samples in its data's own type and range, or predicts."""

import importlib
import pkgutil

import numpy as np
import pytest

import configs
from configs import base
from research import data, evaluation, experiment, loop
from research.metrics_writer import read
from research.programs import gradient

NAMES = [module.name for module in pkgutil.iter_modules(configs.__path__) if module.name != "base"]


@pytest.mark.parametrize("name", NAMES)
def test_tiny_trains_and_samples_or_predicts(name, tmp_path):
    config = importlib.import_module(f"configs.{name}").get_config("tiny")
    base.update(config.mesh, data=1)
    built = experiment.build(config)
    batches = built.program.batch or data.iterate(built.dataset.train, config.data.batch_size, config.data.seed)
    state = loop.run(built.program, batches, built.config, tmp_path)
    losses = [record["loss"] for record in read(tmp_path / "metrics.jsonl") if "loss" in record]
    assert len(losses) == config.train.num_steps and np.isfinite(losses).all()
    if built.model.predict:
        logits, labels = evaluation.predict(built, built.program.params(state))
        assert logits.shape == (built.dataset.test.size, built.dataset.num_classes or 1) and np.isfinite(logits).all()
        assert len(labels) == len(logits)
        return
    options = {"sampler": "euler", "num_steps": 2} if "num_steps" in config.sampler else {"temperature": 0.5}
    x, nfe = evaluation.sample(built, gradient.sampling_params(state), 4, **options)
    example = next(data.epochs(built.dataset.test, 1))["x"]
    assert x.shape == (4, *built.dataset.shape) and x.dtype == example.dtype and nfe == options.get("num_steps", 1)
    assert built.dataset.levels is None or x.max() < built.dataset.levels
