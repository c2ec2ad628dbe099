"""What a check found, whatever it looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from ._language import Said, say


class Result(Enum):
    """What is said of a check."""

    HOLDS = "holds"
    FAILS = "FAILS"
    #: The sample is too small to tell what is published from something else.
    POWERLESS = "needs {n} customers"
    NOTHING = "no data"
    #: Shown beside what is published of others, which ours need not be like.
    BESIDE = "not judged"


def _word(result: Result, needs: int) -> Said:
    return say(result.value, n=needs) if result is Result.POWERLESS else say(result.value)


@dataclass(frozen=True)
class Line:
    """One of several values of a check, as text."""

    label: str
    published: Said
    found: Said
    tolerance: Said
    result: Result
    #: Customers that it takes, where the sample is too small.
    needs: int = 0

    @property
    def word(self) -> Said:
        return _word(self.result, self.needs)


@dataclass(frozen=True)
class Check:
    """A statement about the data, where it is from, and what was found, as text."""

    what: str
    published: Said
    source: str
    found: Said
    tolerance: Said
    result: Result
    #: Customers that it takes, where the sample is too small.
    needs: int = 0
    #: Why it is not exactly what is published, or why it is not judged.
    why: str = ""
    link: str = ""
    #: More than one value, if there are.
    lines: tuple[Line, ...] = ()

    @property
    def holds(self) -> bool | None:
        """None where nothing is claimed."""
        return {Result.HOLDS: True, Result.FAILS: False}.get(self.result)

    @property
    def word(self) -> Said:
        return _word(self.result, self.needs)

    def __str__(self) -> str:
        text = f"{self.what}: {self.found}; published {self.published}, tolerance {self.tolerance}"
        wrong = [line for line in self.lines if line.result is Result.FAILS]
        return "\n".join(
            [
                text,
                *(
                    f"  {line.label}: {line.found}; published {line.published} {line.tolerance}"
                    for line in wrong
                ),
            ]
        )


def enough(customers: int, times: float) -> int:
    """So many times the customers, rounded up to two digits."""
    wanted = max(customers * times, customers + 1)
    step = 10.0 ** max(math.floor(math.log10(wanted)) - 1, 0)
    return int(math.ceil(wanted / step) * step)
