"""The catalogue as typed, frozen values, and what a sink is to the layers above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ._core import Catalogue, Field, ForeignKey, Relation, catalogue

if TYPE_CHECKING:
    from ._core import Batch

__all__ = ["Catalogue", "Field", "ForeignKey", "Relation", "RowSink", "catalogue"]


class RowSink(Protocol):
    """Where batches go once their foreign keys are checked."""

    def write(self, batch: Batch) -> int:
        """Takes the rows of one table or stream; how many of them are new to the sink."""
