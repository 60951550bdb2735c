"""Rectified flow on ImageNet at 64 x 64 pixels with DiT-XL/4, class-conditional: logit-normal times, guided sampling.

    python -m launch.run --config=configs/rectified_flow_imagenet64_dit.py --workdir=runs/dit --config.data.dir=DIR

It is meant for a TPU pod: weights are split over 8 chips, batches over all. docs/aot.md has what it takes. Not run
here.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" runs in seconds on generated data."""
    optimizer = dict(learning_rate=1e-4, schedule="constant", warmup_steps=5000, ema_decay=0.9999)
    config = base.config(
        data=base.update(base.data("imagenet64"), batch_size=1024),
        train=base.update(base.train(), num_steps=400000, eval_every=10000, checkpoint_every=10000),
        optimizer=base.update(base.optimizer(), **optimizer),
        net=base.update(base.net(), name="dit", dtype="bfloat16", dit=dict(width=1152, depth=28, heads=16, patch=4)),
        model=base.update(base.rectified_flow(), time_density="logit_normal", flip=True),
        sampler=base.update(base.sampler(), name="heun", num_steps=50, guidance=1.5, num_samples=50000),
        mesh=base.update(base.mesh(), fsdp=8),
        precision=base.precision(),
    )
    if base.is_tiny(arg):
        config = base.tiny(config, name="synthetic", shape=(8, 8, 3), levels=256, num_classes=10)
        config.mesh.fsdp = 1
    return config


def sweep_time_density():
    """Which times the loss looks at."""
    for density in ("uniform", "logit_normal", "mode"):
        yield {"model.time_density": density}


def sweep_coupling():
    """Independent noise against mini-batch transport, within classes and, as a warning, across them."""
    yield {"model.coupling": "independent"}
    for class_wise in (True, False):
        yield {"model.coupling": "sinkhorn", "model.class_wise": class_wise}
