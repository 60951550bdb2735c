"""What an output unit can see of the input: in closed form, by a function's jaxpr, and by gradient."""

from research.receptive_field.architectures import ARCHITECTURES, Architecture
from research.receptive_field.arithmetic import bottom_up, top_down
from research.receptive_field.gradients import EffectiveField, effective
from research.receptive_field.jaxpr import ReceptiveField, of
from research.receptive_field.layers import Layer, Parallel, parallel, pool
from research.receptive_field.tables import format_table, receptive_field, table

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "EffectiveField",
    "Layer",
    "Parallel",
    "ReceptiveField",
    "bottom_up",
    "effective",
    "format_table",
    "of",
    "parallel",
    "pool",
    "receptive_field",
    "table",
    "top_down",
]
