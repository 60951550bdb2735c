"""Trains the trials of a group side by side as one program; each leaves the workdir of a run of its own."""

import contextlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from research import checkpoint, data, evaluation, experiment, grouping, interrupts, mesh, precision, workdir
from research.errors import UserError
from research.metrics_writer import MetricsWriter


def run(group, paths, until=None):
    """Trains the trials of a grouping.Group, each into its path; yields (name, Experiment, final state).

    A state is None where numbers were not finite: that trial stopped alone. A group that was stopped goes on from the
    newest step that all have; trials that share none are trained apart. until: as loop.run's. Raises
    interrupts.Preempted after saving on SIGTERM or Ctrl-C; UserError as a run does.
    """
    for part in _parts(paths):
        names, configs = (tuple(each[i] for i in part) for each in (group.names, group.configs))
        yield from _run(group._replace(names=names, configs=configs), [paths[i] for i in part], until)


def _parts(paths):
    """Lists of the numbers of workdirs that can go on from one step: halving stops trials apart, for one."""
    found = []  # [steps of whole checkpoints that all have, their numbers]
    for i, path in enumerate(paths):
        steps = {int(each.name) for each in (path / "checkpoints").glob("*") if each.name.isdigit()} or {0}
        part = next((part for part in found if part[0] & steps), None)
        if part:
            part[0] &= steps
            part[1].append(i)
        else:
            found.append([steps, [i]])
    return [part for _, part in found]


def _run(group, paths, until):
    config = group.configs[0]
    precision.apply(config.precision)
    built = _assembled(group, data.load(config.data))
    evaluation.embedding(built[0])  # says now what is wrong with it
    program, train = built[0].program, built[0].config.train
    paths = [workdir.open_for(path, each.config) for path, each in zip(paths, built)]
    keys = [jax.random.key(each.seed) for each in group.configs]
    with contextlib.ExitStack() as stack:
        stack.enter_context(precision.x64(program))
        asked = stack.enter_context(interrupts.catch())
        keep = {"keep_last": train.keep_last, "keep_best": train.keep_best}
        managers = [stack.enter_context(checkpoint.open_manager(path, **keep)) for path in paths]
        init, gather, advance, one = _programs(group, built[0])
        start, states, batches = _restored(managers, built[0])
        state = gather([init(i, key) for i, key in enumerate(keys)] if states is None else states)
        writers = [MetricsWriter(path, start, train.num_steps) for path in paths]
        for writer in writers:
            stack.callback(writer.close)
        if start:
            writers[0].say(f"resumed at step {start}/{train.num_steps} from {paths[0].parent}")
        bad = np.zeros(len(paths), bool)

        def due(step, every):
            return step in (train.num_steps, until) or (every and step % every == 0)

        for step in range(start + 1, min(until or train.num_steps, train.num_steps) + 1):
            state, metrics = advance(state, next(batches))
            signal = asked(step)
            if due(step, train.log_every):
                metrics = {name: np.array(jax.device_get(x)) for name, x in metrics.items()}
                code = metrics.pop("nonfinite", bad)
                bad |= (code != 0) & (train.on_nonfinite == "stop")
                for i in np.flatnonzero(~bad):
                    writers[i].write(step, {name: x[i].item() for name, x in metrics.items()})
            writers[0].progress(step)
            evaluations = [None] * len(paths)
            if due(step, train.eval_every):
                for i in np.flatnonzero(~bad):
                    evaluations[i] = built[i].program.evaluate(one(state, i), jax.random.fold_in(keys[i], 1))
                    checkpoint.check_best(train.keep_best, evaluations[i])
                    writers[i].write(step, evaluations[i])
            if signal or due(step, train.checkpoint_every):
                for i, manager in enumerate(managers):
                    if not (bad[i] and step == train.num_steps):  # from which nobody would know that it went bad
                        checkpoint.save(manager, step, one(state, i), _position(batches), evaluations[i])
            if signal:
                for manager in managers:
                    checkpoint.wait(manager)
                raise interrupts.Preempted(step, signal)
        states = [None if bad[i] else jax.device_get(one(state, i)) for i in range(len(paths))]
    yield from zip(group.names, built, states)


def _assembled(group, dataset):
    """The Experiment of each trial; they share model and program where what follows the training is the same."""
    configs = [experiment.described(config, dataset) for config in group.configs]
    for name, config in zip(group.names, configs):  # a program would not say which of its numbers cannot be
        try:
            experiment.model_of(config)
        except UserError as error:
            raise UserError(f"trial {name}: {error}") from None
    first = experiment.assemble(configs[0], dataset)
    if _ends_alike(group, first):
        return [first._replace(config=config) for config in configs]
    return [first, *(experiment.assemble(config, dataset) for config in configs[1:])]


def _ends_alike(group, built):
    """Whether nothing that is measured or drawn from a trained state depends on what the group's trials differ in."""
    if built.model.sample is not None:
        samplers = [config.get("sampler") for config in group.configs]
        return all(x == samplers[0] for x in samplers) and all(x.startswith("optimizer.") for x in group.fields)

    def loss(numbers, key):
        now = experiment.assemble(grouping.with_numbers(group.configs[0], numbers), built.dataset)
        batch = next(data.epochs(built.dataset.fitted[1], built.config.data.batch_size))
        return now.model.loss(built.program.params(built.program.init(key)), key, batch, train=False)

    numbers = {name: jnp.float32(0.5) for name in group.fields}
    jaxpr = jax.make_jaxpr(loss)(numbers, jax.random.key(0)).jaxpr
    read = {id(x) for equation in jaxpr.eqns for x in equation.invars} | {id(x) for x in jaxpr.outvars}
    return not any(id(x) in read for x in jaxpr.invars[: len(numbers)])


def _programs(group, built):
    """Functions that take the group's fields as arguments of one compiled step, whose state is that of all trials.

    init (i, key) -> state of trial i; gather (those) -> state; advance (state, batch) -> (state, metrics [trials]);
    one (state, i) -> state of trial i.
    """
    flat = [workdir.flatten(config.to_dict()) for config in group.configs]
    numbers = {name: np.array([fields[name] for fields in flat], np.float32) for name in group.fields}
    each = [{name: values[i] for name, values in numbers.items()} for i in range(len(flat))]

    def program(numbers):
        return experiment.assemble(grouping.with_numbers(group.configs[0], numbers), built.dataset).program

    def step(numbers, state, batch):
        return program(numbers).step(state, batch)

    options = {"donate_argnums": 1, "compiler_options": precision.compiler_options(group.configs[0].precision)}
    first = jax.jit(lambda numbers, key: program(numbers).init(key))

    def init(i, key):
        return first(each[i], key)

    # On a CPU trials take turns: side by side they would share its caches, and their convolutions would be slow ones.
    if jax.default_backend() == "cpu":
        turn = jax.jit(step, **options)

        def take_turns(states, batch):
            found = [turn(numbers, state, batch) for numbers, state in zip(each, states)]
            return [state for state, _ in found], _stack([metrics for _, metrics in found], list)

        return init, list, take_turns, lambda states, i: states[i]
    return init, *_side_by_side(step, numbers, len(flat), built.program.batch, options)


def _side_by_side(step, numbers, count, batch, options):
    """gather, advance, one of trials along an axis `trial` that is spread over the devices."""
    devices = jax.devices()[:count]
    trials = jax.make_mesh((len(devices),), ("trial",), axis_types=(AxisType.Auto,), devices=devices)
    spread, whole = NamedSharding(trials, PartitionSpec("trial")), NamedSharding(trials, PartitionSpec())
    more = -count % len(devices)  # the last trial again, for all devices to have as many
    numbers = {name: jax.device_put(np.pad(x, (0, more), "edge"), spread) for name, x in numbers.items()}
    table = None if batch is None else jax.device_put(batch, whole)

    def together(numbers, states, batch):
        states, metrics = jax.vmap(step, (0, 0, None))(numbers, states, batch)
        return states, jax.tree.map(lambda x: x[:count], metrics)

    run = jax.jit(together, out_shardings=(spread, whole), **options)
    return (
        lambda states: jax.device_put(_stack([*states, *states[-1:] * more], jnp.stack), spread),
        lambda states, batch: run(numbers, states, batch if table is None else table),
        lambda states, i: jax.device_put(jax.tree.map(lambda x: x[i], states), devices[0]),
    )


def _stack(trees, how):
    """One tree of what `how` makes of the same leaf of each."""
    return jax.tree.map(lambda *x: how(x), *trees)


def _position(batches):
    """The iterator whose place a checkpoint holds, or None where all batches are the same."""
    return None if isinstance(batches, itertools.repeat) else batches


def _restored(managers, built):
    """(step, states, batches) of the newest step that all trials have whole; (0, None, batches) without any."""
    abstract = mesh.on_one(jax.eval_shape(built.program.init, jax.random.key(0)))
    while True:
        batches = grouping.batches(built)
        step = max(set.intersection(*(set(manager.all_steps()) for manager in managers)), default=0)
        for manager in managers:
            checkpoint.discard_after(manager, step)
        if not step:
            return 0, None, batches
        found = [checkpoint.restore(manager, abstract, _position(batches)) for manager in managers]
        if all(at == step for at, _ in found):
            return step, [state for _, state in found], batches
        for manager, (at, _) in zip(managers, found):  # one was damaged
            checkpoint.discard_after(manager, at)
