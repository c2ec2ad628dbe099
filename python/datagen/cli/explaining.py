"""``explain``: what an id is of, whose it is, and how it came about."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import click

from .load_options import options_named, plan_from, plan_options
from .rows import print_record, print_table
from .values import as_json, as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..explanation import Explanation, Moment

__all__ = ["explain"]

#: Rows of another entity that are shown one by one; more are counted.
_SHOWN: Final = 5
#: What makes each kind of row known.
_TITLES: Final = {
    "accounts": ("account_type", "account_number"),
    "credit_cards": ("brand", "card_number"),
    "loans": ("loan_type", "principal"),
    "properties": ("property_type", "registration_number"),
}


@click.command(
    name="explain",
    short_help="Say what an id is of, and show its customer's life.",
    epilog="Example: datagen explain 123.456.789-09 --customers 1000 --format timeline",
    params=[
        click.Argument(["id"], metavar="ID"),
        *plan_options(customers=100),
        click.Option(
            ["--format"],
            type=click.Choice(("table", "json", "timeline")),
            default="table",
            show_default=True,
            help="Text for reading, one JSON object, or all that happened, a line each.",
        ),
    ],
)
def explain(**options: Any) -> None:
    """Say what ID is of, whose it is, and how it came about.

    ID is the id of a customer, account, card, loan, property, stock, merchant or event; a CPF, an e-mail address, a
    telephone from +55 on, a registered Pix key, the number of an account or a card, the registration of a property, or a
    ticker. Nothing is connected to: all follows from the plan, whose options are those of the load. It takes the time of
    one customer's rows, wherever in the bank.
    """
    from ..explanation import explain as explained

    with options_named({"id": "ID"}):
        found = explained(plan_from(options), options["id"])
    if options["format"] == "json":
        click.echo(as_json(_as_values(found)))
    elif options["format"] == "timeline":
        for moment in found.life:
            click.echo(_line(moment))
    else:
        _print(found)


def _as_values(found: Explanation) -> dict[str, Any]:
    relation = found.found.relation
    return {
        "id": found.found.id,
        "relation": relation.name if relation else None,
        "row": found.found.row,
        "k": found.found.k,
        "entity": found.entity,
        "customer": {"row": found.found.customer, **found.customer} if found.customer else None,
        "household": found.household,
        **found.belongings,
        "before": found.before,
        "after": found.after,
        "joined": [vars(one) for one in found.joined],
        "life": [vars(one) for one in found.life],
    }


def _line(moment: Moment) -> str:
    amount = "" if moment.amount is None else f"{moment.amount:,}"
    at = f"{moment.at:%Y-%m-%d %H:%M:%S}"
    return f"{at}  {moment.of:<13}  {moment.what:<17}  {amount:>13}  {moment.details}".rstrip()


def _print(found: Explanation) -> None:
    where, relation = found.found, found.found.relation
    kind = relation.singular if relation else "merchant"
    owner = "" if where.customer is None else f" of customer {where.customer:,}"
    if relation is not None and relation.name == "customers":
        title = f"customer {where.row:,}"
    else:
        nth = "" if where.k is None else f", event {where.k:,} of its {_key_word(relation.key)}"  # type: ignore[union-attr]
        title = f"{kind}{owner}{nth}"
    print_record(title, _texts(found.entity))
    if not found.customer:
        return
    _print_events(found)
    if relation is not None and relation.name != "customers":
        print_record(f"customer {where.customer:,}", _texts(found.customer))
    if len(found.household) > 1:
        lives = {f"{one['tie'].lower()} {one['row']}": one["name"] for one in found.household}
        print_record("household", lives)
    for table, rows in found.belongings.items():
        for row in rows:
            _print_belonging(table, row)
    _print_months(found.life)


def _key_word(key: str) -> str:
    return key.removesuffix("_id")


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_text(value) for name, value in row.items() if value is not None}


def _print_events(found: Explanation) -> None:
    """The events around one, and what it belongs with."""
    relation = found.found.relation
    around = {"before": found.before, "after": found.after}
    for how, row in around.items():
        if row is not None and relation is not None:
            print_record(how, _short(relation.name, row))
    by_how: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in found.joined:
        by_how.setdefault((one.how, one.relation), []).append(one.row)
    for (how, name), rows in by_how.items():
        for row in rows[:_SHOWN]:
            print_record(how, _short(name, row))
        if len(rows) > _SHOWN:
            print_record(f"{how}: all", {"events": str(len(rows)), **_sum_of(rows)})


def _sum_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What purchases or movements come to; trades are bought and sold."""
    amounts = [row["amount"] for row in rows if "amount" in row]
    return {"amount": as_text(sum(amounts, Decimal("0.00")))} if amounts else {}


def _short(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    """What tells a row: its id, time, kind and amount."""
    from ..types import catalogue

    relation = catalogue()[name]
    wanted = {relation.primary_key, relation.time, relation.key, "customer_id"}
    wanted |= {"transaction_type", "direction", "amount", "status", "description", "merchant_name"}
    wanted |= {"side", "ticker", "gross_amount", "installment_number", "amount_paid", "paid_at"}
    wanted |= {"payment_status", "brand", "closing_day", "due_day", "loan_type", "principal"}
    return _texts({key: value for key, value in row.items() if key in wanted})


def _print_belonging(table: str, row: Mapping[str, Any]) -> None:
    from ..types import catalogue

    kind, number = (as_text(row[name]) for name in _TITLES[table])
    relation = catalogue()[table]
    left_out = {"customer_id", "states", "events", *_TITLES[table]}
    values = _texts({name: value for name, value in row.items() if name not in left_out})
    for place, state in enumerate(row["states"], 1):
        parts = [as_text(value) for name, value in state.items() if name != "since" and value]
        values[f"state {place}"] = f"{', '.join(parts)} since {as_text(state['since'])}"
    values |= {name: as_text(value) for name, value in row["events"].items()}
    print_record(f"{relation.singular} {kind} {number}", values)


def _print_months(life: Iterable[Moment]) -> None:
    """What happened, by month and by what it happened to."""
    months: dict[tuple[str, str], list[Moment]] = {}
    for moment in life:
        months.setdefault((f"{moment.at:%Y-%m}", moment.of), []).append(moment)
    rows = []
    for (month, of), moments in sorted(months.items()):
        amounts = [one.amount for one in moments if one.amount is not None]
        came = sum((one for one in amounts if one > 0), Decimal("0.00"))
        went = -sum((one for one in amounts if one < 0), Decimal("0.00"))
        events = sum(1 for one in moments if one.event is not None)
        changes = [one.what for one in moments if one.event is None]
        rows.append(
            {
                "month": month,
                "of": of,
                "events": str(events),
                "in": f"{came:,}",
                "out": f"{went:,}",
                "besides": ", ".join(dict.fromkeys(changes)),
            }
        )
    if rows:
        print_table(rows, numbers=("events", "in", "out"))
