"""Published figures, each declared once, with its source.

Some have a slack besides what chance may do, with its reason, where the data is by design not exactly
what is published.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta

import polars as pl

from datagen._core import Plan

from ._calendar import local_time, session, session_days
from ._measures import (
    ALL,
    Difference,
    Disorder,
    Figure,
    Means,
    Median,
    Range,
    Rows,
    Shares,
    each_row,
)
from ._reading import Portion

#: Days of history that the published volumes are of.
DAYS = 90

_TRANSACTIONS = "banking.transactions"

CENSUS = "Census 2022"
PIX = "Banco Central, Pix statistics"
RATES = "Banco Central, interest rates"
KNOWN = "≈ general knowledge"
PROMISE = "datagen, data catalogue"


def _table(text: str) -> dict[str, float]:
    """Pairs of a label and a number."""
    words = text.split()
    return dict(zip(words[::2], map(float, words[1::2]), strict=True))


#: Population by state, percent.
STATES = _table("""
    SP 21.87  MG 10.11  RJ 7.91  BA 6.96  PR 5.64  RS 5.36  PE 4.46  CE 4.33  PA 4.0  SC 3.75
    GO 3.47  MA 3.34  PB 1.96  ES 1.89  MT 1.8  RN 1.63  PI 1.61  AL 1.54  DF 1.39  MS 1.36
    SE 1.09  RO 0.78  TO 0.74  AC 0.41  AP 0.36  RR 0.31  AM 1.94
""")
#: Adults by age in thousands: 18 and 19 (two fifths of the band from 15), then by five years; the last
#: band has everybody from 90 on.
AGES = _table("""
    18–19 5750  20–24 15466  25–29 15469  30–34 15473  35–39 16172  40–44 16072  45–49 13640
    50–54 12598  55–59 11570  60–64 9945  65–69 7876  70–74 5858  75–79 3848  80–84 2475
    85–89 1330  90–94 782
""")
#: Bearers of the commonest given names.
WOMEN = _table("""
    Maria 12224470  Ana 3929951  Francisca 661582  Júlia 646239  Antônia 552951  Juliana 536687
    Adriana 533801  Fernanda 520705  Márcia 520013  Patrícia 499140
""")
MEN = _table("""
    José 5141822  João 3410873  Antônio 2231019  Francisco 1659196  Pedro 1613671
    Carlos 1468116  Lucas 1332182  Paulo 1331639  Luiz 1326222  Gabriel 1201030  Marcos 1082739
    Davi 876593  Rafael 873321  Luís 838237  Daniel 770743  Miguel 715241  Gustavo 680738
    Felipe 676680
""")
#: Bearers of the commonest surnames, in thousands.
SURNAMES = _table("""
    Silva 34030  Santos 21367  Oliveira 11709  Souza 9197  Pereira 6888  Ferreira 6226
    Lima 6095  Alves 5757  Rodrigues 5429  Costa 4861  Sousa 4797  Gomes 4047  Nascimento 3609
    Araújo 3461  Ribeiro 3127  Almeida 3069  Jesus 2859  Barbosa 2738  Soares 2615
    Carvalho 2600  Martins 2577  Lopes 2338  Vieira 2102  Rocha 2044  Dias 2035  Gonçalves 2028
    Fernandes 1836  Santana 1816  Andrade 1707  Batista 1703
""")
BRANDS = {"MASTERCARD": 61.1, "VISA": 32.1, "ELO": 4.3, "HIPERCARD": 2.1, "AMEX": 0.4}
#: Pix keys by kind, of all that are registered.
KEYS = {"EVP": 45.2, "PHONE": 19.3, "CPF": 19.0, "EMAIL": 14.9, "CNPJ": 1.7}
#: Purchases by merchant category code.
CATEGORIES = _table("""
    5411 20  5812 9  5814 9  5541 9  5912 8  4121 7  5499 4  5462 4  5311 4  5651 3  5661 2
    5732 2  5818 4  5816 1  5968 2  4814 2  4900 1  5200 2  5712 1  5977 1  5942 0.5  5995 1
    7230 1  7997 0.7  7523 0.5  8011 0.5  8021 0.3  8062 0.3  8220 0.2  4511 0.4  7011 0.4
    4722 0.2
""")
#: Weights of the stocks in the index, percent.
STOCKS = _table("""
    ITUB4 8.97  BBDC4 3.81  ITSA4 3.37  B3SA3 3.04  BPAC11 2.73  BBAS3 2.35  SANB11 0.39
    BBSE3 1.0  PETR4 7.1  PETR3 4.03  PRIO3 1.78  VBBR3 1.54  UGPA3 1.26  VALE3 11.28
    GGBR4 1.15  SUZB3 1.05  KLBN11 0.58  CSNA3 0.14  AXIA3 4.82  SBSP3 3.54  ENEV3 2.06
    EQTL3 2.04  CPLE3 1.85  CMIG4 0.87  EGIE3 0.49  TAEE11 0.37  WEGE3 2.85  EMBJ3 2.54
    RENT3 1.6  RAIL3 0.69  MOTV3 0.62  ABEV3 2.79  RADL3 0.97  LREN3 0.56  ASAI3 0.48
    MGLU3 0.07  RDOR3 1.59  VIVT3 1.02  TIMS3 0.73  TOTS3 0.64  HYPE3 0.28  CYRE3 0.26
""")


def _always(values: Mapping[str, float]) -> Callable[[Plan], Mapping[str, Range]]:
    return _ranges({label: (value, value) for label, value in values.items()})


def _ranges(values: Mapping[str, tuple[float, float]]) -> Callable[[Plan], Mapping[str, Range]]:
    ranges = {label: Range(low, high) for label, (low, high) in values.items()}
    return lambda _: ranges


def _among(counts: Mapping[str, float]) -> Callable[[Plan], Mapping[str, Range]]:
    """Percentages that counts are of their sum."""
    total = sum(counts.values())
    return _always({label: 100 * count / total for label, count in counts.items()})


def _between(low: float, high: float) -> Callable[[Plan], Mapping[str, Range]]:
    return _ranges({ALL: (low, high)})


def _per_day(value: float) -> Callable[[Plan], Mapping[str, Range]]:
    """A volume, which grows with the days of a history."""
    return lambda plan: {ALL: Range(value * plan.days / DAYS, value * plan.days / DAYS)}


def _has_session(plan: Plan) -> bool:
    start, end = (local_time(at) for at in (plan.as_of - timedelta(plan.days), plan.as_of))
    return any(
        start < datetime.combine(day, ends) and datetime.combine(day, opens) < end
        for day in session_days(start.date(), end.date())
        for opens, ends in [session(day)]
    )


def _trades(plan: Plan) -> Mapping[str, Range]:
    return _per_day(20 if _has_session(plan) else 0)(plan)


def _if(condition: pl.Expr) -> pl.Expr:
    """The label of rows for which something holds."""
    return pl.when(condition).then(pl.lit(ALL))


def _given_names(names: Mapping[str, float]) -> Callable[[Portion], pl.DataFrame]:
    """The given name of those who have one of these."""
    given = pl.col("name").str.split(" ").list.first()
    return each_row("customers", given, where=given.is_in(list(names)))


def _surnames(part: Portion) -> pl.DataFrame:
    """The last surname, which everybody has."""
    last = part["customers"].select(label=pl.col("name").str.split(" ").list.last())
    return last.filter(pl.col("label").is_in(list(SURNAMES))).with_row_index("entity")


def ages(part: Portion) -> pl.DataFrame:
    """Age bands on the last day on which all could join as adults: 60 days before the history."""
    start = local_time(part.plan.as_of - timedelta(part.plan.days))
    day: date = start.date() - timedelta(60)
    born = pl.col("birth_date").dt.strftime("%Y%m%d").cast(pl.Int32)
    age = (int(f"{day:%Y%m%d}") - born) // 10_000
    first = (age // 5 * 5).clip(18)
    last = age // 5 * 5 + 4
    label = pl.format("{}–{}", first, last)
    return part["customers"].select(label=label).with_row_index("entity")


def _of_entities(
    part: Portion, stream: str, entities: pl.DataFrame, weight: pl.Expr | None = None
) -> pl.DataFrame:
    """Events of each entity, also of those that have none; `weight` is what it counts for."""
    key = entities.columns[0]
    events = part[stream].group_by(key).agg(y=pl.len())
    entities = entities.select(key, n=pl.lit(1) if weight is None else weight)
    joined = entities.join(events, on=key, how="left")
    return joined.select("n", y=pl.col("y").fill_null(0), label=pl.lit(ALL))


def _amounts(part: Portion, kind: str) -> pl.DataFrame:
    """What was settled of a type, by account."""
    events = part[_TRANSACTIONS].filter((pl.col("transaction_type") == kind) & _SETTLED)
    sums = events.group_by("account_id").agg(y=pl.col("amount").sum(), n=pl.len())
    return sums.with_columns(label=pl.lit(ALL))


def _rates(part: Portion) -> pl.DataFrame:
    """Rates by type; payroll loans of the public and of the private sector are far apart."""
    sector = pl.when(pl.col("monthly_rate") < 28_000).then(pl.lit("public"))
    kind = pl.col("loan_type")
    payroll = pl.format("{} {}", kind, sector.otherwise(pl.lit("private")))
    label = pl.when(kind == "PAYROLL").then(payroll).otherwise(kind)
    return part["loans"].select(label=label, y="monthly_rate", n=pl.lit(1))


_OPEN = pl.col("status") != "SETTLED"
_DEFAULTED = pl.col("status") == "DEFAULTED"


def _late_by_type(part: Portion) -> pl.DataFrame:
    personal = pl.col("loan_type") == "PERSONAL"
    label = pl.when(personal).then(pl.lit("more")).otherwise(pl.lit("less"))
    return part["loans"].filter(_OPEN).select(label=label, y=_DEFAULTED.cast(pl.Int64), n=1)


def _late_by_score(part: Portion) -> pl.DataFrame:
    scores = part["customers"].select("customer_id", "credit_score")
    loans = part["loans"].filter(_OPEN).join(scores, on="customer_id")
    label = pl.when(pl.col("credit_score") < 550).then(pl.lit("more")).otherwise(pl.lit("less"))
    return loans.select(label=label, y=_DEFAULTED.cast(pl.Int64), n=1)


_SETTLED = pl.col("status") != "DECLINED"
_IS_PIX = pl.col("transaction_type") == "PIX"
_IS_SENT = pl.col("direction") == "DEBIT"
_FIRM = ~pl.col("counterparty_document").str.starts_with("*")
_STOCK = pl.col("ticker").str.strip_suffix("F")

FIGURES: tuple[Figure, ...] = (
    Figure(
        "Rows for each customer",
        PROMISE,
        Rows(),
        _always(
            {
                "CORRENTE": 1.0,
                "INVESTIMENTOS": 0.325,
                "POUPANCA": 0.17,
                "credit_cards": 0.7,
                "loans": 0.35,
                "properties": 0.1,
            }
        ),
        unit="",
        digits=4,
    ),
    Figure(
        "Transactions a customer",
        PROMISE,
        Means(
            lambda part: _of_entities(
                part,
                _TRANSACTIONS,
                part["accounts"],
                # Every customer has one.
                (pl.col("account_type") == "CORRENTE").cast(pl.Int64),
            ),
            spread=0.8,
        ),
        _per_day(20.2),
        unit="",
        relative_slack=0.002,
        why="given with three digits",
    ),
    Figure(
        "Purchases a card",
        PROMISE,
        Means(
            lambda part: _of_entities(part, "banking.card-transactions", part["credit_cards"]),
            spread=0.6,
        ),
        _per_day(57.14),
        unit="",
    ),
    Figure(
        "Trades an INVESTIMENTOS account",
        PROMISE,
        Means(
            lambda part: _of_entities(
                part,
                "banking.trades",
                part["accounts"].filter(pl.col("account_type") == "INVESTIMENTOS"),
            ),
            spread=0.01,
        ),
        _trades,
        unit="",
    ),
    Figure(
        "Installments a loan",
        PROMISE,
        Means(lambda part: _of_entities(part, "banking.installments", part["loans"]), spread=1.0),
        # They run from the contract on, and the more days there are, the older are contracts.
        lambda plan: _between(28.3, 28.3)(plan) if plan.days <= 2 * DAYS else {},
        unit="",
        relative_slack=0.04,
        why="≈, and of histories of up to half a year",
    ),
    Figure(
        "Customers by state",
        CENSUS,
        Shares(each_row("customers", pl.col("state"))),
        _always(STATES),
        slack=0.01,
        why="given with two digits",
    ),
    Figure("Adults by age", CENSUS, Shares(ages), _among(AGES)),
    Figure(
        "Women's given names, among one another",
        CENSUS,
        Shares(_given_names(WOMEN)),
        _among(WOMEN),
        relative_slack=0.3,
        why="the census counts children too, who have other names than adults",
    ),
    Figure(
        "Order of women's given names",
        CENSUS,
        Disorder(_given_names(WOMEN), WOMEN, apart=1.3),
        _between(0, 0),
        unit="pairs in another order",
        digits=0,
        why="of names of which one has 1.3 times as many bearers",
    ),
    Figure(
        "Men's given names, among one another",
        CENSUS,
        Shares(_given_names(MEN)),
        _among(MEN),
        relative_slack=0.3,
        why="the census counts children too, who have other names than adults",
    ),
    Figure(
        "Order of men's given names",
        CENSUS,
        Disorder(_given_names(MEN), MEN, apart=1.3),
        _between(0, 0),
        unit="pairs in another order",
        digits=0,
        why="of names of which one has 1.3 times as many bearers",
    ),
    Figure("Last surnames, among one another", CENSUS, Shares(_surnames), _among(SURNAMES)),
    Figure(
        "Politically exposed customers",
        KNOWN,
        Shares(each_row("customers", _if(pl.col("pep")))),
        _between(0.3, 0.3),
    ),
    Figure(
        "Card brands",
        "Nilson Report and ABECS",
        Shares(each_row("credit_cards", pl.col("brand"))),
        _always(BRANDS),
    ),
    Figure(
        "Pix keys that customers registered",
        f"{PIX}, without firms' keys",
        Shares(each_row("accounts", pl.col("pix_key_type"), where=pl.col("pix_key").is_not_null())),
        _among({kind: share for kind, share in KEYS.items() if kind != "CNPJ"}),
    ),
    Figure(
        "Pix keys that customers paid to",
        PIX,
        Shares(
            each_row(
                _TRANSACTIONS,
                pl.col("pix_key_type"),
                entity="account_id",
                where=_IS_PIX & _IS_SENT,
            )
        ),
        _among(KEYS),
        slack=0.1,
        why="published shares sum to 100.1%",
    ),
    Figure(
        "Mean Pix",
        PIX,
        Means(lambda part: _amounts(part, "PIX"), spread=5.0, scale=100.0),
        _between(420, 445),
        unit="R$",
        why="of settled ones",
    ),
    Figure(
        "Median Pix",
        PIX,
        Median(_TRANSACTIONS, "amount", _IS_PIX & _SETTLED),
        _between(60, 100),
        unit="R$",
        why="of settled ones",
    ),
    Figure(
        "Pix with firms",
        PIX,
        Shares(each_row(_TRANSACTIONS, _if(_FIRM), entity="account_id", where=_IS_PIX)),
        _between(41, 41),
    ),
    Figure(
        "Mean TED",
        "Banco Central, payment statistics",
        Means(lambda part: _amounts(part, "TED"), spread=5.0, scale=100.0),
        _between(40_600, 40_600),
        unit="R$",
        digits=0,
        why="of settled ones",
    ),
    Figure(
        "Movements ordered by phone",
        "FEBRABAN, banking technology survey of 2025",
        Shares(each_row(_TRANSACTIONS, _if(pl.col("channel") == "MOBILE"), entity="account_id")),
        _between(75, 86),
        why="the high end without the 13% at card terminals, which are no movements here",
    ),
    Figure(
        "Movements ordered by phone or internet",
        "FEBRABAN, banking technology survey of 2025",
        Shares(
            each_row(
                _TRANSACTIONS,
                _if(pl.col("channel").is_in(["MOBILE", "INTERNET"])),
                entity="account_id",
            )
        ),
        _between(82, 94),
        why="the high end without the 13% at card terminals, which are no movements here",
    ),
    Figure(
        "Card purchases by category (MCC)",
        KNOWN,
        Shares(each_row("banking.card-transactions", pl.col("mcc"), entity="card_id")),
        _among(CATEGORIES),
        relative_slack=0.04,
        why="over a usual year; holidays of a history move them",
    ),
    Figure(
        "Trades by stock",
        "B3, weights in Ibovespa, among these 42",
        Shares(each_row("banking.trades", _STOCK, entity="account_id")),
        _among(STOCKS),
    ),
    Figure(
        "Loans by type",
        PROMISE,
        Shares(each_row("loans", pl.col("loan_type"))),
        _always({"HOUSING": 28.6, "PAYROLL": 30.3, "VEHICLE": 17.0, "PERSONAL": 24.1}),
        slack=0.1,
        why="given with one digit",
    ),
    Figure(
        "Mean rate a month",
        RATES,
        Means(_rates, spread=0.13, scale=10_000.0),
        _ranges(
            {
                "HOUSING": (0.87, 1.05),
                "VEHICLE": (1.97, 1.97),
                "PAYROLL public": (1.8, 1.8),
                "PAYROLL private": (3.8, 3.8),
                "PERSONAL": (6.2, 6.2),
            }
        ),
        digits=3,
    ),
    Figure(
        "Open loans more than 90 days late",
        "Banco Central, arrears of households",
        Shares(each_row("loans", _if(_DEFAULTED), where=_OPEN)),
        _between(6.8, 6.8),
    ),
    Figure(
        "PERSONAL loans more than 90 days late, less all others",
        "Banco Central, arrears of households",
        Difference(_late_by_type),
        _between(0, math.inf),
        unit="points",
    ),
    Figure(
        "More than 90 days late with a score below 550, less above",
        KNOWN,
        Difference(_late_by_score),
        _between(0, math.inf),
        unit="points",
    ),
)
