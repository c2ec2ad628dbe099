"""Writes the data catalogue in English and Portuguese (`make docs`).

What the fields are and hold comes from the catalogue in code, from the formats themselves and from
rows made on the spot; what they mean, and why their values are as they are, from
`data_catalog.toml`.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import datagen
from datagen.sinks.postgres.ddl import shape
from datagen.types import Catalogue, Field, Relation, catalogue

ROOT = Path(__file__).parents[1]
TEXTS = Path(__file__).with_suffix(".toml")
TARGETS = {"en": ROOT / "docs" / "data-catalog.md", "pt": ROOT / "docs" / "data-catalog.pt.md"}

#: Rows that are shown, and of which the JSON types are read.
EXAMPLE = datagen.Plan(seed=42, customers=100)
EXAMPLE_ROWS = 2
#: Rows that are measured.
SAMPLE = datagen.Plan(seed=42, customers=10_000)
#: Labels that are shown and measured: there are few.
LABELLED = datagen.Plan(seed=42, customers=10_000, labels=True)
#: Customers for whom rows are counted.
SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)

_JSON_FORMATS = {
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
}

Texts = dict[str, Any]


def documented(relations: Catalogue) -> list[Relation]:
    """Every table and stream, and the labels."""
    return [*relations, relations.labels]


def in_postgres(relation: Relation) -> bool:
    """Whether it is a table there; labels are in no service."""
    return not relation.is_stream and relation is not catalogue().labels


# --- The texts -----------------------------------------------------------------------------------


def read_texts() -> Texts:
    """What `data_catalog.toml` says."""
    return tomllib.loads(TEXTS.read_text(encoding="utf-8"))


def gaps(texts: Texts, relations: Catalogue | Iterable[Relation]) -> list[str]:
    """What is missing, unknown or in one language only; a line each, empty if nothing is."""
    relations = list(relations)
    known = {relation.name: relation for relation in relations}
    out = [f"{name}: no such table or stream" for name in texts["relations"] if name not in known]
    used = set()
    for name, relation in known.items():
        entry = texts["relations"].get(name)
        if entry is None:
            out.append(f"{name}: no texts")
            continue
        out += _languages(name, entry)
        fields = {field.name: field for field in relation.fields}
        out += [f"{name}.{one}: no such field" for one in entry["fields"] if one not in fields]
        for field in fields:
            where = f"{name}.{field}"
            text = entry["fields"].get(field)
            if text is None:
                out.append(f"{where}: no texts")
                continue
            if not text.get("meaning"):
                out.append(f"{where}: no meaning in Portuguese")
            if "same" in text:
                used.add(text["same"])
                if text["same"] not in texts["common"]:
                    out.append(f"{where}: no common text {text['same']!r}")
            else:
                out += _languages(where, text)
            out += _sources(where, text, texts)
            by = text.get("by")
            if by is not None and (by not in fields or not fields[by].symbols):
                out.append(f"{where}: {by!r} is not an enumeration of {name}")
    for name, text in texts["common"].items():
        out += _languages(f"common.{name}", text) + _sources(f"common.{name}", text, texts)
        if name not in used:
            out.append(f"common.{name}: not used")
    for part in ("words", "sections", "sources"):
        for name, text in texts[part].items():
            out += _languages(f"{part}.{name}", text)
    for name, text in texts["sources"].items():
        out += _languages(f"sources.{name}.name", text["name"])
    return out


def _languages(where: str, text: Mapping[str, Any]) -> list[str]:
    return [f"{where}: no {language}" for language in TARGETS if not text.get(language)]


def _sources(where: str, text: Mapping[str, Any], texts: Texts) -> list[str]:
    return [
        f"{where}: no source {source!r}"
        for source in text.get("source", ())
        if source not in texts["sources"]
    ]


# --- Types in each format ------------------------------------------------------------------------


def kind(field: Field) -> str:
    """The type of a field in the catalogue's own words."""
    if field.precision is not None:
        return f"decimal({field.precision},{field.scale})"
    if field.length is not None:
        return f"char({field.length})"
    return field.type


def avro_type(schema: Any) -> str:
    """The type in an Avro schema, with its logical type."""
    if isinstance(schema, list):
        return f"[{', '.join(map(avro_type, schema))}]"
    if isinstance(schema, str):
        return schema
    if schema["type"] == "enum":
        return f"enum {schema['name']}"
    logical = schema["logicalType"]
    if logical == "decimal":
        logical += f" {schema['precision']},{schema['scale']}"
    return f"{schema['type']} ({logical})"


def arrow_type(type_: pa.DataType) -> str:
    """The type as Arrow calls it, but for what says nothing."""
    if pa.types.is_dictionary(type_):
        return f"dictionary({type_.index_type}, {type_.value_type})"
    if isinstance(type_, pa.BaseExtensionType):
        return str(type_.extension_name)
    return str(type_).removesuffix("[day]").replace(", ", ",")


def json_type(values: Iterable[Any]) -> str:
    """The type of JSON values, with the format if all texts have one (JSON Schema's words)."""
    values = list(values)
    some = [value for value in values if value is not None]
    match some[0] if some else None:
        case bool():
            name = "boolean"
        case int():
            name = "integer"
        case Decimal():
            name = "number"
        case str():
            formats = [
                name
                for name, pattern in _JSON_FORMATS.items()
                if all(pattern.fullmatch(value) for value in some)
            ]
            name = f"string ({formats[0]})" if formats else "string"
        case other:
            raise TypeError(f"a JSON value of type {type(other).__name__}")
    return name


def formats(relation: Relation) -> dict[str, list[str]]:
    """For each field its type in every format; a stream has none in PostgreSQL."""
    table = pa.table(_plan(relation.name, EXAMPLE).batches(relation.name))
    rows = _json_rows(relation.name)
    schema = {one["name"]: one["type"] for one in json.loads(relation.avro_schema)["fields"]}
    columns = {c.name: c.type for c in shape(relation).columns} if in_postgres(relation) else {}
    found = {}
    for field in relation.fields:
        name = json_type(row[field.name] for row in rows)
        found[field.name] = [
            *([columns[field.name]] if in_postgres(relation) else []),
            avro_type(schema[field.name]),
            arrow_type(table.schema.field(field.name).type),
            f"{name}, null" if field.nullable else name,
        ]
    return found


@cache
def _json_rows(name: str) -> list[dict[str, Any]]:
    return [
        json.loads(row, parse_float=Decimal)
        for batch in _plan(name, EXAMPLE).batches(name)
        for row in batch.encode("json")
    ]


def _plan(name: str, usual: datagen.Plan) -> datagen.Plan:
    """The plan whose rows are shown or measured."""
    return LABELLED if name == catalogue().labels.name else usual


# --- The diagram ---------------------------------------------------------------------------------


def diagram(relations: Iterable[Relation]) -> Iterator[str]:
    """Lines of a Mermaid `erDiagram`: keys of every relation, and a line for each foreign key."""
    relations = list(relations)
    yield "erDiagram"
    for relation in relations:
        for key in relation.foreign_keys:
            field = relation.field(key.field)
            one = "|o" if field.nullable else "||"
            line = ".." if relation.is_stream else "--"
            many = "o|" if key.field in relation.unique else "o{"
            child = _entity(relation.name)
            yield f"  {_entity(key.table)} {one}{line}{many} {child} : {key.field}"
    for relation in relations:
        yield f"  {_entity(relation.name)} {{"
        keys = {key.field for key in relation.foreign_keys}
        for field in relation.fields:
            marks = [
                mark
                for mark, is_so in (
                    ("PK", field.name == relation.primary_key),
                    ("FK", field.name in keys),
                    ("UK", field.name in relation.unique),
                )
                if is_so
            ]
            if marks:
                yield f"    {field.type} {field.name} {', '.join(marks)}"
        yield "  }"


def _entity(name: str) -> str:
    return f'"{name}"' if "." in name else name


# --- What the values are like --------------------------------------------------------------------


class Numbers:
    """How a language writes numbers."""

    def __init__(self, language: str) -> None:
        self._group, self._point = {"en": (" ", "."), "pt": (".", ",")}[language]

    def integer(self, value: int) -> str:
        return f"{value:,}".replace(",", self._group)

    def scaled(self, value: int, scale: int) -> str:
        """An integer of units of `10^-scale`."""
        sign, value = "−" * (value < 0), abs(value)
        whole, part = divmod(value, 10**scale)
        fraction = f"{self._point}{part:0{scale}}" if scale else ""
        return sign + self.integer(whole) + fraction

    def money(self, cents: int) -> str:
        """Centavos; from R$ 1 000 on they are left out."""
        text = self.scaled(cents, 2)
        return f"R$ {text[:-3] if abs(cents) >= 100_000 else text}"

    def percent(self, part: int, whole: int) -> str:
        """To a tenth, rounded half up."""
        return self.scaled((2_000 * part + whole) // (2 * whole), 1) + "%"


class Measured:
    """The rows of a relation in the sample, and what its columns are like."""

    def __init__(self, name: str) -> None:
        batches = list(_plan(name, SAMPLE).batches(name))
        self._table = pa.Table.from_batches([pa.record_batch(batch) for batch in batches])
        self._batches = batches
        self.rows = self._table.num_rows

    def missing(self, field: Field) -> int:
        return int(self._table[field.name].null_count)

    def counts(self, field: Field, by: tuple[Field, str] | None = None) -> list[tuple[Any, int]]:
        """How often each value comes, most often first, then in order."""
        table = self._table
        if by is not None:
            table = table.filter(pc.equal(table[by[0].name].cast(pa.string()), by[1]))
        column = table[field.name].drop_null()
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        counted = pc.value_counts(column).to_pylist()
        return sorted(((c["values"], c["counts"]) for c in counted), key=lambda c: (-c[1], c[0]))

    def times(self, field: Field, width: int, count: int, offset: int) -> list[int]:
        """How many rows fall in each of `count` parts of so many hours that come back in turn.

        The first begins `offset` hours before 1970-01-01T00:00 in Brasília (UTC−3).
        """
        parts = Counter(
            ((time // 3_600_000 - 3 + offset) // width) % count for time in self._units(field)
        )
        return [parts[part] for part in range(count)]

    def numbers(self, field: Field, by: tuple[Field, str] | None = None) -> list[int]:
        """The values in order of size, in units of the field; `by` takes the rows of a symbol."""
        wanted = pc.is_valid(self._table[field.name]).to_pylist()
        if by is not None:
            symbol = by[0].symbols.index(by[1])
            symbols = self._units(by[0])
            wanted = [is_so and one == symbol for is_so, one in zip(wanted, symbols, strict=True)]
        return sorted(compress(self._units(field), wanted))

    def _units(self, field: Field) -> Iterator[int]:
        for batch in self._batches:
            yield from memoryview(batch.column(field.name))


_measured = cache(Measured)


@cache
def _rows(name: str, customers: int) -> int:
    return datagen.Plan(seed=42, customers=customers).rows(name)


@cache
def _spread(name: str, field: Field, by: tuple[Field, str] | None) -> tuple[int, int, int, int]:
    """First decile, median, ninth decile and mean."""
    values = _measured(name).numbers(field, by)
    n = len(values)
    return values[n // 10], values[n // 2], values[n * 9 // 10], sum(values) // n


# --- The document --------------------------------------------------------------------------------


class Document:
    """The catalogue in one language."""

    def __init__(self, language: str, texts: Texts, relations: Catalogue) -> None:
        self.language = language
        self.texts = texts
        self.catalogue = relations
        self.numbers = Numbers(language)

    def __str__(self) -> str:
        return "\n".join(self.lines()) + "\n"

    def word(self, name: str) -> str:
        return str(self.texts["words"][name][self.language])

    def section(self, name: str) -> str:
        text: str = self.texts["sections"][name][self.language].strip()
        return text.replace("{version}", str(self.catalogue.version))

    def lines(self) -> Iterator[str]:
        yield f"# {self.word('title')}\n"
        yield self.section("head") + "\n"
        yield f"{self.word('contents')}: " + " · ".join(self._contents()) + "\n"
        yield f"## {self.word('diagram')}\n"
        yield self.section("diagram") + "\n"
        yield "```mermaid"
        yield from diagram(self.catalogue)
        yield "```\n"
        for name in ("volumes", "invariants", "time", "seed", "types", "reading"):
            yield f"## {self.word(name)}\n"
            yield self.section(name) + "\n"
            if name == "volumes":
                yield from self._volumes()
            if name == "time":
                yield from self._times()
            if name == "types":
                yield from self._types()
        yield f"## {self.word('sources')}\n"
        for source in self.texts["sources"].values():
            yield f"- {source[self.language]}"
        for part, relations in (
            ("tables", self.catalogue.tables),
            ("streams", self.catalogue.streams),
            ("labels", (self.catalogue.labels,)),
        ):
            yield f"\n## {self.word(part)}"
            for relation in relations:
                yield from self._relation(relation)

    def _contents(self) -> Iterator[str]:
        for relation in documented(self.catalogue):
            anchor = relation.name.replace(".", "")
            yield f"[{relation.name}](#{anchor})"

    def _volumes(self) -> Iterator[str]:
        head = [self.word("customers"), *map(self.numbers.integer, SIZES)]
        yield from _row_of_table(head, head=True, right=True)
        for relation in self.catalogue:
            counts = [self.numbers.integer(_rows(relation.name, size)) for size in SIZES]
            yield from _row_of_table([f"`{relation.name}`", *counts])
        yield ""

    def _times(self) -> Iterator[str]:
        """Shares of the events that follow the clock, by weekday and by hour."""
        streams = [one for one in self.catalogue.streams if one.history_days is None]
        times = {stream.name: stream.field(stream.time) for stream in streams if stream.time}
        for names, width, offset in (
            # 1970-01-01 was a Thursday, three days after a Monday.
            (self.word("weekdays").split(), 24, 3 * 24),
            ([f"{hour:02}–{hour + 1:02} h" for hour in range(24)], 1, 0),
        ):
            head = [self.word("when"), *(f"`{name}`" for name in times)]
            yield from _row_of_table(head, head=True, right=True)
            counts = [
                _measured(name).times(field, width, len(names), offset)
                for name, field in times.items()
            ]
            for part, name in enumerate(names):
                shares = [
                    self.numbers.percent(found[part], sum(found)) if found[part] else ""
                    for found in counts
                ]
                yield from _row_of_table([name, *shares])
            yield ""

    def _types(self) -> Iterator[str]:
        """Each type of the catalogue in every format; the tables have all of them."""
        head = [self.word("type"), "PostgreSQL", "Avro", "Arrow", "JSON"]
        yield from _row_of_table(head, head=True)
        seen: dict[str, list[str]] = {}
        for relation in self.catalogue:
            for field, types in zip(relation.fields, formats(relation).values(), strict=True):
                if field.nullable or relation.is_stream:
                    continue
                row = [re.sub(r"^enum .*", "enum", one) for one in types]
                row = [re.sub(r"^character\(.*", "character(n)", one) for one in row]
                seen.setdefault("char(n)" if field.type == "char" else kind(field), row)
        for name, row in sorted(seen.items()):
            yield from _row_of_table([f"`{name}`", *(f"`{one}`" if one else "" for one in row)])
        yield ""

    def _relation(self, relation: Relation) -> Iterator[str]:
        texts = self.texts["relations"][relation.name]
        yield f"\n### {relation.name}\n"
        yield texts[self.language].strip() + "\n"
        yield from self._keys(relation)
        yield ""
        yield from self._fields(relation)
        yield f"\n**{self.word('distribution')}**\n"
        yield from self._distributions(relation)
        yield f"\n**{self.word('examples')}**\n"
        yield from self._examples(relation)
        yield f"\n<details><summary>{self.word('formats')}</summary>\n"
        columns = [*(["PostgreSQL"] if in_postgres(relation) else []), "Avro", "Arrow", "JSON"]
        yield from _row_of_table([self.word("field"), *columns], head=True)
        for name, types in formats(relation).items():
            yield from _row_of_table([f"`{name}`", *(f"`{one}`" for one in types)])
        yield "\n</details>"

    def _keys(self, relation: Relation) -> Iterator[str]:
        if relation.is_stream:
            record = json.loads(relation.avro_schema)
            yield (
                f"- {self.word('message_key')}: `{relation.key}`; {self.word('event_time')}: "
                f"`{relation.time}`; {self.word('event_id')}: `{relation.primary_key}`"
            )
            yield (
                f"- {self.word('record')}: `{record['namespace']}.{record['name']}`; "
                f"CloudEvents `type`: `{relation.ce_type}`"
            )
        else:
            unique = ", ".join(f"`{one}`" for one in relation.unique)
            yield (
                f"- {self.word('primary_key')}: `{relation.primary_key}`"
                + (f"; {self.word('unique')}: {unique}" if unique else "")
                + (f"; {self.word('topic')}: `{relation.topic}`" if in_postgres(relation) else "")
            )
        for key in relation.foreign_keys:
            only = f" ({self.word('only')} `{key.only[0]}` = `{key.only[1]}`)" if key.only else ""
            parent = f"`{key.table}.{self.catalogue[key.table].primary_key}`"
            yield f"- {self.word('foreign_key')}: `{key.field}` → {parent}{only}"
        if relation.checks:
            checks = ", ".join(f"`{sql}`" for _, sql in relation.checks)
            yield f"- {self.word('checks')}: {checks}"

    def _fields(self, relation: Relation) -> Iterator[str]:
        texts = self.texts["relations"][relation.name]["fields"]
        head = [self.word(one) for one in ("field", "type", "null", "meaning")]
        yield from _row_of_table(head, head=True)
        for field in relation.fields:
            meaning = field.doc if self.language == "en" else texts[field.name]["meaning"]
            if field.symbols:
                meaning += ": " + ", ".join(f"`{symbol}`" for symbol in field.symbols)
            null = self.word("yes") if field.nullable else ""
            yield from _row_of_table([f"`{field.name}`", kind(field), null, meaning])

    def _distributions(self, relation: Relation) -> Iterator[str]:
        texts = self.texts["relations"][relation.name]["fields"]
        for field in relation.fields:
            own = texts[field.name]
            text = self.texts["common"][own["same"]] if "same" in own else own
            line = f"- `{field.name}`: {' '.join(text[self.language].split())}"
            sources = [self.texts["sources"][one] for one in text.get("source", ())]
            names = [source["name"][self.language] for source in sources]
            if names:
                line += f" [{'; '.join(names)}]"
            yield line
            if measured := "; ".join(self._measured(relation, field, own.get("by"))):
                yield f"  - *{self.word('measured')}:* {measured}"

    def _measured(self, relation: Relation, field: Field, by: str | None) -> Iterator[str]:
        rows = _measured(relation.name)
        if rows.rows < 100 or field.name in (relation.primary_key, *relation.unique):
            return
        if field.nullable:
            missing = self.numbers.percent(rows.missing(field), rows.rows)
            yield f"{self.word('empty')} {missing}"
        is_number = field.type in {"decimal", "int", "smallint"}
        if not is_number and not field.symbols and field.type not in {"bool", "text", "char"}:
            return
        if field.type == "smallint" and by is None and len(counts := rows.counts(field)) <= 12:
            shares = ((value, self.numbers.percent(n, rows.rows)) for value, n in sorted(counts))
            yield ", ".join(f"**{value}** {share}" for value, share in shares)
            return
        parts: list[tuple[Field, str] | None] = [None]
        if by is not None:
            divider = relation.field(by)
            there = dict(rows.counts(divider))
            parts = [(divider, symbol) for symbol in divider.symbols if symbol in there]
        for part in parts:
            if is_number:
                text = self._spread(relation, field, part)
            else:
                text = self._shares(field, rows, part)
            if text:
                yield f"**{part[1]}** {text}" if part else text

    def _shares(self, field: Field, rows: Measured, by: tuple[Field, str] | None) -> str:
        """Of symbols all, of texts the three most common if they are common."""
        counts = rows.counts(field, by)
        whole = sum(count for _, count in counts)
        if field.type == "bool":
            trues = sum(count for value, count in counts if value)
            return f"true {self.numbers.percent(trues, whole)}"
        start = ""
        if field.symbols:
            if len(field.symbols) == 1:
                return ""
            found = dict(counts)
            counts = [(one, found[one]) for one in field.symbols if one in found]
        elif sum(count for _, count in counts[:3]) * 12 < whole:
            return ""
        else:
            start = f"{self.numbers.integer(len(counts))} {self.word('values')}, "
            counts = counts[:3]
        return start + ", ".join(f"{one} {self.numbers.percent(n, whole)}" for one, n in counts)

    def _spread(self, relation: Relation, field: Field, by: tuple[Field, str] | None = None) -> str:
        is_money = (field.precision, field.scale) == (15, 2)

        def write(value: int) -> str:
            if is_money:
                return self.numbers.money(value)
            # Years and days are not grouped.
            return (
                str(value)
                if field.type == "smallint"
                else self.numbers.scaled(value, field.scale or 0)
            )

        low, middle, high, mean = map(write, _spread(relation.name, field, by))
        text = f"{self.word('median')} {middle} ({low} {self.word('to')} {high})"
        return f"{text}, {self.word('mean')} {mean}" if is_money else text

    def _examples(self, relation: Relation) -> Iterator[str]:
        rows = _json_rows(relation.name)[:EXAMPLE_ROWS]
        numbers = range(1, len(rows) + 1)
        yield from _row_of_table(
            [self.word("field"), *(f"{self.word('row')} {number}" for number in numbers)], head=True
        )
        for field in relation.fields:
            values = [row[field.name] for row in rows]
            # Decimals as they are in JSON, with their trailing zeros.
            cells = (
                str(one) if isinstance(one, Decimal) else json.dumps(one, ensure_ascii=False)
                for one in values
            )
            yield from _row_of_table([f"`{field.name}`", *(f"`{cell}`" for cell in cells)])


def _row_of_table(cells: list[str], *, head: bool = False, right: bool = False) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
    if head:
        rule = "---:" if right else "---"
        yield "|---|" + f"{rule}|" * (len(cells) - 1)


def main() -> None:
    """Writes both documents."""
    texts = read_texts()
    if wrong := gaps(texts, documented(catalogue())):
        sys.exit(f"{TEXTS.name}: " + "; ".join(wrong))
    for language, target in TARGETS.items():
        target.write_text(str(Document(language, texts, catalogue())), encoding="utf-8")


if __name__ == "__main__":
    main()
