"""Which trials of a sweep one program can train: those that differ in plain numbers. Entry point: `plan`.

A program is built inside of the trace, with a config whose swept numbers are arguments: any field may be swept, if the
code that reads it can be traced.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from research import data, experiment, mesh, precision, workdir
from research.errors import UserError

COMPUTES = ("model", "net", "optimizer", "diffusion")  # sections that a program reads in its step, and nobody else
AFTER = ("sampler",)  # read once a run is trained


class Group(NamedTuple):
    """Trials that one program trains: their names and configs, and the fields that it takes as numbers."""

    names: tuple
    configs: tuple
    fields: tuple
    why: str  # what they have in common that other groups have not


def plan(trials):
    """The Groups of trials [(name, config)], as large as can be; each config is one that `sweep.override` made.

    Raises UserError for numbers that no run can have.
    """
    for name, config in trials:
        try:
            experiment.check(config)
        except UserError as error:
            raise UserError(f"trial {name}: {error}") from None
    flat = [workdir.flatten(config.to_dict()) for _, config in trials]
    swept = [name for name in flat[0] if any(fields[name] != flat[0][name] for fields in flat)]
    numbers = [name for name in swept if name == "seed" or _is_number(name, flat)]
    fixed = [name for name in swept if name not in numbers and name.split(".")[0] not in AFTER]
    groups = []
    for found in _by(range(len(trials)), lambda i: [flat[i][name] for name in fixed]):
        values = {name: sorted({flat[i][name] for i in found}) for name in numbers if name != "seed"}
        traced, switches = _traced(trials[found[0]][1], values)

        def apart(i, values=values, traced=traced, switches=switches):
            pairs = [(name, flat[i][name]) for name in (*fixed, *values)]
            return [pair for pair in pairs if pair[0] not in traced or pair in switches]

        for of_group in _by(found, apart):
            why = ", ".join(f"{name}={value}" for name, value in apart(of_group[0]))
            known = [name for name, value in switches if flat[of_group[0]][name] == value]
            fields = tuple(name for name in traced if name not in known)
            groups.append(Group(*zip(*(trials[i] for i in of_group)), fields, why))
    return groups


def describe(groups):
    """Lines that say which trials share a program, and what keeps the groups apart."""
    lines = [f"{sum(len(g.names) for g in groups)} trials in {len(groups)} programs:"]
    for i, group in enumerate(groups):
        numbers = f"; numbers: {', '.join(group.fields)}" if group.fields else ""
        lines.append(f"  program {i + 1}: {len(group.names)} trials{f' of {group.why}' if group.why else ''}{numbers}")
    return "\n".join(lines)


def with_numbers(config, numbers):
    """A config with {dotted field: number}, known or traced, in the place of its own."""
    config = config_dict.ConfigDict(config.to_dict())
    with config.ignore_type():
        config.update_from_flattened_dict(numbers)
    return config


def _is_number(name, flat):
    return name.split(".")[0] in COMPUTES and all(type(fields[name]) is float for fields in flat)


def _traced(config, values):
    """(fields, switches) of {field: its numbers}: those that a compiled step can take as arguments, and the
    (field, number) at which the code leaves something out or adds it, as at no dropout, so that its program differs."""
    dataset = data.load(config.data)
    built = experiment.assemble(config, dataset)
    if built.program.batch is not None and mesh.make(config.mesh).size > 1:
        raise UserError(
            f"mesh.data is {config.mesh.data}; trees of a sweep as one program grow on one device: set it to 1."
        )
    batch = next(batches(built))

    def step(numbers, key):
        program = experiment.assemble(with_numbers(config, numbers), dataset).program
        return program.step(program.init(key), batch)

    def length(name, value):
        return str(jax.make_jaxpr(lambda key: step({name: value}, key))(jax.random.key(0))).count("\n")

    def traces(name):
        try:
            jax.eval_shape(step, {name: jnp.float32(0.5)}, jax.random.key(0))
        except (jax.errors.JAXTypeError, TypeError, UserError):
            return False
        return True

    with precision.x64(built.program):
        fields = tuple(name for name in values if traces(name))
        special = [(name, v) for name in fields for v in values[name] if v in (0, 1)]
        return fields, [pair for pair in special if length(*pair) != length(pair[0], 0.5)]


def batches(built):
    """The batches of a run from its start."""
    if built.program.batch is not None:
        return itertools.repeat(built.program.batch)
    return data.iterate(built.dataset.fitted[0], built.config.data.batch_size, built.config.data.seed)


def _by(items, key):
    """Lists of the items with an equal key, in the order of the first of each."""
    found = {}
    for item in items:
        found.setdefault(repr(key(item)), []).append(item)
    return found.values()
