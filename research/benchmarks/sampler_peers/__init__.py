"""DDIM of Hugging Face's diffusers, in a process of its own on the interpreter that SAMPLER_PEERS_PYTHON names."""

import atexit
import json
import os
import pathlib
import subprocess

PYTHON, CHILD = "SAMPLER_PEERS_PYTHON", pathlib.Path(__file__).with_name("torch_ddim.py")


def contestants(sizes):
    """({name: ask} of diffusers at 1 thread and at all, its version or why it is absent).

    ask("build") says of what size its net is, ask("net") calls it sizes["steps"] times, ask("sample") draws a batch.
    """
    if not os.environ.get(PYTHON):
        return {}, f"absent: {PYTHON} names no interpreter with torch and diffusers"
    code = "import diffusers, torch; print(diffusers.__version__, 'on torch', torch.__version__)"
    asked = subprocess.run([os.environ[PYTHON], "-W", "ignore", "-c", code], capture_output=True, text=True)
    if asked.returncode:
        return {}, f"absent: {(asked.stderr.strip() or f'status {asked.returncode}').splitlines()[-1]}"
    return {f"{n}_threads": child(sizes, n) for n in sorted({1, os.cpu_count()})}, asked.stdout.strip()


def child(sizes, threads):
    """ask(order) -> dict, answered by a process that waits between orders; RuntimeError if it dies."""
    command = [os.environ[PYTHON], "-W", "ignore", str(CHILD), json.dumps(sizes), str(threads)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    atexit.register(process.communicate)  # closes its input, so that it ends

    def ask(order):
        process.stdin.write(order + "\n")
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of diffusers ended with status {process.wait()}")
        return json.loads(answer)

    return ask
