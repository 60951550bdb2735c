"""Sizes, strides and paddings of published architectures, and how the effective field grows with depth."""

from research import receptive_field
from research.figures import receptive_field as effective
from research.reproduce import verdict

TITLE = "Receptive fields"
SOURCE = "Araujo, Norris & Sim 2019, Distill, open-source table; Luo et al. 2016, figure 1"
MINUTES, FULL = 0.5, None
PUBLISHED = {  # name: pixels of the receptive field, effective stride, effective padding
    "alexnet": (195, 32, 64),
    "vgg16": (212, 32, 90),
    "inception_v3": (1311, 32, 618),
    "inception_resnet_v2": (3039, 32, 1482),
    "mobilenet_v1": (315, 32, 126),
    "resnet50": (483, 32, 239),
    "resnet101": (1027,),  # the rest is not in the table that was read
    "resnet152": (1507,),
    "resnet200": (1763,),
}


def runs(scale):
    """Nothing is trained."""
    return {}


def load(workdirs, scale):
    """{"fields": {name: [size, stride, padding]}, "effective": of figures.receptive_field}."""
    fields = {}
    for name in PUBLISHED:
        architecture = receptive_field.ARCHITECTURES[name]
        found = architecture.receptive_field(architecture.input_size)
        fields[name] = [found.size, found.stride, found.padding]
    return {"fields": fields, "effective": effective.points()}


def rows(points):
    """Every published number is to be met exactly; the effective field shrinks as 1 / sqrt(depth)."""
    names = ("size", "stride", "padding")
    found = [
        verdict.number(f"{name}, {what} (pixels)", paper, ours, 0)
        for name, published in PUBLISHED.items()
        for what, paper, ours in zip(names, published, points["fields"][name])
    ]
    slope = points["effective"]["slopes"]["uniform weights"]
    claim = "effective over theoretical size falls as depth to the power -0.5"
    return [*found, verdict.trend("power of depth, uniform weights", claim, slope, abs(slope + 0.5) < 0.05)]


def draw(points):
    """The curves of effective over theoretical size."""
    return effective.draw(points["effective"])
