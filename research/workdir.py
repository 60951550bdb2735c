"""A run's folder: which files it has, and what config it belongs to."""

import contextlib
import datetime
import json
import pathlib
import platform
import subprocess
import time

import jax
import numpy as np

from research.atomic import replacing
from research.errors import UserError

# What a restart may change: where it runs and how it is laid out, not what it computes.
FREE = ("mesh", "data.dir", "data.pairs", "model.unroll", "model.remat", "reflow")
FREE += ("net.dit.unroll", "net.dit.attention", "metrics")


def write_json(path, value):
    """Writes a dict as indented JSON, whole or not at all; see `finite`."""
    with replacing(path) as file:
        file.write((json.dumps(finite(value), indent=2, sort_keys=True) + "\n").encode())


def finite(value):
    """A dict whose numbers that are not finite are None, which JSON writes as null: so every reader takes it."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in value.items()}


def flatten(config, prefix=""):
    """{dotted field: value} of a nested dict."""
    items = {}
    for name, value in config.items():
        inner = isinstance(value, dict) and value
        items |= flatten(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return items


def open_for(path, config):
    """The folder of a run with this config, made if it is new; config.json and versions.json are in it.

    Raises UserError where the folder holds a run of another config (and names the fields), or cannot be written.
    """
    path, wanted = pathlib.Path(path), json.loads(config.to_json())
    with _writing(path):
        path.mkdir(parents=True, exist_ok=True)
        if (path / "config.json").exists():
            _check_same(path, load_config(path), wanted)
        if jax.process_index() == 0 and not is_finished(path):  # a finished run keeps the versions that made it
            write_json(path / "config.json", wanted)
            write_json(path / "versions.json", versions())
        _wait_for(path / "config.json")
    return path


def freeze(path, config):
    """Writes frozen.json, the config of a run that is to be launched, into its folder; edits no longer change it.

    Raises UserError where the folder belongs to another config.
    """
    wanted = json.loads(config.to_json())
    if (path / "frozen.json").exists():
        _check_same(path, json.loads((path / "frozen.json").read_text()), wanted)
    with _writing(path):
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "frozen.json", wanted)


def is_finished(path):
    """True for a run that was trained, sampled and evaluated."""
    return (path / "evaluation.json").exists()


def load_evaluation(path):
    """The evaluation of a finished run, or None."""
    return json.loads((path / "evaluation.json").read_text()) if is_finished(path) else None


def load_config(path):
    """The config.json of a workdir as a dict. Raises UserError where there is none or it is damaged."""
    file = pathlib.Path(path) / "config.json"
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} is not a workdir: it has no config.json; give the --workdir of a run.") from None
    except ValueError:
        raise UserError(f"{file} is not JSON any more; restore it, or start again in a new workdir.") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}.") from error


@contextlib.contextmanager
def _writing(path):
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write to workdir {path}: {error.strerror}; choose another --workdir.") from error


def _wait_for(file, seconds=30):
    """Waits until this process sees what the first has written. Raises UserError where it does not."""
    end = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > end:
            raise UserError(
                f"process {jax.process_index()} does not see {file}, which process 0 wrote: the workdir must be in a "
                "folder that all hosts share."
            )
        time.sleep(0.5)


def _check_same(path, old, new):
    old, new = flatten(old), flatten(new)
    fixed = [name for name in sorted(old | new) if not any(name == f or name.startswith(f + ".") for f in FREE)]
    changed = [name for name in fixed if old.get(name) != new.get(name)]
    if changed:
        what = "; ".join(f"{name} is {old.get(name)!r} there, {new.get(name)!r} here" for name in changed[:3])
        more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
        raise UserError(f"{path} belongs to a run of another config: {what}{more}; choose another --workdir.")


def versions():
    """What this process runs on: git hash, package versions, devices, the time in UTC."""
    return {
        "git": git_hash(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def git_hash():
    """The commit of this code with a + where files differ from it, or None outside of a checkout or without git.

    Code that was packed for a launch has it in a file.
    """
    packed = pathlib.Path(__file__).parents[1] / "git_hash"
    if packed.exists():
        return packed.read_text() or None

    def git(*arguments):
        command = ["git", "-C", str(pathlib.Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        return head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "") if head else None
    except OSError:
        return None


def export_params(path, params):
    """Writes a pytree of arrays as one npz whose names are the paths, joined by '/'."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays = {jax.tree_util.keystr(name, simple=True, separator="/"): np.asarray(x) for name, x in leaves}
    with replacing(path) as file:
        np.savez(file, **arrays)
