"""Compiles an experiment's training step for TPUs that are not here: what it needs, sends, and how fast it can be.

python -m launch.aot --config=configs/rectified_flow_imagenet64_dit.py --topology=v5e:16x16
python -m launch.aot --config=configs/glow_imagenet64.py --topology=v5e:16x16 --num_slices=4 --mesh=fsdp=8 --format=json
python -m launch.aot --all

It takes the [tpu] extra and no TPU: devices stay the CPU's, and no data are read. --all compiles every config for six
topologies, goes on where it was stopped, and writes docs/aot.json and docs/aot.md.
"""

import os

os.environ |= {  # before jax is imported: libtpu must not look for a TPU, nor lock one
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

import importlib
import json
import pathlib
import pickle
import pkgutil
import sys

import jax
from absl import flags
from jax.experimental import serialize_executable

import configs
from launch import cli
from research.aot import page, report, step, table, topologies
from research.atomic import replacing
from research.errors import UserError

CONFIG = cli.config_flag()
TOPOLOGY = flags.DEFINE_string("topology", None, "KIND:SHAPE such as v5e:16x16, or a name such as v5p-512")
NUM_SLICES = flags.DEFINE_integer("num_slices", 1, "slices of that topology, joined by the data-center network")
MESH = flags.DEFINE_list("mesh", [], "data=N,fsdp=N in the place of the config's; data=-1 takes all that fsdp leaves")
WHAT = flags.DEFINE_enum("what", None, ["train", "sample", "boosting"], "what to compile; training by default")
SAVE = flags.DEFINE_string("save", None, "file for the executable, for jax.experimental.serialize_executable")
FORMAT = flags.DEFINE_enum("format", "text", ["text", "json"], "of what is printed")
ALL = flags.DEFINE_bool("all", False, "every config on six topologies, into docs/")

NAMES = [module.name for module in pkgutil.iter_modules(configs.__path__) if module.name != "base"]
PODS = (
    "rectified_flow_imagenet64_dit",
    *(f"{name}_imagenet64" for name in ("glow", "jet", "ddpm")),
    "gbdt_oblivious_1b_rows",
)


def main():
    jax.config.update("jax_enable_compilation_cache", False)  # its entries are not for devices that are not there
    jax.config.update("jax_platforms", "cpu")
    if ALL.value:
        return write_all(pathlib.Path("docs"))
    for name, flag in (("config", CONFIG), ("topology", TOPOLOGY)):
        if flag.value is None:
            raise UserError(f"--{name} is missing; see --help.")
    topology = topologies.describe(TOPOLOGY.value, NUM_SLICES.value)
    lowered = step.lower(CONFIG.value, topology, WHAT.value, **sizes(MESH.value))
    try:
        found, executable = report.make(CONFIG.value, topology, lowered)
    except report.TooLarge as error:
        show(error.report)
        raise
    if SAVE.value:
        path = cli.path(SAVE.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            pickle.dump(serialize_executable.serialize(executable), file)
    show(found)


def write_all(folder):
    """Compiles every config on every topology of SOLD, those for pods first, and writes aot.json and aot.md, the second
    also where it is stopped by Ctrl-C."""
    trees = [name for name in NAMES if get_config(name).model.get("num_trees")]
    nets = [name for name in NAMES if name not in (*PODS, *trees)]
    order = [*PODS, *nets, *(name for name in trees if name not in PODS)]
    folder.mkdir(exist_ok=True)
    try:
        table.fill(folder / "aot.json", {name: get_config(name) for name in order})
    finally:
        cells = table.read(folder / "aot.json")
        with replacing(folder / "aot.md") as file:
            file.write(page.page(cells, sorted(order), PODS).encode())
        print(f"{folder / 'aot.md'}: {len(cells)} programs")


def get_config(name):
    """The experiment of a name, in its full size."""
    return importlib.import_module(f"configs.{name}").get_config()


def sizes(parts):
    """{"data": N, "fsdp": N}, those that are given. Raises UserError."""
    found = {}
    for part in parts:
        name, _, size = part.partition("=")
        if name not in ("data", "fsdp") or (part != "data=-1" and not size.strip("0").isdecimal()):
            raise UserError(f"--mesh={','.join(parts)} should be such as data=64,fsdp=4: '{part}' is not.")
        found[name] = int(size)
    return found


def show(found):
    """Prints a report."""
    print(json.dumps(found) if FORMAT.value == "json" else report.text(found))
    sys.stdout.flush()


if __name__ == "__main__":
    cli.run(main)
