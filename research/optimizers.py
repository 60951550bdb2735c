"""Optimisers and learning-rate schedules from a config, all of them optax's."""

import jax
import optax

from research.errors import UserError

SCHEDULES = ("constant", "linear", "cosine")
OPTIMIZERS = ("adam", "adamw", "lion", "sgd", "muon")
WINDOWS = ((1, 1), (3, 3))  # of the convolutions here, which tell them from layers that are scanned within layers


def schedule(config, num_steps):
    """Learning rate as a function of the step: a linear warm-up, then constant, linear to 0 or cosine to 0.

    A unit-peak shape times the rate, so that `config.learning_rate` may be a traced number.
    Raises UserError for an unknown `config.schedule` or a warm-up that does not fit.
    """
    if config.schedule not in SCHEDULES:
        raise UserError(f"optimizer.schedule is '{config.schedule}'; choose one of {', '.join(SCHEDULES)}.")
    if not 0 <= config.warmup_steps <= num_steps:
        raise UserError(f"optimizer.warmup_steps is {config.warmup_steps}; it must lie in 0..{num_steps} (num_steps).")
    rest = max(num_steps - config.warmup_steps, 1)
    shape = {
        "constant": optax.constant_schedule(1.0),
        "linear": optax.linear_schedule(1.0, 0.0, rest),
        "cosine": optax.cosine_decay_schedule(1.0, rest),
    }[config.schedule]
    if config.warmup_steps:
        warmup = optax.linear_schedule(1.0 / config.warmup_steps, 1.0, max(config.warmup_steps - 1, 1))
        shape = optax.join_schedules([warmup, shape], [config.warmup_steps])
    return lambda step: config.learning_rate * shape(step)


def is_kernel(params):
    """True for the weights of linear maps, which weight decay and Muon act on; not for biases, norms and tables."""
    return jax.tree_util.tree_map_with_path(lambda path, _: getattr(path[-1], "key", None) == "kernel", params)


def _muon_dimensions(params):
    """A convolution [..., 3, 3, I, O] is one matrix [9 I, O]; other leading axes are scanned stacks of matrices."""

    def spec(kernel, x):
        if not kernel or x.ndim < 2:
            return None
        window = x.ndim >= 4 and x.shape[-4:-2] in WINDOWS
        return optax.contrib.MuonDimensionNumbers(tuple(range(x.ndim - (4 if window else 2), x.ndim - 1)), x.ndim - 1)

    return jax.tree.map(spec, is_kernel(params), params)


def make(config, num_steps):
    """An optax transformation from the `optimizer` section: clipping, then the optimiser with its schedule.

    Raises UserError for an unknown `config.name`.
    """
    if config.name not in OPTIMIZERS:
        raise UserError(f"optimizer.name is '{config.name}'; choose one of {', '.join(OPTIMIZERS)}.")
    rate, decay = schedule(config, num_steps), config.weight_decay
    b1, b2 = config.beta1, config.beta2
    decayed = optax.add_decayed_weights(decay, mask=is_kernel)
    update = {
        "adam": lambda: optax.chain(decayed, optax.adam(rate, b1, b2)),  # the classical L2 penalty
        "adamw": lambda: optax.adamw(rate, b1, b2, weight_decay=decay, mask=is_kernel),
        "lion": lambda: optax.lion(rate, b1, b2, weight_decay=decay, mask=is_kernel),
        "sgd": lambda: optax.chain(decayed, optax.sgd(rate, momentum=b1, nesterov=True)),
        "muon": lambda: optax.contrib.muon(
            rate,
            beta=b1,
            weight_decay=decay,
            adam_b1=b1,
            adam_b2=b2,
            muon_weight_dimension_numbers=_muon_dimensions,
            consistent_rms=0.2,  # updates as large as Adam's, so that one learning rate serves both
        ),
    }[config.name]()
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, update)
