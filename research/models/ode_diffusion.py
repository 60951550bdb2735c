"""Diffusion derived from an ODE alone, with no SDE: particles that flow down their density spread it as heat spreads.

Particles of dx/dt = f have d log p / dt = -div f along their path (the Jacobian's determinant), which at a fixed place
is the continuity equation dp/dt = -div(p f). With f = -D grad log p it is the heat equation dp/dt = D lap p, solved by
a convolution with N(0, sigma^2 I), sigma^2 = 2 int D dt, so D = sigma' sigma and

    dx/dt = -sigma' sigma grad log p(x; sigma).

Followed backwards, it carries wide noise to the data. The score is a denoiser's: grad log p = (E[x0 | x] - x) /
sigma^2. research.continuity checks each of these steps on any field and density.
"""

import jax.numpy as jnp

from research import diffusion, noise


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config`.

    sigma(t) = sigma_max t^power. The net is preconditioned as in EDM and trained at sigmas even in their logarithm.
    """
    fields = config.model
    process = noise.heat(lambda t: fields.sigma_max * t**fields.power)._replace(
        t_min=(fields.sigma_min / fields.sigma_max) ** (1 / fields.power)
    )

    def draw_times(key, n):
        low = jnp.log(process.t_min)
        return jnp.exp(low * (1 - diffusion.even_times(key, n)))

    weigh = diffusion.weight("simple", "edm", process)
    return diffusion.make(config, data_shape, diffusion.Denoiser(process, "edm", draw_times, weigh, fields.sigma_data))
