"""Neural spline flow with couplings (Durkan et al. 2019, "Neural spline flows", section 3.3), for vectors."""

from research import bijectors as bj
from research import flow
from research.errors import UserError


def bijector(config, data_shape):
    """The Bijector of a config: ActNorm onto the splines' interval, then steps of a linear map and a spline."""
    if len(data_shape) != 1 or data_shape[0] < 2:
        raise UserError(
            f"spline_flow takes vectors of two and more columns, not examples of shape {tuple(data_shape)}."
        )
    own, size, classes = config.model, data_shape[0], flow.classes(config)

    def step():
        told = flow.half(config, "mlp", size, 3 * own.bins - 1, num_classes=classes)
        coupling = bj.rq_spline_coupling(*told, own.bins, own.bound, compact=True)
        return bj.chain(linear=bj.invertible_conv("plu"), coupling=coupling)

    steps = flow.stack(config, step, own.couplings)
    return bj.chain(norm=bj.actnorm(), steps=steps, last=bj.invertible_conv("plu"), scale=bj.scale())


def make(config, data_shape):
    """Model of vectors, from the sections data, model and sampler of `config`."""
    return flow.make(bijector(config, data_shape), config, data_shape)
