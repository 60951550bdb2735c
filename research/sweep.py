"""Sweeps: generators named `sweep_*` in a config file, whose overrides are checked before anything starts.

A trial is a dict {dotted field: value}. Generators may be written with helpers that return lists of trials: `over`,
`seeds`, `log_uniform`, `uniform`, and of other lists `product`, `zip_`, `chain`.

    def sweep_rate():
        return sweep.product(sweep.log_uniform("optimizer.learning_rate", 1e-4, 1e-2, 8), sweep.seeds(3))
"""

import importlib.util
import itertools
import pathlib

import numpy as np
from ml_collections import config_dict

from research import grouping
from research.errors import UserError, nearest
from research.workdir import flatten


def over(field, values):
    """A trial for each value of a field."""
    return [{field: value} for value in values]


def seeds(count, field="seed"):
    """`count` trials with the seeds 0, 1, ..."""
    return over(field, range(count))


def log_uniform(field, low, high, count, key=0):
    """`count` trials whose logarithms are drawn evenly, rounded to three digits; one key, one list."""
    return _rounded(field, np.exp(np.random.default_rng(key).uniform(np.log(low), np.log(high), count)))


def uniform(field, low, high, count, key=0):
    """`count` trials drawn evenly between low and high, rounded to three digits."""
    return _rounded(field, np.random.default_rng(key).uniform(low, high, count))


def product(*sweeps):
    """Every combination of one trial of each list, the last list the fastest. Raises UserError for a field in two."""
    return [_merged(each) for each in itertools.product(*sweeps)]


def zip_(*sweeps):
    """The first trials of all lists together, then the second ones. Raises UserError for lists of unequal length."""
    sweeps = [list(each) for each in sweeps]
    lengths = sorted({len(each) for each in sweeps})
    if len(lengths) > 1:
        raise UserError(f"zip_ takes lists of one length, not of {' and '.join(map(str, lengths))} trials.")
    return [_merged(each) for each in zip(*sweeps)]


def chain(*sweeps):
    """All trials of all lists."""
    return list(itertools.chain(*sweeps))


def _rounded(field, draws):
    return over(field, [float(f"{x:.3g}") for x in draws])


def _merged(trials):
    fields = [field for trial in trials for field in trial]
    twice = [field for field in fields if fields.count(field) > 1]
    if twice:
        raise UserError(f"two parts of a sweep set '{twice[0]}'; leave it out of one.")
    return {field: value for trial in trials for field, value in trial.items()}


def load_module(path):
    """The config file `path` as a module. Raises UserError where there is none."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"there is no config file {path}; the experiments are in configs/.")
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trials(module, name, config):
    """[(trial name, config)] of the generator `sweep_<name>`, every override checked against the locked config.

    Raises UserError for an unknown sweep, field or a value of the wrong type.
    """
    return [(x, override(config, overrides)) for x, overrides in named(module, name).items()]


def named(module, name):
    """{trial name: overrides} of the generator `sweep_<name>`.

    Raises UserError for an unknown one, one without trials, or one that yields a trial twice.
    """
    names = sorted(key.removeprefix("sweep_") for key in vars(module) if key.startswith("sweep_"))
    if name not in names:
        raise UserError(f"there is no sweep '{name}' in {module.__file__}; {nearest(name, names)}")
    sweep = list(getattr(module, f"sweep_{name}")())
    if not sweep:
        raise UserError(f"sweep '{name}' in {module.__file__} yields no trials; let it yield at least one.")
    labels = [label(overrides) for overrides in sweep]
    if len(set(labels)) < len(sweep):  # fields of one name in different sections
        labels = [label(overrides, whole=True) for overrides in sweep]
    twice = [x for x in labels if labels.count(x) > 1]
    if twice:
        raise UserError(f"sweep '{name}' yields {twice[0]} more than once; leave the second out.")
    return dict(zip(labels, sweep))


def plan(config, trials):
    """The grouping.Groups of trials, {name: overrides} or the overrides alone: which of them one program trains."""
    trials = trials if isinstance(trials, dict) else {label(overrides): overrides for overrides in trials}
    return grouping.plan([(name, override(config, overrides)) for name, overrides in trials.items()])


def label(overrides, whole=False):
    """A folder name for a trial: its overrides, with the last part of each field's name, or the whole."""
    parts = [f"{field if whole else field.split('.')[-1]}={_short(value)}" for field, value in overrides.items()]
    return ",".join(parts).replace("/", "_").replace(" ", "")


def _short(value):
    """A small number such as 0.001 as 1e-3; else the value as it is."""
    if not isinstance(value, float) or not 0 < abs(value) < 0.01:
        return value
    digits, power = np.format_float_scientific(value, trim="-").split("e")
    return f"{digits}e{int(power)}"


def override(config, overrides):
    """A copy of `config` with {dotted field: value} set. Raises UserError for an unknown field or a wrong type."""
    result = config_dict.ConfigDict(config.to_dict())  # keeps the type of a field that is None
    for field, value in overrides.items():
        check(config, field, value)
        section, _, name = field.rpartition(".")
        target = result
        for part in section.split(".") if section else ():
            target = target[part]
        target[name] = tuple(value) if isinstance(value, list) else value
    return result.lock()


def check(config, field, value=None):
    """Raises UserError where `config` has no such field, or `value` is of another type than the field's."""
    fields = flatten(config.to_dict())
    if field not in fields:
        close = nearest(field, fields) if field.split(".")[0] in config else nearest(field, [*config, *fields])
        raise UserError(f"the config has no field '{field}'; {close}")
    old = fields[field]
    numbers = isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool)
    sequences = isinstance(old, tuple) and isinstance(value, list)
    if value is not None and old is not None and type(value) is not type(old) and not (numbers or sequences):
        raise UserError(f"config field '{field}' takes a {type(old).__name__}, not {value!r}.")
