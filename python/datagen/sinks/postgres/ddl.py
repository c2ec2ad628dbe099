"""What each master table looks like in PostgreSQL: columns, keys, and how a table may differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ...errors import OptionError
from ...types import Field, ForeignKey, Relation, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Column", "TableShape", "differences", "shape", "shape_of", "shapes"]

#: Names as PostgreSQL's ``format_type`` writes them, so that they serve for comparison too.
_TYPES = {
    "uuid": "uuid",
    "text": "text",
    "char": "character({length})",
    "decimal": "numeric({precision},{scale})",
    "smallint": "smallint",
    "int": "integer",
    "bool": "boolean",
    "date": "date",
    "instant": "timestamp with time zone",
    "enum": "text",
}


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    not_null: bool

    def __str__(self) -> str:
        return f"{self.type} NOT NULL" if self.not_null else self.type


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table as datagen makes it. Keys and checks are pairs of name and definition.

    CHECKs are part of the table from the start: a row costs the same to check whenever it is
    done. ``keys`` (primary and unique), ``indexes`` and ``foreign_keys`` are added after a load.
    """

    name: str
    columns: tuple[Column, ...]
    checks: tuple[tuple[str, str], ...]
    keys: tuple[tuple[str, str], ...]
    foreign_keys: tuple[tuple[str, str], ...]
    indexes: tuple[tuple[str, str], ...]

    @property
    def column_names(self) -> str:
        return ", ".join(column.name for column in self.columns)

    @property
    def index_names(self) -> list[str]:
        """Indexes that come with the keys, and the others."""
        return [name for name, _ in (*self.keys, *self.indexes)]

    def create(self, schema: str) -> str:
        """CREATE TABLE with columns and CHECKs; ``schema`` is quoted already."""
        lines = [f"{column.name} {column}" for column in self.columns]
        lines += [f"CONSTRAINT {name} {definition}" for name, definition in self.checks]
        return f"CREATE TABLE {schema}.{self.name} (\n  " + ",\n  ".join(lines) + "\n)"

    def add_keys(self, schema: str) -> str:
        return self._alter(schema, (f"ADD CONSTRAINT {n} {d}" for n, d in self.keys))

    def add_foreign_keys(self, schema: str, *, valid: bool = True) -> str:
        """Empty if there are none. The tables referred to need their primary keys first.

        Without ``valid`` rows that are there are not looked at; ``validate_foreign_keys`` does it.
        """
        later = "" if valid else " NOT VALID"
        added = (
            f"ADD CONSTRAINT {name} "
            f"{definition.replace('REFERENCES ', f'REFERENCES {schema}.')}{later}"
            for name, definition in self.foreign_keys
        )
        return self._alter(schema, added)

    def validate_foreign_keys(self, schema: str) -> str:
        return self._alter(schema, (f"VALIDATE CONSTRAINT {name}" for name, _ in self.foreign_keys))

    def add_indexes(self, schema: str) -> list[str]:
        return [
            f"CREATE INDEX {name} ON {schema}.{self.name} ({column})"
            for name, column in self.indexes
        ]

    def drop_foreign_keys(self, schema: str) -> str:
        return self._alter(schema, (f"DROP CONSTRAINT {name}" for name, _ in self.foreign_keys))

    def drop_keys(self, schema: str) -> str:
        return self._alter(schema, (f"DROP CONSTRAINT {name}" for name, _ in self.keys))

    def drop_indexes(self, schema: str) -> list[str]:
        return [f"DROP INDEX IF EXISTS {schema}.{name}" for name, _ in self.indexes]

    def _alter(self, schema: str, actions: Iterable[str]) -> str:
        text = ", ".join(actions)
        return f"ALTER TABLE ONLY {schema}.{self.name} {text}" if text else ""


@cache
def shape(relation: Relation) -> TableShape:
    """A relation of the catalogue as DDL has it; nothing else turns one into the other."""
    table = relation.name
    own = {key: f"{table}_{key}" for key in (relation.primary_key, *relation.unique)}
    return TableShape(
        name=table,
        columns=tuple(Column(f.name, _sql_type(f), not f.nullable) for f in relation.fields),
        checks=(
            *(
                (f"{table}_{field.name}_check", _one_of(field))
                for field in relation.fields
                if field.symbols
            ),
            *((f"{table}_{name}_check", f"CHECK ({sql})") for name, sql in relation.checks),
        ),
        keys=(
            (f"{table}_pkey", f"PRIMARY KEY ({relation.primary_key})"),
            *((f"{own[column]}_key", f"UNIQUE ({column})") for column in relation.unique),
        ),
        foreign_keys=tuple(
            (f"{table}_{key.field}_fkey", f"FOREIGN KEY ({key.field}) REFERENCES {_parent(key)}")
            for key in relation.foreign_keys
        ),
        indexes=tuple(
            (f"{table}_{key.field}_idx", key.field)
            for key in relation.foreign_keys
            if key.field not in own
        ),
    )


def shapes() -> tuple[TableShape, ...]:
    """All master tables, parents before children."""
    return tuple(map(shape, catalogue().tables))


def shape_of(name: str) -> TableShape:
    """The shape of a master table; raises ``OptionError`` for another name."""
    for table in shapes():
        if table.name == name:
            return table
    raise OptionError("table", name, "one of " + ", ".join(table.name for table in shapes()))


def differences(
    expected: TableShape, columns: list[Column], constraints: Mapping[str, str]
) -> list[str]:
    """How a table that exists differs, in words; empty if it does not.

    ``constraints`` has the definition of each primary, unique and foreign key and CHECK by name.
    The text of a CHECK is not compared: PostgreSQL rewrites it.
    """
    found = {column.name: column for column in columns}
    wanted = {column.name: column for column in expected.columns}
    out = [f"column {name} is missing" for name in wanted if name not in found]
    out += [f"column {name} is not one of ours" for name in found if name not in wanted]
    out += [
        f"column {name} is {found[name]}, not {column}"
        for name, column in wanted.items()
        if name in found and found[name] != column
    ]
    if not out and [*found] != [*wanted]:
        out.append(f"its columns are in the order {', '.join(found)}")
    definitions = dict(expected.keys + expected.foreign_keys)
    names = {**definitions, **dict(expected.checks)}
    out += [f"constraint {name} is missing" for name in names if name not in constraints]
    out += [f"constraint {name} is not one of ours" for name in constraints if name not in names]
    out += [
        f"constraint {name} is {constraints[name]}, not {definition}"
        for name, definition in definitions.items()
        if constraints.get(name, definition) != definition
    ]
    return out


def _parent(key: ForeignKey) -> str:
    return f"{key.table}({catalogue()[key.table].primary_key})"


def _sql_type(field: Field) -> str:
    return _TYPES[field.type].format(
        length=field.length, precision=field.precision, scale=field.scale
    )


def _one_of(field: Field) -> str:
    symbols = ", ".join(f"'{symbol}'" for symbol in field.symbols)
    return f"CHECK ({field.name} IN ({symbols}))"
