"""The data catalogue documents say what the code does, in both languages."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from datagen import Plan
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from datagen.types import Relation

ROOT = Path(__file__).parents[1]


def _script() -> Any:
    path = ROOT / "scripts" / "data_catalog.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _script()
TEXTS: dict[str, Any] = script.read_texts()
DOCUMENTS: dict[str, Path] = {
    "en": ROOT / "docs" / "data-catalog.md",
    "pt": ROOT / "docs" / "data-catalog.pt.md",
}
every_language = pytest.mark.parametrize("language", DOCUMENTS)
# The script measures each relation once, for both documents.
pytestmark = pytest.mark.xdist_group("test_data_catalog")


def sections(language: str) -> dict[str, str]:
    """The text about each table and stream, by its name."""
    text = DOCUMENTS[language].read_text(encoding="utf-8")
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def tables(text: str) -> Iterator[list[list[str]]]:
    """The cells of each table, without its head."""
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        rows = [line[2:-2].split(" | ") for line in block.splitlines()[2:]]
        yield [[cell.strip(" `") for cell in row] for row in rows]


@pytest.mark.slow
@every_language
def test_the_document_is_what_the_script_writes(language: str) -> None:
    written = str(script.Document(language, TEXTS, catalogue()))
    assert DOCUMENTS[language].read_text(encoding="utf-8") == written, "run `make docs`"


@every_language
def test_every_field_is_there_with_its_types_and_first_rows(language: str) -> None:
    found = sections(language)
    every = script.documented(catalogue())
    assert list(found) == [relation.name for relation in every]
    assert every[-1].name == "labels"
    for relation in every:
        names = [field.name for field in relation.fields]
        fields, examples, types = tables(found[relation.name])
        for one in (fields, examples, types):
            assert [row[0] for row in one] == names, relation.name
        for field, (_, _, null, meaning) in zip(relation.fields, fields, strict=True):
            assert bool(null) == field.nullable, field.name
            assert all(f"`{symbol}" in f"`{meaning}" for symbol in field.symbols), field.name
        labelled = relation.name == "labels"
        plan = Plan(seed=42, customers=10_000 if labelled else 100, labels=labelled)
        batch = next(iter(plan.batches(relation.name)))
        for at in range(2):
            row = json.loads(batch.encode("json")[at], parse_float=str)
            cells = [row_of_table[1 + at].strip('"') for row_of_table in examples]
            values = row.values()
            assert cells == [v if isinstance(v, str) else json.dumps(v) for v in values]


# Fields of each type, as the formats' specifications call it: PostgreSQL (tables only), Avro, Arrow, JSON.
TYPES = """
customers customer_id: uuid | string (uuid) | arrow.uuid | string (uuid)
customers complement: text | [null, string] | string | string, null
customers cpf: character(11) | string | string | string
customers pep: boolean | boolean | bool | boolean
customers birth_date: date | int (date) | date32 | string (date)
loans monthly_rate: numeric(7,6) | bytes (decimal 7,6) | decimal128(7,6) | number
accounts status: text | enum Status | dictionary(int8, string) | string
properties built_year: smallint | [null, int] | int16 | integer, null
stocks lot_size: integer | int | int32 | integer
banking.trades quantity: int | int32 | integer
labels scenario: enum Scenario | dictionary(int8, string) | string
banking.transactions pix_key: [null, string] | string | string, null
banking.installments paid_at: [null, long (timestamp-millis)] | timestamp[ms,tz=UTC] | string (date-time), null
"""


@pytest.mark.parametrize("line", TYPES.strip().splitlines())
@every_language
def test_types_are_those_of_the_formats(language: str, line: str) -> None:
    place, _, types = line.partition(": ")
    name, field = place.split()
    *_, found = tables(sections(language)[name])
    assert [field, *types.split(" | ")] in found


@pytest.fixture(scope="module")
def frame() -> Callable[[str], pd.DataFrame]:
    """The rows that the document measures, as pandas reads them."""
    return cache(lambda name: pa.table(Plan(customers=10_000).batches(name)).to_pandas())


def test_measured_numbers_are_those_of_the_rows(frame: Callable[[str], pd.DataFrame]) -> None:
    loans = frame("loans")
    line = re.search(r"- `principal`.*\n.*Measured:(.*)", sections("en")["loans"])
    assert line is not None
    for kind, principals in loans.groupby("loan_type", observed=True)["principal"]:
        found = re.search(
            rf"\*\*{kind}\*\* median R\$ ([\d ]+) \(R\$ ([\d ]+) to R\$ ([\d ]+)\), mean R\$ ([\d ]+)",
            line[1],
        )
        assert found is not None, kind
        low, middle, high = principals.astype(float).quantile([0.1, 0.5, 0.9], "higher")
        for text, value in zip(found.groups(), (middle, low, high, principals.mean()), strict=True):
            # The next value, or a centavo that is cut off.
            assert float(text.replace(" ", "")) == pytest.approx(float(value), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("relation", "field"),
    [
        ("customers", "segment"),
        ("credit_cards", "brand"),
        ("banking.card-transactions", "entry_mode"),
    ],
)
def test_measured_shares_are_those_of_the_rows(
    frame: Callable[[str], pd.DataFrame], relation: str, field: str
) -> None:
    line = re.search(rf"- `{field}`.*\n.*Medido:(.*)", sections("pt")[relation])
    assert line is not None
    found = {
        name: float(share.replace(",", "."))
        for name, share in re.findall(r"(\w+) ([\d,]+)%", line[1])
    }
    shares = frame(relation)[field].value_counts(normalize=True)
    assert found == pytest.approx({name: 100 * shares[name] for name in shares.index}, abs=0.051)


@pytest.mark.slow
def test_measured_times_are_those_of_the_rows(frame: Callable[[str], pd.DataFrame]) -> None:
    text = DOCUMENTS["en"].read_text(encoding="utf-8")
    weekdays, hours = (rows for rows in tables(text) if rows[0][0] in {"Mon", "00–01 h"})
    for column, stream, time in (
        (1, "banking.transactions", "occurred_at"),
        (2, "banking.card-transactions", "occurred_at"),
        (3, "banking.trades", "executed_at"),
    ):
        local = frame(stream)[time].dt.tz_convert("America/Sao_Paulo").dt
        for rows, parts in ((weekdays, local.day_of_week), (hours, local.hour)):
            shares = parts.value_counts(normalize=True)
            for part, row in enumerate(rows):
                found = float(row[column].strip("%") or 0)
                assert found == pytest.approx(100 * shares.get(part, 0), abs=0.051), row


@every_language
def test_the_diagram_has_each_foreign_key(language: str) -> None:
    text = DOCUMENTS[language].read_text(encoding="utf-8")
    diagram = re.search(r"```mermaid\nerDiagram\n(.*?)```", text, re.DOTALL)
    assert diagram is not None
    lines = re.findall(r'^  "?([\w.-]+?)"? (\S+) "?([\w.-]+?)"? : (\w+)$', diagram[1], re.MULTILINE)
    assert {(parent, child, field) for parent, _, child, field in lines} == {
        (key.table, relation.name, key.field)
        for relation in catalogue()
        for key in relation.foreign_keys
    }
    cardinality = {(child, field): line for _, line, child, field in lines}
    assert cardinality["loans", "property_id"] == "|o--o|"
    assert cardinality["accounts", "customer_id"] == "||--o{"
    assert cardinality["banking.trades", "stock_id"] == "||..o{"


def changed(relation: Relation, **attributes: Any) -> Any:
    """What stands in for a relation that the catalogue does not have."""
    there = {name: getattr(relation, name) for name in dir(relation) if not name.startswith("_")}
    return SimpleNamespace(**there | attributes)


def test_the_diagram_follows_the_catalogue() -> None:
    trades = catalogue()["banking.trades"]
    key = SimpleNamespace(field="trade_id", table="loans", only=None)
    more = changed(trades, foreign_keys=(*trades.foreign_keys, key))
    assert '  loans ||..o{ "banking.trades" : trade_id' in script.diagram([more])


def test_every_field_has_its_texts() -> None:
    assert script.gaps(TEXTS, script.documented(catalogue())) == []


def without_a_field(texts: dict[str, Any]) -> None:
    del texts["relations"]["customers"]["fields"]["cpf"]


def without_a_relation(texts: dict[str, Any]) -> None:
    del texts["relations"]["banking.trades"]


def with_a_strange_field(texts: dict[str, Any]) -> None:
    texts["relations"]["loans"]["fields"]["colour"] = {"meaning": "Cor", "en": "red", "pt": "cor"}


def with_a_strange_relation(texts: dict[str, Any]) -> None:
    texts["relations"]["pets"] = {"en": "Pets.", "pt": "Animais.", "fields": {}}


def without_a_language(texts: dict[str, Any]) -> None:
    del texts["relations"]["loans"]["fields"]["principal"]["pt"]


def without_a_meaning(texts: dict[str, Any]) -> None:
    del texts["relations"]["stocks"]["fields"]["isin"]["meaning"]


def with_a_strange_source(texts: dict[str, Any]) -> None:
    texts["relations"]["stocks"]["fields"]["isin"]["source"] = ["hearsay"]


def measured_by_a_number(texts: dict[str, Any]) -> None:
    texts["relations"]["loans"]["fields"]["principal"]["by"] = "term_months"


@pytest.mark.parametrize(
    ("tamper", "gap"),
    [
        (without_a_field, "customers.cpf: no texts"),
        (without_a_relation, "banking.trades: no texts"),
        (with_a_strange_field, "loans.colour: no such field"),
        (with_a_strange_relation, "pets: no such table or stream"),
        (without_a_language, "loans.principal: no pt"),
        (without_a_meaning, "stocks.isin: no meaning in Portuguese"),
        (with_a_strange_source, "stocks.isin: no source 'hearsay'"),
        (measured_by_a_number, "loans.principal: 'term_months' is not an enumeration of loans"),
    ],
)
def test_a_gap_in_the_texts_is_found(tamper: Callable[[dict[str, Any]], None], gap: str) -> None:
    texts = copy.deepcopy(TEXTS)
    tamper(texts)
    assert script.gaps(texts, script.documented(catalogue())) == [gap]


def test_a_new_field_of_the_catalogue_is_missed() -> None:
    first, *others = script.documented(catalogue())
    colour = SimpleNamespace(name="colour", type="text", nullable=False, doc="Colour", symbols=())
    relations = [changed(first, fields=(*first.fields, colour)), *others]
    assert script.gaps(TEXTS, relations) == ["customers.colour: no texts"]
