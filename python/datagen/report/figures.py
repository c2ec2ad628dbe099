"""Published figures, each declared once, and how each is found in the data.

A figure is a share or a mean, that is a ratio of two sums over entities (customers, accounts, cards,
loans); a median; or a number of rows. How far it may be from what is published follows from the
size of the sample: `Z` standard errors, where the events of one entity count as one observation of
it, since they are not independent. Some figures have a slack besides, with its reason, where the data
is by design not exactly what is published.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

import polars as pl

from datagen._core import Plan

from ._calendar import SESSION, local_time, session_days
from ._checks import Check, Line
from ._reading import Part, gather

#: Standard errors. Of the 220 values that are looked at, 4.5 miss one by chance in some 700 seeds.
Z = 4.5
#: Days of history that the published volumes are of.
DAYS = 90
#: Customers among which everything has its exact share.
BLOCK = 20
#: What is said where there are no such rows.
NOTHING = "nothing to count"
#: The label of a figure that has one value.
ALL = ""

_TRANSACTIONS = "banking.transactions"

CENSUS = "Census 2022"
PIX = "Banco Central, Pix statistics"
RATES = "Banco Central, interest rates"
KNOWN = "≈ general knowledge"
PROMISE = "datagen, data catalogue"


@dataclass(frozen=True)
class Range:
    """Anything from `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Found:
    """A value found in a sample, and how far chance may take it from that of all."""

    value: float
    tolerance: float


class Measure(Protocol):
    """How values are found: sums of each part of the data, and an estimate from all sums."""

    def count(self, part: Part) -> pl.DataFrame:
        """Sums, by label."""

    def found(self, label: str, published: Range, sums: pl.DataFrame, /) -> Found | None:
        """The value of a label, or None if nothing was counted."""


@dataclass(frozen=True)
class Figure:
    """One figure, or several of one kind by label."""

    name: str
    source: str
    measure: Measure
    published: Callable[[Plan], Mapping[str, Range]]
    unit: str = "%"
    digits: int = 2
    slack: float = 0.0
    relative_slack: float = 0.0
    why: str = ""

    def count(self, part: Part) -> pl.DataFrame:
        return self.measure.count(part)

    def check(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Check:
        """Holds what was counted against what is published."""
        sums = gather(counts, "label")
        values = [
            self._compare(label, expected, sums) for label, expected in self.published(plan).items()
        ]
        lines = tuple(line for line, _ in values)
        known = [line.holds for line in lines if line.holds is not None]
        source = f"{self.source}; {self.why}" if self.why else self.source
        holds = all(known) if known else None
        if not lines:
            return Check(self.name, "nothing for so long a history", source, "", "", None)
        if len(lines) == 1:
            [line] = lines
            return Check(self.name, line.published, source, line.found, line.tolerance, holds)
        farthest, used = max(values, key=lambda value: value[1])
        told = f"{known.count(False)} of {len(lines)} beyond" if not holds else "all within"
        far = f"{used:.0%} of" if used < 10 else f"{used:.0f} times"
        found = f"{told}; {farthest.label} uses {far} its tolerance"
        if not known:
            found = NOTHING
        elif used == 0:
            found = "all as published"
        return Check(self.name, f"{len(lines)} values", source, found, "each its own", holds, lines)

    def _compare(self, label: str, expected: Range, sums: pl.DataFrame) -> tuple[Line, float]:
        """One value, and which part of the tolerance is used."""
        published = self._text(expected)
        found = self.measure.found(label, expected, sums)
        if found is None:
            return Line(label, published, NOTHING, "", None), -1.0
        tolerance = found.tolerance + self.slack + self.relative_slack * expected.low
        off = max(expected.low - found.value, found.value - expected.high, 0.0)
        used = off / max(tolerance, 1e-9)
        number, around = self._number(found.value), f"± {self._number(tolerance)}"
        return Line(label, published, number, around, used <= 1), used

    def _number(self, value: float) -> str:
        number = f"{value:,.{self.digits}f}"
        if self.unit == "R$":
            return f"R$ {number}"
        return f"{number}{'' if self.unit == '%' else ' '}{self.unit}".strip()

    def _text(self, published: Range) -> str:
        low, high = self._number(published.low), self._number(published.high)
        if published.low == published.high:
            return low
        if math.isinf(published.high):
            return f"at least {low}"
        return f"{low} to {high.removeprefix('R$ ')}"


# --- measures

#: Where shares keep the sums over all labels.
_TOTAL = "of all"


def _sums(frame: pl.DataFrame, label: pl.Expr) -> pl.DataFrame:
    """Sums of what each entity adds to the two sides of a ratio, y and n, and of their products.

    In floating point: sums of squares pass 64 bits. Sums of y and n themselves are exact in it.
    """
    y, n = pl.col("y").cast(pl.Float64), pl.col("n").cast(pl.Float64)
    products = {"y": y, "n": n, "yy": y * y, "yn": y * n, "nn": n * n}
    return frame.group_by(label=label.cast(pl.String)).agg(
        **{name: product.sum() for name, product in products.items()}
    )


def _read(sums: pl.DataFrame, label: str) -> dict[str, float]:
    rows = sums.filter(pl.col("label") == label).to_dicts()
    return rows[0] if rows else dict.fromkeys(("y", "n", "yy", "yn", "nn"), 0.0)


def _variance(sums: Mapping[str, float]) -> float:
    """Of a ratio y / n that is estimated from clusters (Cochran, Sampling Techniques)."""
    ratio = sums["y"] / sums["n"]
    squares = sums["yy"] - 2 * ratio * sums["yn"] + ratio * ratio * sums["nn"]
    return max(squares, 0.0) / sums["n"] ** 2


def _rows(
    relation: str, label: pl.Expr, *, entity: str | None = None, where: pl.Expr | None = None
) -> Callable[[Part], pl.DataFrame]:
    """Label and entity of the rows of a relation; without `entity` each row is one."""
    who = pl.int_range(pl.len()) if entity is None else pl.col(entity)

    def rows(part: Part) -> pl.DataFrame:
        frame = part[relation] if where is None else part[relation].filter(where)
        return frame.select(label=label, entity=who)

    return rows


@dataclass(frozen=True)
class Shares:
    """Percentages of the rows that have a label; rows of one entity depend on one another."""

    rows: Callable[[Part], pl.DataFrame]

    def count(self, part: Part) -> pl.DataFrame:
        frame = self.rows(part)
        totals = frame.group_by("entity").agg(n=pl.len())
        own = frame.drop_nulls("label").group_by("label", "entity").agg(y=pl.len())
        of_labels = _sums(own.join(totals, on="entity"), pl.col("label"))
        of_all = _sums(totals.with_columns(y=pl.lit(0)), pl.lit(_TOTAL))
        return pl.concat([of_labels.with_columns(n=0.0, nn=0.0), of_all])

    def found(self, label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        total = _read(sums, _TOTAL)
        n = total["n"]
        if n == 0:
            return None
        share = _read(sums, label)["y"] / n
        # The error of what is published, since a sample may hold nothing of what is rare.
        nearest = min(max(share, published.low / 100), published.high / 100)
        independent = nearest * (1 - nearest) / n
        alike = self._alike(sums, total)
        # Bernstein's inequality: rare things are skewed, the more so in small samples.
        tolerance = Z * math.sqrt(alike * independent) + alike * Z**2 / (3 * n)
        return Found(100 * share, 100 * tolerance)

    @staticmethod
    def _alike(sums: pl.DataFrame, total: Mapping[str, float]) -> float:
        """By how much the variance is that of clusters, over all labels: 1 for independent rows."""
        n, nn = total["n"], total["nn"]
        clusters = independent = 0.0
        for row in sums.filter(pl.col("label") != _TOTAL).iter_rows(named=True):
            clusters += _variance({**row, "n": n, "nn": nn})
            independent += row["y"] / n * (1 - row["y"] / n) / n
        return max(clusters / independent, 1.0) if independent else 1.0


@dataclass(frozen=True)
class Means:
    """Means by label, of what `rows` gives for each entity: label, y and n, of which y is the sum.

    A small sample of something with a long tail looks more even than it is, so that the deviation
    of one observation is at least `spread` times what is published.
    """

    rows: Callable[[Part], pl.DataFrame]
    spread: float
    scale: float = 1.0

    def count(self, part: Part) -> pl.DataFrame:
        return _sums(self.rows(part), pl.col("label"))

    def found(self, label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        own = _read(sums, label)
        if own["n"] == 0:
            return None
        least = (self.spread * published.low) ** 2 / own["n"]
        error = math.sqrt(max(_variance(own) / self.scale**2, least))
        return Found(own["y"] / own["n"] / self.scale, Z * error)


@dataclass(frozen=True)
class Median:
    """A median of money, in R$."""

    relation: str
    value: str
    where: pl.Expr

    def count(self, part: Part) -> pl.DataFrame:
        frame = part[self.relation].filter(self.where)
        # Padded, so that the order of texts is that of numbers.
        label = pl.col(self.value).cast(pl.String).str.zfill(15)
        return frame.group_by(label=label).agg(n=pl.len().cast(pl.Int64))

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        n = int(sums["n"].sum())
        if n == 0:
            return None
        before = sums["n"].cum_sum()

        def at(share: float) -> float:
            rank = min(max(math.ceil(share * n), 1), n)
            return int(sums["label"][int((before < rank).sum())]) / 100

        # As many ranks as chance may move the middle by, whatever the distribution.
        ranks = Z * 0.5 / math.sqrt(n)
        middle = at(0.5)
        return Found(middle, max(middle - at(0.5 - ranks), at(0.5 + ranks) - middle))


@dataclass(frozen=True)
class Rows:
    """Rows for each customer; a label is the table's name, or a type of account."""

    def count(self, part: Part) -> pl.DataFrame:
        tables = {name: part[name].height for name in ("credit_cards", "loans", "properties")}
        accounts = dict(part["accounts"].group_by("account_type").len().iter_rows())
        customers = part["customers"].height
        counts = [(label, rows, customers) for label, rows in {**tables, **accounts}.items()]
        return pl.DataFrame(counts, schema=["label", "y", "n"], orient="row")

    def found(self, label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        customers = int(sums.filter(pl.col("label") == "CORRENTE")["n"].sum())
        rows = int(sums.filter(pl.col("label") == label)["y"].sum())
        if customers == 0:
            return None
        # Which customers of a block have it is drawn, so that only whole blocks have their share;
        # it is rounded where it is no whole number.
        free = 1e-6
        if published.low < 1 and customers % BLOCK:
            free = published.low * BLOCK
        elif published.low * BLOCK % 1:
            free = 1.0
        return Found(rows / customers, free / customers)


@dataclass(frozen=True)
class Disorder:
    """Pairs of labels that are in another order than those of their counts.

    Counts less than `apart` times as large as another may be in any order, and so may what chance
    can swap in the sample.
    """

    rows: Callable[[Part], pl.DataFrame]
    counts: Mapping[str, float]
    apart: float

    def count(self, part: Part) -> pl.DataFrame:
        return self.rows(part).group_by("label").agg(n=pl.len())

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        found = dict.fromkeys(self.counts, 0) | dict(sums.select("label", "n").iter_rows())
        if not any(found.values()):
            return None
        wrong = [
            (more, less)
            for more, less in itertools.permutations(self.counts, 2)
            if self.counts[more] >= self.apart * self.counts[less]
            and found[less] - found[more] > Z * math.sqrt(found[less] + found[more])
        ]
        return Found(len(wrong), 0.0)


@dataclass(frozen=True)
class Difference:
    """A percentage among rows labelled `more`, less that among rows labelled `less`."""

    rows: Callable[[Part], pl.DataFrame]

    def count(self, part: Part) -> pl.DataFrame:
        return _sums(self.rows(part), pl.col("label"))

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        more, less = _read(sums, "more"), _read(sums, "less")
        if not (more["n"] and less["n"]):
            return None
        error = math.sqrt(_variance(more) + _variance(less))
        smallest = 1 / min(more["n"], less["n"])
        value = more["y"] / more["n"] - less["y"] / less["n"]
        return Found(100 * value, 100 * (Z * error + Z**2 * smallest / 3))


# --- what is published


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
        start < datetime.combine(day, SESSION[1]) and datetime.combine(day, SESSION[0]) < end
        for day in session_days(start.date(), end.date())
    )


def _trades(plan: Plan) -> Mapping[str, Range]:
    return _per_day(20 if _has_session(plan) else 0)(plan)


def _if(condition: pl.Expr) -> pl.Expr:
    """The label of rows for which something holds."""
    return pl.when(condition).then(pl.lit(ALL))


def _given_names(names: Mapping[str, float]) -> Callable[[Part], pl.DataFrame]:
    """The given name of those who have one of these."""
    given = pl.col("name").str.split(" ").list.first()
    return _rows("customers", given, where=given.is_in(list(names)))


def _surnames(part: Part) -> pl.DataFrame:
    """The last surname, which everybody has."""
    last = part["customers"].select(label=pl.col("name").str.split(" ").list.last())
    return last.filter(pl.col("label").is_in(list(SURNAMES))).with_row_index("entity")


def ages(part: Part) -> pl.DataFrame:
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
    part: Part, stream: str, entities: pl.DataFrame, weight: pl.Expr | None = None
) -> pl.DataFrame:
    """Events of each entity, also of those that have none; `weight` is what it counts for."""
    key = entities.columns[0]
    events = part[stream].group_by(key).agg(y=pl.len())
    entities = entities.select(key, n=pl.lit(1) if weight is None else weight)
    joined = entities.join(events, on=key, how="left")
    return joined.select("n", y=pl.col("y").fill_null(0), label=pl.lit(ALL))


def _amounts(part: Part, kind: str) -> pl.DataFrame:
    """What was settled of a type, by account."""
    events = part[_TRANSACTIONS].filter((pl.col("transaction_type") == kind) & _SETTLED)
    sums = events.group_by("account_id").agg(y=pl.col("amount").sum(), n=pl.len())
    return sums.with_columns(label=pl.lit(ALL))


def _rates(part: Part) -> pl.DataFrame:
    """Rates by type; payroll loans of the public and of the private sector are far apart."""
    sector = pl.when(pl.col("monthly_rate") < 28_000).then(pl.lit("public"))
    kind = pl.col("loan_type")
    payroll = pl.format("{} {}", kind, sector.otherwise(pl.lit("private")))
    label = pl.when(kind == "PAYROLL").then(payroll).otherwise(kind)
    return part["loans"].select(label=label, y="monthly_rate", n=pl.lit(1))


_OPEN = pl.col("status") != "SETTLED"
_DEFAULTED = pl.col("status") == "DEFAULTED"


def _late_by_type(part: Part) -> pl.DataFrame:
    personal = pl.col("loan_type") == "PERSONAL"
    label = pl.when(personal).then(pl.lit("more")).otherwise(pl.lit("less"))
    return part["loans"].filter(_OPEN).select(label=label, y=_DEFAULTED.cast(pl.Int64), n=1)


def _late_by_score(part: Part) -> pl.DataFrame:
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
        Shares(_rows("customers", pl.col("state"))),
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
        Shares(_rows("customers", _if(pl.col("pep")))),
        _between(0.3, 0.3),
    ),
    Figure(
        "Card brands",
        "Nilson Report and ABECS",
        Shares(_rows("credit_cards", pl.col("brand"))),
        _always(BRANDS),
    ),
    Figure(
        "Pix keys that customers registered",
        f"{PIX}, without firms' keys",
        Shares(_rows("accounts", pl.col("pix_key_type"), where=pl.col("pix_key").is_not_null())),
        _among({kind: share for kind, share in KEYS.items() if kind != "CNPJ"}),
    ),
    Figure(
        "Pix keys that customers paid to",
        PIX,
        Shares(
            _rows(
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
        Shares(_rows(_TRANSACTIONS, _if(_FIRM), entity="account_id", where=_IS_PIX)),
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
        Shares(_rows(_TRANSACTIONS, _if(pl.col("channel") == "MOBILE"), entity="account_id")),
        _between(75, 86),
        why="the high end without the 13% at card terminals, which are no movements here",
    ),
    Figure(
        "Movements ordered by phone or internet",
        "FEBRABAN, banking technology survey of 2025",
        Shares(
            _rows(
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
        Shares(_rows("banking.card-transactions", pl.col("mcc"), entity="card_id")),
        _among(CATEGORIES),
        relative_slack=0.04,
        why="over a usual year; holidays of a history move them",
    ),
    Figure(
        "Trades by stock",
        "B3, weights in Ibovespa, among these 42",
        Shares(_rows("banking.trades", _STOCK, entity="account_id")),
        _among(STOCKS),
    ),
    Figure(
        "Loans by type",
        PROMISE,
        Shares(_rows("loans", pl.col("loan_type"))),
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
        Shares(_rows("loans", _if(_DEFAULTED), where=_OPEN)),
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
