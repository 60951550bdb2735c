"""Coupling flows of other libraries, built as their own documentation does, to hold those of research.models against.

RealNVP of 2-D vectors: flowjax, distrax and normflows. Glow of images: normflows, whose documentation has it whole, and
distrax, which has its parts but no multi-scale flow. A peer is imported where it is used. normflows needs torch and
runs in a process of its own, on the interpreter that the environment variable FLOW_PEERS_PYTHON names.
"""

import importlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from research import benchmarks
from research.benchmarks import elsewhere

PYTHON, CHILD = "FLOW_PEERS_PYTHON", pathlib.Path(__file__).with_name("torch_flows.py")
JAX_PEERS = {"Vectors": ("flowjax", "distrax"), "Images": ("distrax",)}  # flowjax has no flows of images


class Vectors(NamedTuple):
    """Couplings of 2-D vectors, told by a relu MLP of two hidden layers."""

    batch: int = 4096
    couplings: int = 8
    width: int = 128


class Images(NamedTuple):
    """Levels of steps (ActNorm, 1x1 convolution by LU, affine coupling told by convolutions 3x3, 1x1, 3x3) of RGB."""

    batch: int = 16
    side: int = 32
    levels: int = 3
    steps: int = 8
    width: int = 64


class Contestant(NamedTuple):
    """build() -> (seconds to compile the step, step() -> None, sample() -> None); both return when the work is done.

    A step is one update by Adam of the mean negative log-likelihood of one batch; sample draws a batch.
    """

    name: str
    build: Callable


def contestants(sizes):
    """([Contestant of each peer that is here], {peer: its version, or why it is absent}) for Vectors or Images."""
    kind, found, about = type(sizes).__name__, [], {}
    for name in JAX_PEERS[kind]:
        if why := benchmarks.unasked(name):
            about[name] = why
            continue
        try:
            build = getattr(importlib.import_module(f"{__name__}.{name}_flows"), kind.lower())
        except Exception as error:  # a peer that breaks on this jax is a result and no defect
            about[name] = f"absent: {type(error).__name__}: {error}"
        else:
            about[name] = importlib.metadata.version(name)
            found.append(Contestant(name, lambda build=build: build(sizes)))
    if why := benchmarks.unasked("normflows"):
        return found, about | {"normflows": why}
    if not os.environ.get(PYTHON):
        return found, about | {"normflows": f"absent: {PYTHON} names no interpreter with torch and normflows"}
    version, why = elsewhere.version(os.environ[PYTHON], "normflows")
    if why:
        return found, about | {"normflows": why}
    counts = sorted({1, os.cpu_count()})  # the faster counts: on a busy machine threads of torch wait for each other
    torch = [Contestant(f"normflows_{n}_threads", lambda n=n: torch_peer(sizes, n)) for n in counts]
    return [*found, *torch], about | {"normflows": version}


def torch_peer(sizes, threads):
    """normflows in a process that waits while others are measured and ends with this one; RuntimeError if it dies."""
    arguments = type(sizes).__name__, json.dumps(sizes._asdict()), str(threads)
    ask = elsewhere.start(os.environ[PYTHON], CHILD, *arguments)
    return ask("build")["compile_s"], lambda: ask("step"), lambda: ask("sample")
