"""The loop: drives any `Program`, keeps its checkpoints and its numbers, and can be stopped at any moment."""

import itertools
import types

import jax

from research import checkpoint, interrupts, mesh, precision
from research.errors import UserError
from research.metrics_writer import MetricsWriter


def prepare(program, devices, config):
    """(the state as ShapeDtypeStructs on the mesh `devices`, their shardings, the jitted step) of a Program."""
    abstract = jax.eval_shape(program.init, jax.random.key(config.seed))
    abstract = mesh.shard(abstract, devices, config.mesh, program.rows)
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    options = precision.compiler_options(config.precision)
    step = mesh.around(program.step, devices)
    step = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None), compiler_options=options)
    return abstract, shardings, step


def run(program, data, config, workdir, profile=None, until=None):
    """The final state of `program` after `config.train.num_steps` steps, resumed where workdir left off.

    program: a contracts.Program. data: a checkpointable iterator of host batches, or one constant batch (a dict).
    config: uses `seed`, `train`, `mesh` and `precision`. workdir: pathlib.Path. profile: (first, last) step to trace.
    until: a step after which to evaluate, save and return the state, for the same call without it to go on from.
    Raises interrupts.Preempted after saving on SIGTERM or Ctrl-C; UserError where numbers are not finite.
    """
    train, devices = types.SimpleNamespace(**config.train), mesh.make(config.mesh)  # a ConfigDict is slow to read
    place, iterator = mesh.batch_placer(devices), None if isinstance(data, dict) else data
    batches = itertools.repeat(place(data)) if iterator is None else map(place, iterator)
    folder = checkpoint.open_manager(workdir, keep_last=train.keep_last, keep_best=train.keep_best)
    with precision.x64(program), interrupts.catch() as asked, folder as manager:
        key = jax.random.key(config.seed)
        abstract, shardings, step_function = prepare(program, devices, config)
        start, state = checkpoint.restore(manager, abstract, iterator)
        checkpoint.discard_after(manager, start)
        if state is None:
            state = jax.jit(program.init, out_shardings=shardings)(key)
        writer = MetricsWriter(workdir, start, train.num_steps, active=jax.process_index() == 0)
        trace = (max(profile[0], start + 1), profile[1]) if profile and start < profile[1] else (None, None)
        if start:
            writer.say(f"resumed at step {start}/{train.num_steps} from {workdir}")

        def settle(step, metrics, batch):
            """Waits for the numbers of a step, records them, and stops the run where they are not finite."""
            code = int(metrics.get("nonfinite", 0))
            if code and train.on_nonfinite == "stop":
                tensor = program.explain(state, code, batch) if program.explain else "its state"
                last = manager.latest_step()
                where = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
                raise UserError(
                    f"step {step}: {tensor} is not finite; {where} in {workdir}; lower the learning rate, check the "
                    "data, or set train.on_nonfinite=skip."
                )
            if step % train.log_every == 0 or step == train.num_steps:
                numbers = jax.device_get({name: x for name, x in metrics.items() if name != "nonfinite"})
                writer.write(step, {name: x.item() for name, x in numbers.items()})
            writer.progress(step)

        def due(step, every):
            return step in (train.num_steps, until) or (every and step % every == 0)

        pending, signal = [], None
        try:
            for step in range(start + 1, min(until or train.num_steps, train.num_steps) + 1):
                if step == trace[0]:
                    jax.profiler.start_trace(str(workdir / "profile"))
                batch = next(batches)
                state, metrics = step_function(state, batch)  # dispatched; the step before is read while it runs
                while pending:
                    settle(*pending.pop())
                pending.append((step, metrics, batch))
                signal = asked(step)
                if step == trace[1]:
                    jax.block_until_ready(state)
                    jax.profiler.stop_trace()
                if not (signal or due(step, train.checkpoint_every) or due(step, train.eval_every)):
                    continue
                settle(*pending.pop())
                evaluation = None
                if due(step, train.eval_every):
                    evaluation = program.evaluate(state, jax.random.fold_in(key, 1))
                    checkpoint.check_best(train.keep_best, evaluation)
                    writer.write(step, evaluation)
                if signal or due(step, train.checkpoint_every):
                    checkpoint.save(manager, step, state, iterator, evaluation)
                if signal:
                    checkpoint.wait(manager)
                    raise interrupts.Preempted(step, signal)
        finally:
            writer.close()
    return state
