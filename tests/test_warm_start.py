"""A new run from an old one's weights is the old model, whatever its seed: what is not trained comes along."""

import jax
import numpy as np
import pytest

from configs import realnvp_toy2d, spline_toy2d
from research import data, experiment, results, warm_start, workdir


@pytest.mark.parametrize("module, fields", [(spline_toy2d, {}), (realnvp_toy2d, {"batch_norm": True})])
def test_what_is_not_trained_comes_along(module, fields, tmp_path):
    config = module.get_config("tiny")
    config.model.update(fields)
    built = experiment.build(config)
    old = jax.jit(built.program.init)(jax.random.key(0))["params"]
    rng = np.random.default_rng(0)
    old = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32) * (x.ndim == 1), old)
    workdir.export_params(tmp_path / "params.npz", results.exported(old))
    new = jax.jit(warm_start.from_workdir(built.program, tmp_path).init)(jax.random.key(1))
    batch = next(data.epochs(built.dataset.test, 16))
    losses = [built.model.loss(params, jax.random.key(2), batch, train=False)[0] for params in (old, new["params"])]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
