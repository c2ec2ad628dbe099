"""What a load finds: its schema, tables of our names and their shapes, and what hangs on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ...errors import ConfigurationError, OptionError, RejectedError
from .ddl import Column, differences, shape_of, shapes
from .queries import query
from .server import pooled

if TYPE_CHECKING:
    from collections.abc import Collection

    from .load_session import LoadSession
    from .server import Target

__all__ = [
    "STAGING_PREFIX",
    "Found",
    "check_code",
    "check_references",
    "check_schema",
    "check_shapes",
    "checked_name",
    "find_tables",
    "found_schema",
]

#: Names of schemas in which loads build their tables.
STAGING_PREFIX: Final = "datagen_loading_"
#: Bytes of a name (NAMEDATALEN - 1).
_NAME_BYTES: Final = 63


@dataclass(frozen=True, slots=True)
class Found:
    """A relation that has a table's name: its kind in pg_class, and whether the role may alter it."""

    kind: str
    ours: bool


def checked_name(schema: str) -> str:
    """A name that a schema of the user's can have; raises ``OptionError`` for another."""
    try:
        length = len(schema.encode())
    except UnicodeEncodeError:
        length = 0
    if not 1 <= length <= _NAME_BYTES or "\0" in schema:
        raise OptionError("postgres_schema", schema, f"a name of 1 to {_NAME_BYTES} bytes")
    if not _may_be_ours(schema):
        raise OptionError("postgres_schema", schema, "a schema of your own")
    return schema


def found_schema(load: LoadSession, target: Target) -> str:
    """The schema of unqualified names, if the session is as it was asked to be."""
    server = f"PostgreSQL at {load.server.where}"
    asked = load.server.asked(load.connection)
    for name, found in {"search_path": target.search_path, "role": target.role}.items():
        if asked.get(name, found) != found:
            raise ConfigurationError(
                f"{server}: {name} is {found!r}, not {asked[name]!r} as the connection asks for, "
                f"which a connection pooler may have dropped. Name the schema with "
                f"--postgres-schema"
            )
    if pooled(load.connection) and "search_path" not in asked:
        [(usual,)] = load.rows("SELECT reset_val FROM pg_settings WHERE name = 'search_path'")
        if usual != target.search_path:
            raise ConfigurationError(
                f"{server}: the connection pooler's session has the search_path "
                f"{target.search_path!r}, and the role's is {usual!r}. Name the schema with "
                f"--postgres-schema"
            )
    if target.schema is None:
        raise ConfigurationError(
            f"{server}: no schema of the search_path exists; create one, correct search_path, or "
            f"name one with --postgres-schema"
        )
    if not _may_be_ours(target.schema):
        # Temporary tables, for example, are gone as soon as they are loaded.
        raise ConfigurationError(
            f"{server}: {target.schema!r} is the first schema of the search_path, and no place for "
            f"tables of yours; name one with --postgres-schema"
        )
    return target.schema


def check_schema(load: LoadSession, name: str) -> None:
    """Refuses a schema that does not exist, or whose tables the role cannot have."""
    import psycopg

    server = f"PostgreSQL at {load.server.where}"
    names = [table.name for table in shapes()]
    try:
        found = load.rows(
            "SELECT has_schema_privilege(n.oid, 'USAGE'), has_schema_privilege(n.oid, 'CREATE'), "
            "(SELECT count(*) FROM pg_class WHERE relnamespace = n.oid AND relname = ANY(%s)) "
            "FROM pg_namespace n WHERE nspname = %s",
            names,
            name,
        )
    except psycopg.errors.UntranslatableCharacter:
        # The database's encoding cannot write the name.
        found = []
    if not found:
        raise ConfigurationError(
            f"{server}: schema {name!r} does not exist; create it, or name another with "
            f"--postgres-schema"
        )
    [(may_use, may_create, there)] = found
    if not may_use or not (may_create or there == len(names)):
        right = "CREATE" if may_use else "USAGE"
        raise ConfigurationError(
            f"{server}: the role has no right {right} on schema {name!r}; grant it, or name "
            f"another with --postgres-schema"
        )


def find_tables(load: LoadSession) -> dict[str, Found]:
    """The relations that have names of the tables, in the catalogue's order."""
    names = [table.name for table in shapes()]
    rows = load.rows(
        "SELECT relname, relkind::text, pg_has_role(relowner, 'USAGE') FROM pg_class "
        "WHERE relnamespace = %s::regnamespace AND relname = ANY(%s)",
        load.schema,
        names,
    )
    found = {name: Found(kind, ours) for name, kind, ours in rows}
    return {name: found[name] for name in names if name in found}


def check_shapes(load: LoadSession) -> dict[str, Found]:
    """The tables that exist; refuses those of another shape."""
    existing = find_tables(load)
    columns: dict[str, list[Column]] = {name: [] for name in existing}
    for name, *column in load.rows(query("columns"), schema=load.schema, tables=[*existing]):
        columns[name].append(Column(*column))
    constraints: dict[str, dict[str, str]] = {name: {} for name in existing}
    for name, constraint, definition in load.rows(
        query("constraints"), schema=load.schema, tables=[*existing]
    ):
        here = f"REFERENCES {load.schema}."
        constraints[name][constraint] = definition.replace(here, "REFERENCES ", 1)
    for name, found in existing.items():
        differs = ["it is not an ordinary table"]
        if found.kind == "r":
            differs = differences(shape_of(name), columns[name], constraints[name])
        if differs:
            more = f" and {len(differs) - 3} more" if len(differs) > 3 else ""
            raise RejectedError(
                f"table {name} at {load.server.where} has another shape: "
                f"{'; '.join(differs[:3])}{more}. "
                f"Rename or drop it, or load into another schema with --postgres-schema"
            )
    return existing


def check_references(load: LoadSession) -> None:
    """Refuses to empty tables to which a table of the user's own refers."""
    names = [table.name for table in shapes()]
    for referrer, constraint, parent in load.rows(
        query("references"), schema=load.schema, tables=names
    ):
        raise RejectedError(
            f"{parent} at {load.server.where} cannot be truncated: table {referrer} refers to it "
            f"({constraint}). Drop that constraint or table, or load without --truncate"
        )


def check_code(load: LoadSession, existing: Collection[str]) -> None:
    """Refuses to run, with the rights of a superuser, what other roles have attached."""
    [(superuser,)] = load.rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if not superuser or not existing:
        return
    # Tables to compare with: the server writes a CHECK in its own words.
    with load.connection.transaction(force_rollback=True):
        for name in existing:
            load.execute(replace(shape_of(name), name=f"datagen_{name}").create("pg_temp"))
        found = load.rows(query("foreign_code"), schema=load.schema, tables=[*existing])
    for table, owner, what in found:
        raise ConfigurationError(
            f"PostgreSQL at {load.server.where}: {what} of table {table} is of the role "
            f"{owner}, and would run with the rights of a superuser. Load as {owner}, or drop it"
        )


def _may_be_ours(schema: str) -> bool:
    return not schema.startswith(("pg_", STAGING_PREFIX)) and schema != "information_schema"
