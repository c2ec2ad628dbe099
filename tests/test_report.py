"""`datagen report`: the page, what it fetches, what is told of a check that fails, and when it would."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from markupsafe import escape

from command import DATAGEN, Outcome, assert_failed, run
from datagen import Plan, cli, report
from datagen._files import write_whole
from datagen.report import (
    _calendar,
    _charts,
    _language,
    _measures,
    _reading,
    _rules,
    behaviour,
    figures,
    invariants,
    products,
)
from datagen.report._checks import Check, Result, enough
from datagen.report._reading import Portion

REPORT = (*DATAGEN, "report")
PLAN = Plan(42, 400)


FIGURES = (*figures.FIGURES, *behaviour.BEHAVIOUR, *products.SHARES)
RULES = (*products.PRODUCTS, *invariants.INVARIANTS)
SOURCES = Path(report.__file__).parent


def check(look: Any, *parts: Portion) -> Check:
    """What a figure or a rule says of these parts."""
    found = look.check([look.count(part) for part in parts], parts[0].plan)
    assert isinstance(found, Check)
    return found


@pytest.fixture(scope="module")
def bank() -> Portion:
    [part] = _reading.parts(PLAN)
    return part


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """A run of the command, and its page."""
    page = tmp_path_factory.mktemp("report") / "page.html"
    return run(*REPORT, "--customers", 400, "--out", page), page


# --- the page


class _Page(HTMLParser):
    """Tags with their attributes, and the text that is seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.seen: list[str] = []
        self.styles = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, _tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "style":
            self.styles += data
        elif self._within != "script":
            self.seen.append(data)


def test_the_page_fetches_nothing(made: tuple[Outcome, Path]) -> None:
    page = _Page(made[1].read_text(encoding="utf-8"))
    fetching = {"src", "srcset", "href", "data", "action", "poster", "background"}
    links = [given for tag, given in page.tags if tag == "a"]
    others = [(tag, given) for tag, given in page.tags if tag != "a" and fetching & given.keys()]
    assert others == []
    # A link fetches nothing until somebody follows it.
    assert len({given["href"] for given in links}) >= 14
    for given in links:
        assert given.keys() == {"href", "rel"}
        assert str(given["href"]).startswith("https://")
    fetched = {"link", "img", "image", "use", "iframe", "object", "base", "script"}
    assert fetched & {tag for tag, _ in page.tags} == set()
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    [policy] = [
        given["content"]
        for tag, given in page.tags
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_page_shows_every_chart_and_every_check(made: tuple[Outcome, Path]) -> None:
    text = made[1].read_text(encoding="utf-8")
    for chart in _charts.CHARTS:
        assert f"<h3>{escape(chart.name)}</h3>" in text
    assert text.count("<figure") == text.count("<figcaption>") == len(_charts.CHARTS)
    assert text.count('role="img"') >= len(_charts.CHARTS)
    for look in (*FIGURES, *RULES):
        assert f"<td>{escape(look.name)}</td>" in text
        assert escape(look.source) in text
    seen = " ".join(_Page(text).seen)
    # A value of each kind of figure, by its label.
    for word in ("SP", "85–89", "Júlia", "Gonçalves", "HIPERCARD", "CNPJ", "5977", "VALE3"):
        assert word in seen, word
    for relation in _reading.NAMES:
        assert f"<b>{PLAN.rows(relation):,}</b><span>{relation}</span>" in text


def test_the_last_line_agrees_with_the_page_and_the_exit_code(made: tuple[Outcome, Path]) -> None:
    outcome, page = made
    text = page.read_text(encoding="utf-8")
    told = re.search(r"(\d+) of (\d+) checks hold", outcome.lines[-1])
    assert told, str(outcome)
    assert outcome.lines[-1].startswith(f"Report: {page} (")
    assert told[0] in text
    failed = int(told[2]) - int(told[1])
    assert sum(line.startswith("  [FAIL] ") for line in outcome.lines) == failed
    assert ("What does not hold" in text) == bool(failed)
    assert outcome.code == (6 if failed else 0), str(outcome)
    assert list(page.parent.iterdir()) == [page]


@pytest.mark.slow
def test_the_same_seed_is_the_same_page(made: tuple[Outcome, Path], tmp_path: Path) -> None:
    again, other = tmp_path / "again.html", tmp_path / "other.html"
    run(*REPORT, "--customers", 400, "--out", again, PYTHONHASHSEED="1", POLARS_MAX_THREADS="1")
    assert again.read_bytes() == made[1].read_bytes()
    run(*REPORT, "--customers", 400, "--seed", 43, "--out", other)
    assert other.read_bytes() != again.read_bytes()


def test_parts_do_not_show() -> None:
    looks = (*FIGURES, *RULES)
    whole, apart = (list(_reading.parts(PLAN, size)) for size in (400, 90))
    assert len(apart) == 5
    for look in looks:
        assert check(look, *apart) == check(look, *whole)


@pytest.mark.parametrize("customers", [1, 7])
def test_a_few_customers_leave_checks_without_data_or_power(customers: int) -> None:
    found = report.measure(Plan(42, customers))
    assert found.silent
    assert all("nothing" in str(one.found) for one in found.silent)
    assert found.powerless
    assert all(one.holds is None for one in (*found.silent, *found.powerless, *found.unjudged))
    assert all(one.needs > customers for one in found.powerless)
    every = (found.known, found.silent, found.powerless, found.unjudged)
    assert sum(map(len, every)) == len(found.checks)


# --- what is told of a failure


def test_a_check_that_fails_is_told_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = _reading.parts

    def tampered(plan: Plan) -> Any:
        for part in honest(plan):
            yield changed(part, "accounts", {"balance": pl.col("balance") + 1})

    monkeypatch.setattr(_reading, "parts", tampered)
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit) as end:
        cli.main(["report", "--customers", "100", "--out", str(page)])
    assert end.value.code == 6
    name = "balance is balance_after of the last event"
    out, err = capsys.readouterr()
    assert f"  [FAIL] {name}: 1 of 149, such as " in out
    assert err.startswith("Error: ")
    assert str(page) in err
    row = (
        page.read_text(encoding="utf-8").partition(f"<tr><td>{name}</td>")[2].partition("</tr>")[0]
    )
    assert "1 of 149" in row
    assert ">FAILS<" in row


def test_a_page_that_is_there_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    assert run(*REPORT, "--customers", 1, "--out", page).err == ""
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize("target", ["page.html", "nowhere.html", os.devnull])
def test_a_link_is_not_written_through(tmp_path: Path, target: str) -> None:
    (tmp_path / "page.html").write_text("old")
    link = tmp_path / "link.html"
    link.symlink_to(target)
    outcome = run(*REPORT, "--customers", 1, "--out", link)
    assert_failed(outcome, 2, "--out", "link.html is a link; name the file itself")
    assert (tmp_path / "page.html").read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [link, tmp_path / "page.html"]


def test_a_link_that_comes_while_the_page_is_written_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious, page = tmp_path / "precious", tmp_path / "page.html"
    precious.write_text("old")
    fsync = os.fsync

    def plant(descriptor: int) -> None:
        page.symlink_to(precious)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", plant)
    write_whole(page, b"new")
    assert not page.is_symlink()
    assert (page.read_bytes(), precious.read_text()) == (b"new", "old")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--customers", "0"], ["--customers", "0 ", "1 to 99999990"]),
        (["--seed", "-1"], ["--seed", "-1 ", "0 to 18446744073709551615"]),
        (["--days", "0"], ["--days", "0 ", "1 to 2007"]),
        (["--as-of", "yesterday"], ["--as-of", "'yesterday'"]),
        (["--out", "-"], ["--out", "is no file here"]),
        (["--out", "nowhere/page.html"], ["--out", "nowhere is no folder"]),
        (["--out", "/"], ["--out", "directory"]),
        (["--customers", str(2**70)], ["--customers", str(2**70), "1 to 99999990"]),
        (["--seed", str(10**30)], ["--seed", str(10**30), "0 to 18446744073709551615"]),
        (["--days", str(-(10**30))], ["--days", str(-(10**30)), "1 to 2007"]),
        (["--out", os.devnull], ["--out", os.devnull, "no file"]),
    ],
)
def test_wrong_usage(options: list[str], words: list[str]) -> None:
    outcome = run(*REPORT, *options)
    assert_failed(outcome, 2, *words)
    assert outcome.out == "", "found only after the work"


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    outcome = run(*REPORT, "--customers", 1, "--out", tmp_path / ("x" * 300))
    assert_failed(outcome, 2, "--out", "too long")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["jinja2", "markupsafe", "polars"])
def test_without_the_extra_its_name_is_told(package: str, tmp_path: Path) -> None:
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n"
    )
    page = tmp_path / "page.html"
    outcome = run(*REPORT, "--out", page, PYTHONPATH=str(tmp_path))
    assert_failed(outcome, 3, "pip install 'datagen[report]'")
    assert not page.exists()


# --- tolerances


def of_labels(labels: list[str], entities: list[int]) -> _measures.Shares:
    frame = pl.DataFrame({"label": labels, "entity": entities})
    return _measures.Shares(lambda _: frame)


def found_by(
    measure: _measures.Measure, part: Portion, label: str, percent: float
) -> _measures.Found:
    sums = _reading.gather([measure.count(part)], "label")
    found = measure.found(label, _measures.Range(percent, percent), sums)
    assert found is not None
    return found


def test_tolerance_of_a_share_is_that_of_its_sample(bank: Portion) -> None:
    n = 10_000
    labels = ["a" if row % 10 < 3 else "b" for row in range(n)]
    found = found_by(of_labels(labels, list(range(n))), bank, "a", 30)
    assert found.value == pytest.approx(30)
    chance = 100 * 4.5 * math.sqrt(0.3 * 0.7 / n)
    assert chance < found.tolerance < 1.1 * chance
    # Rows that come ten at a time say as much as a tenth of them.
    tens = [label for label in labels[: n // 10] for _ in range(10)]
    found = found_by(of_labels(tens, [row // 10 for row in range(n)]), bank, "a", 30)
    assert found.value == pytest.approx(30)
    assert math.sqrt(10) * chance < found.tolerance < 1.2 * math.sqrt(10) * chance


def test_tolerance_of_a_mean_and_of_a_median(bank: Portion) -> None:
    values = [100 * (1 + row % 100) for row in range(10_000)]
    frame = pl.DataFrame({"y": values, "n": 1, "label": ""})
    mean = found_by(_measures.Means(lambda _: frame, spread=0.1, scale=100), bank, "", 50)
    assert mean.value == pytest.approx(50.5)
    assert mean.tolerance == pytest.approx(4.5 * 28.87 / 100, rel=0.01)
    amounts = pl.DataFrame({"value": values})
    median = found_by(_measures.Median(lambda _: amounts, scale=100), bank, "", 50)
    # 225 of 10 000 ranks, of which each hundred is R$ 1.
    assert median.value == 50
    assert 2 <= median.tolerance <= 3


@pytest.mark.parametrize(
    ("customers", "rows", "holds"),
    [(100, 70, True), (100, 71, False), (107, 75, True), (107, 95, False)],
)
def test_rows_are_exact_for_whole_blocks(customers: int, rows: int, *, holds: bool) -> None:
    sums = pl.DataFrame(
        {"label": ["CORRENTE", "credit_cards"], "y": [customers, rows], "n": [customers] * 2}
    )
    found = _measures.Rows().found("credit_cards", _measures.Range(0.7, 0.7), sums)
    assert found is not None
    assert (abs(found.value - 0.7) <= found.tolerance) == holds


# --- days


def test_easter_and_holidays() -> None:
    easters = ["2000-04-23", "2008-03-23", "2011-04-24", "2024-03-31", "2025-04-20", "2026-04-05"]
    for day in (*easters, "2027-03-28", "2049-04-18", "2076-04-19", "2099-04-12"):
        easter = date.fromisoformat(day)
        assert _calendar.easter(easter.year) == easter
    closed = {"01-01", "02-16", "02-17", "04-03", "04-21", "05-01", "06-04", "09-07", "10-12"}
    closed |= {"11-02", "11-15", "11-20", "12-25"}
    assert {f"{day:%m-%d}" for day in _calendar.bank_holidays(2026)} == closed
    days = _calendar.session_days(date(2026, 12, 21), date(2026, 12, 31))
    assert [day.day for day in days] == [21, 22, 23, 28, 29, 30]


def test_the_session_follows_new_york() -> None:
    ends = {
        "2026-03-06": 17,
        "2026-03-09": 16,
        "2026-10-30": 16,
        "2026-11-03": 17,
        "2025-11-03": 17,
    }
    for day, hour in ends.items():
        opens, closes = _calendar.session(date.fromisoformat(day))
        assert (opens.hour, closes.hour, closes.minute) == (10, hour, 55), day
    assert _calendar.session(date(2026, 2, 18))[0].hour == 13  # Ash Wednesday


def test_no_session_no_trades() -> None:
    weekend = Plan(1, 10, as_of="2026-06-29T12:59:00Z", days=2)
    opened = Plan(1, 10, as_of="2026-06-29T13:01:00Z", days=2)
    [trades] = [one for one in figures.FIGURES if one.name.startswith("Trades an")]
    assert [
        [value.high for value in trades.published(plan).values()] for plan in (weekend, opened)
    ] == [
        [0],
        [pytest.approx(20 * 2 / 90)],
    ]


# --- every check fails when it should

Values = Mapping[str, Any]
Tamper = tuple[str, Values] | tuple[str, Values, pl.Expr]


def changed(part: Portion, relation: str, values: Values, where: pl.Expr | None = None) -> Portion:
    """With other values in the first row, or the first one where something holds."""
    frame = part[relation]
    rows = frame if where is None else frame.with_row_index("at").filter(where)
    at = 0 if where is None else rows["at"][0]
    here = pl.int_range(pl.len()) == at
    new = {
        name: pl.when(here)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value, frame.schema[name]))
        .otherwise(pl.col(name))
        for name, value in values.items()
    }
    return Portion(part.plan, {**part.frames, relation: frame.with_columns(**new)})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOBODY = bytes(16)
LONG_AGO, SUNDAY, LATER = utc("1980-01-01T12:00"), utc("2026-06-28T15:00"), utc("2026-07-01T00:00")
SECOND = pl.int_range(pl.len()) == 1
PIX = pl.col("transaction_type") == "PIX"
DEBIT = pl.col("direction") == "DEBIT"
FROM_SP = pl.col("state") == "SP"
HOUSING = pl.col("loan_type") == "HOUSING"
TRANSACTIONS, PURCHASES = "banking.transactions", "banking.card-transactions"
TRADES, INSTALLMENTS = "banking.trades", "banking.installments"
INSTANTS = {
    TRANSACTIONS: "occurred_at",
    PURCHASES: "occurred_at",
    TRADES: "executed_at",
    INSTALLMENTS: "occurred_at",
}
KEYS = {
    TRANSACTIONS: "account_id",
    PURCHASES: "card_id",
    TRADES: "account_id",
    INSTALLMENTS: "loan_id",
}

TAMPERED: dict[str, Tamper] = {
    "Opening balance + COMPLETED movements = balance_after, at each event": (
        TRANSACTIONS,
        {"amount": pl.col("amount") + 1},
        pl.col("status") == "COMPLETED",
    ),
    "balance is balance_after of the last event": ("accounts", {"balance": pl.col("balance") + 1}),
    "A balance is never below −overdraft_limit": (
        "accounts",
        {"overdraft_limit": -1_000_000_000},
    ),
    "DECLINED and REVERSED movements move no money": (
        TRANSACTIONS,
        {"balance_after": pl.col("balance_after") - 1},
        pl.col("status") == "REVERSED",
    ),
    "Approved purchases of a billing cycle are within credit_limit": (
        PURCHASES,
        {"amount": 10**9},
        pl.col("status") == "APPROVED",
    ),
    "available_limit is at most what the open cycle leaves": (
        "credit_cards",
        {"available_limit": pl.col("available_limit") + 1},
        # Of one on which nothing is owed.
        pl.col("available_limit") == pl.col("credit_limit"),
    ),
    "A position in a stock is never below zero": (TRADES, {"side": "SELL"}),
    "Principal over all installments is the loan's, and never more": (
        "loans",
        {"principal": pl.col("principal") - 1},
        pl.col("status") == "SETTLED",
    ),
    "Installments are numbered from 1 and due month by month": (
        INSTALLMENTS,
        {"due_date": pl.col("due_date") + timedelta(1)},
    ),
    "Interest is the month's rate on what is owed": (
        INSTALLMENTS,
        {"interest_amount": pl.col("interest_amount") + 1},
    ),
    "Late fee is 2% and 1% a month by the day, and paid in full": (
        INSTALLMENTS,
        {"amount_paid": pl.col("amount_paid") + 1},
    ),
    "HOUSING ⇔ property; at most 80% of its value": ("loans", {"loan_type": "VEHICLE"}, HOUSING),
    "A property secures one loan": (
        "loans",
        {"property_id": pl.col("property_id").drop_nulls().first()},
        HOUSING & (pl.col("property_id") != pl.col("property_id").drop_nulls().first()),
    ),
    "Accounts are opened once the customer has joined": ("accounts", {"opened_at": LONG_AGO}),
    "Cards are issued once the customer has joined": ("credit_cards", {"issued_at": LONG_AGO}),
    "Loans are contracted once the customer has joined": ("loans", {"contracted_at": LONG_AGO}),
    "No transaction before its account is opened": (TRANSACTIONS, {"occurred_at": LONG_AGO}),
    "No trade before its account is opened": (TRADES, {"executed_at": LONG_AGO}),
    "No purchase before its card is issued": (PURCHASES, {"occurred_at": LONG_AGO}),
    "No installment before its loan is contracted": (INSTALLMENTS, {"occurred_at": LONG_AGO}),
    **{
        f"Events of {stream} are within the history": (stream, {instant: LATER})
        for stream, instant in INSTANTS.items()
    },
    **{
        f"Times of one {key} in {stream} do not go back": (stream, {INSTANTS[stream]: LATER})
        for stream, key in KEYS.items()
    },
    "TED only on business days, from 7:00 to 17:00": (
        TRANSACTIONS,
        {"occurred_at": SUNDAY},
        pl.col("transaction_type") == "TED",
    ),
    # Who pays by their own hand does so on any day.
    "Installments of a payroll are deducted on business days": (
        "loans",
        {"loan_type": "PAYROLL"},
        HOUSING & (pl.col("contracted_at") < utc("2022-01-01T00:00")),
    ),
    "Pix sent from 20:00 to 6:00 is at most R$ 1 000": (
        TRANSACTIONS,
        {"occurred_at": utc("2026-06-29T02:00"), "amount": 100_001},
        PIX & DEBIT,
    ),
    "A Pix has an end_to_end_id with its minute, others none": (
        TRANSACTIONS,
        {"occurred_at": pl.col("occurred_at") + timedelta(minutes=1)},
        PIX,
    ),
    "Trades only in the session, 10:00 to 16:55, or 17:55 in the winter of New York": (
        TRADES,
        {"executed_at": utc("2026-06-29T19:55")},
    ),
    "Trades settle two sessions later": (
        TRADES,
        {"settlement_date": pl.col("settlement_date") + timedelta(1)},
    ),
    "Round lots of 100, odd lots of 1 to 99 as ticker F": (
        TRADES,
        {"ticker": pl.col("ticker") + "F"},
        pl.col("quantity") >= 100,
    ),
    "CPF check digits": ("customers", {"cpf": "52998224724"}),
    # 111.444.777-35 has the digits of Rio.
    "Ninth digit of a CPF is the state's region": ("customers", {"cpf": "11144477735"}, FROM_SP),
    "DDD of a mobile phone is of the state": ("customers", {"phone": "+5511987654321"}, ~FROM_SP),
    "CEP of a customer is of the state": ("customers", {"postal_code": "20000000"}, FROM_SP),
    "CEP of a property is of the state": ("properties", {"postal_code": "20000000"}, FROM_SP),
    "Customers join as adults": ("customers", {"birth_date": date(2020, 1, 1)}),
    "Card numbers pass Luhn": ("credit_cards", {"card_number": "4111111111111112"}),
    "Card numbers have prefix and length of their brand": (
        "credit_cards",
        # Begins with 4, and is an Elo.
        {"brand": "VISA", "card_number": "4389350000000000"},
    ),
    **{
        f"{relation}.{field} is one of {table}": (relation, {field: NOBODY})
        for relation, field, table in (
            ("accounts", "customer_id", "customers"),
            ("credit_cards", "customer_id", "customers"),
            ("loans", "customer_id", "customers"),
            ("loans", "property_id", "properties"),
            (TRANSACTIONS, "account_id", "accounts"),
            (PURCHASES, "card_id", "credit_cards"),
            (TRADES, "account_id", "accounts"),
            (TRADES, "stock_id", "stocks"),
            (INSTALLMENTS, "loan_id", "loans"),
        )
    },
    "Ids of all tables and streams are unique": (
        TRADES,
        {"trade_id": pl.col("trade_id").first()},
        SECOND,
    ),
    **{
        f"{table}.{column} is unique": (table, {column: pl.col(column).first()}, SECOND)
        for table, column in (
            ("customers", "cpf"),
            ("customers", "email"),
            ("credit_cards", "card_number"),
            ("accounts", "account_number"),
            ("properties", "registration_number"),
        )
    },
    "A stock has one price in a minute": (
        TRADES,
        {
            "ticker": pl.col("ticker").first(),
            "executed_at": pl.col("executed_at").first(),
            "unit_price": pl.col("unit_price").first() + 1,
        },
        SECOND,
    ),
}


@pytest.mark.parametrize("rule", invariants.INVARIANTS, ids=lambda rule: str(rule.name))
def test_an_invariant_notices(rule: Any, bank: Portion) -> None:
    assert check(rule, bank).holds
    found = check(rule, changed(bank, *TAMPERED[rule.name]))
    assert found.holds is False
    assert not str(found.found).startswith("0 "), found


def test_an_account_that_does_not_invest_has_no_trades(bank: Portion) -> None:
    [rule] = [one for one in invariants.INVARIANTS if one.name.startswith(f"{TRADES}.account_id")]
    checking = bank["accounts"].filter(pl.col("account_type") == "CORRENTE")["account_id"][0]
    assert check(rule, changed(bank, TRADES, {"account_id": checking})).holds is False


def everywhere(relation: str, **values: Any) -> Callable[[Portion], Portion]:
    """With other values in every row."""
    return lambda part: Portion(
        part.plan, {**part.frames, relation: part[relation].with_columns(**values)}
    )


def without(relation: str, where: pl.Expr) -> Callable[[Portion], Portion]:
    """Without the rows where something holds."""
    return lambda part: Portion(part.plan, {**part.frames, relation: part[relation].filter(~where)})


def high_scores_for_the_late(part: Portion) -> Portion:
    late = part["loans"].select("customer_id", late=pl.col("status") == "DEFAULTED")
    customers = part["customers"].join(late, on="customer_id", how="left")
    score = pl.when("late").then(1000).otherwise(0)
    return Portion(
        part.plan, {**part.frames, "customers": customers.with_columns(credit_score=score)}
    )


def scores_that_follow_the_limit(part: Portion) -> Portion:
    """The more of a limit is used, the higher the score."""
    used = (1_000 - 1_000 * pl.col("available_limit") // pl.col("credit_limit")).clip(0, 1_000)
    cards = part["credit_cards"].select("customer_id", credit_score=used)
    customers = part["customers"].drop("credit_score").join(cards, on="customer_id", how="left")
    return Portion(
        part.plan, {**part.frames, "customers": customers.with_columns(pl.col("credit_score"))}
    )


FEW = pl.int_range(pl.len()) % 2 == 0
EVERY = pl.lit(value=True)
#: Incomes that have to do with nothing.
ALIKE = 200_000 + pl.int_range(pl.len()) * 7_919 % 1_000_003
#: Amounts that nobody chooses.
UNEVEN = pl.col("amount") // 100 * 100 + 13
TILTED: dict[str, Callable[[Portion], Portion]] = {
    "Rows for each customer": without("loans", pl.int_range(pl.len()) == 0),
    "Customers who join the bank and who leave it": everywhere("accounts", status=pl.lit("ACTIVE")),
    "Transactions a customer": without(TRANSACTIONS, FEW),
    "Purchases a card": without(PURCHASES, FEW),
    "Trades an INVESTIMENTOS account": without(TRADES, FEW),
    "Installments a loan": without(INSTALLMENTS, FEW),
    "Customers by state": without("customers", FROM_SP),
    "Adults by age": everywhere("customers", birth_date=pl.col("birth_date").dt.offset_by("-9y")),
    "Women's given names, among one another": without(
        "customers", pl.col("name").str.starts_with("Maria ")
    ),
    "Order of women's given names": everywhere(
        "customers", name=pl.col("name").str.replace("^Maria ", "Márcia ")
    ),
    "Men's given names, among one another": without(
        "customers", pl.col("name").str.starts_with("José ")
    ),
    "Order of men's given names": everywhere(
        "customers", name=pl.col("name").str.replace("^José ", "Felipe ")
    ),
    "Last surnames, among one another": everywhere(
        "customers", name=pl.col("name").str.replace("Silva", "Santos")
    ),
    "Politically exposed customers": everywhere("customers", pep=FEW),
    "Card brands": everywhere("credit_cards", brand=pl.lit("VISA")),
    "Pix keys that customers registered": without("accounts", pl.col("pix_key_type") == "EVP"),
    "Pix keys that customers paid to": everywhere(TRANSACTIONS, pix_key_type=pl.lit("EVP")),
    "Mean Pix": everywhere(TRANSACTIONS, amount=pl.col("amount") * 3),
    "Median Pix": everywhere(TRANSACTIONS, amount=pl.col("amount") * 3),
    "Pix that persons send to firms, of those to persons and firms": without(
        TRANSACTIONS, pl.col("counterparty_document").str.starts_with("*") & FEW
    ),
    "Pix that stay inside the bank": everywhere(
        TRANSACTIONS, counterparty_ispb=pl.col("end_to_end_id").str.slice(1, 8)
    ),
    "TED for each 100 Pix": without(TRANSACTIONS, PIX & (pl.int_range(pl.len()) % 10 != 0)),
    "Mean TED of a person": everywhere(TRANSACTIONS, amount=pl.col("amount") * 40),
    "Movements ordered by phone": everywhere(TRANSACTIONS, channel=pl.lit("MOBILE")),
    "Movements ordered by phone or internet": everywhere(TRANSACTIONS, channel=pl.lit("ATM")),
    "Card purchases by category (MCC)": without(PURCHASES, pl.col("mcc") == "5912"),
    "Contactless, of purchases in person": everywhere(PURCHASES, entry_mode=pl.lit("CHIP")),
    "In installments, of what is bought on credit": everywhere(
        PURCHASES, installments=pl.lit(1, pl.Int16)
    ),
    "Income of DF, by that of MA": everywhere("customers", monthly_income=ALIKE),
    "Women among investors": everywhere("customers", sex=pl.lit("F")),
    "Over 60 among investors": everywhere(
        "customers", birth_date=pl.col("birth_date").dt.offset_by("-40y")
    ),
    "Balance of loans more than 90 days late": everywhere("loans", status=pl.lit("DEFAULTED")),
    "Price of a square metre, flats": everywhere(
        "properties", appraised_value=pl.col("appraised_value") * 5
    ),
    "Price of a square metre, flats in São Paulo": everywhere(
        "properties", appraised_value=pl.col("appraised_value") * 5
    ),
    "Trades by stock": without(TRADES, pl.col("ticker").str.starts_with("VALE3")),
    "Loans by type": without("loans", HOUSING),
    "Mean rate a month": everywhere("loans", monthly_rate=pl.col("monthly_rate") * 11 // 10),
    "PERSONAL loans more than 90 days late, less all others": everywhere(
        "loans",
        status=pl.when(pl.col("loan_type") == "PERSONAL")
        .then(pl.lit("ACTIVE"))
        .otherwise(pl.lit("DEFAULTED")),
    ),
    "More than 90 days late with a score below 550, less above": high_scores_for_the_late,
    "Accounts without a movement in a month": without(TRANSACTIONS, EVERY),
    "Movements of an account in a month: variance by mean": without(
        TRANSACTIONS, ~pl.struct("account_id").is_first_distinct()
    ),
    "Trades of an investor: variance by mean": without(
        TRADES, ~pl.struct("account_id").is_first_distinct()
    ),
    "Balances of CORRENTE accounts, end by beginning": everywhere(
        "accounts", balance=10 * pl.col("opening_balance") + 100_000
    ),
    "Months with card spending above the income": everywhere(
        PURCHASES, amount=pl.col("amount") * 50
    ),
    "Median card spending in a month, of the income": everywhere(
        PURCHASES, amount=pl.col("amount") * 50
    ),
    "Score and used part of a card's limit, rank correlation": scores_that_follow_the_limit,
    "Income and mean Pix, rank correlation": everywhere("customers", monthly_income=ALIKE),
    "Income and number of movements, rank correlation": everywhere(
        "customers", monthly_income=ALIKE
    ),
    "Income and number of products, rank correlation": everywhere(
        "customers", monthly_income=ALIKE
    ),
    "Pix between persons in whole reais": everywhere(TRANSACTIONS, amount=UNEVEN),
    "Cash in tens of reais": everywhere(TRANSACTIONS, amount=UNEVEN),
    "Purchases in person away from home": everywhere(PURCHASES, merchant_city=pl.lit("Nowhere")),
    "Loans late that are later a month after": everywhere(
        INSTALLMENTS,
        paid_at=pl.when(pl.col("days_late") == 0).then(pl.col("paid_at")),
    ),
    "Borrowers in arrears who could pay": everywhere("accounts", balance=pl.lit(10**12)),
    "Score and default: area under the curve": high_scores_for_the_late,
    "Daily returns: correlation": everywhere(
        TRADES,
        unit_price=1_000
        + pl.struct("ticker", "trade_id").hash().cast(pl.Int64, strict=False).fill_null(7) % 1_000,
    ),
    "Salaries of a month that are about the income": everywhere(
        TRANSACTIONS, amount=pl.col("amount") * 3
    ),
    "Visits to a card's own supermarket": everywhere(
        PURCHASES, merchant_id=pl.col("card_transaction_id")
    ),
    "Card bills paid in full": everywhere(TRANSACTIONS, amount=pl.col("amount") + 5_000),
}


@pytest.fixture(scope="module")
def town() -> Portion:
    """Large enough for rare things to be missed."""
    [part] = _reading.parts(Plan(42, 5_000))
    return part


@pytest.mark.parametrize(
    "figure", [one for one in FIGURES if one.judged], ids=lambda figure: str(figure.name)
)
def test_a_figure_notices(figure: _measures.Figure, town: Portion) -> None:
    assert check(figure, TILTED[figure.name](town)).holds is False


@pytest.mark.parametrize(
    "figure", [one for one in FIGURES if not one.judged], ids=lambda figure: str(figure.name)
)
def test_a_figure_that_is_not_judged_says_why(figure: _measures.Figure, town: Portion) -> None:
    found = check(figure, town)
    assert found.result is Result.BESIDE
    assert found.why
    assert found.link or found.source == figures.PROMISE
    assert any(letter.isdigit() for letter in str(found.found))


# --- power


def test_a_sample_that_is_too_small_says_how_many_it_takes(bank: Portion) -> None:
    def coin(customers: int) -> Check:
        rows = pl.DataFrame({"label": ["", None] * (customers // 2), "entity": range(customers)})
        figure = _measures.Figure(
            "Heads", "a coin", _measures.Shares(lambda _: rows), _measures.between(50, 50)
        )
        return figure.check([figure.count(bank)], Plan(1, customers))

    few, many = coin(60), coin(400)
    assert few.result is Result.POWERLESS
    assert str(few.word) == f"needs {few.needs} customers"
    # So that 4.5 standard errors, with Bernstein's term, are half of what is published: 130 customers.
    assert 130 <= few.needs <= 160
    assert coin(few.needs).holds
    assert many.holds


def test_what_is_beyond_the_tolerance_fails_without_power_too(bank: Portion) -> None:
    rows = pl.DataFrame({"label": [""] * 40, "entity": range(40)})
    shares = _measures.Shares(lambda _: rows)
    figure = _measures.Figure("Heads", "a coin", shares, _measures.between(10, 10))
    assert figure.check([figure.count(bank)], Plan(1, 40)).holds is False


@pytest.mark.parametrize(
    ("rows", "broken", "result"),
    [
        (0, 0, Result.NOTHING),
        (29, 0, Result.POWERLESS),
        (30, 0, Result.HOLDS),
        (3, 1, Result.FAILS),
    ],
)
def test_no_exception_among_a_few_rows_is_no_claim(
    rows: int, broken: int, result: Result, bank: Portion
) -> None:
    frame = pl.DataFrame({"id": [f"{n}" for n in range(rows)]}, schema={"id": pl.String})
    holds = pl.int_range(pl.len()) >= broken
    rule = _rules.Rule("Even", "nowhere", lambda _: frame.select("id", holds=holds))
    found = check(rule, bank)
    assert found.result is result
    assert bool(found.needs) == (result is Result.POWERLESS)


def test_numbers_of_customers_are_round() -> None:
    assert [enough(400, times) for times in (1.01, 2.51, 100.3)] == [410, 1_100, 41_000]
    assert enough(1, 1.5) == 2


# --- languages


def test_every_text_has_its_portuguese() -> None:
    """Also those that only some data brings up."""
    known = _language.portuguese()
    said = {
        found
        for path in (*SOURCES.glob("*.py"), *SOURCES.glob("*.jinja"))
        for found in re.findall(r"\b(?:say|t)\(\s*\"([^\"]+)\"", path.read_text("utf-8"))
    }
    assert len(said) > 50
    for look in (*FIGURES, *RULES):
        said |= {look.name, look.source}
    for figure in FIGURES:
        said |= {figure.why, figure.unit} - {"", "%", "R$"}
    for chart in _charts.CHARTS:
        said |= {chart.name, chart.note}
    assert said - known.keys() == set()


def test_a_text_and_its_portuguese_have_the_same_braces() -> None:
    for english, portuguese in _language.portuguese().items():
        braces = [sorted(re.findall(r"{\w+}", text)) for text in (english, portuguese)]
        assert braces[0] == braces[1], english


def test_the_page_in_portuguese(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = run(*REPORT, "--customers", 20, "--language", "pt", "--out", page)
    assert re.search(r"\d+ of \d+ checks hold", outcome.lines[-1]), str(outcome)
    text = page.read_text("utf-8")
    assert '<html lang="pt-BR">' in text
    assert "R$ 1.0" in text or "1.621" in text or re.search(r"\d,\d%", text)
    seen = " ".join(_Page(text).seen)
    for word in ("Valores publicados", "Encontrado", "precisa de", "clientes"):
        assert word in seen, word
    for word in ("Published", "checks hold", "needs "):
        assert word not in seen, word


def test_numbers_in_both_languages() -> None:
    portuguese = _language.language("pt")
    number = _language.say("{number}", number=_language.Number(-1234.5, 2, before="R$ "))
    assert str(number) == "R$ −1,234.50"
    assert portuguese.say(number) == "R$ −1.234,50"
    assert portuguese.number(-0.001, 2) == "0,00"
    with pytest.raises(KeyError):
        portuguese.say(_language.say("a text that nobody has translated"))
