"""Writes docs/data-catalog.md from the catalogue in code (`make docs`)."""

from collections.abc import Iterator
from pathlib import Path

from datagen.types import Field, Relation, catalogue

TARGET = Path(__file__).parent.parent / "docs" / "data-catalog.md"

HEAD = """\
# Data catalogue

Written by `make docs` from the catalogue in code; version {version}.

Types: `uuid` is a version-4 UUID (`uuid` in PostgreSQL, string in Avro). `decimal(p,s)` is `numeric` in
PostgreSQL, `bytes` with logical type decimal in Avro, decimal128 in Arrow and a number in JSON; in memory it is
an integer of the smallest unit, so money is centavos. `instant` is `timestamptz`, `timestamp-millis` and
ISO-8601 with `Z`. Enumerations are text with a CHECK in PostgreSQL and enums in Avro. A nullable field is
a union with `null` first.

For N customers: accounts ≈ 1.495 N (every customer has a CORRENTE, 32.5% an INVESTIMENTOS, 17% a
POUPANCA), credit_cards 0.70 N, loans 0.35 N, properties 0.10 N, stocks always 42; these are exact
for multiples of 20. Over 90 days: transactions ≈ 20.2 N, card transactions ≈ 57.1 a card, trades 20 an
INVESTIMENTOS account; installments, from contract to the end of the history, ≈ 28.3 a loan.

What holds in every load: `opening_balance` plus the COMPLETED movements of an account is `balance_after` of
each event and `balance` in the end, never below −`overdraft_limit`; only `banking.transactions` moves it.
APPROVED purchases between two closing days stay within `credit_limit`. Trades happen inside B3's
session at one price a minute for everybody, and no position is short. Principal over all
installments of a loan is its principal. Nothing happens before an account is opened, a card issued
or a contract signed, or at `as_of` or later. An OVERDUE installment is reported by the last arrears run
(06:00) before `as_of`.
"""


def describe(field: Field) -> str:
    """The type of a field in one word or two."""
    if field.precision is not None:
        return f"decimal({field.precision},{field.scale})"
    if field.length is not None:
        return f"char({field.length})"
    return field.type


def lines(relation: Relation) -> Iterator[str]:
    """The section of a table or stream."""
    yield f"\n### {relation.name}\n"
    if relation.is_stream:
        yield f"Key `{relation.key}`, time `{relation.time}`, CloudEvents type `{relation.ce_type}`.\n"
    references = {key.field: key for key in relation.foreign_keys}
    yield "| field | type | null | meaning |\n|---|---|---|---|"
    for field in relation.fields:
        notes = [field.doc]
        if field.symbols:
            notes.append(", ".join(f"`{symbol}`" for symbol in field.symbols))
        if field.name == relation.primary_key and not relation.is_stream:
            notes.append("primary key")
        if field.name in relation.unique:
            notes.append("unique")
        if field.name in references:
            key = references[field.name]
            which = f" ({key.only[1]} only)" if key.only else ""
            notes.append(f"→ `{key.table}`{which}")
        null = "yes" if field.nullable else ""
        yield f"| `{field.name}` | {describe(field)} | {null} | {'; '.join(notes)} |"


def text() -> str:
    """The whole document."""
    parts = [HEAD.format(version=catalogue().version), "\n## Tables\n"]
    for relation in catalogue().tables:
        parts += lines(relation)
    parts.append("\n## Streams\n")
    for relation in catalogue().streams:
        parts += lines(relation)
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
