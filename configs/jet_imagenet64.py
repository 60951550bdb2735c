"""Jet on ImageNet at 64 x 64 pixels: 32 couplings of 2 transformer blocks of width 512.

    python -m launch.run --config=configs/jet_imagenet64.py --workdir=runs/jet --config.data.dir=DIR

The paper: 3.72 bits a dimension after 200 epochs; 3.66 with 64 couplings of 5 blocks and more data. Its code has a
spatial coupling in every fifth place, here all are of channels. It needs a TPU pod or several GPUs:
--config.mesh.fsdp=8 splits the weights too. Not run here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data."""
    config = base.config(
        data=base.update(base.data("imagenet64"), batch_size=1024),
        train=base.update(base.train(), num_steps=250000, eval_every=5000, checkpoint_every=5000),
        optimizer=base.update(base.optimizer(), learning_rate=3e-4, beta2=0.95, weight_decay=1e-5, warmup_steps=25000),
        model=base.update(base.jet(), remat=True),
        sampler=base.update(base.one_pass(), num_samples=10000),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    base.update(config.model.conditioner, dtype="bfloat16")
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256)
        config.model.conditioner.heads = 2
    return config


def sweep_depth():
    """Couplings against blocks in each, at one cost: figure 3 of the paper."""
    for couplings, blocks in ((64, 1), (32, 2), (16, 4)):
        yield {"model.couplings": couplings, "model.conditioner.depth": blocks}
