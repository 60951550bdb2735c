"""The Frechet inception distance (Heusel et al. 2017), in features of a function that `jax.export` saved, at any URI.

Papers' numbers are in pool_3 of one Inception network, whose weights are not here; docs/reproduce.md says what to give.
"""

import jax
import numpy as np
from jax import export

from research import uri
from research.errors import UserError
from research.metrics.frechet import frechet

BATCH = 128  # of a function that takes any


def digest(function, samples, train):
    """{"fid/..."} of samples and training data, images [N, H, W, C] of whole numbers 0 .. 255; function: `load`'s."""
    found, real = (features(function, x) for x in (samples, train))
    return {
        "fid/ours": frechet(found, real),
        "fid/width": found.shape[1],
        "fid/samples": len(found),
        "fid/examples": len(real),
    }


def load(where, shape):
    """The exported function at a URI, of uint8 images [B, *shape]. Raises UserError for what is none."""
    try:
        function = export.deserialize(bytearray(uri.read(where)))
    except UserError:
        raise
    except Exception as error:  # what a damaged file raises is not documented
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"metrics.features is {where}, no function that jax.export saved ({reason}).") from error
    takes = function.in_avals[0] if len(function.in_avals) == 1 else None
    fits = takes is not None and takes.dtype == np.uint8 and len(takes.shape) == 1 + len(shape)
    if not fits or any(isinstance(a, int) and a != b for a, b in zip(takes.shape[1:], shape)):
        given = ", ".join(map(str, function.in_avals))
        raise UserError(f"the function at {where} takes {given}, not uint8 images [B, {', '.join(map(str, shape))}].")
    if jax.default_backend() not in {"gpu" if name in ("cuda", "rocm") else name for name in function.platforms}:
        raise UserError(f"the function at {where} is for {', '.join(function.platforms)}; export it for this one too.")
    return function


def features(function, x):
    """[N, F] of images x [N, H, W, C], in batches of one size."""
    size = function.in_avals[0].shape[0]
    size = size if isinstance(size, int) else min(BATCH, len(x))
    call, parts = jax.jit(function.call), []
    for start in range(0, len(x), size):
        chunk = np.asarray(x[start : start + size]).astype(np.uint8)
        parts.append(np.asarray(call(np.resize(chunk, (size, *chunk.shape[1:]))))[: len(chunk)])
    return np.concatenate(parts)
