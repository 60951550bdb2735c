"""The FID is the Frechet distance in features of an exported function, whatever its batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from research.errors import UserError
from research.metrics import fid
from research.metrics.frechet import frechet

SHAPE = (4, 4, 3)


def halves(x):
    """Six features of images, in f32: means of each channel above and below."""
    x = x.astype(jnp.float32) / 255
    return jnp.concatenate([x[:, :2].mean((1, 2)), x[:, 2:].mean((1, 2))], axis=1)


def saved(path, batch, shape=SHAPE, dtype=np.uint8, **options):
    sizes = export.symbolic_shape("b")[0] if batch is None else batch
    made = export.export(jax.jit(halves), **options)(jax.ShapeDtypeStruct((sizes, *shape), dtype))
    path.write_bytes(made.serialize())
    return str(path)


@pytest.mark.parametrize("batch", [None, 1, 7, 64])
def test_it_is_the_distance_in_features(tmp_path, batch):
    rng = np.random.default_rng(0)
    samples, train = rng.integers(200, size=(50, *SHAPE)), rng.integers(256, size=(90, *SHAPE))
    embed = fid.load(saved(tmp_path / "f", batch), SHAPE)
    found = fid.digest(embed(samples), embed(train))
    assert found["fid/ours"] == pytest.approx(frechet(*(np.asarray(halves(x)) for x in (samples, train))), rel=1e-5)
    assert (found["fid/width"], found["fid/samples"], found["fid/examples"]) == (6, 50, 90)


def test_mistakes_are_sentences(tmp_path):
    (tmp_path / "torn").write_bytes(b"PK no function")
    with pytest.raises(UserError, match="torn, no function that jax.export saved"):
        fid.load(str(tmp_path / "torn"), SHAPE)
    with pytest.raises(UserError, match="gone"):
        fid.load(str(tmp_path / "gone"), SHAPE)
    with pytest.raises(UserError, match=r"takes uint8\[2,8,8,3\], not uint8 images \[B, 4, 4, 3\]"):
        fid.load(saved(tmp_path / "wide", 2, (8, 8, 3)), SHAPE)
    with pytest.raises(UserError, match=r"takes float32"):
        fid.load(saved(tmp_path / "floats", 2, dtype=np.float32), SHAPE)
    with pytest.raises(UserError, match="is for tpu; export it for this one too"):
        fid.load(saved(tmp_path / "tpu", 2, platforms=["tpu"]), SHAPE)
