"""What holds for every row, as an independent reader of the data counts it anew.

A rule looks at the rows of a part of the customers, with all that belongs to them, so that balances,
limits and positions can be followed from the first event to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, time, timedelta

import polars as pl

from datagen._core import Plan

from . import _facts
from ._calendar import business_days, in_time, local_time, session_days, sessions
from ._reading import Portion, local
from ._rules import (
    CATALOGUE,
    INSTALLMENTS,
    PURCHASES,
    TRADES,
    TRANSACTIONS,
    Distinct,
    OnePrice,
    Rows,
    Rule,
    cycle,
)

KEY = "Unique key"


# --- rules


def _each(relation: str, holds: pl.Expr) -> Rows:
    """A rule about single rows; the first column is their id."""

    def rows(part: Portion) -> pl.DataFrame:
        frame = part[relation]
        return frame.select(id=frame.columns[0], holds=holds)

    return rows


def _resolves(relation: str, field: str, table: str, where: pl.Expr | None = None) -> Rows:
    """Every value of a foreign key is a key of a table, among the rows of it that count."""

    def rows(part: Portion) -> pl.DataFrame:
        parents = part[table] if where is None else part[table].filter(where)
        keys = parents.select(pl.col(parents.columns[0]).alias(field), holds=pl.lit(value=True))
        frame = part[relation].drop_nulls(field)
        children = frame.select(pl.col(frame.columns[0]).alias("id"), field)
        return children.join(keys, on=field, how="left")

    return rows


def _ledger(part: Portion) -> pl.DataFrame:
    """Transactions with the balance before and after, counted from the opening balance."""
    accounts = part["accounts"].select("account_id", "opening_balance", "overdraft_limit")
    signed = pl.when(pl.col("direction") == "CREDIT").then("amount").otherwise(-pl.col("amount"))
    moved = pl.when(pl.col("status") == "COMPLETED").then(signed).otherwise(0)
    after = pl.col("opening_balance") + pl.col("moved").cum_sum().over("account_id")
    return (
        part[TRANSACTIONS]
        .join(accounts, on="account_id", how="left", maintain_order="left")
        .with_columns(moved=moved)
        .with_columns(after=after)
        .with_columns(id="transaction_id", before=pl.col("after") - pl.col("moved"))
    )


def _balance_after(part: Portion) -> pl.DataFrame:
    return _ledger(part).select("id", holds=pl.col("after") == pl.col("balance_after"))


def _balance_at_end(part: Portion) -> pl.DataFrame:
    last = part[TRANSACTIONS].group_by("account_id").agg(pl.col("balance_after").last())
    accounts = part["accounts"].join(last, on="account_id", how="left")
    balance = pl.col("balance_after").fill_null(pl.col("opening_balance"))
    return accounts.select(id="account_id", holds=pl.col("balance") == balance)


def _above_overdraft(part: Portion) -> pl.DataFrame:
    lowest = part[TRANSACTIONS].group_by("account_id").agg(pl.col("balance_after").min())
    accounts = part["accounts"].join(lowest, on="account_id", how="left")
    balance = pl.min_horizontal("balance_after", "opening_balance", "balance")
    return accounts.select(id="account_id", holds=balance >= -pl.col("overdraft_limit"))


def _declined(part: Portion) -> pl.DataFrame:
    """Where nothing moves, the balance is that of the event before; only debits are declined."""
    previous = pl.col("balance_after").shift().over("account_id")
    before = previous.fill_null(pl.col("opening_balance"))
    debit = (pl.col("status") == "REVERSED") | (pl.col("direction") == "DEBIT")
    return (
        _ledger(part)
        .with_columns(holds=(pl.col("balance_after") == before) & debit)
        .filter(pl.col("status") != "COMPLETED")
    )


def _spending(part: Portion) -> pl.DataFrame:
    """Approved purchases by card and billing cycle."""
    cards = part["credit_cards"].select("card_id", "closing_day", "credit_limit")
    approved = part[PURCHASES].filter(pl.col("status") == "APPROVED")
    return (
        approved.join(cards, on="card_id", how="left")
        .group_by("card_id", "credit_limit", cycle=cycle(local("occurred_at")))
        .agg(spent=pl.col("amount").sum())
    )


def _within_limit(part: Portion) -> pl.DataFrame:
    return _spending(part).select(id="card_id", holds=pl.col("spent") <= pl.col("credit_limit"))


def _available_limit(part: Portion) -> pl.DataFrame:
    end = local_time(part.plan.as_of)
    cards = part["credit_cards"].with_columns(cycle=cycle(pl.lit(end)))
    joined = cards.join(_spending(part), on=["card_id", "cycle"], how="left")
    # Installments of later cycles and bills that are not paid may take more of it. Customers who leave have paid all.
    given_back = pl.col("status_reason").eq_missing("HOLDER_REQUEST")
    is_settled = given_back & (pl.col("available_limit") == pl.col("credit_limit"))
    spent = pl.when(is_settled).then(0).otherwise(pl.col("spent").fill_null(0))
    left = pl.col("credit_limit") - spent
    return joined.select(id="card_id", holds=pl.col("available_limit").is_between(0, left))


def _positions(part: Portion) -> pl.DataFrame:
    signed = pl.when(pl.col("side") == "BUY").then("quantity").otherwise(-pl.col("quantity"))
    held = signed.cum_sum().over("account_id", "stock_id")
    return part[TRADES].select(id="trade_id", holds=held >= 0)


def _principal(part: Portion) -> pl.DataFrame:
    paid = part[INSTALLMENTS].group_by("loan_id").agg(pl.col("principal_amount").sum(), n=pl.len())
    loans = part["loans"].join(paid, on="loan_id", how="left").fill_null(0)
    whole = pl.col("principal_amount") == pl.col("principal")
    begun = pl.col("principal_amount") < pl.col("principal")
    due = pl.col("n") == pl.col("term_months")
    return loans.select(id="loan_id", holds=pl.when(due).then(whole).otherwise(begun))


def _owed(part: Portion) -> pl.DataFrame:
    """Installments with what is owed before each, by the schedule."""
    loans = part["loans"].select(
        "loan_id", "principal", "monthly_rate", "term_months", "first_due_date", "contracted_at"
    )
    due = pl.col("principal_amount").cum_sum().over("loan_id")
    return (
        part[INSTALLMENTS]
        .join(loans, on="loan_id", how="left", maintain_order="left")
        .with_columns(
            id="installment_event_id",
            owed=pl.col("principal") - due + pl.col("principal_amount"),
            number=pl.int_range(1, pl.len() + 1).over("loan_id"),
        )
    )


def _numbered(part: Portion) -> pl.DataFrame:
    due = pl.col("first_due_date").dt.offset_by(pl.format("{}mo", pl.col("number") - 1))
    holds = (
        (pl.col("installment_number") == pl.col("number"))
        & (pl.col("number") <= pl.col("term_months"))
        & (pl.col("due_date") == due)
    )
    return _owed(part).select("id", holds=holds)


def _interest(part: Portion) -> pl.DataFrame:
    """The month's rate on what is owed, to the centavo."""
    exact = pl.col("owed") * pl.col("monthly_rate")
    off = (pl.col("interest_amount") * 1_000_000 - exact).abs()
    return _owed(part).select("id", holds=off <= 500_000)


def _late_fee(part: Portion) -> pl.DataFrame:
    """2% and 1% a month by the day on a late installment, each part rounded to the centavo.

    What is due on a day without banks is paid in time on the next business day.
    """
    installment = pl.col("principal_amount") + pl.col("interest_amount")
    days = pl.col("days_late").cast(pl.Int64)
    free = in_time(pl.col("due_date"), local("paid_at").dt.date())
    late = (days > 0) & ~free.fill_null(value=False)
    exact = pl.when(late).then(installment * (60 + days)).otherwise(0)
    off = (pl.col("late_fee") * 3_000 - exact).abs()
    due = installment + pl.col("late_fee")
    overdue = pl.col("payment_status") == "OVERDUE"
    paid = pl.when(overdue).then(0).otherwise(due) == pl.col("amount_paid")
    return part[INSTALLMENTS].select(id="installment_event_id", holds=(off <= 6_000) & paid)


def _mortgages(part: Portion) -> pl.DataFrame:
    """A loan for each property, of at most four fifths of its value, and for housing."""
    loans = part["loans"].select("loan_id", "loan_type", "property_id", "principal")
    properties = part["properties"].select("property_id", "appraised_value")
    joined = loans.join(properties, on="property_id", how="full", coalesce=True)
    secured = pl.col("property_id").is_not_null()
    ratio = 100 * pl.col("principal") <= 80 * pl.col("appraised_value")
    holds = pl.when(secured).then(ratio & (pl.col("loan_type") == "HOUSING"))
    return joined.select(
        id=pl.col("loan_id").fill_null(pl.col("property_id")),
        holds=holds.otherwise(pl.col("loan_type") != "HOUSING"),
    )


def _one_loan_each(part: Portion) -> pl.DataFrame:
    loans = part["loans"].drop_nulls("property_id").group_by("property_id").len()
    return loans.select(id="property_id", holds=pl.col("len") == 1)


def _not_before(stream: str, instant: str, table: str, key: str, begin: str) -> Rows:
    """Nothing happens before what it happens to has begun."""

    def rows(part: Portion) -> pl.DataFrame:
        begun = part[table].select(key, begin=begin)
        frame = part[stream]
        events = frame.select(pl.col(frame.columns[0]).alias("id"), key, at=instant)
        joined = events.join(begun, on=key, how="left")
        return joined.select("id", holds=pl.col("at") >= pl.col("begin"))

    return rows


def _within_history(stream: str, instant: str) -> Rows:
    def rows(part: Portion) -> pl.DataFrame:
        frame, plan = part[stream], part.plan
        start = plan.as_of - timedelta(plan.days)
        if stream == INSTALLMENTS:  # they run from the contract on
            holds = pl.col(instant) < plan.as_of
        else:
            holds = pl.col(instant).is_between(start, plan.as_of, closed="left")
        return frame.select(id=frame.columns[0], holds=holds)

    return rows


def _in_order(stream: str, key: str, instant: str) -> Rows:
    def rows(part: Portion) -> pl.DataFrame:
        frame = part[stream]
        before = pl.col(instant).shift().over(key)
        holds = (pl.col(instant) >= before).fill_null(value=True)
        return frame.select(id=frame.columns[0], holds=holds)

    return rows


def _days_of(plan: Plan, days: Callable[[date, date], list[date]]) -> list[date]:
    """Days of the history, and those on which its trades settle."""
    start = local_time(plan.as_of - timedelta(plan.days)).date()
    return days(start, local_time(plan.as_of).date() + timedelta(15))


def _ted(part: Portion) -> pl.DataFrame:
    teds = part[TRANSACTIONS].filter(pl.col("transaction_type") == "TED")
    days = _days_of(part.plan, business_days)
    at = local("occurred_at")
    open_at = at.dt.time().is_between(time(7), time(17), closed="left")
    return teds.select(id="transaction_id", holds=open_at & at.dt.date().is_in(days))


def _paid(part: Portion) -> pl.DataFrame:
    # The oldest contracts are of fifteen years before the history.
    last = local_time(part.plan.as_of).date()
    first = last - timedelta(part.plan.days + 16 * 366)
    deducted = part["loans"].filter(pl.col("loan_type") == "PAYROLL").select("loan_id")
    paid = part[INSTALLMENTS].filter(pl.col("paid_at").is_not_null())
    paid = paid.join(deducted, on="loan_id", how="semi")
    holds = local("paid_at").dt.date().is_in(business_days(first, last))
    return paid.select(id="installment_event_id", holds=holds)


def _night(part: Portion) -> pl.DataFrame:
    sent = (pl.col("transaction_type") == "PIX") & (pl.col("direction") == "DEBIT")
    day = local("occurred_at").dt.hour().is_between(6, 19)
    events = part[TRANSACTIONS].filter(sent & ~day)
    return events.select(id="transaction_id", holds=pl.col("amount") <= 100_000)


def _session(part: Portion) -> pl.DataFrame:
    days = _days_of(part.plan, session_days)
    trades = part[TRADES].with_columns(at=local("executed_at"), day=local("executed_at").dt.date())
    joined = trades.join(sessions(days), on="day", how="left")
    holds = (pl.col("at") >= pl.col("opens")) & (pl.col("at") < pl.col("closes"))
    return joined.select(id="trade_id", holds=holds)


def _settlement(part: Portion) -> pl.DataFrame:
    days = _days_of(part.plan, session_days)
    later = {"day": days[:-2], "due": days[2:]}
    settled = pl.DataFrame(later, schema={"day": pl.Date, "due": pl.Date})
    trades = part[TRADES].with_columns(day=local("executed_at").dt.date())
    joined = trades.join(settled, on="day", how="left")
    return joined.select(id="trade_id", holds=pl.col("settlement_date") == pl.col("due"))


def _lots(part: Portion) -> pl.DataFrame:
    stocks = part["stocks"].select("stock_id", of_stock="ticker")
    trades = part[TRADES].join(stocks, on="stock_id", how="left")
    quantity, odd = pl.col("quantity"), pl.col("ticker").str.ends_with("F")
    lot = pl.when(odd).then(quantity.is_between(1, 99)).otherwise(quantity % 100 == 0)
    holds = (
        lot
        & (quantity > 0)
        & (pl.col("gross_amount") == quantity * pl.col("unit_price"))
        & (pl.col("ticker").str.strip_suffix("F") == pl.col("of_stock"))
    )
    return trades.select(id="trade_id", holds=holds)


def _digit(text: pl.Expr, place: int) -> pl.Expr:
    return text.str.slice(place, 1).cast(pl.Int32, strict=False)


def _cpf_digits(cpf: pl.Expr) -> pl.Expr:
    """Whether both check digits are right: modulo 11, weights falling to 2."""
    digits = [_digit(cpf, place) for place in range(11)]
    right = cpf.str.len_bytes() == 11
    for last in (9, 10):
        rest = pl.sum_horizontal(digits[n] * (last + 1 - n) for n in range(last)) % 11
        right &= digits[last] == pl.when(rest < 2).then(0).otherwise(11 - rest)
    return right


def _luhn(number: pl.Expr) -> pl.Expr:
    """Whether a number of at most 16 digits passes; every second one counts double."""
    padded = number.str.zfill(16)
    total = pl.lit(0)
    for place in range(16):
        digit = _digit(padded, place)
        double = 2 * digit - pl.when(digit > 4).then(9).otherwise(0)
        total += double if place % 2 == 0 else digit
    return (total % 10 == 0) & number.str.len_bytes().is_between(15, 16)


def _by_state(values: dict[str, int | str]) -> pl.Expr:
    return pl.col("state").replace_strict(values, default=None)


def _region() -> pl.Expr:
    regions: dict[str, int | str] = {state: facts[0] for state, facts in _facts.STATES.items()}
    return _digit(pl.col("cpf"), 8) == _by_state(regions).cast(pl.Int32)


def _ddd() -> pl.Expr:
    codes: dict[str, int | str] = {state: facts[1] for state, facts in _facts.STATES.items()}
    phone = pl.col("phone")
    mobile = phone.str.contains(r"^\+55[1-9]{2}9[0-9]{8}$")
    return mobile & _by_state(codes).str.contains(phone.str.slice(3, 2), literal=True)


def _in_ranges(value: pl.Expr, ranges: Sequence[tuple[int, int]]) -> pl.Expr:
    return pl.any_horizontal(value.is_between(low, high) for low, high in ranges)


def _cep() -> pl.Expr:
    code = pl.col("postal_code").str.slice(0, 5).cast(pl.Int32, strict=False)
    within = pl.lit(value=False)
    for state, (_, _, ranges) in _facts.STATES.items():
        pairs = [pair.split("-") for pair in ranges.split()]
        inside = _in_ranges(code, [(int(low), int(high)) for low, high in pairs])
        within |= (pl.col("state") == state) & inside
    return within & (pl.col("postal_code").str.len_bytes() == 8)


def _prefix() -> pl.Expr:
    brand, number = pl.col("brand"), pl.col("card_number")
    first = number.str.slice(0, 6).cast(pl.Int32, strict=False)
    elo = _in_ranges(first, _facts.ELO)
    of_brand = {
        "VISA": _in_ranges(first, _facts.VISA) & ~elo,
        "MASTERCARD": _in_ranges(first, _facts.MASTERCARD),
        "ELO": elo,
        "HIPERCARD": _in_ranges(first, _facts.HIPERCARD),
        "AMEX": _in_ranges(first, _facts.AMEX),
    }
    right = pl.any_horizontal((brand == name) & holds for name, holds in of_brand.items())
    length = pl.when(brand == "AMEX").then(15).otherwise(16)
    return right & (number.str.len_bytes() == length)


def _adults(part: Portion) -> pl.DataFrame:
    joined = local("created_at").dt.date()
    adult = pl.col("birth_date").dt.offset_by("18y") <= joined
    return part["customers"].select(id="customer_id", holds=adult)


def _end_to_end(part: Portion) -> pl.DataFrame:
    is_pix = pl.col("transaction_type") == "PIX"
    start = "^E[0-9]{8}" + "[0-9]{12}" + "[0-9A-Za-z]{11}$"
    minute = pl.col("occurred_at").dt.strftime("%Y%m%d%H%M")
    written = pl.col("end_to_end_id").str.contains(start)
    right = written & (pl.col("end_to_end_id").str.slice(9, 12) == minute)
    holds = pl.when(is_pix).then(right).otherwise(pl.col("end_to_end_id").is_null())
    return part[TRANSACTIONS].select(id="transaction_id", holds=holds)


def _column(table: str, column: str) -> Callable[[Portion], pl.Series]:
    return lambda part: part[table][column]


def _ids(part: Portion) -> pl.Series:
    """Ids of all rows, but of the stocks, which are in every part."""
    frames = [frame for name, frame in part.frames.items() if name != "stocks"]
    return pl.concat([frame[frame.columns[0]].alias("id") for frame in frames])


_INVESTING = pl.col("account_type") == "INVESTIMENTOS"

INVARIANTS: tuple[Rule | Distinct | OnePrice, ...] = (
    Rule(
        "Opening balance + COMPLETED movements = balance_after, at each event",
        CATALOGUE,
        _balance_after,
    ),
    Rule("balance is balance_after of the last event", CATALOGUE, _balance_at_end),
    Rule("A balance is never below −overdraft_limit", CATALOGUE, _above_overdraft),
    Rule("DECLINED and REVERSED movements move no money", CATALOGUE, _declined),
    Rule("Approved purchases of a billing cycle are within credit_limit", CATALOGUE, _within_limit),
    Rule("available_limit is at most what the open cycle leaves", CATALOGUE, _available_limit),
    Rule("A position in a stock is never below zero", CATALOGUE, _positions),
    Rule("Principal over all installments is the loan's, and never more", CATALOGUE, _principal),
    Rule(
        "Installments are numbered from 1 and due month by month", "Contract of a loan", _numbered
    ),
    Rule("Interest is the month's rate on what is owed", "SAC and Tabela Price", _interest),
    Rule(
        "Late fee is 2% and 1% a month by the day, and paid in full",
        "Código de Defesa do Consumidor, art. 52 (2%); 1% ≈ usual in contracts",
        _late_fee,
    ),
    Rule("HOUSING ⇔ property; at most 80% of its value", CATALOGUE, _mortgages),
    Rule("A property secures one loan", CATALOGUE, _one_loan_each),
    Rule(
        "Accounts are opened once the customer has joined",
        CATALOGUE,
        _not_before("accounts", "opened_at", "customers", "customer_id", "created_at"),
    ),
    Rule(
        "Cards are issued once the customer has joined",
        CATALOGUE,
        _not_before("credit_cards", "issued_at", "customers", "customer_id", "created_at"),
    ),
    Rule(
        "Loans are contracted once the customer has joined",
        CATALOGUE,
        _not_before("loans", "contracted_at", "customers", "customer_id", "created_at"),
    ),
    Rule(
        "No transaction before its account is opened",
        CATALOGUE,
        _not_before(TRANSACTIONS, "occurred_at", "accounts", "account_id", "opened_at"),
    ),
    Rule(
        "No trade before its account is opened",
        CATALOGUE,
        _not_before(TRADES, "executed_at", "accounts", "account_id", "opened_at"),
    ),
    Rule(
        "No purchase before its card is issued",
        CATALOGUE,
        _not_before(PURCHASES, "occurred_at", "credit_cards", "card_id", "issued_at"),
    ),
    Rule(
        "No installment before its loan is contracted",
        CATALOGUE,
        _not_before(INSTALLMENTS, "occurred_at", "loans", "loan_id", "contracted_at"),
    ),
    *(
        Rule(f"Events of {stream} are within the history", CATALOGUE, _within_history(stream, at))
        for stream, at in (
            (TRANSACTIONS, "occurred_at"),
            (PURCHASES, "occurred_at"),
            (TRADES, "executed_at"),
            (INSTALLMENTS, "occurred_at"),
        )
    ),
    *(
        Rule(
            f"Times of one {key} in {stream} do not go back", CATALOGUE, _in_order(stream, key, at)
        )
        for stream, key, at in (
            (TRANSACTIONS, "account_id", "occurred_at"),
            (PURCHASES, "card_id", "occurred_at"),
            (TRADES, "account_id", "executed_at"),
            (INSTALLMENTS, "loan_id", "occurred_at"),
        )
    ),
    Rule("TED only on business days, from 7:00 to 17:00", "Banco Central, STR; FEBRABAN", _ted),
    Rule("Installments of a payroll are deducted on business days", CATALOGUE, _paid),
    Rule("Pix sent from 20:00 to 6:00 is at most R$ 1 000", "Banco Central ≈", _night),
    Rule(
        "A Pix has an end_to_end_id with its minute, others none",
        "Banco Central, Pix manual",
        _end_to_end,
    ),
    Rule(
        "Trades only in the session, 10:00 to 16:55, or 17:55 in the winter of New York",
        "B3, trading hours",
        _session,
    ),
    Rule("Trades settle two sessions later", "B3, D+2", _settlement),
    Rule("Round lots of 100, odd lots of 1 to 99 as ticker F", "B3, cash market", _lots),
    OnePrice("A stock has one price in a minute", CATALOGUE),
    Rule("CPF check digits", "Receita Federal", _each("customers", _cpf_digits(pl.col("cpf")))),
    Rule(
        "Ninth digit of a CPF is the state's region",
        "Receita Federal",
        _each("customers", _region()),
    ),
    Rule("DDD of a mobile phone is of the state", "Anatel", _each("customers", _ddd())),
    Rule("CEP of a customer is of the state", "Correios", _each("customers", _cep())),
    Rule("CEP of a property is of the state", "Correios", _each("properties", _cep())),
    Rule("Customers join as adults", "Código Civil, art. 5", _adults),
    Rule(
        "Card numbers pass Luhn",
        "ISO/IEC 7812-1",
        _each("credit_cards", _luhn(pl.col("card_number"))),
    ),
    Rule(
        "Card numbers have prefix and length of their brand",
        "Card schemes",
        _each("credit_cards", _prefix()),
    ),
    *(
        Rule(
            f"{relation}.{field} is one of {table}",
            "Foreign key",
            _resolves(relation, field, table, where),
        )
        for relation, field, table, where in (
            ("accounts", "customer_id", "customers", None),
            ("credit_cards", "customer_id", "customers", None),
            ("loans", "customer_id", "customers", None),
            ("loans", "property_id", "properties", None),
            (TRANSACTIONS, "account_id", "accounts", None),
            (PURCHASES, "card_id", "credit_cards", None),
            (TRADES, "account_id", "accounts", _INVESTING),
            (TRADES, "stock_id", "stocks", None),
            (INSTALLMENTS, "loan_id", "loans", None),
        )
    ),
    Distinct("Ids of all tables and streams are unique", "Primary keys", _ids),
    Distinct("customers.cpf is unique", "Receita Federal", _column("customers", "cpf")),
    Distinct("customers.email is unique", KEY, _column("customers", "email")),
    Distinct("credit_cards.card_number is unique", KEY, _column("credit_cards", "card_number")),
    Distinct("accounts.account_number is unique", KEY, _column("accounts", "account_number")),
    Distinct(
        "properties.registration_number is unique",
        "Land registry",
        _column("properties", "registration_number"),
    ),
)
