"""Starting a new run from the weights of an old one."""

import jax
import jax.numpy as jnp
import numpy as np

from research.errors import UserError


def from_workdir(program, path):
    """`program` whose initial weights, trained and averaged, and stats are the params.npz of the finished run `path`.

    Raises UserError where there is none, or where an array is missing or has another shape.
    """
    file = path / "params.npz"
    try:
        with np.load(file) as archive:
            arrays = dict(archive)
    except FileNotFoundError:
        raise UserError(f"--init_from: {path} has no params.npz; give the --workdir of a finished run.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"--init_from: {file} cannot be read ({error}); run that experiment again.") from error

    def replace(name, x):
        name = jax.tree_util.keystr(name, simple=True, separator="/")
        if name not in arrays or arrays[name].shape != x.shape:
            there = arrays[name].shape if name in arrays else "nothing"
            raise UserError(f"--init_from: {name} is {x.shape} in this model and {there} in {path}; use the same net.")
        return jnp.asarray(arrays[name], x.dtype)

    def init(key):
        state = program.init(key)
        fixed = {name: value for name, value in state["params"].items() if name != "params"}  # "stats", or nothing
        fixed = jax.tree_util.tree_map_with_path(replace, fixed)
        weights = jax.tree_util.tree_map_with_path(replace, state["params"]["params"])
        averaged = jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), weights)
        return {**state, "params": {**fixed, "params": weights}, "ema": averaged}

    return program._replace(init=init)
