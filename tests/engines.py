"""The two engines, as a test asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Engine:
    """How a producer is asked for: fields of `ProducerConfig`, and options of the command."""

    name: str

    @property
    def fields(self) -> Mapping[str, Any]:
        return {"engine": self.name}

    @property
    def options(self) -> Sequence[str]:
        return "--engine", self.name


ENGINES = {name: Engine(name) for name in ("native", "confluent")}
