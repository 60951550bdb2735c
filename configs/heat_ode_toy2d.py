"""Diffusion from an ODE alone: eight Gaussians blurred by the heat equation, and the flow back to them.

    python -m launch.run --config=configs/heat_ode_toy2d.py --workdir=runs/heat

2 CPU cores, 3 minutes: log-density -1.713 nats on held-out points, -1.698 possible; KL divergence 0.025.
"""

from configs import base


def get_config(arg=""):
    """The experiment; arg "tiny" is a version that runs in seconds."""
    config = base.config(
        data=base.update(base.data("8gaussians"), batch_size=512, size=1000000),
        train=base.update(base.train(), num_steps=12000, eval_every=3000, checkpoint_every=3000),
        optimizer=base.update(base.optimizer(), learning_rate=2e-3, beta2=0.99, ema_decay=0.998),
        net=base.update(base.net(), name="mlp", mlp=dict(width=128, depth=3, dropout=0.0)),
        model=base.update(base.ode_diffusion(), sigma_data=1.43, sigma_min=0.02, sigma_max=20.0, label_dropout=1.0),
        sampler=base.update(base.sampler(), spacing="karras", num_samples=10000, balanced=False),
        mesh=base.mesh(),
        precision=base.precision(),
    )
    return base.tiny(config) if base.is_tiny(arg) else config


def sweep_steps():
    """Solvers of the ODE at few steps and many."""
    for name in ("euler", "heun", "probability_flow"):
        for steps in (10, 40) if name != "probability_flow" else (10,):
            yield {"sampler.name": name, "sampler.num_steps": steps}
