"""What a run leaves behind for people and for other programs: samples, a picture, exported weights, the evaluation."""

import importlib.util

import jax
import numpy as np
from ml_collections import config_dict

from research import checkpoint, densities, evaluation, experiment, mesh, precision, workdir
from research.atomic import replacing
from research.errors import UserError
from research.figures import grid, learning_curve
from research.metrics import report


def load(path):
    """(Experiment, step, params to sample with) of a workdir, from its config.json and newest whole checkpoint."""
    config = config_dict.ConfigDict(workdir.load_config(path))
    config.data.pairs = ""  # what it was trained on is not needed any more
    built = experiment.build(config)
    precision.apply(built.config.precision)
    return built, *restore_params(built, path)


def restore_params(built, path):
    """(step, params to sample with) of the newest whole checkpoint of a workdir. Raises UserError without any."""
    if not (path / "checkpoints").is_dir():
        raise UserError(f"{path} has no checkpoints yet; train it with launch.run --workdir={path}.")
    # One device suffices to sample with, whatever the run was trained on.
    abstract = mesh.on_one(jax.eval_shape(built.program.init, jax.random.key(0)))
    with checkpoint.open_manager(path, read_only=True) as manager:
        step, state = checkpoint.restore(manager, abstract)
    if state is None:
        raise UserError(f"{path} has no checkpoints yet; train it with launch.run --workdir={path}.")
    return step, built.program.params(state)


def write_samples(path, x, seed, nfe, condition=None):
    """samples.npz: x [N, ...] in the data's own scale, the seed, evaluations a sample, and labels where asked for."""
    arrays = {"x": x, "seed": seed, "nfe": nfe} | ({} if condition is None else {"condition": condition})
    with replacing(path) as file:
        np.savez(file, **arrays)


def draw(built, path, x, count=100):
    """samples.png: a grid of images, or a density beside the data's for points in the plane."""
    if len(built.dataset.shape) == 3:
        grid.save_grid(path, x[:count], levels=built.dataset.levels)
    elif built.dataset.shape == (2,):
        grid.save_scatter(path, x, reference=evaluation.everything(built.dataset.test, len(x))[0])


def finish(built, params, path, seed=0):
    """Samples or predicts, exports and evaluates a trained run; evaluation.json comes last and marks it finished."""
    workdir.export_params(path / "params.npz", exported(params))
    finish_kind = _predict_and_evaluate if built.model.predict else _sample_and_evaluate
    result = finish_kind(built, params, path, seed)
    result |= evaluation.cost(built, params)
    workdir.write_json(path / "evaluation.json", result)
    return result


def exported(params):
    """What params.npz holds: the trained arrays, and, under "stats", what is not trained but belongs to them."""
    if "params" not in params:
        return params
    return {**params["params"], **{name: value for name, value in params.items() if name != "params"}}


def summary(result):
    """What an evaluation says, as a few lines for a person."""
    if "sliced_wasserstein/ours" in result:
        return "\n".join([report.table(result), *_density(result)])
    numbers = {name: value for name, value in result.items() if "/" not in name and isinstance(value, float)}
    return "\n".join(f"{name:12}{value:10.4g}" for name, value in numbers.items())


def _density(result):
    """One line of bits a dimension: of held-out data, of training data, of a Gaussian, and the most nats possible."""
    rows = {"train_": "on training data", "gaussian_": "a full-covariance Gaussian"}
    given = ", given their class" if "likelihood/given" in result else ""
    found = {"": f"bits a dimension on held-out data{given}"} | rows
    parts = [
        f"{words} {result[f'likelihood/{name}bits_per_dim']:.3f}"
        for name, words in found.items()
        if f"likelihood/{name}bits_per_dim" in result
    ]
    if "likelihood/negative_entropy" in result:
        nats, least = result["likelihood/nats"], result["likelihood/negative_entropy"]
        parts.append(f"log-density {nats:.3f} nats, at most {least:.3f}")
    if "likelihood/kl" in result:
        parts.append(f"KL {result['likelihood/kl']:.3f}")
    return [", ".join(parts)] if parts else []


def headline(result):
    """The few numbers of an evaluation that compare the trials of a sweep."""
    names = (
        "sliced_wasserstein/ours",
        "likelihood/bits_per_dim",
        "likelihood/train_bits_per_dim",
        "loss",
        "accuracy",
        "dead_share",
        "start/gradient/00",
        "gradient/00",
    )
    return {name: result[name] for name in names if name in result}


def _predict_and_evaluate(built, params, path, seed):
    logits, labels = evaluation.predict(built, params)
    with replacing(path / "predictions.npz") as file:
        np.savez(file, logits=logits, label=labels)
    if "params" not in params and importlib.util.find_spec("matplotlib"):  # of trees; matplotlib is an extra
        with replacing(path / "learning_curve.png") as file:
            learning_curve.draw(learning_curve.load([path])).savefig(file, format="png")
    return evaluation.evaluate_predictions(built, params, seed)


def _sample_and_evaluate(built, params, path, seed):
    number = built.config.sampler.num_samples
    condition = evaluation.balanced_labels(built, number)
    x, nfe = evaluation.sample(built, params, number, condition, seed)
    write_samples(path / "samples.npz", x, seed, nfe, condition)
    draw(built, path / "samples.png", x)
    return {"nfe": nfe} | evaluation.evaluate(built, params, x, condition, path, seed) | _plane(built, params, path)


def _plane(built, params, path):
    """density.png beside the truth, and the mass that the density has there, of a flow whose data are in the plane."""
    if built.dataset.log_prob is None or built.model.log_prob is None or densities.is_solved(built):
        return {}
    ours, truth, mass = densities.on_plane(built, params, evaluation.everything(built.dataset.train)[0])
    grid.save_density(path / "density.png", ours, truth)
    return {"likelihood/mass": mass}
