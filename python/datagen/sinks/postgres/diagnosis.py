"""What the errors of a PostgreSQL server and of libpq mean, and what to do about them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ...errors import ConfigurationError, DatagenError, RejectedError, UnreachableError
from .conninfo import PREAMBLE
from .ddl import shapes

if TYPE_CHECKING:
    import psycopg

    from .conninfo import ConnectionString

__all__ = [
    "connection_failure",
    "first_answer_failure",
    "is_lost",
    "statement_failure",
]


# Classes and codes of PostgreSQL's appendix A, "Error Codes".
#: invalid authorization, invalid catalog (database), invalid schema name
_REFUSED_CLASSES = frozenset({"28", "3D", "3F"})
#: insufficient privilege, read-only transaction (a standby), database dropped, and what a setting
#: of the server forbids
_REFUSED_STATES = frozenset({"42501", "25006", "57P04", "53400"})
#: too many connections, shutdowns and cancellation, lock timeout, deadlock and serialization,
#: time limits on sessions
_LOST_STATES = frozenset({"53300", "57P01", "57P02", "57P03", "57P05", "57014", "55P03"}) | {
    *("40P01", "40001", "25P03", "25P04")
}

#: undefined table, function, object (a type), schema
_NOT_FOUND = frozenset({"42P01", "42883", "42704", "3F000"})

#: What to do about an error, by its code or class.
_ADVICE = {
    "42501": "Grant the role what it needs, or use another",
    "25006": "It takes no rows, as a hot standby does: name the primary",
    "22P05": "Load into a database of the encoding UTF8, or another that has the letters of Portuguese",
    **dict.fromkeys(
        ("42P07", "42710"),
        "Rename or drop it, or load into another schema with --postgres-schema",
    ),
    "3F": "Create the schema, or name another with --postgres-schema",
    "28": "Check the role and its rights",
    "3D": "Check the name of the database",
    "57P04": "Check the name of the database",
    "53300": "Free connections of the server, or raise the limit of the role",
    "53100": "Free disk space on the server",
    "53200": "Free memory on the server, or lower its work_mem and maintenance_work_mem",
    "53400": "Raise that limit for the role",
    "55P03": "End the session that holds the lock, or wait for it",
    "57014": "An administrator or a time limit of the server ended the statement",
    "57P03": "Check that the server is up",
}

#: A server that answered, but will let us in later; servers may speak Portuguese.
_BUSY = re.compile(
    r"starting up|shutting down|recovery|too many|remaining connection slots|not yet accepting"
    r"|no more connections allowed|query_wait_timeout|pgbouncer cannot connect|server_login_retry"
    r"|inicializando|sendo desligado|recuperação|muitos clientes|não está aceitando",
    re.IGNORECASE,
)
#: Failures of libpq's own that no retry will mend.
_SETTING = re.compile(
    r"no password supplied|SSL(?! SYSCALL)|certificate|private key|: invalid |requirepeer"
    r"|GSSAPI encryption required|authentication method requirement|protocol_version",
    re.IGNORECASE,
)
_UNTRUSTED = "(?i:certificate verify failed|unable to get local issuer)"
#: Failures to connect whose cause is not user, password, database or address, and what to do.
_CAUSES = {
    "unsupported startup parameter": (
        "The connection pooler takes no such parameter: leave `options` out of the connection "
        "string (and PGOPTIONS), and name the schema with --postgres-schema"
    ),
    "statement pooling": "Use a pool in transaction or session mode, or the server itself",
    "session is (not )?read-only|server is (not )?in hot standby mode": (
        "No server of the connection string is what target_session_attrs asks for"
    ),
    "definition of service|service file": (
        "Check service (PGSERVICE) and the file of services (PGSERVICEFILE, ~/.pg_service.conf)"
    ),
    "weak sslmode .* sslrootcert=system": "Write sslmode=verify-full with sslrootcert=system",
    _UNTRUSTED: "Name the file of its certificate authority with sslrootcert=FILE",
    r"no pg_hba\.conf entry|pg_hba\.conf rejects": (
        "The server's pg_hba.conf does not let this role in from here"
    ),
    "unrecognized configuration parameter|invalid value for parameter|for option -": (
        "Correct `options` of the connection string (or PGOPTIONS)"
    ),
    "permission denied for database": "Grant the role CONNECT on the database",
    "not currently accepting connections": "Name another database",
}


def statement_failure(
    conninfo: ConnectionString,
    error: psycopg.Error,
    table: str | None = None,
    *,
    outcome: str = "",
    conflict: str = "",
) -> DatagenError:
    """What the failure of a statement means to the caller.

    ``outcome`` says what has become of the load; ``conflict`` what to do about a key that is there
    already.
    """
    state = error.sqlstate or ""
    where = f"PostgreSQL at {conninfo.where}"
    text = conninfo.text(error)
    cause = _advice(conninfo, str(error))
    if cause:
        return ConfigurationError(f"{where}: {text}{outcome}. {cause}")
    advice = _ADVICE.get(state) or _ADVICE.get(state[:2]) or ""
    if "cannot set transaction read-write mode during recovery" in str(error):
        state, advice = "25006", _ADVICE["25006"]
    if state in _NOT_FOUND and error.diag.context:
        # It works in the user's own sessions, whose search_path has the schema.
        function = re.search(r'PL/\w+ (?:function )?([\w".]+\(.*?\))', error.diag.context)
        advice = (
            f"{function[1] if function else 'A function of the database'} looks for it by the search_path, which is "
            f"pg_catalog in a load: qualify the name, or set search_path with ALTER FUNCTION"
        )
    if "query_wait_timeout" in text:
        advice = "The connection pooler had no connection to give: free one, or enlarge its pool"
    advice = f". {advice}" if advice else ""
    if is_lost(error):
        return UnreachableError(f"{where}: {text}{outcome}{advice}")
    if state[:2] in _REFUSED_CLASSES or state in _REFUSED_STATES:
        return ConfigurationError(f"{where}: {text}{outcome}{advice}")
    subject = f"{where} refused {error.diag.table_name or table or 'the load'}"
    return RejectedError(f"{subject}: {text}{outcome}{conflict if state == '23505' else advice}")


def connection_failure(conninfo: ConnectionString, error: psycopg.Error) -> DatagenError:
    """What a failure to connect means, of which libpq gives a text but no SQLSTATE."""
    import psycopg

    tried = _failures(error)
    params = conninfo.params
    if len(tried) == 1 and error.pgconn is not None:
        conninfo.where = conninfo.address(error)
    where = f"PostgreSQL at {conninfo.where}"
    if os.environ.get("PGHOSTADDR") and "hostaddr" not in params:
        where += " (the address is that of PGHOSTADDR)"
    if isinstance(error, psycopg.errors.ConnectionTimeout) and len(tried) == 1:
        return UnreachableError(
            f"{where} did not answer in time; check host and port, and that it is running"
        )
    correct = f"Correct the connection string{_environment(conninfo)}"
    if not isinstance(error, psycopg.OperationalError):
        return ConfigurationError(f"{where}: a parameter of the connection is not valid. {correct}")
    full = str(error)
    text = conninfo.text(error)
    if len(tried) > 1:
        text = conninfo.printable("; ".join(f"{at}: {why}" for at, why in tried.items()))
    advice = _advice(conninfo, full)
    if advice:
        return ConfigurationError(f"{where}: {text}. {advice}")
    answered = "FATAL" in full or (error.pgconn is not None and error.pgconn.used_password)
    if answered and not _BUSY.search(full):
        user = params.get("user") or os.environ.get("PGUSER") or "the default user"
        return ConfigurationError(
            f"{where} refused {user}: {text}. Check user, password and database name"
        )
    if not answered and _SETTING.search(full):
        return ConfigurationError(f"{where}: {text}. {correct}")
    if answered:
        return UnreachableError(f"{where} takes no connection now: {text}")
    return UnreachableError(
        f"{where} cannot be reached: {text}. Check host and port, and that it is running"
    )


def first_answer_failure(conninfo: ConnectionString, error: psycopg.Error) -> DatagenError:
    """What it means that a server let a connection in and then failed."""
    if error.sqlstate:
        return statement_failure(conninfo, error)
    return UnreachableError(
        f"PostgreSQL at {conninfo.where} lets connections in and does not answer: "
        f"{conninfo.text(error)}. Check "
        f"that the server works, and that a connection pooler in front has one to give"
    )


def conflict_advice(error: psycopg.Error) -> str:
    """What to do about a key that is there already."""
    keys = {name: definition for table in shapes() for name, definition in table.keys}
    columns = keys.get(error.diag.constraint_name or "", "").partition("(")[2].rstrip(")")
    subject = f"Column {columns} has values that are there" if columns else "Rows are there"
    return (
        f". {subject}: replace all rows with --truncate, add other customers of the same seed with "
        f"--from-customer, or load another seed into another schema with --postgres-schema"
    )


def is_lost(error: psycopg.Error) -> bool:
    """Whether the server is gone or busy, rather than that it objects."""
    state = error.sqlstate or ""
    # Without a SQLSTATE it was not the server that spoke, but the network or the driver.
    return not state or state[:2] == "08" or state in _LOST_STATES


def _advice(conninfo: ConnectionString, text: str) -> str:
    """What to do about a cause that the text tells; empty for others."""
    system = conninfo.setting("sslrootcert", "PGSSLROOTCERT") == "system"
    if system and re.search(_UNTRUSTED, text):
        return (
            "sslrootcert=system means the certificates that this psycopg's OpenSSL knows: set "
            "SSL_CERT_FILE, or name a file with sslrootcert=FILE"
        )
    return next((advice for cause, advice in _CAUSES.items() if re.search(cause, text)), "")


def _environment(conninfo: ConnectionString) -> str:
    """The variables of the environment that set something which the connection string does not."""
    from psycopg.pq import Conninfo

    names = [
        one.envvar.decode()
        for one in Conninfo.get_defaults()
        if one.envvar and os.environ.get(one.envvar.decode())
        if one.keyword.decode() not in conninfo.params
    ]
    return f", or the environment ({', '.join(names)})" if names else ""


def _failures(error: psycopg.Error) -> dict[str, str]:
    """What was tried and why it failed, by host and port; psycopg lists it line by line."""
    one = re.compile(r"- host: (.+?), port: (.+?), hostaddr: (.+?): (.*)")
    found = {}
    for line in str(error).splitlines():
        parts = one.match(line)
        if parts:
            host, port, address, why = parts.groups()
            names = [text.strip("'") for text in (host, address) if text != "None"]
            at = f"{names[0] if names else 'localhost'}:{port.strip(chr(39))}"
            found[at] = PREAMBLE.sub("", why, count=1).rstrip(".;: ")
    return found or {"": str(error)}
