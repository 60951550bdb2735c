"""What a run leaves behind for people and for other programs: samples, a picture, exported weights, the evaluation."""

import jax
import numpy as np

from research import checkpoint, evaluation, workdir
from research.atomic import replacing
from research.errors import UserError
from research.figures import grid
from research.programs import gradient


def restore_params(experiment, path):
    """(step, params to sample with) of the newest whole checkpoint of a workdir. Raises UserError without any."""
    if not (path / "checkpoints").is_dir():
        raise UserError(f"{path} has no checkpoints yet; train it with launch.run --workdir={path}.")
    # One device suffices to sample with, whatever the run was trained on.
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.eval_shape(experiment.program.init, jax.random.key(0))
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract)
    with checkpoint.open_manager(path, read_only=True) as manager:
        step, state = checkpoint.restore(manager, abstract)
    if state is None:
        raise UserError(f"{path} has no checkpoints yet; train it with launch.run --workdir={path}.")
    return step, gradient.sampling_params(state)


def write_samples(path, x, seed, nfe, condition=None):
    """samples.npz: x [N, ...] in the data's own scale, the seed, evaluations a sample, and labels where asked for."""
    arrays = {"x": x, "seed": seed, "nfe": nfe} | ({} if condition is None else {"condition": condition})
    with replacing(path) as file:
        np.savez(file, **arrays)


def draw(experiment, path, x, count=100):
    """samples.png: a grid of images, or a density beside the data's for points in the plane."""
    if len(experiment.dataset.shape) == 3:
        grid.save_grid(path, x[:count], levels=experiment.dataset.levels)
    elif experiment.dataset.shape == (2,):
        grid.save_scatter(path, x, reference=evaluation.everything(experiment.dataset.test, len(x))[0])


def finish(experiment, params, path, seed=0):
    """Samples, pictures, exports and evaluates a trained run; evaluation.json comes last and marks it finished."""
    number = experiment.config.sampler.num_samples
    condition = evaluation.balanced_labels(experiment, number)
    x, nfe = evaluation.sample(experiment, params, number, condition, seed)
    write_samples(path / "samples.npz", x, seed, nfe, condition)
    draw(experiment, path / "samples.png", x)
    workdir.export_params(path / "params.npz", params["params"])
    result = {"nfe": nfe} | evaluation.evaluate(experiment, params, x, condition, path)
    workdir.write_json(path / "evaluation.json", result)
    return result
