"""Peers that need an environment of their own: asked on another interpreter, in a process that waits between orders."""

import atexit
import json
import subprocess


def version(python, package):
    """(version of a package beside torch's, None), or (None, why it is absent)."""
    code = f"import {package}, torch; from importlib.metadata import version; "
    code += f"print(version('{package}'), 'on torch', torch.__version__)"
    asked = subprocess.run([python, "-W", "ignore", "-c", code], capture_output=True, text=True)
    if asked.returncode:
        return None, f"absent: {(asked.stderr.strip() or f'status {asked.returncode}').splitlines()[-1]}"
    return asked.stdout.strip(), None


def start(python, script, *arguments):
    """ask(order) -> the script's answer, a line of JSON; it ends with this process. RuntimeError if it dies before."""
    command = [python, "-W", "ignore", str(script), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    atexit.register(process.communicate)  # closes its input, so that it ends

    def ask(order):
        process.stdin.write(order + "\n")
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {script.name} ended with status {process.wait()}")
        return json.loads(answer)

    return ask
