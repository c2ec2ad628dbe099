"""The charts of a report: what each counts in a part of the data, and how it draws the sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from datagen._core import Plan

from . import figures
from ._calendar import local_time
from ._reading import Portion, gather, local

BLUE, ORANGE, GREEN, PURPLE, GREY = "#1d5fa6", "#c2570c", "#1f7a4d", "#7b3fa0", "#9aa3ad"
INK, LINES = "#1b2430", "#e3e7ec"
STREAMS = {
    "banking.transactions": ("Transactions", "occurred_at", BLUE),
    "banking.card-transactions": ("Card purchases", "occurred_at", ORANGE),
    "banking.trades": ("Trades", "executed_at", GREEN),
    "banking.installments": ("Installments", "occurred_at", PURPLE),
}
#: The states on a map of squares.
MAP = """
    .  RR .  AP .  .  .
    AM .  PA MA PI CE RN
    AC RO .  TO BA PE PB
    .  .  MT GO DF SE AL
    .  .  MS .  MG ES .
    .  .  .  SP RJ .  .
    .  .  .  PR .  .  .
    .  .  .  SC .  .  .
    .  .  .  RS .  .  .
"""
BANDS = [-1_000_000, -100_000, 0, 100_000, 1_000_000, 10_000_000, 100_000_000]
BAND_NAMES = [
    *("below<br>−10 K", "−10 K<br>to −1 K", "−1 K<br>to 0", "0 to<br>1 K", "1 K to<br>10 K"),
    *("10 K to<br>100 K", "100 K<br>to 1 M", "1 M and<br>more"),
]


@dataclass(frozen=True)
class Drawn:
    """A chart as Plotly's JSON."""

    name: str
    note: str
    height: int
    wide: bool
    json: str


@dataclass(frozen=True)
class Chart:
    """One chart: its sums have `keys`, beside which they are numbers."""

    name: str
    note: str
    keys: tuple[str, ...]
    count: Callable[[Portion], pl.DataFrame]
    draw: Callable[[pl.DataFrame, Plan], go.Figure]
    height: int = 380
    wide: bool = False

    def drawn(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Drawn:
        figure = self.draw(gather(counts, *self.keys), plan)
        figure.update_layout(
            template=go.layout.Template(),
            margin={"l": 8, "r": 12, "t": 28, "b": 8},
            font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
            paper_bgcolor="#fff",
            plot_bgcolor="#fff",
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            hoverlabel={"font": {"size": 13}},
        )
        axis = {"automargin": True, "gridcolor": LINES, "linecolor": LINES, "zerolinecolor": GREY}
        title = {"font": {"size": 13}}
        figure.update_xaxes(**axis, title=title, fixedrange=True)
        figure.update_yaxes(**axis, title=title, fixedrange=True)
        return Drawn(self.name, self.note, self.height, self.wide, figure.to_json())


def _percent(frame: pl.DataFrame, *of: str) -> pl.DataFrame:
    """With the share that each row's n is of all rows alike in the columns `of`, in percent."""
    return frame.with_columns(percent=(100 * pl.col("n") / pl.col("n").sum().over(of)).round(4))


def _bars(
    x: Iterable[object], y: Iterable[object], name: str, colour: str, **more: object
) -> go.Bar:
    return go.Bar(x=list(x), y=list(y), name=name, marker={"color": colour}, **more)


def _line(
    frame: pl.DataFrame, x: str, y: str, name: str, colour: str, **more: object
) -> go.Scatter:
    return go.Scatter(
        x=frame[x].to_list(), y=frame[y].to_list(), name=name, line={"color": colour}, **more
    )


# --- when


def _by_day(part: Portion) -> pl.DataFrame:
    start = part.plan.as_of - timedelta(part.plan.days)
    frames = [
        part[stream]
        .filter(pl.col(at) >= start)
        .group_by(stream=pl.lit(stream), day=local(at).dt.date())
        .agg(n=pl.len())
        for stream, (_, at, _) in STREAMS.items()
    ]
    return pl.concat(frames)


def _draw_days(sums: pl.DataFrame, plan: Plan) -> go.Figure:
    first, last = (local_time(at).date() for at in (plan.as_of - timedelta(plan.days), plan.as_of))
    days = pl.DataFrame({"day": [first + timedelta(n) for n in range((last - first).days + 1)]})
    names = [name for name, _, _ in STREAMS.values()]
    figure = make_subplots(
        rows=4, cols=1, shared_xaxes=True, vertical_spacing=0.07, subplot_titles=names
    )
    for row, (stream, (name, _, colour)) in enumerate(STREAMS.items(), 1):
        own = days.join(sums.filter(pl.col("stream") == stream), on="day", how="left")
        # A day without trades is a day of none.
        line = _line(own.fill_null(0).sort("day"), "day", "n", name, colour, mode="lines")
        figure.add_trace(line, row=row, col=1)
    figure.update_layout(showlegend=False, hovermode="x unified")
    figure.update_yaxes(rangemode="tozero", nticks=4)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    return figure


def _by_hour(part: Portion) -> pl.DataFrame:
    frames = [
        part[stream].group_by(stream=pl.lit(stream), hour=local(at).dt.hour()).agg(n=pl.len())
        for stream, (_, at, _) in STREAMS.items()
    ]
    return pl.concat(frames)


def _draw_hours(sums: pl.DataFrame, plan: Plan) -> go.Figure:  # noqa: ARG001
    hours = pl.DataFrame({"hour": list(range(24))}, schema={"hour": pl.Int8})
    shares = _percent(sums, "stream")
    figure = go.Figure()
    for stream, (name, _, colour) in STREAMS.items():
        own = hours.join(shares.filter(pl.col("stream") == stream), on="hour", how="left")
        figure.add_trace(
            _line(own.fill_null(0), "hour", "percent", name, colour, mode="lines+markers")
        )
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(title="hour, in Brasília", dtick=3, ticksuffix="h")
    figure.update_yaxes(ticksuffix="%", rangemode="tozero", hoverformat=".1f")
    return figure


# --- how much


_STEPS = 6  # buckets to a decade
_KINDS = {"PIX": BLUE, "TED": ORANGE, "DEPOSIT": GREEN, "WITHDRAWAL": PURPLE}


def _amounts(part: Portion) -> pl.DataFrame:
    bucket = (pl.col("amount").log10() * _STEPS).floor().cast(pl.Int32)
    return part["banking.transactions"].group_by("transaction_type", bucket=bucket).agg(n=pl.len())


def _draw_amounts(sums: pl.DataFrame, plan: Plan) -> go.Figure:  # noqa: ARG001
    shares = _percent(sums, "transaction_type")
    figure = go.Figure()
    for kind, colour in _KINDS.items():
        own = shares.filter(pl.col("transaction_type") == kind).sort("bucket")
        # The middle of a bucket, in R$.
        middles = [10 ** ((bucket + 0.5) / _STEPS - 2) for bucket in own["bucket"]]
        figure.add_trace(
            go.Scatter(
                x=[round(middle, 2) for middle in middles],
                y=own["percent"].to_list(),
                name=kind,
                line={"color": colour},
                mode="lines",
            )
        )
    decades = {"10": 10, "100": 100, "1 K": 1e3, "10 K": 1e4, "100 K": 1e5, "1 M": 1e6}
    figure.update_xaxes(
        title="amount, R$",
        type="log",
        tickvals=list(decades.values()),
        ticktext=list(decades),
        tickangle=0,
        hoverformat=",.0f",
    )
    figure.update_yaxes(ticksuffix="%", rangemode="tozero", hoverformat=".1f")
    return figure


_ACCOUNTS = {"CORRENTE": BLUE, "POUPANCA": ORANGE, "INVESTIMENTOS": GREEN}


def _balances(part: Portion) -> pl.DataFrame:
    band = pl.sum_horizontal((pl.col("balance") >= edge).cast(pl.Int32) for edge in BANDS)
    return part["accounts"].group_by("account_type", band=band).agg(n=pl.len())


def _draw_balances(sums: pl.DataFrame, plan: Plan) -> go.Figure:  # noqa: ARG001
    shares = _percent(sums, "account_type")
    figure = go.Figure()
    for kind, colour in _ACCOUNTS.items():
        own = dict(
            shares.filter(pl.col("account_type") == kind).select("band", "percent").iter_rows()
        )
        values = [own.get(band, 0) for band in range(len(BAND_NAMES))]
        figure.add_trace(_bars(BAND_NAMES, values, kind, colour))
    figure.update_xaxes(title="balance, R$", tickangle=0, tickfont={"size": 10})
    figure.update_yaxes(ticksuffix="%", hoverformat=".1f")
    figure.update_layout(barmode="group", hovermode="x unified")
    return figure


def _categories(part: Portion) -> pl.DataFrame:
    events = part["banking.card-transactions"]
    return events.group_by("merchant_category").agg(n=pl.len(), value=pl.col("amount").sum())


def _draw_categories(sums: pl.DataFrame, plan: Plan) -> go.Figure:  # noqa: ARG001
    value = (100 * pl.col("value") / pl.col("value").sum()).round(4)
    frame = _percent(sums.with_columns(value=value, all=0), "all").sort("n", "merchant_category")
    names = frame["merchant_category"].to_list()
    figure = go.Figure(
        [
            _bars(frame["value"], names, "of the money", GREY, orientation="h"),
            _bars(frame["percent"], names, "of the purchases", ORANGE, orientation="h"),
        ]
    )
    figure.update_xaxes(ticksuffix="%", hoverformat=".1f")
    figure.update_yaxes(dtick=1, tickfont={"size": 12})
    figure.update_layout(
        barmode="group", bargap=0.25, hovermode="y unified", legend={"traceorder": "reversed"}
    )
    return figure


# --- who


def _states(part: Portion) -> pl.DataFrame:
    return part["customers"].group_by("state").agg(n=pl.len())


def _draw_map(sums: pl.DataFrame, plan: Plan) -> go.Figure:
    counts = dict(sums.select("state", "n").iter_rows())
    colours, texts = [], []
    for line in MAP.strip().splitlines():
        states = [None if state == "." else state for state in line.split()]
        shares = [state and 100 * counts.get(state, 0) / plan.customers for state in states]
        # By logarithm, since São Paulo has seventy times the people of Roraima.
        colours.append([share and round(math.log10(max(share, 0.1)), 4) for share in shares])
        texts.append(
            [
                f"<b>{state}</b><br>{share:.1f}%" if state else ""
                for state, share in zip(states, shares, strict=True)
            ]
        )
    figure = go.Figure(
        go.Heatmap(
            z=colours,
            text=texts,
            texttemplate="%{text}",
            hoverinfo="text",
            textfont={"color": INK},
            colorscale=[[0, "#eff5fc"], [1, "#74abe2"]],
            showscale=False,
            xgap=4,
            ygap=4,
        )
    )
    figure.update_yaxes(autorange="reversed", visible=False)
    figure.update_xaxes(visible=False)
    return figure


def _against_census(
    labels: list[str], found: list[float], census: list[float], colour: str
) -> go.Figure:
    figure = go.Figure(
        [
            _bars(labels, [round(value, 4) for value in found], "customers", colour),
            go.Scatter(
                x=labels,
                y=[round(value, 4) for value in census],
                name="Census 2022",
                mode="markers",
                marker={"color": INK, "symbol": "line-ew-open", "size": 10, "line": {"width": 3}},
            ),
        ]
    )
    figure.update_yaxes(ticksuffix="%", hoverformat=".2f", rangemode="tozero")
    figure.update_xaxes(type="category", dtick=1)
    figure.update_layout(hovermode="x unified")
    return figure


def _draw_states(sums: pl.DataFrame, plan: Plan) -> go.Figure:
    counts = dict(sums.select("state", "n").iter_rows())
    states = sorted(figures.STATES, key=lambda state: -figures.STATES[state])
    found = [100 * counts.get(state, 0) / plan.customers for state in states]
    figure = _against_census(states, found, [figures.STATES[state] for state in states], BLUE)
    figure.update_xaxes(tickangle=-90, tickfont={"size": 11})
    return figure


def _ages(part: Portion) -> pl.DataFrame:
    return figures.ages(part).group_by("label").agg(n=pl.len())


def _draw_ages(sums: pl.DataFrame, plan: Plan) -> go.Figure:
    counts, all_adults = dict(sums.select("label", "n").iter_rows()), sum(figures.AGES.values())
    found = [100 * counts.get(band, 0) / plan.customers for band in figures.AGES]
    census = [100 * count / all_adults for count in figures.AGES.values()]
    figure = _against_census(list(figures.AGES), found, census, GREEN)
    figure.update_xaxes(tickangle=-90)
    return figure


# --- stocks


def _prices(part: Portion) -> pl.DataFrame:
    """The last trade of a stock and day."""
    reference = part["stocks"].select("stock_id", "reference_price")
    trades = part["banking.trades"].join(reference, on="stock_id")
    return (
        trades.sort("executed_at")
        .group_by(ticker=pl.col("ticker").str.strip_suffix("F"), day=local("executed_at").dt.date())
        .agg(pl.col("executed_at", "unit_price", "reference_price").last())
        .with_columns(n=1)
    )


def _draw_prices(sums: pl.DataFrame, plan: Plan) -> go.Figure:  # noqa: ARG001
    last = sums.sort("executed_at").group_by("ticker", "day", maintain_order=True).last()
    price = (100 * pl.col("unit_price") / pl.col("reference_price")).round(2)
    paths = last.with_columns(price=price, reais=pl.col("unit_price") / 100).sort("ticker", "day")
    heavy = sorted(figures.STOCKS, key=lambda ticker: -figures.STOCKS[ticker])[:5]
    colours = dict(zip(heavy, (BLUE, ORANGE, GREEN, PURPLE, "#b3261e"), strict=True))
    figure = go.Figure()
    # Those with a colour come last and lie on top.
    for ticker in sorted(figures.STOCKS, key=lambda ticker: (ticker in heavy, ticker)):
        own = paths.filter(pl.col("ticker") == ticker)
        line = _line(own, "day", "price", ticker, colours.get(ticker, "#cfd5dc"), mode="lines")
        line.update(
            line={"width": 2.5 if ticker in heavy else 1},
            showlegend=ticker in heavy,
            customdata=own["reais"].to_list(),
            hovertemplate="%{x|%d %b %Y}: R$ %{customdata:.2f}, %{y:.1f}%",
        )
        figure.add_trace(line)
    figure.update_yaxes(ticksuffix="%")
    return figure


# --- loans


_LOANS = {"HOUSING": BLUE, "PAYROLL": ORANGE, "VEHICLE": GREEN, "PERSONAL": PURPLE}


def _loan_book(part: Portion) -> pl.DataFrame:
    return (
        part["loans"]
        .group_by("loan_type")
        .agg(pl.col("principal", "outstanding_balance").sum(), n=pl.len())
    )


def _draw_loan_book(sums: pl.DataFrame, plan: Plan) -> go.Figure:  # noqa: ARG001
    figure = go.Figure()
    for column, name, colour in (
        ("n", "of the contracts", GREY),
        ("principal", "of the principal", ORANGE),
        ("outstanding_balance", "of what is outstanding", BLUE),
    ):
        found = dict(sums.select("loan_type", column).iter_rows())
        whole = sum(found.values())
        values = [round(100 * found.get(kind, 0) / whole, 4) if whole else 0 for kind in _LOANS]
        figure.add_trace(_bars(_LOANS, values, name, colour))
    figure.update_yaxes(ticksuffix="%", hoverformat=".1f")
    figure.update_layout(barmode="group", hovermode="x unified")
    return figure


def _rates(part: Portion) -> pl.DataFrame:
    bucket = pl.col("monthly_rate") // 1_000
    return part["loans"].group_by("loan_type", bucket=bucket).agg(n=pl.len())


def _draw_rates(sums: pl.DataFrame, plan: Plan) -> go.Figure:  # noqa: ARG001
    figure = go.Figure()
    for kind, colour in _LOANS.items():
        own = sums.filter(pl.col("loan_type") == kind)
        middles = [round(bucket / 10 + 0.05, 2) for bucket in own["bucket"]]
        figure.add_trace(_bars(middles, own["n"], kind, colour, width=0.1))
    figure.update_xaxes(title="rate, % a month", dtick=1, rangemode="tozero")
    figure.update_yaxes(title="contracts")
    figure.update_layout(barmode="stack", bargap=0, legend={"traceorder": "normal"})
    return figure


def _arrears(part: Portion) -> pl.DataFrame:
    scores = part["customers"].select("customer_id", score="credit_score")
    loans = part["loans"].filter(pl.col("status") != "SETTLED").join(scores, on="customer_id")
    band = pl.min_horizontal(pl.col("score") // 100, 9)
    return loans.group_by("status", band=band).agg(n=pl.len())


def _draw_arrears(sums: pl.DataFrame, plan: Plan) -> go.Figure:  # noqa: ARG001
    shares = _percent(sums, "band")
    totals = dict(sums.group_by("band").agg(pl.col("n").sum()).iter_rows())
    bands = sorted(totals)
    figure = go.Figure()
    for status, name, colour in (
        ("DEFAULTED", "more than 90 days late", "#b3261e"),
        ("LATE", "up to 90 days late", "#e9a23b"),
    ):
        own = dict(shares.filter(pl.col("status") == status).select("band", "percent").iter_rows())
        figure.add_trace(
            _bars(
                [f"{100 * band}–<br>{100 * band + 99 + band // 9}" for band in bands],
                [own.get(band, 0) for band in bands],
                name,
                colour,
                customdata=[totals[band] for band in bands],
                hovertemplate="%{y:.1f}% of %{customdata:,} loans",
            )
        )
    figure.update_xaxes(title="credit score of the customer", type="category", tickangle=0)
    figure.update_yaxes(ticksuffix="%")
    figure.update_layout(barmode="stack", legend={"traceorder": "normal"})
    return figure


CHARTS = (
    Chart(
        "Events by day",
        "Events in each local day of the history, whose first and last need not be whole. "
        "Installments that are overdue are reported at the end.",
        ("stream", "day"),
        _by_day,
        _draw_days,
        600,
        wide=True,
    ),
    Chart(
        "Events by hour",
        "Percentage of the events of each stream, by hour in Brasília.",
        ("stream", "hour"),
        _by_hour,
        _draw_hours,
    ),
    Chart(
        "Amounts by transaction type",
        f"Percentage of the events of each type, in {_STEPS} steps to a power of ten.",
        ("transaction_type", "bucket"),
        _amounts,
        _draw_amounts,
    ),
    Chart(
        "Customers by state",
        "Percentage of the customers who live in each state; north is up.",
        ("state",),
        _states,
        _draw_map,
        460,
    ),
    Chart(
        "Customers by state, and the census",
        "Percentage of the customers, and of the population.",
        ("state",),
        _states,
        _draw_states,
        460,
    ),
    Chart(
        "Customers by age, and the census",
        "Percentage of the customers by age 60 days before the history, and of all adults.",
        ("label",),
        _ages,
        _draw_ages,
    ),
    Chart(
        "Balances",
        "Percentage of the accounts of each type, by balance at the end.",
        ("account_type", "band"),
        _balances,
        _draw_balances,
    ),
    Chart(
        "Card purchases by category",
        "Percentage of the purchases, and of what they cost.",
        ("merchant_category",),
        _categories,
        _draw_categories,
        900,
        wide=True,
    ),
    Chart(
        "Prices of stocks",
        "Last trade of a day, in percent of the reference price; in colour the five stocks that "
        "weigh most in the index.",
        ("ticker", "day", "executed_at", "unit_price", "reference_price"),
        _prices,
        _draw_prices,
        460,
        wide=True,
    ),
    Chart(
        "Loan book",
        "Percentage of contracts and money by type of loan.",
        ("loan_type",),
        _loan_book,
        _draw_loan_book,
    ),
    Chart(
        "Rates of loans",
        "Contracts by monthly rate, in steps of 0.1 points.",
        ("loan_type", "bucket"),
        _rates,
        _draw_rates,
    ),
    Chart(
        "Arrears by credit score",
        "Percentage of the open loans of customers with such a score.",
        ("status", "band"),
        _arrears,
        _draw_arrears,
        wide=True,
    ),
)
