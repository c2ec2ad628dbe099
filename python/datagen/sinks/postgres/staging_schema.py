"""The schema of a load's own in which it builds its tables: whether it may, and how it is dropped."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from .ddl import shapes
from .inspection import STAGING_PREFIX
from .locks import LOAD_LOCK
from .queries import query
from .server import begin
from .session import ANSWER, waiting

if TYPE_CHECKING:
    import psycopg

__all__ = ["drop_leftovers", "drop_schema", "drop_tables", "keeps_tables", "may_stage"]

_log = logging.getLogger(__name__)

#: Seconds for sessions that are about to end to let go of such a schema.
_DROP: Final = 5.0

#: Columns of pg_class and pg_attribute that tell one table from another and not what it is like,
#: or that follow from its rows, keys, and columns of the past.
_OWN: Final = [
    *("oid", "relnamespace", "reltype", "relfilenode", "reltoastrelid", "relfrozenxid"),
    *("relminmxid", "relpages", "reltuples", "relallvisible", "relallfrozen", "relhasindex"),
    *("relhastriggers", "relnatts", "attrelid", "attnum", "attcacheoff", "attmissingval"),
    "atthasmissing",
]


def may_stage(session: psycopg.Connection[Any], target: str) -> bool:
    """Whether tables may be built in one schema and moved to another, ``target``."""
    row = session.execute(query("staging_forbidden").encode(), {"schema": target}).fetchone()
    why = row[0] if row else None
    if why:
        _log.info("tables cannot be built apart: %s", why)
    return not why


def keeps_tables(
    session: psycopg.Connection[Any], target: str, staging: str, *, checks: bool = False
) -> bool:
    """Whether the tables in ``target`` have something that those in ``staging`` have not.

    With ``checks`` the text of their CHECKs is compared too, which takes a lock to read.
    """
    statement = query("attached") + (query("changed_checks") if checks else "")
    names = {
        "tables": [table.name for table in shapes()],
        "indexes": [name for table in shapes() for name in table.index_names],
    }
    schemas = {"schema": target, "staging": staging}
    rows = session.execute(statement.encode(), {**names, **schemas, "own": _OWN}).fetchall()
    found = sorted({str(what) for (what,) in rows})
    if found:
        _log.info("tables are kept, for what they alone have: %s", "; ".join(found))
    return bool(found)


def drop_leftovers(session: psycopg.Connection[Any]) -> None:
    """Drops what loads that died have left; every load that lives holds the advisory lock."""
    import psycopg

    find = b"SELECT nspname FROM pg_namespace WHERE nspname ~ %s AND pg_has_role(nspowner, 'USAGE')"
    begin(session, _DROP)
    found = session.execute(find, [f"^{STAGING_PREFIX}[0-9a-f]{{12}}$"]).fetchall()
    session.execute(b"COMMIT")
    for (schema,) in found:
        try:
            begin(session, _DROP)
            row = session.execute(b"SELECT pg_try_advisory_xact_lock(%s)", [LOAD_LOCK]).fetchone()
            if row and row[0]:
                drop_tables(session, schema)
            session.execute(b"COMMIT")
        except psycopg.Error as error:
            _log.info("schema %s, of a load that has ended, stays: %s", schema, error)
            session.execute(b"ROLLBACK")


def drop_schema(session: psycopg.Connection[Any], schema: str) -> None:
    """Drops the schema and its tables in a transaction of its own."""
    # Sessions of the load may be about to end.
    begin(session, _DROP)
    drop_tables(session, schema)
    session.execute(b"COMMIT")


def drop_tables(session: psycopg.Connection[Any], schema: str) -> None:
    """Drops the schema and its tables; what others have made of them keeps them."""
    names = ", ".join(f"{schema}.{table.name}" for table in shapes())
    # Nothing says IF EXISTS of a table whose schema does not.
    found = session.execute(b"SELECT to_regnamespace(%s)", [schema]).fetchone()
    if found and found[0]:
        with waiting(f"schema {schema} to be dropped", _DROP + ANSWER):
            session.execute(f"DROP TABLE IF EXISTS {names}".encode())
            session.execute(f"DROP SCHEMA {schema}".encode())
