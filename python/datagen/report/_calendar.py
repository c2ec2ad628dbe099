"""Days on which Brazilian banks and B3 work, counted apart from the generator."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

#: Hours by which clocks in Brasília differ from UTC; no daylight saving since 2019.
BRASILIA = -3
#: B3's continuous session.
SESSION = time(10, 0), time(16, 55)


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
    """Days on which B3 trades: business days but 24 and 31 December."""
    closed = {(12, 24), (12, 31)}
    return [day for day in business_days(first, last) if (day.month, day.day) not in closed]


def local_time(instant: datetime) -> datetime:
    """What clocks in Brasília show, without a zone."""
    return instant.replace(tzinfo=None) + timedelta(hours=BRASILIA)
