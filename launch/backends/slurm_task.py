"""What a task of a SLURM job does: it runs a command line in the workdir's log, and ends as that ended.

It is loaded in the job without the libraries that the command line itself takes seconds to load.
"""

import os
import signal
import subprocess
import sys


def run(arguments, workdir):
    """Runs the interpreter with `arguments`; ends the process with its status, 128 + the number of a signal."""
    index = int(os.environ.get("SLURM_PROCID", 0))
    suffix = f"_{index}" if index else ""
    # SLURM signals the command line too; here it must not end what waits for it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with open(f"{workdir}/stdout{suffix}.log", "ab") as out, open(f"{workdir}/stderr{suffix}.log", "ab") as err:
        status = subprocess.run([sys.executable, *arguments], stdout=out, stderr=err, check=False).returncode
    if status:
        sys.exit(status if status > 0 else 128 - status)
