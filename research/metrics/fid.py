"""The Frechet inception distance (Heusel et al. 2017), in features of a function that `jax.export` saved, at any URI.

Papers' numbers are in pool_3 of one Inception network, whose weights are not here; docs/reproduce.md says what to give.
"""

import functools

import jax
import numpy as np
from jax import export

from research import uri
from research.errors import UserError
from research.metrics.frechet import frechet

BATCH = 128  # of a function that takes any


def digest(found, real):
    """{"fid/..."} of features [N, F] of samples and [M, F] of training data."""
    return {
        "fid/ours": frechet(found, real),
        "fid/width": found.shape[1],
        "fid/samples": len(found),
        "fid/examples": len(real),
    }


@functools.lru_cache(maxsize=1)
def load(where, shape):
    """The exported function at a URI, from images [N, *shape] of whole numbers 0 .. 255 to features [N, F].

    It is kept for the next call. Raises UserError for what is no such function, or takes other images.
    """
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
    size, call = takes.shape[0], jax.jit(function.call)

    def embed(x):
        rows, parts = size if isinstance(size, int) else min(BATCH, len(x)), []
        for start in range(0, len(x), rows):
            chunk = np.asarray(x[start : start + rows]).astype(np.uint8)
            parts.append(np.asarray(call(np.resize(chunk, (rows, *chunk.shape[1:]))))[: len(chunk)])
        return np.concatenate(parts)

    return embed
