"""Score SDE from noise to eight Gaussians on a circle, whose density and entropy are exact.

    python -m launch.run --config=configs/score_sde_toy2d.py --workdir=runs/sde

2 CPU cores, 4 minutes: log-density -1.702 nats on held-out points, -1.698 possible; KL divergence 0.013.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    config = base.config(
        data=base.update(base.data("8gaussians"), batch_size=512, size=1000000),
        train=base.update(base.train(), num_steps=12000, eval_every=3000, checkpoint_every=3000),
        optimizer=base.update(base.optimizer(), learning_rate=2e-3, beta2=0.99, ema_decay=0.998),
        net=base.update(base.net(), name="mlp", mlp=dict(width=128, depth=3, dropout=0.0)),
        model=base.update(base.score_sde(), prediction="v", weight="likelihood", label_dropout=1.0),
        sampler=base.update(base.sampler(), name="probability_flow", num_samples=10000, balanced=False),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_process():
    """Four processes; data under ve grow, so its net is preconditioned."""
    for process in ("vp", "sub_vp", "cosine", "ve"):
        yield {"model.process": process, "model.prediction": "edm" if process == "ve" else "v"}


def sweep_weight():
    """What the loss weighs, and with it what is predicted."""
    for weight in ("score", "likelihood"):
        for prediction in ("eps", "v"):
            yield {"model.weight": weight, "model.prediction": prediction}


def sweep_solver():
    """The SDE from no noise to its own, in 200 steps, and two ways along the probability flow."""
    for lam in (0.0, 0.5, 1.0):
        yield {"sampler.name": "euler_maruyama", "sampler.num_steps": 200, "sampler.lam": lam}
    yield {"sampler.name": "dpm_solver_pp", "sampler.spacing": "log_snr"}
    yield {"sampler.name": "probability_flow"}
