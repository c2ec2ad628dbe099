"""Days on which Brazilian banks and B3 work, counted apart from the generator."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import polars as pl

#: Hours by which clocks in Brasília differ from UTC; no daylight saving since 2019.
BRASILIA = -3


def easter(year: int) -> date:
    """Easter Sunday of 1900 to 2099, by the golden number and the Sunday after its full moon."""
    moon = 225 - 11 * (year % 19)
    while moon > 50:
        moon -= 30
    if moon > 48:
        moon -= 1
    weekday = (year + year // 4 + moon + 1) % 7
    return date(year, 3, 1) + timedelta(moon + 6 - weekday)


def bank_holidays(year: int) -> set[date]:
    """Days without banks: national holidays, Carnival and Corpus Christi (FEBRABAN)."""
    fixed = [(1, 1), (4, 21), (5, 1), (9, 7), (10, 12), (11, 2), (11, 15), (12, 25)]
    if year >= 2024:  # Lei 14.759/2023
        fixed.append((11, 20))
    moving = [easter(year) + timedelta(days) for days in (-48, -47, -2, 60)]
    return {date(year, month, day) for month, day in fixed} | set(moving)


def business_days(first: date, last: date) -> list[date]:
    """Days on which banks settle."""
    holidays = {day for year in range(first.year, last.year + 1) for day in bank_holidays(year)}
    days = (first + timedelta(n) for n in range((last - first).days + 1))
    return [day for day in days if day.weekday() < 5 and day not in holidays]


def session_days(first: date, last: date) -> list[date]:
    """Days on which B3 trades: business days but 24 and 31 December and, until 2021, two of São Paulo."""
    closed = {(12, 24), (12, 31)}
    until_2021 = {(1, 25), (7, 9)}
    return [
        day
        for day in business_days(first, last)
        if (day.month, day.day) not in closed
        and not (day.year <= 2021 and (day.month, day.day) in until_2021)
    ]


def session(day: date) -> tuple[time, time]:
    """B3's continuous session; it follows New York, which is on standard time from November to March.

    It begins at 13:00 on Ash Wednesday.
    """
    begin, end = (
        _first_sunday(day.year, 3) + timedelta(7),
        _first_sunday(day.year, 11),
    )
    opens = time(13) if day - easter(day.year) == timedelta(-46) else time(10)
    return opens, time(16 if begin <= day < end else 17, 55)


def _first_sunday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(6 - first.weekday())


def sessions(days: list[date]) -> pl.DataFrame:
    """When B3 opens and closes on these days, by clocks in Brasília: `day`, `opens`, `closes`."""
    hours = [(day, *(datetime.combine(day, at) for at in session(day))) for day in days]
    times = {name: pl.Datetime("ms") for name in ("opens", "closes")}
    return pl.DataFrame(hours, schema={"day": pl.Date(), **times}, orient="row")


def in_time(due: pl.Expr, paid: pl.Expr) -> pl.Expr:
    """Whether a payment is in time: due on a day without banks, it may come on the next business day."""
    holidays = sorted(day for year in range(2000, 2100) for day in bank_holidays(year))
    return paid <= due.dt.add_business_days(0, holidays=holidays, roll="forward")


def local_time(instant: datetime) -> datetime:
    """What clocks in Brasília show, without a zone."""
    return instant.replace(tzinfo=None) + timedelta(hours=BRASILIA)
