"""Checkpoints of a state and its data iterator, written in the background by orbax, checked when they are read."""

import contextlib
import pathlib

import grain
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from research.errors import UserError, nearest

FORMAT = 1  # raised when a new layout cannot read the old one


@jax.jit
def fingerprint(state):
    """{path: 32-bit checksum} of each array: the wrapped sum of its bits, the same on any number of devices."""

    def bits(x):
        unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
        x = x.astype(jnp.uint8) if x.dtype == bool else jax.lax.bitcast_convert_type(x, unsigned)
        return jnp.sum(x.astype(jnp.uint32), dtype=jnp.uint32)

    return {name: bits(x) for name, x in _named(state)}


@contextlib.contextmanager
def open_manager(workdir, *, keep_last=2, keep_best="", read_only=False):
    """An orbax manager of workdir/checkpoints that keeps the newest, and the one with the lowest `keep_best` metric."""
    keep = [policies.LatestN(keep_last)]
    if keep_best:
        best = policies.BestN(
            get_metric_fn=lambda m: m[keep_best], reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        keep.append(best)
    together = {}
    if read_only and jax.process_count() > 1:  # a reader waits for no other process
        i = jax.process_index()
        together = {"primary_host": i, "active_processes": {i}, "barrier_sync_key_prefix": f"reader{i}"}
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(keep),
        read_only=read_only,
        create=not read_only,
        cleanup_tmp_directories=not read_only,
        multiprocessing_options=ocp.options.MultiprocessingOptions(**together),
    )
    manager = ocp.CheckpointManager((pathlib.Path(workdir) / "checkpoints").absolute(), options=options)
    try:
        yield manager
    except BaseException:
        with contextlib.suppress(Exception):  # the error under way says more than that of a failed write
            manager.close()
        raise
    with _writing(manager, "a checkpoint"):
        manager.close()


def check_best(keep_best, metrics):
    """Raises UserError where `metrics`, those of an evaluation, have no `keep_best`."""
    if keep_best and keep_best not in metrics:
        raise UserError(f"no evaluation has train.keep_best='{keep_best}'; {nearest(keep_best, metrics)}")


def save(manager, step, state, data=None, metrics=None):
    """Starts writing a checkpoint in the background; the state may be donated as soon as this returns.

    Raises UserError where this or the write before it failed.
    """
    shapes = {name: list(x.shape) for name, x in _named(state)}
    meta = {"format": FORMAT, "shapes": shapes, "checksums": _checksums(state)}
    items = {"state": ocp.args.StandardSave({"state": state}), "meta": ocp.args.JsonSave(meta)}
    if data is not None:
        items["data"] = grain.checkpoint.CheckpointSave(data)
    with _writing(manager, f"checkpoint {step}"):
        manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)


def wait(manager):
    """Waits for the write under way. Raises UserError where it failed."""
    with _writing(manager, "a checkpoint"):
        manager.wait_until_finished()


def restore(manager, abstract, data=None, say=print):
    """(step, state) of the newest checkpoint that is whole, on the shardings of `abstract`; (0, None) without any.

    A truncated or altered checkpoint is moved aside with a line that says so. `data` is set to where it was.
    Raises UserError where all are damaged, or where the code and the checkpoint differ.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    for step in steps:
        try:
            return step, _restore_step(manager, step, abstract, data)
        except UserError:
            raise
        except Exception as error:  # orbax, tensorstore and JSON each raise their own for a damaged file
            reason = str(error).strip().split("\n")[0][:120]
            say(f"checkpoint {step} is damaged ({reason}); trying the one before.")
    if steps:
        raise UserError(f"every checkpoint in {manager.directory} is damaged ({steps}); start again in a new workdir.")
    return 0, None


def discard_after(manager, step):
    """Moves checkpoints newer than `step` (the damaged ones) out of the way, to be looked at, not read."""
    newer = [s for s in manager.all_steps() if s > step]
    for each in newer if jax.process_index() == 0 else []:
        aside = pathlib.Path(manager.directory).parent / "damaged_checkpoints"
        aside.mkdir(exist_ok=True)
        (pathlib.Path(manager.directory) / str(each)).rename(aside / f"{each}-{len(list(aside.iterdir()))}")
    if newer:
        multihost_utils.sync_global_devices("discard")
    manager.reload()


def _restore_step(manager, step, abstract, data):
    meta = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
    if meta["format"] != FORMAT:
        raise UserError(
            f"checkpoint {step} in {manager.directory} has format {meta['format']}, this code reads {FORMAT}; "
            "use the git hash in the workdir's versions.json."
        )
    here = {name: list(x.shape) for name, x in _named(abstract)}
    for name in sorted(here | meta["shapes"]):
        if here.get(name) != meta["shapes"].get(name):
            there = meta["shapes"].get(name)
            raise UserError(
                f"checkpoint {step} in {manager.directory} does not fit this code: {name} is {there} there and "
                f"{here.get(name)} here; use the git hash in the workdir's versions.json."
            )
    items = {"state": ocp.args.StandardRestore({"state": abstract})}
    if data is not None:
        items["data"] = grain.checkpoint.CheckpointRestore(data)
    state = manager.restore(step, args=ocp.args.Composite(**items))["state"]["state"]
    if _checksums(state) != meta["checksums"]:
        raise ValueError("its contents do not match their checksum")
    return state


def _named(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), x) for path, x in leaves]


def _checksums(state):
    return {name: int(x) for name, x in jax.device_get(fingerprint(state)).items()}


@contextlib.contextmanager
def _writing(manager, what):
    """Turns a failure to write (full disk, lost permission) into one sentence that names the last whole checkpoint."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and "writ" not in str(error).lower():  # tensorstore raises ValueError
            raise
        last = max(manager.all_steps(read=True), default=None)
        reason = str(error).strip().split("\n")[0][:200]
        whole = f"checkpoint {last} is whole" if last is not None else "no checkpoint was written before"
        raise UserError(
            f"cannot write {what} to {manager.directory}: {reason}; {whole}: free space, then run again."
        ) from error
