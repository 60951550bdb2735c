"""EDM (Karras et al. 2022): a preconditioned denoiser, trained at log-normal noise levels."""

import jax
import jax.numpy as jnp

from research import diffusion, noise


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config`.

    log sigma ~ N(p_mean, p_std^2); the weight lambda(sigma) = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 is 1 on
    what the net returns (table 1, eq. 8).
    """
    fields = config.model
    process = noise.edm(fields.sigma_min, fields.sigma_max)

    def draw_times(key, n):
        # sigma = sigma_max t, one draw for each even share of the distribution.
        z = jax.scipy.special.ndtri(jnp.clip(diffusion.even_times(key, n), 1e-6, 1 - 1e-6))
        return jnp.exp(fields.p_mean + fields.p_std * z) / fields.sigma_max

    weigh = diffusion.weight("simple", "edm", process)
    return diffusion.make(config, data_shape, diffusion.Denoiser(process, "edm", draw_times, weigh, fields.sigma_data))
