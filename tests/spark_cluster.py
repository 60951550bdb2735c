"""A real Spark cluster on loopback: a standalone master and workers, each a process that can be killed."""

import os
import pathlib
import signal
import subprocess
import time

from tests.hdfs_cluster import free_ports


class Cluster:
    """A master and `count` workers of one core each. address: spark://host:port."""

    def __init__(self, folder, count=2):
        import pyspark

        self.folder, self.home = folder, pathlib.Path(pyspark.__file__).parent
        port, web = free_ports(2)
        self.address, self.processes = f"spark://127.0.0.1:{port}", {}
        options = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]
        self.processes["master"] = self._start("master", "master.Master", options)
        for i in range(count):
            options = ["--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", str(free_ports(1)[0])]
            self.processes[i] = self._start(
                f"worker{i}", "worker.Worker", [*options, "--work-dir", str(folder / f"work{i}"), self.address]
            )
        self.wait_for(count)

    def wait_for(self, count, seconds=60):
        """Waits until the master knows of so many workers."""
        end = time.monotonic() + seconds
        while (self.folder / "master.log").read_text().count("Registering worker") < count:
            assert time.monotonic() < end, "".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
            time.sleep(0.2)

    def has_executors(self):
        """Whether a worker has started one, of the application that runs now."""
        return "Launched executor" in (self.folder / "master.log").read_text() or any(self.folder.glob("work*/app-*/*"))

    def kill(self, i):
        """SIGKILLs worker i and what it has started."""
        os.killpg(self.processes[i].pid, signal.SIGKILL)
        self.processes[i].wait()

    def stop(self):
        for process in self.processes.values():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()

    def _start(self, name, kind, options):
        argv = [str(self.home / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", *options]
        environ = os.environ | {"SPARK_HOME": str(self.home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1"}
        with (self.folder / f"{name}.log").open("w") as log:
            return subprocess.Popen(
                argv, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
