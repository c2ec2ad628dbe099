"""Days on which Brazilian banks and B3 work, counted apart from the generator."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

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
    """Days on which B3 trades: business days but 24 and 31 December, and until 2021 two of São Paulo."""
    closed, until_2021 = {(12, 24), (12, 31)}, {(1, 25), (7, 9)}

    def trades(day: date) -> bool:
        of_year = (day.month, day.day)
        return of_year not in closed and (day.year > 2021 or of_year not in until_2021)

    return [day for day in business_days(first, last) if trades(day)]


def _sunday(year: int, month: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(6 - first.weekday() + 7 * (nth - 1))


def session(day: date) -> tuple[time, time]:
    """B3's continuous session: to 16:55, or 17:55 in New York's winter; from 13:00 on Ash Wednesday."""
    summer = _sunday(day.year, 3, 2) <= day < _sunday(day.year, 11, 1)
    opens = time(13) if day == easter(day.year) - timedelta(46) else time(10)
    return opens, time(16, 55) if summer else time(17, 55)


def local_time(instant: datetime) -> datetime:
    """What clocks in Brasília show, without a zone."""
    return instant.replace(tzinfo=None) + timedelta(hours=BRASILIA)
