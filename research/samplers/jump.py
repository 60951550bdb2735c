"""Jumps along average velocities, of models that know them (MeanFlow, shortcut models), in one step or more."""

from research import samplers


def sample(field, noise, x, times, key=None, *, trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1], by x_to = x_t - (t - to) u(x_t, t, to).

    field(x, t, to) is to give the mean of the velocity over the span (Geng et al. 2025, eq. 12); raises UserError for a
    field of another model.
    """

    def step(x, t, t_next, _):
        return x + (t_next - t) * field(x, t, t_next).velocity

    return samplers.scan(step, x, times, calls=1, trajectory=trajectory)
