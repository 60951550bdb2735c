"""Rectified flow on eight Gaussians with mini-batch optimal transport (Tong et al. 2023; Pooladian et al. 2023).

    python -m launch.run --config=configs/ot_flow_toy2d.py --workdir=runs/ot

Noise is paired with data within a batch by an exact assignment, so paths cross less than those of the independent
coupling; the larger the batch, the closer to the transport of the whole.
"""

from configs import base, rectified_flow_toy2d


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    config = rectified_flow_toy2d.get_config()
    config.model.coupling = "exact"
    config.data.batch_size = 256
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_batch():
    """How near a batch comes to the whole."""
    for size in (32, 128, 512):
        yield {"data.batch_size": size}


def sweep_coupling():
    """Both solvers, and none."""
    for coupling in ("independent", "sinkhorn", "exact"):
        yield {"model.coupling": coupling}
