"""RealNVP of 2-D vectors by flowjax."""

import equinox as eqx
import jax
import paramax
from flowjax.distributions import StandardNormal
from flowjax.flows import coupling_flow
from flowjax.train.losses import MaximumLikelihoodLoss

from research.benchmarks.flow_peers.compiled import compiled


def vectors(sizes):
    """flowjax.flows.coupling_flow with its affine transformer, its own loss and partition into trained arrays."""
    options = {"flow_layers": sizes.couplings, "nn_width": sizes.width, "nn_depth": 2}
    flow = coupling_flow(jax.random.key(0), base_dist=StandardNormal((2,)), **options)
    frozen = {"is_leaf": lambda leaf: isinstance(leaf, paramax.NonTrainable)}
    params, static = eqx.partition(flow, eqx.is_inexact_array, **frozen)
    loss = MaximumLikelihoodLoss()

    def draw(params, key):
        return paramax.unwrap(eqx.combine(params, static)).sample(key, (sizes.batch,))

    x = jax.random.normal(jax.random.key(1), (sizes.batch, 2))
    return compiled(lambda params, x: loss(params, static, x), draw, params, x)
