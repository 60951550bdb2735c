"""Euler's method on the probability-flow ODE: first order, one call a step."""

from research import samplers


def sample(field, noise, x, times, key=None, *, variable="t", trajectory=False):
    """Samples from x [B, ...] at times[0], along descending times [S + 1].

    variable="t" steps d x / dt = velocity. variable="sigma" steps d(x / alpha) / d(sigma / alpha) = eps, which is
    deterministic DDIM (Song et al. 2021, eq. 13): written by x0 and eps it stays finite at alpha = 0.
    """

    def step(x, t, t_next, _):
        prediction = field(x, t)
        if samplers.is_t(variable):
            return x + (t_next - t) * prediction.velocity
        return noise.alpha(t_next) * prediction.x0 + noise.sigma(t_next) * prediction.eps

    return samplers.scan(step, x, times, calls=1, trajectory=trajectory)
