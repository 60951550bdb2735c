"""DDIM of Hugging Face's diffusers, in a process of its own on the interpreter that SAMPLER_PEERS_PYTHON names."""

import json
import os
import pathlib

from research import benchmarks
from research.benchmarks import elsewhere

PYTHON, CHILD = "SAMPLER_PEERS_PYTHON", pathlib.Path(__file__).with_name("torch_ddim.py")


def contestants(sizes):
    """({name: ask} of diffusers at 1 thread and at all, its version or why it is absent).

    ask("build") says of what size its net is, ask("net") calls it sizes["steps"] times, ask("sample") draws a batch.
    """
    if why := benchmarks.unasked("diffusers"):
        return {}, why
    if not os.environ.get(PYTHON):
        return {}, f"absent: {PYTHON} names no interpreter with torch and diffusers"
    found, why = elsewhere.version(os.environ[PYTHON], "diffusers")
    if why:
        return {}, why
    return {f"{n}_threads": child(sizes, n) for n in sorted({1, os.cpu_count()})}, found


def child(sizes, threads):
    """ask(order) -> dict of diffusers at that many threads; RuntimeError if its process dies."""
    return elsewhere.start(os.environ[PYTHON], CHILD, json.dumps(sizes), str(threads))
