"""What is asked of a run: which rows, and where to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, get_args

from ..errors import ConfigurationError, OptionError
from ..receipts import Recorder
from ..sinks.base import Order, ResumingTarget
from ..types import catalogue

if TYPE_CHECKING:
    from .._core import Plan
    from ..receipts import Receipt
    from ..sinks.base import Target

__all__ = ["FAST_CUSTOMERS", "MAX_WORKERS", "Load", "shard"]

#: From so many customers on, a load is fast without being asked.
FAST_CUSTOMERS: Final = 10_000
#: More threads than any machine has cores.
MAX_WORKERS: Final = 1_024


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to load, and where to.

    ``from_customer`` is the first customer of the plan to load, counted from 0: a bank grows by
    ranges of one seed, whose ids never collide. Reference rows (stocks) belong to every range.

    ``targets`` has what is asked of each sink that takes part, by the sink's name.

    ``fast`` forgets events once they are sent (``MasterDataStore``); otherwise the whole load is
    made and checked in memory before the first row leaves (``FinancialDataStore``). ``workers`` is
    the number of threads that make events of a fast load, 0 for one a core; the events do not
    depend on it.

    In ``order="time"`` no event comes before an earlier one of its partition, and all streams advance
    together; in ``order="entity"`` all events of an account, card or loan follow one another.

    A ``recorder`` writes the receipt of the run, which says what ``verify`` has to find.

    With ``resume``, the receipt of an earlier attempt at the same load, what is there of that stays: rows and events
    that have arrived are not written again, whatever ended it. The receipt is written anew.

    A load that is ``shared`` is one shard of several, each of its own customers (``shard``) and at work whenever it likes, at
    the same time as others too. What is there of it stays, with a receipt or without, so that it may be begun again. A
    stream goes on from its position.
    """

    plan: Plan
    from_customer: int = 0
    targets: Mapping[str, Target] = field(default_factory=dict)
    fast: bool = False
    workers: int = 1
    order: Order = "time"
    recorder: Recorder | None = field(default=None, compare=False)
    resume: Receipt | None = field(default=None, compare=False)
    shared: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.workers <= MAX_WORKERS:
            raise OptionError("workers", self.workers, f"0 (one a core) to {MAX_WORKERS}")
        if self.order not in get_args(Order):
            raise OptionError("order", self.order, " or ".join(get_args(Order)))
        if not 0 <= self.from_customer < self.plan.customers:
            raise OptionError(
                "from_customer", self.from_customer, f"0 to {self.plan.customers - 1}"
            )
        if self.resume is not None:
            self.check_resumed(self.resume)
            object.__setattr__(self, "recorder", Recorder.again(self.resume))

    @property
    def customers(self) -> int:
        """How many customers are loaded."""
        return self.plan.customers - self.from_customer

    @property
    def stays(self) -> bool:
        """Whether what is there of the load stays, without a receipt of an earlier attempt."""
        targets = self.targets.values()
        return self.shared or any(
            isinstance(one, ResumingTarget) and one.goes_on for one in targets
        )

    @property
    def threads(self) -> int:
        """How many threads make the events of a fast load."""
        return self.workers or _cores()

    def check_resumed(self, receipt: Receipt) -> None:
        """Refuses the receipt of another load by ``ConfigurationError``."""
        if receipt.command == "stream" or receipt.stream is not None:
            raise ConfigurationError(
                f"{receipt.path} is of a stream, which goes on from its position "
                "and not by a receipt"
            )
        if receipt.shards > 1:
            raise ConfigurationError(
                f"{receipt.path} is of {receipt.shards} shards: begin each of them again, what is there of it stays"
            )
        same = {
            "another plan": receipt.as_plan() == self.plan
            and receipt.plan.get("from_customer") == self.from_customer,
            "another order of events": receipt.order == self.order,
            "other targets": {*receipt.sinks} == {*self.targets},
        }
        for what, is_same in same.items():
            if not is_same:
                raise ConfigurationError(
                    f"{receipt.path} is of a load with {what}; resume it as it was begun"
                )

    def takes(self, name: str) -> bool:
        """Whether a sink takes the rows of a table or stream."""
        return any(name in target.relations for target in self.targets.values())

    def needs(self, name: str) -> bool:
        """Whether rows of a table are made: a sink takes them, or rows that refer to them are made."""
        referring = (
            one for one in catalogue() if any(key.table == name for key in one.foreign_keys)
        )
        return self.takes(name) or any(
            self.takes(one.name) if one.is_stream else self.needs(one.name) for one in referring
        )


def shard(customers: range, number: int, of: int) -> range:
    """The customers of one of so many shards, the first of which is 1: blocks of a size, or one more.

    Raises ``OptionError`` where there is no such shard, or more shards than customers.
    """
    if not 1 <= of <= len(customers):
        raise OptionError("shard", f"{number}/{of}", f"at most {len(customers)}, one a customer")
    if not 1 <= number <= of:
        raise OptionError("shard", f"{number}/{of}", f"1/{of} to {of}/{of}")
    return customers[len(customers) * (number - 1) // of : len(customers) * number // of]


def _cores() -> int:
    """Cores that this process may use; not every system says which."""
    mine = getattr(os, "sched_getaffinity", None)
    return len(mine(0)) if mine else os.cpu_count() or 1
