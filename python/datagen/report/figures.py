"""Published figures, each declared once, with its source.

Some have a slack besides what chance may do, with its reason, where the data is by design not exactly
what is published. Some are shown and not judged, with what differs: another population, or what the
volumes of a load rule out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

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
    Ratio,
    Rows,
    Shares,
    always,
    between,
    each_row,
    labelled,
    ranges,
)
from ._people import PURCHASES, TRANSACTIONS
from ._published import AGES, BRANDS, CATEGORIES, KEYS, MEN, STATES, STOCKS, SURNAMES, WOMEN
from ._reading import has
from ._rows import (
    FIRM,
    INSIDE,
    IS_BILL,
    IS_FINANCED,
    IS_ORDERED,
    IS_PIX,
    IS_SENT,
    SETTLED,
    STOCK,
    ages,
    amounts,
    debt_service,
    given_names,
    in_installments,
    incomes,
    investors,
    late_balance,
    late_by_score,
    late_by_type,
    of_entities,
    overdue,
    pix_and_purchases,
    purchases,
    rates,
    square_metres,
    surnames,
    teds_and_pix,
)

#: Days of history that the published volumes are of.
DAYS = 90

CENSUS = "Census 2022"
IBGE = "IBGE, names in Brazil, Census 2022"
ABECS = "Abecs, 3rd quarter of 2025"
PAYMENTS = "Banco Central, retail payments, 1st half of 2025"
B3 = "B3, profile of investors, 2nd quarter of 2025"
ARREARS = "Banco Central, arrears by balance, August 2025"
FIPE = "FipeZAP, advertised flats, 2025"
FEBRABAN = "FEBRABAN, banking technology survey of 2025"
PIX = "Banco Central, Pix statistics"
RATES = "Banco Central, interest rates"
KNOWN = "≈ general knowledge"
PROMISE = "datagen, data catalogue"

#: Where the figures of a source were read.
NAMES_PAGE = "https://agenciasertao.com/2025/11/04/ibge-divulga-os-nomes-mais-populares-no-brasil/"
PAYMENTS_PAGE = "https://portalssa.com.br/?p=91299"
INVESTORS_PAGE = (
    "https://viva.com.br/dinheiro/"
    "perfil-do-investidor-brasileiro-esta-mais-prateado-e-busca-diversificacao-aponta-b3.html"
)
ARREARS_PAGE = (
    "https://www.bol.uol.com.br/noticias/2025/09/29/"
    "bc-inadimplencia-media-no-credito-livre-sobe-a-54-em-agosto.htm"
)
FEBRABAN_PAGE = (
    "https://teletime.com.br/11/06/2025/"
    "tres-em-cada-quatro-operacoes-bancarias-sao-feitas-com-celular/"
)
CARDS_PAGE = "https://ocuiaba.com.br/2026/02/17/pagamentos-com-cartoes-crescimento-2025"
TEDS_PAGE = "https://economia.ig.com.br/2023-01-23/pix-recorde-transacoes-2022.html"


def _among(counts: Mapping[str, float]) -> Callable[[Plan], Mapping[str, Range]]:
    """Percentages that counts are of their sum."""
    total = sum(counts.values())
    return always({label: 100 * count / total for label, count in counts.items()})


def _per_day(value: float) -> Callable[[Plan], Mapping[str, Range]]:
    """A volume, which grows with the days of a history."""
    return lambda plan: {ALL: Range(value * plan.days / DAYS, value * plan.days / DAYS)}


def _has_session(plan: Plan) -> bool:
    start, end = (local_time(at) for at in (plan.as_of - timedelta(plan.days), plan.as_of))
    return any(
        start < datetime.combine(day, session(day)[1])
        and datetime.combine(day, session(day)[0]) < end
        for day in session_days(start.date(), end.date())
    )


def _trades(plan: Plan) -> Mapping[str, Range]:
    return _per_day(20 if _has_session(plan) else 0)(plan)


FIGURES: tuple[Figure, ...] = (
    Figure(
        "Rows for each customer",
        PROMISE,
        Rows(),
        always(
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
            lambda part: of_entities(
                part,
                TRANSACTIONS,
                part["accounts"],
                # Every customer has one.
                (pl.col("account_type") == "CORRENTE").cast(pl.Int64),
            ),
            spread=0.8,
        ),
        # Days of a month differ: incomes and bills come at its beginning.
        lambda plan: _per_day(20.2)(plan) if plan.days >= 28 else {},
        unit="",
        relative_slack=0.05,
        why="≈, and of histories of a month or more; months differ, and people",
    ),
    Figure(
        "Purchases a card",
        PROMISE,
        Means(
            lambda part: of_entities(part, PURCHASES, part["credit_cards"]),
            spread=0.6,
        ),
        _per_day(57.14),
        unit="",
        relative_slack=0.05,
        why="≈; months of a history differ, and people",
    ),
    Figure(
        "Trades an INVESTIMENTOS account",
        PROMISE,
        Means(
            lambda part: of_entities(
                part,
                "banking.trades",
                part["accounts"].filter(pl.col("account_type") == "INVESTIMENTOS"),
            ),
            spread=1.0,
        ),
        _trades,
        unit="",
    ),
    Figure(
        "Installments a loan",
        PROMISE,
        Means(lambda part: of_entities(part, "banking.installments", part["loans"]), spread=1.0),
        # They run from the contract on, and the more days there are, the older are contracts.
        lambda plan: between(28.3, 28.3)(plan) if plan.days <= 2 * DAYS else {},
        unit="",
        relative_slack=0.04,
        why="≈, and of histories of up to half a year",
    ),
    Figure(
        "Customers by state",
        CENSUS,
        Shares(each_row("customers", pl.col("state"))),
        always(STATES),
        slack=0.01,
        why="given with two digits",
    ),
    Figure("Adults by age", CENSUS, Shares(ages), _among(AGES)),
    Figure(
        "Women's given names, among one another",
        IBGE,
        Shares(given_names(WOMEN)),
        _among(WOMEN),
        relative_slack=0.3,
        why="the census counts children too, who have other names than adults",
        link=NAMES_PAGE,
    ),
    Figure(
        "Order of women's given names",
        IBGE,
        Disorder(given_names(WOMEN), WOMEN, apart=1.3),
        between(0, 0),
        unit="pairs in another order",
        digits=0,
        why="of names of which one has 1.3 times as many bearers",
        link=NAMES_PAGE,
    ),
    Figure(
        "Men's given names, among one another",
        IBGE,
        Shares(given_names(MEN)),
        _among(MEN),
        relative_slack=0.3,
        why="the census counts children too, who have other names than adults",
        link=NAMES_PAGE,
    ),
    Figure(
        "Order of men's given names",
        IBGE,
        Disorder(given_names(MEN), MEN, apart=1.3),
        between(0, 0),
        unit="pairs in another order",
        digits=0,
        why="of names of which one has 1.3 times as many bearers",
        link=NAMES_PAGE,
    ),
    Figure(
        "Last surnames, among one another",
        IBGE,
        Shares(surnames),
        _among(SURNAMES),
        link=NAMES_PAGE,
    ),
    Figure(
        "Politically exposed customers",
        KNOWN,
        Shares(each_row("customers", labelled(pl.col("pep")))),
        between(0.3, 0.3),
    ),
    Figure(
        "Card brands",
        "Nilson Report and ABECS",
        Shares(each_row("credit_cards", pl.col("brand"))),
        always(BRANDS),
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
                TRANSACTIONS,
                pl.col("pix_key_type"),
                entity="account_id",
                where=IS_PIX & IS_SENT,
            )
        ),
        ranges(
            {
                "EVP": (45.2, 56),
                "PHONE": (12.5, 19.3),
                "CPF": (12.5, 19),
                "EMAIL": (14, 14.9),
                "CNPJ": (1.7, 2.1),
            }
        ),
        digits=1,
        why="one end is of keys that are registered; firms are paid by codes, which hold a random "
        "one, and are paid more often than they have keys",
    ),
    Figure(
        "Mean Pix",
        PIX,
        Means(lambda part: amounts(part, "PIX"), spread=5.0, scale=100.0),
        between(420, 480),
        unit="R$",
        why="of settled ones; 420 to 445 published, and rents and what the self-employed earn come "
        "by Pix here",
    ),
    Figure(
        "Median Pix",
        PIX,
        Median(
            lambda part: part[TRANSACTIONS].filter(IS_PIX & SETTLED).select(value="amount"),
            scale=100.0,
        ),
        between(60, 120),
        unit="R$",
        why="of settled ones; 60 to 100 is known, and rents and bills come by Pix here",
    ),
    Figure(
        "Pix that persons send to firms, of those to persons and firms",
        PAYMENTS,
        Shares(
            each_row(
                TRANSACTIONS,
                labelled(FIRM),
                entity="account_id",
                where=IS_PIX & IS_SENT & ~INSIDE & ~IS_BILL,
            )
        ),
        between(40, 50),
        digits=1,
        why="42.1 of 87.1 in a hundred that leave a bank, so 48.3; here of those that leave it, "
        "without rents and bills, most of which go by boleto elsewhere",
        link=PAYMENTS_PAGE,
    ),
    Figure(
        "The same with rents and bills of households",
        PAYMENTS,
        Shares(
            each_row(
                TRANSACTIONS, labelled(FIRM), entity="account_id", where=IS_PIX & IS_SENT & ~INSIDE
            )
        ),
        between(48.3, 48.3),
        digits=1,
        why="a load has no boletos: light, water, telephone and school go by Pix, and of 20.2 "
        "movements in 90 days they are many",
        link=PAYMENTS_PAGE,
        judged=False,
    ),
    Figure(
        "Pix that stay inside the bank",
        PAYMENTS,
        Shares(
            each_row(
                TRANSACTIONS,
                labelled(INSIDE),
                entity="account_id",
                where=IS_PIX & IS_SENT & (pl.col("status") == "COMPLETED"),
            )
        ),
        between(8.5, 11),
        digits=1,
        why="10.8, the mean of all banks; bills, which go by Pix here, all leave the bank",
        link=PAYMENTS_PAGE,
    ),
    Figure(
        "Pix for each purchase on credit",
        PAYMENTS,
        Means(pix_and_purchases, spread=1.0),
        between(3.4, 3.4),
        unit="",
        why="36.9 bn Pix to 10.8 bn purchases; a load has 20.2 movements and 40 purchases a "
        "customer in 90 days by the guide, which rules it out",
        link=PAYMENTS_PAGE,
        judged=False,
    ),
    Figure(
        "TED for each 100 Pix",
        "Banco Central, payment statistics of 2022",
        # What is so rare differs by many times itself.
        Means(teds_and_pix, spread=15.0, scale=0.01),
        between(0.5, 4.2),
        unit="",
        digits=1,
        why="4.2 in 2022, of all payers, and falling since",
        link=TEDS_PAGE,
    ),
    Figure(
        "Mean TED of a person",
        KNOWN,
        Means(lambda part: amounts(part, "TED", ~IS_FINANCED), spread=5.0, scale=100.0),
        between(2_000, 10_000),
        unit="R$",
        digits=0,
        why="a few thousand, without what a loan pays to a seller; the published mean of R$ 40 300 "
        "(2022) is of all payers, treasuries of firms too",
        link=TEDS_PAGE,
    ),
    Figure(
        "Requests to return a Pix for fraud (MED), of 100 000 Pix",
        "Banco Central, 2022 to the 1st half of 2025",
        Shares(each_row(TRANSACTIONS, pl.lit(None, pl.String), entity="account_id", where=IS_PIX)),
        between(6, 8),
        unit="",
        digits=0,
        why="no request is an event of a load; frauds are labels, beside the events",
        link="https://www.portaldenoticias.com.br/noticia/40080/sao-jeronimo-rs/seguranca/"
        "fraudes-com-pix-ferramenta-med-pode-ajudar-vitimas-a-recuperar-valores.html",
        judged=False,
    ),
    Figure(
        "Movements ordered by phone",
        FEBRABAN,
        Shares(
            each_row(
                TRANSACTIONS,
                labelled(pl.col("channel") == "MOBILE"),
                entity="account_id",
                where=IS_ORDERED,
            )
        ),
        between(75, 86),
        why="of what the holder orders; the high end without the 13% at card terminals, which are "
        "no movements here",
        link=FEBRABAN_PAGE,
    ),
    Figure(
        "Movements ordered by phone or internet",
        FEBRABAN,
        Shares(
            each_row(
                TRANSACTIONS,
                labelled(pl.col("channel").is_in(["MOBILE", "INTERNET"])),
                entity="account_id",
                where=IS_ORDERED,
            )
        ),
        between(82, 94),
        why="of what the holder orders; the high end without the 13% at card terminals, which are "
        "no movements here",
        link=FEBRABAN_PAGE,
    ),
    Figure(
        "Card purchases by category (MCC)",
        KNOWN,
        Shares(each_row(PURCHASES, pl.col("mcc"), entity="card_id")),
        _among(CATEGORIES),
        relative_slack=0.12,
        why="≈, over a usual year; months of a history and what comes back each month move them",
    ),
    Figure(
        "Mean purchase on credit",
        "Abecs, 2025",
        Means(lambda part: purchases(part, pl.lit(1)), spread=2.0, scale=100.0),
        between(143, 143),
        unit="R$",
        digits=0,
        why="R$ 3.1 tn over 21.6 bn; by the guide a card has 19 purchases a month, which at R$ 143 "
        "would be 69% of the mean income, so that its volumes rule it out",
        link=CARDS_PAGE,
        judged=False,
    ),
    Figure(
        "Contactless, of purchases in person",
        ABECS,
        Shares(
            each_row(
                PURCHASES,
                labelled(pl.col("entry_mode") == "CONTACTLESS"),
                entity="card_id",
                where=pl.col("entry_mode") != "ECOMMERCE",
            )
        ),
        between(72.8, 72.8),
        digits=1,
        relative_slack=0.02,
        why="of cards of all kinds",
        link="https://finsidersbrasil.com.br/pagamentos/cartoes/"
        "pagamento-por-aproximacao-chega-a-73-das-compras-com-cartoes-no-brasil",
    ),
    Figure(
        "In installments, of what is bought on credit",
        ABECS,
        Means(in_installments, spread=0.5, scale=0.01, weighted=True),
        between(42.7, 42.7),
        digits=1,
        relative_slack=0.1,
        why="by value; without interest",
        link="https://www.isp.tools/carteiras-digitais-avancam-194-com-debito",
    ),
    Figure(
        "Income of DF, by that of MA",
        "IBGE, PNAD Contínua 2024",
        Ratio(incomes, spread=1.0),
        between(3.2, 3.2),
        unit="times",
        relative_slack=0.2,
        why="R$ 3 444 to R$ 1 077 a head of all households; customers are adults with an account",
        link="https://www.opovo.com.br/noticias/economia/2025/02/28/"
        "renda-domiciliar-per-capita-nominal-no-brasil-ficou-em-rs-2-069-em-2024-aponta-ibge.html",
    ),
    *(
        [
            Figure(
                "Women among investors",
                B3,
                Shares(lambda part: investors(part, pl.col("sex").str.starts_with("F"))),
                between(26, 26),
                digits=1,
                relative_slack=0.1,
                link=INVESTORS_PAGE,
            )
        ]
        if has("customers", "sex")
        else []
    ),
    Figure(
        "Over 60 among investors",
        B3,
        Shares(lambda part: investors(part, pl.col("age") > 60)),
        between(7, 7),
        digits=1,
        relative_slack=0.2,
        why="of persons with stocks",
        link=INVESTORS_PAGE,
    ),
    Figure(
        "Trades by stock",
        "B3, weights in the index, among these 42",
        Shares(each_row("banking.trades", STOCK, entity="account_id")),
        _among(STOCKS),
        slack=0.40,
        relative_slack=0.2,
        why="an investor has several stocks, each once, so that the heaviest are less than their "
        "weight and the lightest more",
    ),
    Figure(
        "Loans by type",
        PROMISE,
        Shares(each_row("loans", pl.col("loan_type"))),
        always({"HOUSING": 28.6, "PAYROLL": 30.3, "VEHICLE": 17.0, "PERSONAL": 24.1}),
        relative_slack=0.1,
        why="HOUSING follows from the properties; which of the others follows from the people",
    ),
    Figure(
        "Mean rate a month",
        RATES,
        Means(rates, spread=0.13, scale=10_000.0),
        ranges(
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
        "Balance of loans more than 90 days late",
        ARREARS,
        Means(late_balance, spread=4.0, scale=0.01, weighted=True),
        always({"free": 6.8, "directed": 2.0}),
        digits=1,
        relative_slack=0.1,
        why="free credit of persons: PAYROLL, VEHICLE and PERSONAL here; directed credit: HOUSING here",
        link=ARREARS_PAGE,
        resolves=3.0,
    ),
    Figure(
        "Debt service of households, of their income",
        "Banco Central, July 2025",
        Means(debt_service, spread=0.5, scale=0.01, weighted=True),
        between(27.9, 27.9),
        digits=1,
        why="debts anywhere; here installments of one bank's loans alone, and of all customers' income",
        link="https://www.opovo.com.br/noticias/economia/2025/09/29/"
        "bc-endividamento-das-familias-cai-a-486-em-julho.html",
        judged=False,
    ),
    Figure(
        "Adults with an overdue debt",
        "Serasa, December 2025",
        Shares(overdue),
        between(49.7, 49.7),
        digits=1,
        why="a debt anywhere, bills of shops and utilities too; here one of this bank's loans",
        link="https://centraldovarejo.com.br/brasil-encerra-2025-com-50-de-inadimplencia-na-populacao",
        judged=False,
    ),
    Figure(
        "Price of a square metre, flats",
        FIPE,
        Means(lambda part: square_metres(part, pl.lit(value=True)), spread=0.4, weighted=True),
        between(8_000, 9_611),
        unit="R$",
        digits=0,
        relative_slack=0.1,
        why="9 611 in 56 large cities in December, here in all towns; asked in advertisements, and "
        "not what banks appraise",
        link="https://www.brasil247.com/economia/"
        "mercado-imobiliario-registra-a-segunda-maior-valorizacao-em-11-anos-no-brasil",
    ),
    Figure(
        "Price of a square metre, flats in São Paulo",
        FIPE,
        Means(
            lambda part: square_metres(part, pl.col("city") == "São Paulo"),
            spread=0.4,
            weighted=True,
        ),
        between(11_833, 11_833),
        unit="R$",
        digits=0,
        relative_slack=0.1,
        why="in October",
        link="https://www.broadcast.com.br/ultimas-noticias/"
        "fipezap-indice-de-venda-de-imoveis-residenciais-tem-alta-de-054-em-outubro-ante-setembro",
    ),
    Figure(
        "PERSONAL loans more than 90 days late, less all others",
        "Banco Central, arrears of households",
        Difference(late_by_type),
        between(0, math.inf),
        unit="points",
        resolves=5.0,
    ),
    Figure(
        "More than 90 days late with a score below 550, less above",
        KNOWN,
        Difference(late_by_score),
        between(0, math.inf),
        unit="points",
        resolves=5.0,
    ),
)
