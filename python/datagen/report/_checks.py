"""What a check found, whatever it looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One of several values of a check, as text."""

    label: str
    published: str
    found: str
    tolerance: str
    #: None where there was nothing to look at.
    holds: bool | None


@dataclass(frozen=True)
class Check:
    """A statement about the data, where it is from, and what was found, as text."""

    what: str
    published: str
    source: str
    found: str
    tolerance: str
    holds: bool | None
    #: More than one value, if there are.
    lines: tuple[Line, ...] = ()

    def __str__(self) -> str:
        text = f"{self.what}: {self.found}; published {self.published}, tolerance {self.tolerance}"
        wrong = [line for line in self.lines if line.holds is False]
        return "\n".join(
            [
                text,
                *(
                    f"  {line.label}: {line.found}; published {line.published} {line.tolerance}"
                    for line in wrong
                ),
            ]
        )
