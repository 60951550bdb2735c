"""One checkpoint sampled in several ways: a row of measures each, kept in the workdir as they come."""

import functools
import json
import sys

import jax
import numpy as np

from research import evaluation, workdir
from research.errors import UserError

COLUMNS = {  # of a row: heading of the table
    "nfe": "nfe",
    "sliced_wasserstein/ours": "sliced W2",
    "sliced_wasserstein/floor": "floor",
    "frechet/ours": "Frechet",
    "frechet/floor": "floor",
    "fid/ours": "FID",
    "classifier/confident": "confident",
    "classifier/agreement": "agreement",
}
FEW = "few_steps"  # the name of the sweep below


def few_steps(config):
    """{label: options of `sample`} by 1 to 16 calls of the net, and adaptive: the rows of a few-step table.

    Raises UserError for a model that takes no steps.
    """
    name = config.get("sampler", {}).get("name")
    if not name:
        raise UserError(f"a {config.model.name} takes no steps, so there is no table of few of them.")
    fixed = "jump" if name == "jump" else "euler"  # averages over spans, where the model knows them
    chosen = {str(steps): {"sampler": fixed, "num_steps": steps} for steps in (1, 2, 4, 8, 16)}
    if config.model.get("time_density") == "steps":  # a student's times are its own
        return chosen
    return chosen | {"adaptive": {"sampler": "diffrax"}}


def file_of(path, name):
    """Where the rows of a sweep of samplers are kept in a workdir."""
    return path / f"sweep_{name}.json"


def row(built, params, path, number, seed=0, brief=False, **options):
    """The evaluation of `number` samples drawn with these options of the model's `sample`, as a dict."""
    condition = evaluation.balanced_labels(built, number)
    x, nfe = evaluation.sample(built, params, number, condition, seed, **options)
    return {"nfe": nfe} | evaluation.evaluate(built, params, x, condition, path, seed, brief)


def rows(built, step, params, path, name, chosen, number, seed=0, say=lambda label, row: None, **options):
    """{label: row} of {label: options}, on top of `options`; those that `path` keeps are not drawn again.

    say(label, row) is called for each as it comes. Raises UserError before the first is drawn where one has a mistake,
    and at the end where some failed.
    """
    identity = {"step": step, "seed": seed, "num_samples": number, "options": options}
    if where := evaluation.features(built):
        identity["features"] = where
    file = file_of(path, name)
    kept, failed = _kept(file, json.loads(json.dumps(identity))), []
    for label, own in chosen.items():
        if label not in kept:
            _trace(built, params, options | own, label)
    for i, (label, own) in enumerate(chosen.items()):
        if label not in kept:
            print(f"{i + 1} of {len(chosen)}: {label}", file=sys.stderr)
            try:
                found = row(built, params, path, number, seed, brief=True, **options | own)
            except UserError as error:  # the others still run; what failed is said again at the end
                print(f"{label}: {error}", file=sys.stderr)
                failed.append(label)
                continue
            kept[label] = workdir.finite(found)
            lines = [{"trial": label} | row for label, row in kept.items()]
            workdir.write_json(file, identity | {"rows": lines, "versions": workdir.versions()})
        say(label, {name: kept[label][name] for name in COLUMNS if name in kept[label]})
    if failed:
        raise UserError(f"{len(failed)} of {len(chosen)} rows failed: {'; '.join(failed)}.")
    return {label: kept[label] for label in chosen}


def _trace(built, params, options, label):
    """Raises UserError for options that the sampler does not take."""
    labels = evaluation.balanced_labels(built, 2)
    given = {"source": built.dataset.source[1].gather(np.arange(2))["x"]} if built.dataset.source else {}
    draw = functools.partial(built.model.sample, **given, **options)
    try:
        jax.eval_shape(lambda params, key: draw(params, key, 2, labels), params, jax.random.key(0))
    except UserError as error:
        raise UserError(f"row {label}: {error}") from None


def _kept(file, identity):
    """{label: row} that an earlier run left. Raises UserError where they are of another checkpoint or number."""
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text())
        kept = {row["trial"]: {name: x for name, x in row.items() if name != "trial"} for row in found["rows"]}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged; remove it.") from None
    for name, value in identity.items():
        if found.get(name) != value:
            raise UserError(f"{file} has rows of {name} {found.get(name)}, not {value}; move it away for new ones.")
    return kept


def table(rows):
    """{label: row} as aligned text, a line each."""
    names = [name for name in COLUMNS if any(name in row for row in rows.values())]
    wide = max([len(label) for label in rows], default=0)
    lines = [" " * wide + "".join(f"{COLUMNS[name]:>11}" for name in names)]
    for label, one in rows.items():
        cells = ["-" if one.get(name) is None else f"{one[name]:.4g}" for name in names]
        lines.append(f"{label:{wide}}" + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)
