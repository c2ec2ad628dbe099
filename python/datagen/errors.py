"""What can go wrong, and what each failure means to a caller and to a shell.

Every error says in one or two lines what failed, where, and what to do. ``exit_code`` is
what the command returns when the error ends it. No message ever holds a password.
"""

from __future__ import annotations

from typing import Any

from ._words import spoken


class DatagenError(Exception):
    """The root of every error that datagen raises on purpose.

    It names the arguments of the library, and in the command the options. ``delivery`` is a
    ``DeliveryReport`` where a Kafka sink failed after it had been given events.
    """

    exit_code = 1
    delivery: Any = None

    def __init__(self, *what: object) -> None:
        super().__init__(*(spoken(one) if isinstance(one, str) else one for one in what))

    def __reduce__(self) -> tuple[object, ...]:
        # By default a class is called with the text alone, which fails for those that take more: a pool of processes
        # that cannot read an error waits for ever.
        return _made_anew, (type(self), self.args), self.__dict__


def _made_anew(kind: type[DatagenError], args: tuple[object, ...]) -> DatagenError:
    error = kind.__new__(kind)
    error.args = args
    return error


class OptionError(DatagenError, ValueError):
    """An option or argument is out of its range; found before anything is connected."""

    exit_code = 2

    def __init__(self, option: str, value: object, allowed: str) -> None:
        super().__init__(f"{option}: {_shown(value)} is not allowed; use {allowed}")
        self.option = option
        self.value = value
        self.allowed = allowed


def _shown(value: object) -> str:
    """A value of any class as an error shows it: not longer than a line or two."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a class may do anything, and 10**5000 has no digits
        return f"a value of class {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."


class UnknownIdError(DatagenError, LookupError):
    """Nothing of a plan has the id, document, number or address that was looked for.

    ``customer`` is the row of the customer whose it would be: one that the plan does not have, or whose events end
    before. It is None where nothing of the plan's seed has it.
    """

    exit_code = 2

    def __init__(self, reason: str, customer: int | None = None) -> None:
        super().__init__(reason)
        self.customer = customer


class ConfigurationError(DatagenError):
    """A setting cannot work, or a service refused who we say we are."""

    exit_code = 3


class RejectedError(DatagenError):
    """A sink was reached and refused the data (constraint, shape of a table, message size)."""

    exit_code = 4


class ReferentialIntegrityError(RejectedError, ValueError):
    """A row points at a parent that was never handed over.

    ``stream`` is the table or stream of the row, ``field`` the foreign key, ``value`` what it
    holds and ``row`` the row's position within what was handed over (from 0).
    """

    def __init__(self, stream: str, field: str, value: object, row: int, parent: str) -> None:
        super().__init__(
            f"{stream} row {row}: {field} = {value} is not a known {parent}; add the {parent} first"
        )
        self.stream = stream
        self.field = field
        self.value = value
        self.row = row
        self.parent = parent


class UnreachableError(DatagenError):
    """A service cannot be reached, or did not answer in time."""

    exit_code = 5


class VerificationError(DatagenError):
    """What a service holds is not what was handed over."""

    exit_code = 6


class CountingError(VerificationError):
    """What was handed over has arrived, but could not be counted."""
