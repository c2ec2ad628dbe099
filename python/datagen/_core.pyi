"""The compiled core: plans, columnar batches, encoded rows and key sets."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, SupportsIndex, final, overload
from uuid import UUID

__all__ = [
    "Batch",
    "Batches",
    "Catalogue",
    "Changes",
    "Column",
    "Customer",
    "EncodedRows",
    "Field",
    "ForeignKey",
    "Found",
    "KeySet",
    "KeyStore",
    "Plan",
    "Producer",
    "ProducerError",
    "Reading",
    "Reconciliation",
    "Relation",
    "Sending",
    "TimeOrder",
    "Until",
    "Window",
    "__version__",
    "catalogue",
    "is_debug_build",
]

__version__: str
"""The package's."""

_Order = Literal["entity", "time"]
_Uuids = Literal["binary", "text"]
_Enums = Literal["dictionary", "text"]

@final
class Plan:
    """What to generate. Equal plans give equal bytes on any machine, in any process.

    ``seed`` is 0 to 2**64 - 1, ``customers`` 1 to 99 999 990, ``as_of`` the instant at which the
    history ends (aware datetime or ISO-8601 text with an offset, in whole milliseconds, years 2021
    to 2099) and ``days`` (1 to 3660) how far back transactions, card transactions and trades go, to
    2021-01-01T00:00:00Z at the most, since Pix began only in November 2020. Raises ``OptionError``
    otherwise. Plans can be compared, hashed and pickled.

    With ``labels`` scenarios of fraud are woven into the events, and ``batches("labels")`` says which events these
    are: True for the usual rates, or a mapping of those that are to be others. A rate is the share of
    accounts, or of cards, that a scenario befalls in a month (0 to 0.25, in millionths): ``pix-scam``,
    ``account-takeover``, ``mule-chain`` and ``structuring`` of accounts, ``card-testing``, ``cloned-card``
    and ``bust-out`` of cards. Events that are there anyway on the way to a loan's default or an
    account's end have labels, too.
    """

    def __new__(
        cls,
        seed: int = 42,
        customers: int = 100,
        *,
        as_of: datetime | str = "2026-07-01T00:00:00Z",
        days: int = 90,
        labels: bool | Mapping[str, float] | None = False,
    ) -> Plan: ...
    @property
    def seed(self) -> int: ...
    @property
    def customers(self) -> int: ...
    @property
    def as_of(self) -> datetime:
        """Aware, in UTC."""
    @property
    def days(self) -> int: ...
    @property
    def labels(self) -> dict[str, float] | None:
        """The rates of the scenarios that are woven into events, by their names; None if there are none."""
    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tables, in the order of insertion, then of all streams."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[int, int], dict[str, Any]]: ...
    def rows(
        self,
        name: str,
        start: int = 0,
        stop: int | None = None,
        *,
        until: datetime | str | None = None,
    ) -> int:
        """How many rows of a table or stream belong to customers ``start`` to ``stop``.

        Exact, and found without making the rows. The stocks belong to nobody: always 42. With
        ``until`` those of a table that are born before an instant, as ``batches`` has them.
        Raises ``OptionError`` for a name that the catalogue lacks, or a range outside the plan.
        """
    def changes(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        since: datetime | str,
        until: datetime | str | None = None,
        batch_rows: int = 8192,
    ) -> Changes:
        """The rows of tables that belong to customers ``start`` to ``stop`` and are born or change in a span.

        ``batches`` of each table as of ``since``, overlaid with what comes ``until`` an instant, are those
        as of that instant. It keeps the states of accounts, cards and loans: some 600 bytes a customer of 90 days.
        Raises ``OptionError`` as ``window`` does.
        """
    def batches(
        self,
        name: str,
        start: int = 0,
        stop: int | None = None,
        *,
        batch_rows: int = 16384,
        order: _Order = "entity",
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        uuids: _Uuids = "binary",
        enums: _Enums = "dictionary",
    ) -> Batches:
        """The rows of a table or stream that belong to customers ``start`` to ``stop``.

        Batches have about ``batch_rows`` rows (1 to 1 048 576), by default as many as stay in a
        processor's cache on their way into an encoder; all events of one account, card or loan are in
        one batch, in order of time. Parts concatenate to the whole.

        ``order="time"`` sorts the events of a stream by (time, row of the account, card or loan, place
        among its events); ``since`` and ``until`` leave out those before one instant and from another
        on. A stream is kept in memory as a state for each account, card or loan, some 180 bytes each.
        Rows of tables have no time: with ``until`` balances, limits and debts are those after all events
        before, not those of the plan's end, and the order and ``since`` raise ``OptionError``.

        ``uuids="text"`` and ``enums="text"`` are for Arrow readers that know neither ``arrow.uuid`` nor
        dictionaries, such as writers of CSV and Delta tables: these columns are then utf8.
        """
    def births(
        self, name: str, start: int = 0, stop: int | None = None, *, batch_rows: int = 16384
    ) -> Batches:
        """The rows of a table that ``batches`` has, each as it is when it is born, for their keys alone.

        Takes half of the time, since nothing happens to them. Raises ``OptionError`` for a stream.
        """
    def versions(
        self,
        name: str,
        start: int = 0,
        stop: int | None = None,
        *,
        since: datetime | str | None = None,
        batch_rows: int = 16384,
    ) -> Batches:
        """The rows of a table in all their versions, up to the plan's end; those of a row one after the other.

        With ``since`` the first of a row is the one that it has at that instant. Raises ``OptionError`` for a stream.
        """
    def window(
        self,
        streams: Sequence[str] | None = None,
        start: int = 0,
        stop: int | None = None,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        order: _Order = "time",
        batch_rows: int = 8192,
        uuids: _Uuids = "binary",
        enums: _Enums = "dictionary",
    ) -> Window:
        """The events of streams, by default of all, that belong to customers ``start`` to ``stop``.

        In ``order="time"`` streams come side by side: each batch is of one stream and in order, and all
        events of a slice of time come before any of the next. A slice is an hour, or as many
        hours as have at most 100 000 events of these streams. In ``order="entity"`` one stream comes
        after the other. ``since`` and ``until`` as for ``batches``; windows that follow one another in
        time have each event once. Batches have at most, or in the order of entities about,
        ``batch_rows`` rows. ``uuids`` and ``enums`` as for ``batches``.
        """

    def find(self, id: str | UUID | bytes) -> Found:
        """What an id, a document, a number or an address leads back to, in the time of one customer's rows.

        It takes the id of a row of any table, of an event of any stream, of a merchant (UUID, its text or 16
        bytes), and as text a CPF, an e-mail address, a telephone from +55 on, a registered Pix key, the number of
        an account or a card, the registration of a property, or a ticker, with or without what stands between the
        digits. An end-to-end id leads back to nothing.

        Raises ``UnknownIdError`` where nothing of the plan has it, which says whether it is of another seed or of a
        customer beyond the plan, and ``OptionError`` for what has the form of none of these.
        """
    def customer(self, row: int) -> Customer:
        """One customer with all that belongs to it. Raises ``OptionError`` for a row that the plan has not."""

@final
class Found:
    """What an id, a document, a number or an address of a plan leads back to."""

    @property
    def id(self) -> UUID: ...
    @property
    def relation(self) -> Relation | None:
        """Its table or stream; None of a merchant, which has neither."""
    @property
    def customer(self) -> int | None:
        """The row of the customer that it belongs to; None of a stock or a merchant."""
    @property
    def row(self) -> int:
        """Its row in the table; of an event that of the account, card or loan."""
    @property
    def k(self) -> int | None:
        """Which event of its account, card or loan, from 0; None of what is no event."""
    @property
    def merchant(self) -> dict[str, Any] | None:
        """Of a merchant its fields, as card transactions have them."""

@final
class Customer:
    """One customer of a plan, with all that belongs to it, made when it is asked for.

    ``customer["banking.transactions"]`` is one batch of the customer's rows, which may have none; a stock belongs to
    nobody, and all have all. Raises ``OptionError`` for a name that the catalogue lacks.
    """

    @property
    def row(self) -> int: ...
    @property
    def household(self) -> list[tuple[int, Literal["HEAD", "SPOUSE", "CHILD"]]]:
        """Rows of those who live together, in their order, and how each came there.

        The customer is among them; others may be beyond the plan.
        """
    def __getitem__(self, name: str, /) -> Batch: ...
    def versions(self, name: str) -> Batch:
        """The versions of the customer's rows in a table: row by row, each as it is since its ``updated_at``.

        A stream has its events, and stocks have one version each.
        """
    def partner_at(self, instant: datetime | str) -> int | None:
        """The row of the customer on the other side of a Pix within the bank that happens at an instant.

        It may be beyond the plan. None where there is no such Pix.
        """

@final
class Batches:
    """Iterates batches, or is an Arrow stream (``pyarrow.table(plan.batches("customers"))``): once.

    Batches may be asked for by any thread. Each comes once: iteration after the end, a second
    stream, and iteration as well as a stream raise ``RuntimeError``. Call ``plan.batches`` again
    for the same rows.
    """

    @property
    def name(self) -> str: ...
    def __iter__(self) -> Batches: ...
    def __next__(self) -> Batch: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Window:
    """Iterates the batches of several streams, once: a second iteration raises ``RuntimeError``."""

    def __iter__(self) -> Window: ...
    def __next__(self) -> Batch: ...
    def until(self, instant: datetime | str) -> Until:
        """Iterates the events before an instant that have not come yet, streams side by side.

        To ask for one instant after the other gives each event once, and those of a stream in the same
        order as iteration does, which goes on with the rest. Raises ``OptionError`` for
        ``order="entity"``.
        """
    def peek(self) -> datetime | None:
        """When the next event happens; aware, in UTC. None after the last."""

@final
class Changes:
    """The rows of tables that are born or change; reference rows (stocks) never do."""

    def until(self, instant: datetime | str) -> Until:
        """Iterates the rows that are born or change before an instant and have not come yet.

        Each comes once, as it is before the instant, table by table in the catalogue's order; its
        ``updated_at`` is the time of its last change.
        """
    def peek(self) -> datetime | None:
        """When the next row is born or changes; aware, in UTC. None after the last."""

@final
class Until:
    """Iterates what a window or changes have before an instant, once as well."""

    def __iter__(self) -> Until: ...
    def __next__(self) -> Batch: ...

@final
class TimeOrder:
    """Iterates the events of batches of streams in order of time, all streams side by side.

    The order is (event time, stream in the catalogue's order, place among the stream's rows as they
    were handed over), so that the events of one key stay in order. Each batch is of one stream. The
    streams take turns: all events of one slice of time come before any of the next. A slice is an hour
    of event time, or longer where fewer than 8 192 events are in it.

    Batches have at most ``batch_rows`` rows (1 to 1 048 576) and are made one by one. Beside these
    it takes 16 bytes of memory for each event. A second iteration raises ``RuntimeError``, and a batch of
    a table ``OptionError``.
    """

    def __new__(cls, batches: Iterable[Batch], *, batch_rows: int = 8192) -> TimeOrder: ...
    def __iter__(self) -> TimeOrder: ...
    def __next__(self) -> Batch: ...

@final
class Batch:
    """Rows of one table or stream, by column. Immutable; readers share its memory.

    In Arrow: uuids are ``arrow.uuid`` over 16 bytes, decimals decimal128, instants
    timestamp[ms, UTC], enumerations dictionaries of int8 that hold every symbol; uuids and
    enumerations are utf8 where ``Plan.batches`` was asked for texts.
    """

    @staticmethod
    def from_rows(name: str, rows: Iterable[Mapping[str, Any] | object]) -> Batch:
        """A batch of a table or stream from rows as Python values; the inverse of ``row``.

        Each row is a mapping that has every field and no other, or an object with an attribute for every
        field (a dataclass, a named tuple, a model), whose other attributes are not read. Beside what ``row`` gives, uuids may be text or 16
        bytes, decimals int or text, dates and instants ISO-8601 text. Raises ``OptionError`` with
        the field, the row and what the field accepts: a decimal with more digits than its column,
        a naive datetime, one with microseconds, a None where there must be a value.
        """
    @property
    def name(self) -> str: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def nbytes(self) -> int:
        """Bytes of the values of all columns; room that was kept for more rows is not counted."""
    @property
    def column_names(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Its rows, each as ``row`` has it."""
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[dict[str, Any]]: ...
    def with_layout(self, *, uuids: _Uuids = "binary", enums: _Enums = "dictionary") -> Batch:
        """The same rows, without a copy, with another layout for Arrow readers: see ``Plan.batches``."""
    def column(self, name: str) -> Column:
        """The values of a numeric column, without a copy: ``numpy.asarray(batch.column("amount"))``.

        int64 centavos for money (millionths for ``monthly_rate``), int64 milliseconds for instants,
        int32 days for dates, int16/int32 for integers, uint8 positions for enumerations, bool.
        A row without a value reads 0. Raises ``OptionError`` for text and uuid columns.
        """
    def row(self, index: int) -> dict[str, Any]:
        """One row as Python values (UUID, str, Decimal, int, bool, date, datetime, None).

        A negative index counts from the end.
        """
    def encode(
        self,
        format: Literal["avro", "json", "jsonl", "pgcopy"],
        *,
        schema_id: int | None = None,
        avro_enums: Literal["enum", "string"] = "enum",
    ) -> EncodedRows:
        """One encoded row each: Avro binary, a JSON object, or a tuple of PostgreSQL's binary COPY.

        ``jsonl`` is a JSON object with its line end, so that the buffer is a file of JSON lines. In Avro
        symbols are those of enumerations, or with ``avro_enums="string"`` strings.

        With ``schema_id`` (Avro only) each row starts with Confluent's frame: 0, then the id as four
        bytes. The bytes of a COPY stream are ``pgcopy``'s data between its header and trailer.
        """
    def text(self, name: str) -> EncodedRows:
        """Each value of a uuid, text, instant or enumeration column as UTF-8 text.

        For message keys and headers. A row without a value is empty.
        """
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(
        self, requested_schema: object | None = None
    ) -> tuple[object, object]: ...

@final
class Column:
    """A numeric column, one-dimensional, read-only, by the buffer protocol."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class EncodedRows:
    """Encoded rows end to end. The buffer protocol gives all of them; indexing gives one."""

    @property
    def nbytes(self) -> int: ...
    @property
    def offsets(self) -> Column:
        """``len + 1`` int64 positions, from 0."""
    def __len__(self) -> int: ...
    def __getitem__(self, index: SupportsIndex, /) -> bytes: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class KeySet:
    """A set of ids that were handed over, checked at vector speed."""

    def __new__(cls) -> KeySet: ...
    def __len__(self) -> int: ...
    def __contains__(self, key: object, /) -> bool: ...
    def add(self, key: object) -> bool:
        """Adds one id (UUID, its text or 16 bytes); False if it was there."""
    def add_owned(
        self, ids: bytes, plan: Plan, name: str, start: int = 0
    ) -> tuple[int, int | None]:
        """Adds those of some ids, 16 bytes each, that are of rows of a table or stream of the plan's customers.

        Those of customers from ``start`` on; how many were not there before, and which was the first of these. An id
        tells by its form, without the history being made; whether that has such an event is not looked at.
        """
    def add_batch(
        self, batch: Batch, field: str, *, only: tuple[str, str] | None = None
    ) -> int | None:
        """Adds a uuid column, or nothing and tells the first row whose id was there already.

        ``only=("account_type", "INVESTIMENTOS")`` takes just the rows with that symbol.
        """
    def first_missing(self, batch: Batch, field: str) -> int | None:
        """The first row whose id is not in the set, or None. Rows without a value pass."""
    def missing(self, batch: Batch) -> Batch:
        """The rows whose primary key is not in the set; the batch itself where that is all."""

@final
class KeyStore:
    """The ids of all rows that were handed over, against which every batch is checked.

    Rows of tables have to be unique, and those of streams with ``unique_events``; the ids of other
    events are forgotten. May be used by any thread.
    """

    def __new__(cls, *, unique_events: bool = False) -> KeyStore: ...
    @property
    def counts(self) -> dict[str, int]:
        """Rows handed over so far, by relation in catalogue order."""
    def add_batch(self, batch: Batch) -> None:
        """Checks all rows of a batch, then takes their ids; a refused batch changes nothing.

        Raises ``ReferentialIntegrityError`` for the first row whose parent was not handed over, and
        ``RejectedError`` for the first whose primary key was handed over before. Foreign keys
        are looked at in the catalogue's order.
        """
    def add_versions(self, batch: Batch) -> None:
        """The same, where a primary key that is there already is a later version of its row."""
    def check_batch(self, batch: Batch) -> None:
        """Checks the foreign keys of all rows of a batch, as ``add_batch`` does, and takes nothing."""
    def parents(self, name: str) -> list[KeySet]:
        """The ids that the rows of a table or stream may point at, for each of its foreign keys.

        They grow with the store. Raises ``OptionError`` for a name that the catalogue lacks.
        """
    def count(self, name: str, rows: int) -> None:
        """Counts rows that were checked elsewhere: by ``check_batch``, or against ``parents``."""

class ProducerError(Exception):
    """A producer or a reader failed: ``args`` is the number of librdkafka's for it, and what happened."""

@final
class Producer:
    """Sends record batches that are made without Python objects for each event.

    Options are those of ``datagen.sinks.kafka.native``, times in milliseconds. A thread of its own sends
    from the start. May be used by any thread. Raises ``ProducerError``.
    """

    def __new__(
        cls,
        bootstrap: list[tuple[str, int]],
        *,
        client_id: str,
        acks: Literal["0", "1", "all"],
        idempotent: bool,
        retries: int,
        retry_backoff_ms: tuple[int, int],
        request_timeout_ms: int,
        delivery_timeout_ms: int,
        linger_ms: int,
        max_in_flight: int,
        batch_size: int,
        compression: str,
        queue_records: int,
        queue_bytes: int,
        tls: dict[str, Any] | None = None,
        sasl: tuple[str, str, str] | None = None,
        cloudevents: bool = True,
        content_type: bool = False,
        event_time: bool = False,
        avro_strings: bool = False,
    ) -> Producer: ...
    def partitions(self, topics: list[str], timeout: float) -> list[int] | None:
        """The number of partitions of each, or None if nobody says of all within so many seconds."""
    def reach(self, topics: list[str], timeout: float) -> list[tuple[int, str]]:
        """Connects to the leaders of topics, over the connections that batches will take.

        A number of librdkafka's and what happened for each that was not reached within so many
        seconds. A name that stays unknown is told sooner.
        """
    def limit(self, topic: str, max_message_bytes: int) -> None:
        """Sends no batch of a topic that is longer, unless it is a single event.

        Without it the limit is learned from refusals.
        """
    def send(
        self,
        batch: Batch,
        topic: str,
        *,
        schema_id: int | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Takes a batch for a topic that was asked about, without waiting for capacity.

        Values are Avro with ``schema_id``, JSON without. With ``timestamp`` all records bear that; else
        events what the producer was made for, and rows of a table the time of their last change.
        """
    def wait_for_capacity(self, timeout: float) -> bool:
        """Waits until the queue has capacity; false if it has none within so many seconds."""
    def flush(self, timeout: float) -> bool:
        """Sends what is not full and waits until all is acknowledged or given up.

        False if it takes longer than so many seconds.
        """
    def hold(self) -> None:
        """Keeps everything from here on until ``open``."""
    def open(self) -> None:
        """Sends what was kept."""
    def give_up(self, also_sent: bool) -> None:
        """Gives up what has not been sent, and with ``also_sent`` also what was not answered yet."""
    def report(self) -> list[tuple[str, int, int, int, int, dict[int, int], int]]:
        """A row for each topic and partition.

        Attempted, acknowledged, of these perhaps there twice, failed by the number of the error,
        and of these perhaps there.
        """
    def idle(self) -> float | None:
        """Seconds since the last acknowledgement, or None before the first.

        Negative during a pause that a broker has asked for, which counts from its end.
        """
    def failure(self) -> tuple[int, str] | None:
        """Why nothing can be sent at all: a number of librdkafka's, and what happened."""
    def has_failures(self) -> bool:
        """Whether an event has failed, or nothing can be sent at all."""
    def last_error(self) -> str | None:
        """The last error that may pass."""
    def send_plan(
        self,
        plan: Plan,
        streams: list[tuple[str, str, int | None, list[KeySet]]],
        workers: int,
        start: int = 0,
        stop: int | None = None,
        *,
        order: _Order = "time",
        there: KeySet | None = None,
    ) -> Sending:
        """Sends all events of streams by so many threads.

        In ``order="time"`` those of a partition are in order of event time, and no partition is more than
        a slice of time before another; in ``order="entity"`` those of one key follow one another.
        Those of customers ``start`` to ``stop``, by default of all; those whose ids are ``there`` are made and
        checked, and not sent.
        ``streams`` has for each: stream, topic that was asked about, schema id or None for JSON,
        and the key set of each foreign key in the catalogue's order. Every event is checked against
        these before its batch is handed over. The batches do not depend on ``workers``.
        """
    def close(self) -> None:
        """Disconnects; what was not acknowledged by then is lost."""

@final
class Sending:
    """Streams that are being made and sent."""

    def wait(self, timeout: float) -> bool:
        """Waits until every event is handed over; false if it takes longer than so many seconds.

        Raises ``ReferentialIntegrityError`` for the first event whose parent is not known: nothing
        that comes after it in its stream is sent.
        """
    def sent(self) -> dict[str, int]:
        """Events handed over so far, by stream."""
    def left_out(self) -> dict[str, int]:
        """Events made so far that are not sent since they are there, by stream."""
    def seconds(self) -> dict[str, float]:
        """By stream, the seconds until its last event was handed over."""
    def cancel(self) -> None:
        """Makes no more events, and waits for the threads."""

@final
class Reading:
    """Partitions that are being read, each span of topic, partition, first offset and the one behind the last.

    Options are those of ``datagen.sinks.kafka.native``, times in milliseconds; ``silence`` is how many seconds nothing may
    come. Leaders are asked from the start, by a thread of its own, up to 64 MiB ahead. With ``committed`` records
    of transactions that were given up are left out. ``reconcile``, ``ids`` and ``keys`` take what comes next within a
    twentieth of a second, without the GIL, and raise ``ProducerError``; one of them is called to the end.
    """

    def __new__(
        cls,
        spans: list[tuple[str, int, int, int]],
        bootstrap: list[tuple[str, int]],
        *,
        client_id: str,
        retry_backoff_ms: tuple[int, int],
        request_timeout_ms: int,
        tls: dict[str, Any] | None = None,
        sasl: tuple[str, str, str] | None = None,
        committed: bool = True,
        silence: float = 10.0,
    ) -> Reading: ...
    def reconcile(self, found: Reconciliation, accepts: Callable[[int], bool]) -> int | None:
        """Hands records over to a reconciliation, and says how many; None once all have come.

        ``accepts`` says of the id of a schema whether it is the catalogue's.
        """
    def ids(self, names: dict[str, str]) -> list[tuple[str, int, bytes, bytes]] | None:
        """Topic, partition, ids (16 bytes each) and offsets (8 each) of records; None once all have come.

        ``names`` has the relation of each topic.
        """
    def keys(self) -> list[tuple[str, bytes, int]] | None:
        """Topic, key and timestamp in milliseconds of records; None once all have come."""
    @property
    def unread(self) -> list[tuple[str, int, int, str]]:
        """What has not been read so far: topic, partition, number of offsets, and why not."""
    def close(self) -> None:
        """Ends it, whatever is left."""

@final
class Reconciliation:
    """What a plan says of a table or topic, held against what is there.

    All rows that the plan has are handed to ``expect``, and all that are there to ``find`` or ``find_copied``, in any
    order of either. Then, while ``next_exact`` is true, both come once more, first all of the plan's, with ``finish`` behind
    them: so rows that are wrong get a name, ``show`` of each kind at the most. Events from ``since`` on and before ``until``
    are compared.

    ``partitions`` None are tuples of a table; else records of a topic of so many, whose values are ``value``, and
    in order of time with ``in_time``. It takes 2 MB, and while it names rows about 64 bytes for each of those that
    ``next_exact`` was allowed. May be used by any thread.

    ``versions`` are those of a table that follows a stream, whose topic has a row several times. Then ``next_exact`` chooses a
    share of the rows from the first time on; behind it comes all that is there, then all versions of the plan's rows
    (``expect_versions``) with those that each is to have (``expect_last``: changed from ``since`` on and before ``until``), then ``finish``. Each row may be there ``copies`` times.
    """

    def __new__(
        cls,
        plan: Plan,
        name: str,
        start: int = 0,
        stop: int | None = None,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        show: int = 10,
        partitions: int | None = None,
        value: Literal["avro", "json"] = "avro",
        avro_enums: Literal["enum", "string"] = "enum",
        cloudevents: bool = True,
        content_type: bool = False,
        event_time: bool = False,
        in_time: bool = True,
        versions: bool = False,
        copies: int = 1,
    ) -> Reconciliation: ...
    def expect(self, batch: Batch) -> None:
        """Adds rows that the plan has."""
    def expect_versions(self, batch: Batch) -> None:
        """Adds versions of rows."""
    def expect_last(self, batch: Batch) -> None:
        """Adds the last versions of rows; those of other instants are passed over."""
    def find(
        self, messages: list[Any], ends: Mapping[int, int], accepts: Callable[[int], bool]
    ) -> tuple[int, dict[int, int], list[Any]]:
        """Takes messages of confluent-kafka's consumer that are before the ends of their partitions.

        ``accepts`` says of the id of a schema whether it is the catalogue's. Returns how many were taken, the last
        offset of each partition, and the messages that are errors.
        """
    def find_copied(self, data: bytes) -> None:
        """Takes bytes of a binary COPY, cut anywhere; raises ``OptionError`` for what is none."""
    def in_time_below(self, partition: int, offset: int) -> None:
        """The order of time is promised only below an offset of a partition."""
    def next_exact(self, rows: int) -> bool:
        """Chooses rows that differ, about so many at the most, to be gone through one by one."""
    def finish(self) -> None:
        """Counts the chosen rows that have not come."""
    def customer_of(self, id: object) -> int | None:
        """The customer whose row an id is; None of reference rows, and of ids of others."""
    @property
    def counts(self) -> dict[str, int]:
        """Rows by kind: missing, double, altered, misplaced, late, foreign; elsewhere, outside, earlier and copies are no mistake."""
    @property
    def expected(self) -> tuple[int, str]:
        """Rows that the plan has, and the sum of their hashes, 32 hexadecimal digits."""
    @property
    def found(self) -> tuple[int, str]:
        """Rows of the run that are there, and the sum of their hashes."""
    @property
    def missing(self) -> list[int]:
        """Missing rows, by the partition where they should be."""
    @property
    def unexamined(self) -> int:
        """Rows that may differ, and were not chosen by now."""
    @property
    def findings(self) -> list[tuple[str, UUID | None, int | None, int | None, str, bytes]]:
        """Rows by name: kind, id, partition, offset, why, and the bytes that are there."""

@final
class Catalogue:
    """Every table in the order of insertion, then every stream in the order of sending.

    There is one, and one object for each relation, field and foreign key in it: they are compared and
    hashed by identity, also after pickling and copying.
    """

    @property
    def version(self) -> int:
        """Changes with any change of a generated value."""
    @property
    def tables(self) -> tuple[Relation, ...]: ...
    @property
    def streams(self) -> tuple[Relation, ...]: ...
    @property
    def labels(self) -> Relation:
        """What ``Plan.batches("labels")`` has: beside the tables and streams, and loaded with neither."""
    def __iter__(self) -> Iterator[Relation]: ...
    def __getitem__(self, name: str, /) -> Relation:
        """The table or stream of this name, or the labels; raises ``OptionError`` if there is none."""

@final
class Relation:
    """A table or a stream."""

    @property
    def name(self) -> str: ...
    @property
    def singular(self) -> str:
        """What one row is called: ``credit card``."""
    @property
    def fields(self) -> tuple[Field, ...]: ...
    @property
    def foreign_keys(self) -> tuple[ForeignKey, ...]: ...
    @property
    def primary_key(self) -> str:
        """The row's own id: always the first field."""
    @property
    def avro_schema(self) -> str:
        """JSON text."""
    @property
    def avro_schema_of_strings(self) -> str:
        """The same with strings in place of enumerations."""
    @property
    def is_stream(self) -> bool: ...
    @property
    def is_reference(self) -> bool:
        """Whether the rows belong to no customer and are the same for every seed."""
    @property
    def unique(self) -> tuple[str, ...]:
        """Fields of a table that are unique on their own, beside the primary key."""
    @property
    def checks(self) -> tuple[tuple[str, str], ...]:
        """Name and SQL of each CHECK of a table, beyond those of enumerations."""
    @property
    def validation_rank(self) -> int:
        """The position of a table, from 1, in the validation of a run; 0 for a stream."""
    @property
    def topic(self) -> str:
        """The name of its topic, without a prefix: ``banking.customers`` for ``customers``."""
    @property
    def keyed_as(self) -> str | None:
        """The stream that has the keys of a table, and so equal keys in equal partitions."""
    @property
    def key(self) -> str:
        """The field that is the message key: of a table the primary key."""
    @property
    def time(self) -> str:
        """The field that orders the events of a key: of a table when a row last changed."""
    @property
    def ce_type(self) -> str | None:
        """The CloudEvents type of a stream's events."""
    @property
    def partitions(self) -> int:
        """Partitions that the topic is created with."""
    @property
    def parallel_partitions(self) -> int:
        """The same for a load by several threads."""
    @property
    def history_days(self) -> int | None:
        """Days before ``as_of`` in which all events of a stream lie, if not those of the plan."""
    def field(self, name: str) -> Field:
        """The field of this name; raises ``OptionError`` if there is none."""
    def foreign_key(self, field: str) -> ForeignKey:
        """The foreign key of this field; raises ``OptionError`` if there is none."""

@final
class Field:
    """One column of a table, or one field of an event."""

    @property
    def relation(self) -> str:
        """The name of its table or stream."""
    @property
    def name(self) -> str: ...
    @property
    def type(
        self,
    ) -> Literal[
        "uuid", "text", "char", "decimal", "smallint", "int", "bool", "date", "instant", "enum"
    ]: ...
    @property
    def nullable(self) -> bool: ...
    @property
    def doc(self) -> str:
        """What it means, in one line."""
    @property
    def precision(self) -> int | None:
        """All digits of a decimal."""
    @property
    def scale(self) -> int | None:
        """The digits after the point of a decimal."""
    @property
    def length(self) -> int | None:
        """The ASCII characters of a char."""
    @property
    def symbols(self) -> tuple[str, ...]:
        """Those of an enum, in order of their positions."""

@final
class ForeignKey:
    """A field whose values must be primary keys of ``table``."""

    @property
    def relation(self) -> str:
        """The name of the table or stream that has the field."""
    @property
    def field(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def only(self) -> tuple[str, str] | None:
        """A field of ``table``, and the symbol that a parent must have there."""

def catalogue() -> Catalogue:
    """Every table and stream, with its fields and keys."""

def is_debug_build() -> bool:
    """Whether the extension was compiled without optimisation."""
