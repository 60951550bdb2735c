"""Reflow (Liu et al. 2022, algorithm 1): pairs that a flow joins, configs of what trains on them, how straight it is.

A pair is noise and where the flow carries it, so a flow that learns lines between pairs has no paths that cross.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research import evaluation, noise, results, sampler_table, sampling, sweep, transport, workdir
from research.encoding import encode
from research.errors import UserError

FILE = "transport.json"  # in a workdir: what `measure` found
TIMES, MEASURED, MEASURED_FEW = 64, 256, 4096  # steps; samples that straightness is measured on, of few dimensions
FEW = 16
BETWEEN = ("rectified_flow", "meanflow", "shortcut")  # models whose paths go from N(0, I), or a set, to data


def draw_pairs(path, folder, count, seed=0, **options):
    """Fills `folder` with `count` pairs of the trained run `path`: shards of a batch each, with their nfe.

    They have the classes that the run's own samples have; options go to the model's `sample`. Stopped, even killed, it
    goes on from the last whole shard, and each pair is drawn by its own number. Raises UserError, Stopped.
    """
    built, step, params = results.load(path)
    condition = evaluation.balanced_labels(built, count)
    identity = sampling.identity(built, step, count, condition, seed, options)
    draw = functools.partial(sampling.batches, built, params, count, condition, seed, ends=True, **options)
    sampling.fill(folder, identity, sampling.sizes(count)[1], draw)


def round_config(config, pairs, **changes):
    """The config of a run on those pairs, which `config.reflow.round` and `changes` {section.field: value} change.

    The pairs are guided already, if they are, and lines join them, whatever the interpolant of the first round. Raises
    UserError for a field that is not there, and for another model.
    """
    if config.model.name != "rectified_flow":
        raise UserError(f"reflow is for model.name 'rectified_flow', not '{config.model.name}'.")
    line = {"model.interpolant": "linear", "model.gamma": 0.0, "model.coupling": "given"}
    fixed = {"data.pairs": str(pairs), "sampler.guidance": 1.0} | line
    return sweep.override(config, fixed | _fields(config.reflow.round) | changes)


def student_config(config, pairs, num_steps):
    """The config of a student that goes from noise to data in `num_steps` jumps (section 2.2, distillation)."""
    sampler = {"name": "euler", "num_steps": num_steps, "spacing": "uniform", "end": None}  # at the times it knows
    steps = {"model.time_density": "steps", "model.num_steps": num_steps} | workdir.flatten({"sampler": sampler})
    return round_config(config, pairs, **_fields(config.reflow.student) | steps)


def last(path, plan):
    """The workdir of the last round or student, in that of the first, by a config's section `reflow`."""
    return path / (f"student_{plan['distill'][-1]}" if plan["distill"] else f"round_{plan['rounds'] + 1}")


def _fields(sections):
    return workdir.flatten(sections.to_dict()) if sections else {}


def measure_in(path, seed=0):
    """Leaves transport.json, of `measure`, and the few-step table of `sampler_table` in a workdir, if not there yet.

    Straightness is of models whose times and ends are a line's; of others there is the table alone. Raises UserError.
    """
    built, step, params = results.load(path)
    number, chosen = built.config.sampler.num_samples, sampler_table.few_steps(built.config)
    student = built.config.model.get("time_density") == "steps"  # it knows velocities at the ends of its jumps alone
    if built.config.model.name in BETWEEN and not student and not (path / FILE).exists():
        workdir.write_json(path / FILE, {"step": step} | measure(built, params, seed))
    return sampler_table.rows(built, step, params, path, sampler_table.FEW, chosen, number, seed)


def measure(built, params, seed=0):
    """How straight the flow is and what its coupling costs, as a dict; in the unit of the net, per example.

    straightness, and its "curve" at "times"; cost_1 and cost_2, E|x_1 - x_0|^p of the ends that the flow joins, and
    independent_1 and _2 of ends that are paired at random, which the flow's may not exceed (theorem 3.5).
    """
    n = MEASURED_FEW if np.prod(built.dataset.shape) <= FEW else MEASURED
    condition = evaluation.balanced_labels(built, n)
    key, times = jax.random.key(seed), noise.times(noise.rectified(), TIMES)
    x1 = jax.random.normal(key, (n, *built.dataset.shape))
    if built.dataset.source:
        rows = np.arange(n) % built.dataset.source[1].size
        x1 = encode(jnp.asarray(built.dataset.source[1].gather(rows)["x"]), built.dataset.levels, 0.5)
        if built.config.model.get("standardize"):
            x1 = (x1 - params["stats"]["mean"]) / params["stats"]["std"]

    @jax.jit
    def measured(params, x1):
        field = built.model.field(params, n, condition)
        x0, curve = transport.follow(field, x1, times)
        found = {"straightness": -jnp.trapezoid(curve, times), "curve": curve}
        for p in (1, 2):
            found[f"cost_{p}"] = transport.transport_cost(x0, x1, p)
            found[f"independent_{p}"] = transport.transport_cost(jnp.roll(x0, 1, axis=0), x1, p)
        return found

    found = {name: np.asarray(x).tolist() for name, x in measured(params, x1).items()}
    return found | {"times": times.tolist(), "num_samples": n, "seed": seed}
