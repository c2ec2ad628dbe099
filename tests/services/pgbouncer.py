"""PgBouncer, the connection pooler, as Debian packages it, in front of a PostgreSQL server."""

import os
import shutil
import signal
from collections.abc import Mapping
from urllib.parse import urlsplit

import psycopg

from ._errors import ServiceUnavailableError
from ._net import LOOPBACK, free_port
from ._process import Process
from ._service import Service


class PgBouncer(Service):
    """A pooler for all databases of the server at `dsn`, for the role of that alone.

    `settings` are those of the section [pgbouncer] of pgbouncer.ini, for instance
    {"pool_mode": "transaction"}.
    """

    name = "pgbouncer"

    def __init__(self, dsn: str, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(free_port())
        self._server = urlsplit(dsn)
        self._settings = settings or {}
        self._ini = self.directory / "pgbouncer.ini"
        # PgBouncer refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None

    def dsn(self, to: str) -> str:
        """The DSN of the server's database that `to` names, by way of the pooler."""
        place = urlsplit(to)
        login = place.netloc.rpartition("@")[0]
        return place._replace(netloc=f"{login}@{LOOPBACK}:{self.ports[0]}").geturl()

    def _prepare(self) -> None:
        if _program() is None:
            raise ServiceUnavailableError("pgbouncer is not installed (apt-get install pgbouncer)")
        users = self.directory / "users.txt"
        users.write_text(f'"{self._server.username}" "{self._server.password}"\n')
        settings = {
            "listen_addr": LOOPBACK,
            "listen_port": str(self.ports[0]),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(users),
            "admin_users": str(self._server.username),
            **self._settings,
        }
        lines = [f"{key} = {value}" for key, value in settings.items()]
        server = f"host={self._server.hostname} port={self._server.port}"
        self._ini.write_text("\n".join(["[databases]", f"* = {server}", "[pgbouncer]", *lines, ""]))
        if self._user is not None:
            for path in (self.directory, users, self._ini):
                shutil.chown(path, self._user)

    def _launch(self) -> Process:
        return Process(
            [str(_program()), str(self._ini)],
            cwd=self.directory,
            log=self.log,
            user=self._user,
            # pgbouncer(1): SIGINT waits for clients, SIGTERM does not.
            stop_signals=(signal.SIGTERM, signal.SIGKILL),
        )

    def _is_ready(self) -> bool:
        # The pooler's own database answers by itself.
        try:
            with psycopg.connect(
                self.dsn(self._server.geturl()), dbname="pgbouncer", connect_timeout=5
            ):
                return True
        except psycopg.OperationalError:
            return False


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
