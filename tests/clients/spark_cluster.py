"""A cluster of Spark on this machine, and the processes in which it runs Python."""

from __future__ import annotations

from pathlib import Path

import pyspark

from services._net import free_port
from services._process import Process


class Cluster:
    """A master and two workers of Spark, each with an address of its own and one executor of one core.

    `local-cluster` would do but for one thing: its executors share an address, and Spark tries no task a
    second time at an address where it is already.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.master = f"spark://127.0.0.1:{free_port()}"
        name, port = self.master.removeprefix("spark://").split(":")
        self._processes = [self._start(folder, name, "master.Master", "--port", port)]
        self._workers = [
            self._start(
                *(folder, host, "worker.Worker", self.master, "--port", "0"),
                *("--cores", "1", "--memory", "1g", "--work-dir", str(folder)),
            )
            for host in ("127.0.0.2", "127.0.0.3")
        ]

    def _start(self, folder: Path, host: str, program: str, *args: str) -> Process:
        home = Path(pyspark.__file__).parent
        # It is loopback alone that it listens on.
        environment = [f"SPARK_LOCAL_IP={host}", f"SPARK_HOME={home}"]
        command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{program}"]
        return Process(
            ["env", *environment, *command, "--host", host, "--webui-port", "0", *args],
            cwd=folder,
            log=folder / f"{host}.log",
        )

    def executors(self) -> list[int]:
        """The processes of the executors, by their workers."""
        return [
            pid
            for worker in self._workers
            for pid, command in _children(worker.pid)
            if b"CoarseGrainedExecutorBackend" in command
        ]

    def stop(self) -> None:
        for process in (*self._workers, *self._processes):
            process.stop()


def workers(executor: int) -> list[int]:
    """The processes in which an executor runs Python."""
    daemons = [pid for pid, command in _children(executor) if b"pyspark.daemon" in command]
    return [pid for daemon in daemons for pid, _ in _children(daemon)]


def _children(parent: int) -> list[tuple[int, bytes]]:
    """The processes that one has started, and their commands."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if int((each / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append((int(each.name), (each / "cmdline").read_bytes()))
        except OSError:
            continue
    return found
