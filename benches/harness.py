"""Rounds in turns with a peer, and the servers that loads go to."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from report import Figure

from datagen.benchmark import Comparison, Side, Way, timed
from datagen.types import catalogue
from services._errors import ServiceError
from services.kafka import delete_topics

if TYPE_CHECKING:
    from datagen import Plan
    from services.kafka import KafkaBroker
    from services.postgres import PostgresServer
    from services.registry import SchemaRegistry

TOPICS = tuple(stream.name for stream in catalogue().streams)

#: Everything that this run of the benchmarks has found.
FOUND: list[Comparison | Figure] = []


class Sizes(NamedTuple):
    """How much is run: the options of the benchmarks."""

    plan: Plan
    peer_customers: int
    rounds: int

    @property
    def classic_customers(self) -> int:
        """A quarter of the other peers' is steady enough for the slowest."""
        return max(self.peer_customers // 4, 1)


class Contest:
    """Runs ours and its peers in turns, so that all meet the machine in the same state."""

    def __init__(self, benchmark: Any) -> None:
        self._benchmark = benchmark

    def __call__(
        self, title: str, ours: Way, *peers: Way, rounds: int = 3, warm_up: int = 0
    ) -> Comparison:
        """``warm_up`` rounds of each do not count: servers are slow until they have worked."""
        sides = {way.name: Side(way.name) for way in (ours, *peers)}

        def others() -> None:
            for way in peers:
                way.prepare()
                sides[way.name].rounds.append(timed(way))
            ours.prepare()

        def us() -> None:
            sides[ours.name].rounds.append(timed(ours))

        for way in (ours, *peers) * warm_up:
            way.prepare()
            way.run()
        self._benchmark.pedantic(us, setup=others, rounds=rounds)
        result = Comparison(title, sides[ours.name], [sides[way.name] for way in peers])
        self._benchmark.extra_info["rows/s"] = round(result.ours.rate)
        for peer in result.peers:
            self._benchmark.extra_info[f"rows/s of {peer.name}"] = round(peer.rate)
            self._benchmark.extra_info[f"times {peer.name}"] = result.ratio(peer)
        FOUND.append(result)
        return result


class Stack:
    """The three servers, emptied between rounds, and the command that loads into them."""

    def __init__(
        self, postgres: PostgresServer, kafka: KafkaBroker, registry: SchemaRegistry
    ) -> None:
        self._postgres = postgres
        self._database = ""
        self._logs = kafka.directory / "data"
        self.bootstrap = kafka.bootstrap
        self.registry_url = registry.url
        self.dsn = ""

    def empty(self) -> None:
        """No topics, none of their files, and a database without tables."""
        delete_topics(self.bootstrap, TOPICS)
        end = time.monotonic() + 60
        while left := [one.name for one in self._logs.glob("banking.*")]:
            if time.monotonic() >= end:
                raise ServiceError(f"the broker keeps {', '.join(left)}")
            time.sleep(0.05)
        self.drop()
        self._database = f"datagen_bench_{secrets.token_hex(6)}"
        self.dsn = self._postgres.database(self._database)

    def drop(self) -> None:
        if self._database:
            self._postgres.drop(self._database)
            self._database = ""

    def command(self, customers: int, *options: str, job: str = "load") -> list[str]:
        where = ["--postgres-url", self.dsn, "--kafka-bootstrap", self.bootstrap]
        where += ["--schema-registry", self.registry_url]
        program = str(Path(sys.executable).with_name("datagen"))
        return [program, job, "--customers", str(customers), *where, *options]

    def load(self, customers: int, *options: str, job: str = "load") -> None:
        """The command as a user types it, from the start of its process to the end."""
        command = self.command(customers, *options, job=job)
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"datagen {job} failed:\n{result.stdout}{result.stderr}")
