"""A real SLURM cluster of one node, in a temporary folder: Debian's slurmctld and slurmd, installed or unpacked."""

import getpass
import glob
import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "libmunge2", "libhwloc15")
CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
{plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=debug Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def unpacked(folder):
    """The top of Debian's packages: / where they are installed, else `folder`, to which they are downloaded once.

    Skips the test where they cannot be had.
    """
    if shutil.which("slurmctld") and shutil.which("slurmd"):
        return pathlib.Path("/")
    if not list(folder.glob("usr/sbin/slurmd*")):
        if shutil.which("apt-get") is None:
            pytest.skip("no slurmctld here, and no apt-get to download it")
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        part.mkdir(parents=True)
        got = subprocess.run(["apt-get", "download", *PACKAGES], cwd=part, capture_output=True, text=True, check=False)
        if got.returncode:
            shutil.rmtree(part)
            pytest.skip(f"no slurmctld here, and apt-get download fails: {got.stderr.strip().splitlines()[-1]}")
        for package in part.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, part], check=True)
        part.rename(folder)
    return folder


def start(top, folder):
    """(the daemons, the environment of who uses them)."""
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    libraries = [str(path) for path in top.glob("usr/lib/*/slurm-wlm")] if top != pathlib.Path("/") else []
    plugins = "".join(f"PluginDir={path}" for path in libraries)
    names = {"host": socket.gethostname(), "user": getpass.getuser(), "folder": folder, "ports": ports}
    (folder / "slurm.conf").write_text(CONF.format(plugins=plugins, **names))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    environ = {"SLURM_CONF": f"{folder}/slurm.conf"}
    if libraries:
        environ["PATH"] = f"{top}/usr/bin:{os.environ['PATH']}"
        environ["LD_LIBRARY_PATH"] = ":".join([*libraries, *(str(pathlib.Path(x).parent) for x in libraries)])
    step, daemons = _program(top, "slurmstepd"), []
    for name, more in (("slurmctld", ["-i"]), ("slurmd", ["-N", "localhost", "-d", step])):
        with (folder / f"{name}.log").open("w") as log:
            argv = [_program(top, name), "-D", *more, "-f", f"{folder}/slurm.conf"]
            daemons.append(subprocess.Popen(argv, env=os.environ | environ, stdout=log, stderr=log))
    end = time.monotonic() + 30
    while (
        "idle"
        not in subprocess.run(
            ["sinfo", "-h", "-o", "%t"], env=os.environ | environ, capture_output=True, text=True, check=False
        ).stdout
    ):
        assert time.monotonic() < end, "".join(path.read_text() for path in folder.glob("*.log"))
        time.sleep(0.2)
    return daemons, environ


def _program(top, name):
    found = [x for pattern in (f"{name}-wlm", name) for x in glob.glob(f"{top}/usr/sbin/{pattern}")]
    return found[0] if found else shutil.which(name)
