"""What is kept of an item: OUT/SCALE/NAME.json with its points, rows and origin, beside the pictures drawn from it."""

import ast
import hashlib
import json
import math
import pathlib

import research
from research import workdir
from research.atomic import replacing
from research.errors import UserError

ROOT = pathlib.Path(research.__file__).parent
FIELDS = {"points", "rows", "origin", "configs"}
PICTURES = {"png": {"dpi": 110}, "pdf": {}}


def write(folder, name, record):
    """Keeps an item's record in a folder of its scale."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{name}.json") as file:
        file.write(json.dumps(plain(record), separators=(",", ":")).encode() + b"\n")


def read(folder, name):
    """An item's record, or None where there is none. Raises UserError for a damaged one."""
    file = folder / f"{name}.json"
    try:
        record = json.loads(file.read_text())
        if not (isinstance(record, dict) and (record.keys() >= FIELDS or record.keys() == {"why"})):
            raise ValueError
        return record
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise UserError(f"{file} is damaged; remove it, and launch.figures makes it anew.") from None


def plain(value):
    """A value for JSON: arrays as lists, numbers that are not finite as None."""
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_pictures(folder, name, figure):
    """Writes a matplotlib Figure as NAME.png and NAME.pdf."""
    for kind, options in PICTURES.items():
        with replacing(folder / f"{name}.{kind}") as file:
            figure.savefig(file, format=kind, **options)


def origin(module, configs, seconds):
    """Where numbers come from: hashes of code and configs, the commit, hardware, versions, wall seconds."""
    return workdir.versions() | {"code": code(module, configs), "config": digest(configs), "seconds": round(seconds)}


def is_stale(record, module, configs):
    """Whether the code that a record's numbers come from, or a config of its runs, has changed since."""
    made = record["origin"]
    return made["code"] != code(module, configs) or made["config"] != digest(configs)


def digest(configs):
    """A hash of {name: resolved config as a dict} but for what a restart may change."""

    def fixed(config):
        flat = workdir.flatten(config)
        free = [name for name in workdir.FREE if name != "reflow"]
        return {k: v for k, v in flat.items() if not any(k == f or k.startswith(f + ".") for f in free)}

    text = json.dumps({name: fixed(config) for name, config in configs.items()}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code(module, configs):
    """A hash of the text of an item, of the models and samplers of its runs, and of all of research/ they import."""
    start = {module.__name__} | {f"research.models.{c['model']['name']}" for c in configs.values()}
    drawn = [c["sampler"]["name"] for c in configs.values() if "name" in c.get("sampler", {})]  # a flow's has none
    start |= {f"research.samplers.{name}" for name in drawn}
    found = hashlib.sha256()
    for file in sorted(reached(start)):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def reached(names):
    """The files of research/ that modules of these dotted names import, one leading to another."""
    waiting, found = list(names), set()
    while waiting:
        file = _file(waiting.pop())
        if file is None or file in found:
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _file(name):
    """The file of a module of research/, or None."""
    top, *parts = name.split(".")
    path = ROOT.joinpath(*parts)
    candidates = (path.with_suffix(".py"), path / "__init__.py") if top == "research" else ()
    return next((file for file in candidates if file.exists()), None)
