"""Prints what the units of an architecture, or of a config's net, can see of the input.

python -m launch.receptive_field --arch=vgg16 --input=224 [--plot=FILE.png]
python -m launch.receptive_field --config=configs/NAME.py[:tiny] [--plot=FILE.png]
"""

import math
import pathlib
import sys

import jax
import jax.numpy as jnp
from absl import flags

from launch import cli
from research import data
from research import receptive_field as rf
from research.atomic import replacing
from research.errors import UserError, nearest
from research.figures import receptive_field as figures
from research.nets import build

CONFIG = cli.config_flag()
ARCH = flags.DEFINE_string("arch", None, f"one of {', '.join(rf.ARCHITECTURES)}")
INPUT = flags.DEFINE_integer("input", None, "pixels of the input of --arch; those of the published row by default")
PLOT = flags.DEFINE_string("plot", None, "also draw it to this file: .png, .pdf or .svg")


def main():
    if (ARCH.value is None) == (CONFIG.value is None):
        raise UserError("give either --arch=NAME or --config=configs/NAME.py, and not both; see --help.")
    if PLOT.value:
        _check_plot(cli.path(PLOT.value))
    if ARCH.value is None:
        if INPUT.value is not None:
            raise UserError("--input goes with --arch: a config's data tell the size of its input.")
        of_config(CONFIG.value)
    else:
        of_architecture(ARCH.value, INPUT.value)


def of_architecture(name, pixels):
    if name not in rf.ARCHITECTURES:
        raise UserError(f"there is no architecture '{name}'; {nearest(name, rf.ARCHITECTURES)}")
    architecture = rf.ARCHITECTURES[name]
    size = architecture.input_size if pixels is None else cli.positive(pixels, "input")
    rows = architecture.table(size)
    print(rf.format_table(rows))
    print("jump: pixels from unit to unit; field: pixels a unit sees; start: the centre of the first unit's field.")
    print(_sentence(architecture.receptive_field(size)))
    if PLOT.value is not None:
        apply = architecture.function()
        field = rf.effective(lambda _, x: apply(x), None, (1, *(size,) * architecture.dims, 1))
        _plot(figures.field_points(field, rows), f"{name}, positive random weights, {size} pixels")


def of_config(config):
    """The net of a config on examples of its data."""
    if "net" not in config:
        raise UserError("this config has no net; give one whose config.net names a net.")
    shape, num_classes = _data(config.data)
    if len(shape) < 2:
        raise UserError(f"this config's examples are vectors of shape {tuple(shape)}: they have no space to look at.")
    net, x, t = build.make(config.net, num_classes), (1, *shape), jnp.zeros(1)

    def fresh(x):  # weights are made inside of the trace: none of them takes up memory
        return net.init_with_output(jax.random.key(0), x, t)[0]

    whole, without = (rf.of(fresh, x, statistics=statistics) for statistics in (True, False))
    print(f"with statistics over space: {_sentence(whole)}")
    print(f"without statistics over space: {_sentence(without)}")
    if without.is_global:
        print(f"The {config.net.name} is global: attention or a dense layer shows each unit all of the input.")
    elif whole.is_global:
        print(f"The {config.net.name} is global by its norms' statistics over space alone.")
    if PLOT.value is not None:
        print("compiling the net's gradient ...", file=sys.stderr)
        params = jax.jit(net.init)(jax.random.key(0), jnp.zeros(x), t)
        field = rf.effective(lambda p, x: net.apply(p, x, t), _moved(params), x, samples=4)
        _plot(figures.field_points(field), f"{config.net.name}, fresh weights moved off zero")


def _data(section):
    """(shape, num_classes) of the examples; the data are loaded where the config does not know them."""
    if section.name == "synthetic":
        return tuple(section.shape), section.num_classes
    dataset = data.load(section)
    return tuple(dataset.shape), dataset.num_classes


def _moved(params):
    """Weights plus noise a tenth as large as 1: layers that start at zero pass nothing on."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(tree, [p + 0.1 * jax.random.normal(k, p.shape, p.dtype) for k, p in zip(keys, leaves)])


def _sentence(field):
    if field.size == math.inf:
        return "size inf: each unit sees all of the input"
    size, stride, padding = (
        "x".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in (field.size, field.stride, field.padding)
    )
    return f"size {size}, stride {stride}, padding {padding}"


def _check_plot(path):
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot={path} must end in .png, .pdf or .svg.")
    if not path.parent.is_dir():
        raise UserError(f"--plot={path}: there is no folder {path.parent}; make it first.")
    figures.draw_field({"layers": [], "gradient": [1.0], "theory": [[0, 0]]})  # a missing matplotlib is said now


def _plot(points, title):
    path = pathlib.Path(cli.path(PLOT.value))
    figure = figures.draw_field(points, title)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=150)
    print(f"drawn to {path}")


if __name__ == "__main__":
    cli.run(main)
