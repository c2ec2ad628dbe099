"""Foreign keys and primary keys, checked against what was really handed over.

A store remembers the ids of the parents that it was given and refuses a row that points at any
other. Nothing about how ids are made is known here. A refused batch leaves the store as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core import Batch, KeySet, KeyStore, Plan, TimeOrder
from .errors import OptionError
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    #: Mypy cannot say which attributes an object has to have.
    Row = Mapping[str, Any] | object

__all__ = ["FinancialDataStore", "MasterDataStore", "memory_in_time", "memory_needed"]

#: Single rows are merged into batches of this many.
_MERGED_ROWS = 8192

#: What columns keep beside their values: spare capacity, and the allocator's share. Measured.
_ROOM = 1.09
#: The bytes of an id in a set, and of an event's place in the order of time.
_ID, _PLACE = 17, 16
#: The states of a customer's accounts, card and loan; monthly bills add to them. Measured.
_STATES, _STATES_A_DAY = 1_325, 0.06
#: More customers have events in the same proportion.
_COUNTED_CUSTOMERS = 10_000


class MasterDataStore:
    """Checks every row and keeps the keys of master rows only: events pass through.

    Since it forgets events, it cannot tell an event that is handed over twice.
    """

    _unique_events = False

    def __init__(self) -> None:
        self._keys = KeyStore(unique_events=self._unique_events)

    @property
    def counts(self) -> dict[str, int]:
        """Rows handed over so far, by relation in catalogue order."""
        return self._keys.counts

    def add_batch(self, batch: Batch) -> Batch:
        """Checks all rows of a batch, then takes them; returns the batch.

        Raises ``ReferentialIntegrityError`` for the first row whose parent is unknown and
        ``RejectedError`` for the first whose primary key was handed over before. The row is its
        position in the batch.
        """
        self._keys.add_batch(batch)
        return batch

    def add_versions(self, batch: Batch) -> Batch:
        """The same, where a primary key that is there already is a later version of its row."""
        self._keys.add_versions(batch)
        return batch

    def check_batch(self, batch: Batch) -> Batch:
        """Checks the foreign keys of all rows of a batch and takes nothing; returns the batch.

        May be called by any thread. Raises ``ReferentialIntegrityError`` as ``add_batch`` does.
        """
        self._keys.check_batch(batch)
        return batch

    def parents(self, name: str) -> list[KeySet]:
        """The ids that the rows of a table or stream may point at, for each of its foreign keys."""
        return self._keys.parents(name)

    def count(self, name: str, rows: int) -> None:
        """Counts rows that were checked elsewhere: by ``check_batch``, or against ``parents``."""
        self._keys.count(name, rows)

    def add_customer(self, row: Row) -> None:
        """Takes one customer; ``row`` has the catalogue's fields, here and in all that follow.

        It is a mapping that has no others, or an object that has them as attributes.
        """
        self._add_row("customers", row)

    def add_property(self, row: Row) -> None:
        self._add_row("properties", row)

    def add_stock(self, row: Row) -> None:
        self._add_row("stocks", row)

    def add_account(self, row: Row) -> None:
        """Takes one account; its customer must be known."""
        self._add_row("accounts", row)

    def add_credit_card(self, row: Row) -> None:
        """Takes one card; its customer must be known."""
        self._add_row("credit_cards", row)

    def add_loan(self, row: Row) -> None:
        """Takes one loan; its customer, and the property of a HOUSING loan, must be known."""
        self._add_row("loans", row)

    def add_transaction(self, row: Row) -> None:
        """Takes one movement; its account must be known."""
        self._add_row("banking.transactions", row)

    def add_card_transaction(self, row: Row) -> None:
        """Takes one purchase; its card must be known."""
        self._add_row("banking.card-transactions", row)

    def add_trade(self, row: Row) -> None:
        """Takes one trade; its INVESTIMENTOS account and its stock must be known."""
        self._add_row("banking.trades", row)

    def add_installment(self, row: Row) -> None:
        """Takes one installment; its loan must be known."""
        self._add_row("banking.installments", row)

    def _add_row(self, name: str, row: Row) -> Batch:
        # By way of a batch, so that single rows and batches are checked alike.
        return MasterDataStore.add_batch(self, Batch.from_rows(name, [row]))


class FinancialDataStore(MasterDataStore):
    """Checks every row and keeps it, master rows and events alike, for small loads.

    Here events have to be unique too.
    """

    _unique_events = True

    def __init__(self) -> None:
        super().__init__()
        names = [relation.name for relation in (*catalogue(), catalogue().labels)]
        self._kept: dict[str, list[Batch]] = {name: [] for name in names}
        self._pending: dict[str, list[dict[str, Any]]] = {name: [] for name in names}

    def add_batch(self, batch: Batch) -> Batch:
        super().add_batch(batch)
        self._merge(batch.name)
        self._kept[batch.name].append(batch)
        return batch

    def batches(self, name: str) -> Iterator[Batch]:
        """All rows of a relation, in the order in which they were handed over."""
        name = catalogue()[name].name
        self._merge(name)
        return iter(tuple(self._kept[name]))

    def in_time(self, names: Iterable[str] | None = None) -> Iterator[Batch]:
        """All events of the named streams, by default of all, in order of event time.

        The order is (event time, stream in the catalogue's order, place among the rows of the stream
        as they were handed over): it does not depend on the sizes of batches, and the events of
        one entity stay in order. Each batch is of one stream, and the streams take turns, so that
        their events stay within a slice of each other: an hour of event time, or longer where fewer
        than 8 192 events are in it. Rows that are handed over later do not take part.
        """
        every = [stream.name for stream in catalogue().streams]
        wanted = every if names is None else [*names]
        for name in wanted:
            if name not in every:
                raise OptionError("names", name, "one of " + ", ".join(every))
        return TimeOrder(batch for name in every if name in wanted for batch in self.batches(name))

    def _add_row(self, name: str, row: Row) -> Batch:
        batch = super()._add_row(name, row)
        pending = self._pending[name]
        pending.append(batch[0])
        if len(pending) >= _MERGED_ROWS:
            self._merge(name)
        return batch

    def _merge(self, name: str) -> None:
        if pending := self._pending[name]:
            self._kept[name].append(Batch.from_rows(name, pending))
            self._pending[name] = []


def memory_needed(
    plan: Plan, start: int = 0, stop: int | None = None, *, names: Iterable[str] | None = None
) -> int:
    """Bytes of memory that a ``FinancialDataStore`` takes for customers ``start`` to ``stop``.

    That is for the rows of the named tables and streams (by default of all), the sets of their ids, and
    the order of time of the events; what the process has besides, its clients and their queues are
    not counted. Within a quarter of what is measured; found in half a second, for any plan.
    """
    last = plan.customers if stop is None else stop
    counted = min(last, start + _COUNTED_CUSTOMERS)
    needed = 0.0
    for relation in catalogue() if names is None else [catalogue()[name] for name in names]:
        name = relation.name
        if relation.is_stream and counted > start:
            rows = plan.rows(name, start, counted) * (last - start) // (counted - start)
        else:
            rows = plan.rows(name, start, last)
        sample = next(plan.batches(name, start, counted, batch_rows=_MERGED_ROWS), None)
        if rows and sample:
            needed += rows * (sample.nbytes / len(sample)) * _ROOM + _places(rows) * _ID
            needed += rows * _PLACE * relation.is_stream
    return round(needed)


def memory_in_time(plan: Plan, start: int = 0) -> int:
    """Bytes that the states of accounts, cards, traders and loans take.

    A fast load in order of time makes the events of the customers from ``start`` on by these.
    """
    return round((plan.customers - start) * (_STATES + plan.days * _STATES_A_DAY))


def _places(ids: int) -> int:
    """The places of a hash table: a power of two, of which seven eighths may be taken."""
    return 1 << (ids * 8 // 7).bit_length()
