"""Score-based models of an SDE (Song et al. 2021): denoising score matching in continuous time, on any process."""

import jax.numpy as jnp

from research import diffusion, noise
from research.errors import UserError, nearest

PROCESSES = {
    "vp": lambda fields: noise.vp(fields.beta_min, fields.beta_max),
    "sub_vp": lambda fields: noise.sub_vp(fields.beta_min, fields.beta_max),
    "ve": lambda fields: noise.ve(fields.sigma_min, fields.sigma_max),
    "cosine": lambda fields: noise.cosine(),
}
PREDICTIONS = ("eps", "x0", "v", "edm")


def make(config, data_shape):
    """Model of data of shape `data_shape`, from the sections data, net, model and sampler of `config`.

    weight "score" is sigma^2 on the squared error of the score (eq. 7); "likelihood" is g^2, at times drawn in
    proportion to g^2 / sigma^2, even in log-SNR, which spares the loss its variance (Song et al. 2021b, 4.3). Raises
    UserError for an unknown process, weight or prediction.
    """
    fields = config.model
    for name, known in (("process", PROCESSES), ("prediction", PREDICTIONS)):
        if fields[name] not in known:
            raise UserError(f"config.model.{name} is '{fields[name]}': {nearest(fields[name], known)}")
    process = PROCESSES[fields.process](fields)
    likely = fields.weight == "likelihood"  # d log SNR = -(g / sigma)^2 dt: even in log-SNR is that in proportion
    ends = process.log_snr(jnp.array([process.t_min, process.t_max]))

    def draw_times(key, n):
        u = diffusion.even_times(key, n)
        if likely:
            return process.time(ends[0] + (ends[1] - ends[0]) * u)
        return process.t_min + (process.t_max - process.t_min) * u

    weigh = diffusion.weight("score" if likely else fields.weight, fields.prediction, process, fields.sigma_data)
    denoiser = diffusion.Denoiser(process, fields.prediction, draw_times, weigh, fields.sigma_data)
    return diffusion.make(config, data_shape, denoiser)
