"""Many models of as many rows in one program: a fit for each table, label, key or penalty. Entry point: `boost`."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from research.errors import UserError
from research.trees import boosting


def boost(codes, counts, y, objective, options, keys, num_trees, l2=None, *, mesh=None):
    """(State, Trees) of boosting.boost for each of M models, with a first axis of M; the same bits as one by one.

    codes [M, F, N], or [F, N] that all share; counts [F] thresholds of a feature, the most of any model; y [M, N, ...];
    keys [M]; l2 [M] in the place of that of options. A mesh of one axis spreads models. Raises UserError where M is no
    multiple of its devices, and for a mesh of several axes.
    """
    boosting.check_mesh(mesh)
    if mesh is not None and len(y) % mesh.size:
        raise UserError(f"{len(y)} models cannot be spread evenly over {mesh.size} devices; give a multiple of them.")
    with jax.enable_x64(True):
        state = jax.lax.map(lambda of: boosting.init(of[0], None, objective, of[1]), (y, keys))
        run = compiled(objective, options, num_trees, int(max(counts)) + 1, codes.ndim == 2, mesh)
        return run(codes, jnp.asarray(counts, jnp.int32), y, state, l2)


@functools.lru_cache(maxsize=64)
def compiled(objective, options, num_trees, num_bins, shared, mesh):
    """All models under jit, kept for the next call."""

    def one(codes, counts, y, state, l2):
        how = options if l2 is None else options._replace(tree=options.tree._replace(l2=l2))
        return boosting.block(codes, counts, y, None, objective, how, state, num_trees, num_bins=num_bins)

    run = jax.vmap(one, (None if shared else 0, None, 0, 0, 0))
    if mesh is not None:
        models = P(mesh.axis_names[0])
        specs = (P() if shared else models, P(), models, models, models)
        run = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=models, check_vma=False)
    return jax.jit(run)
