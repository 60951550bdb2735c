"""What all diffusion models share: the denoising loss, sampling by any sampler, guidance, and likelihoods.

A model states its process, what its net predicts, at which times it is trained and how errors there are weighted, as a
`Denoiser`; `make` turns it into a Model.
"""

from research.diffusion.denoiser import Denoiser, even_times, share, weight
from research.diffusion.model import EXACT_TRACE, make

__all__ = ["EXACT_TRACE", "Denoiser", "even_times", "make", "share", "weight"]
