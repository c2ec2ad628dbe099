"""Any bytes and any text across each border: what comes back is an answer or an error of ours, never a panic.

Examples are the same in each run (``derandomize``), but for constants that Hypothesis finds in the modules that are
loaded: what once failed is named (``@example``). ``HYPOTHESIS_PROFILE=ci`` has ten times as many.
"""

from __future__ import annotations

import datetime
import json
import unicodedata
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from datagen import Batch, Plan, local
from datagen._core import KeySet, KeyStore, Producer, ProducerError, Reconciliation
from datagen._files import read_whole, refusal, write_whole
from datagen.errors import ConfigurationError, DatagenError, OptionError, UnknownIdError
from datagen.local import proxy
from datagen.local._avro import InvalidSchemaError, Schema
from datagen.local._subjects import Subjects
from datagen.local.registry import answer
from datagen.position import Position
from datagen.presets import ProducerConfig
from datagen.properties import read_properties
from datagen.receipts import Receipt, Recorder, found
from datagen.sinks.files import FilesTarget
from datagen.sinks.kafka.decoding import Decoder
from datagen.sinks.lines import LinesTarget
from datagen.sinks.postgres.conninfo import ConnectionString
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN: Final = Plan(seed=3, customers=20)
#: With some trades.
SMALL: Final = Plan(seed=11, customers=3)
NAMES: Final = [*PLAN.names, "labels"]

TEXTS: Final = st.text(st.characters(exclude_categories=()), max_size=40)
BYTES: Final = st.binary(max_size=60)
INTEGERS: Final = st.one_of(
    st.integers(-3, 30),
    st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**40]),
    st.integers(),
)
INSTANTS: Final = st.one_of(
    st.datetimes(timezones=st.just(datetime.UTC)),
    st.datetimes(),
    st.sampled_from(["2026-06-01T00:00:00Z", "2026-06-30T23:59:59.999Z", "9999-12-31T23:59:59Z"]),
)
ANYTHING: Final = st.one_of(
    *(st.none(), st.booleans(), INTEGERS, st.floats(), TEXTS, BYTES, INSTANTS, st.uuids()),
    st.dates(),
    st.decimals(),
    st.sampled_from([(), [], {}, object(), Decimal("1E+999999"), "\ud800", b"\0" * 16]),
    st.lists(st.one_of(INTEGERS, TEXTS), max_size=3),
    st.dictionaries(TEXTS, st.one_of(st.floats(), INTEGERS, TEXTS), max_size=3),
)

_DEFAULT: Final = settings.default
_MORE: Final = 10 if _DEFAULT is not None and _DEFAULT.max_examples > 100 else 1


def examples(number: int) -> settings:
    """So many examples, the same ones each time."""
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(
        max_examples=number * _MORE,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=slow,
    )


def refused_or_done(call: Callable[[], object], *more: type[Exception]) -> Any:
    """The answer, or None where it is refused by an error of ours, or of Python's for a wrong class or no text.

    A panic of Rust is a ``BaseException``, so that it passes through here as all else does.
    """
    with suppress(DatagenError, TypeError, UnicodeEncodeError, *more):
        return call()
    return None


# --- the compiled core ------------------------------------------------------------------------------


@examples(200)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_a_plan(seed: Any, customers: Any, as_of: Any, days: Any, labels: Any) -> None:
    for one in (
        {"seed": seed},
        {"customers": customers},
        {"as_of": as_of},
        {"days": days},
        {"labels": labels},
        {"seed": seed, "customers": customers, "as_of": as_of, "days": days, "labels": labels},
    ):
        plan = refused_or_done(partial(Plan, **{"customers": 5, **one}))
        if plan is not None:
            again = Plan(
                plan.seed, plan.customers, as_of=plan.as_of, days=plan.days, labels=plan.labels
            )
            assert again == plan


@examples(300)
@given(st.data())
def test_what_is_asked_of_a_plan(data: st.DataObject) -> None:
    name = data.draw(st.one_of(st.sampled_from(NAMES), TEXTS))
    start, stop = data.draw(INTEGERS), data.draw(st.one_of(st.none(), INTEGERS))
    span: dict[str, Any] = {
        key: data.draw(st.one_of(st.none(), INSTANTS, ANYTHING)) for key in ("since", "until")
    }
    layout: dict[str, Any] = {
        "batch_rows": data.draw(st.one_of(st.just(100), INTEGERS)),
        "order": data.draw(st.one_of(st.sampled_from(["time", "entity"]), TEXTS)),
        "uuids": data.draw(st.one_of(st.sampled_from(["text", "binary"]), TEXTS)),
    }
    refused_or_done(lambda: PLAN.rows(name, start, stop), OverflowError)
    batches = refused_or_done(
        lambda: PLAN.batches(name, start, stop, **layout, **span), OverflowError
    )
    if batches is not None:
        refused_or_done(lambda: [batch.row(0) for batch in batches if len(batch)])
    streams: Any = data.draw(
        st.one_of(st.none(), st.lists(st.sampled_from(NAMES), max_size=2), ANYTHING)
    )
    window = refused_or_done(
        lambda: PLAN.window(streams, start, stop, **layout, **span), OverflowError
    )
    if window is not None:
        instant: Any = data.draw(st.one_of(INSTANTS, ANYTHING))
        refused_or_done(window.peek)
        refused_or_done(lambda: next(window.until(instant), None))
    changes = refused_or_done(
        lambda: PLAN.changes(start, stop, batch_rows=layout["batch_rows"], **span), OverflowError
    )
    if changes is not None:
        refused_or_done(changes.peek)


CUSTOMER: Final = next(iter(next(iter(PLAN.batches("customers")))))
#: What customers are known by, cut, joined and changed.
KNOWN: Final = [
    *(str(value) for value in CUSTOMER.values()),
    *("123.456.789-09", "+55 11 91234-5678", "a@b", "PETR4", "0001-9", "4000 0000 0000 0002"),
]


@examples(500)
@given(
    st.one_of(
        TEXTS,
        BYTES,
        st.uuids(),
        ANYTHING,
        st.builds(
            lambda one, at, put: one[:at] + put + one[at:],
            st.sampled_from(KNOWN),
            st.integers(0, 40),
            TEXTS,
        ),
        st.text("0123456789.-/+ ", max_size=30),
        st.text("０１２٣۴٥abcdef-", max_size=40),
    )
)
def test_what_is_looked_for(what: Any) -> None:
    with suppress(UnknownIdError, OptionError, TypeError):
        found = PLAN.find(what)
        assert found.customer is None or 0 <= found.customer < PLAN.customers


@examples(200)
@given(ANYTHING, TEXTS, st.one_of(INSTANTS, ANYTHING))
def test_a_customer(row: Any, name: str, instant: Any) -> None:
    customer = refused_or_done(lambda: PLAN.customer(row), OverflowError)
    if customer is not None:
        refused_or_done(lambda: customer[name])
        refused_or_done(lambda: customer.versions(name))
        refused_or_done(lambda: customer.partner_at(instant))


def first_row(name: str) -> dict[str, Any]:
    batch = next(batch for batch in PLAN.batches(name) if len(batch))
    return batch.row(0)


ROWS: Final = {relation.name: first_row(relation.name) for relation in catalogue()}
#: Texts of each form that a field has.
FORMS: Final = st.one_of(
    *(ANYTHING, TEXTS, INTEGERS, st.decimals(), st.text("0123456789.-+eE", max_size=30)),
    st.text("0123456789-T:Z+. ", max_size=30),
    st.uuids().map(str),
)


@examples(400)
@given(st.data())
def test_rows_of_python_values(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*ROWS]))
    row = dict(ROWS[name])
    for field in data.draw(st.lists(st.sampled_from([*row]), min_size=1, max_size=3)):
        row[field] = data.draw(FORMS)
    batch = refused_or_done(lambda: Batch.from_rows(name, [row]))
    if batch is None:
        return
    # What is taken comes back, and each encoder has a row for it.
    assert Batch.from_rows(name, [batch.row(0)]).row(0) == batch.row(0)
    for encoding in ("avro", "json", "jsonl", "pgcopy"):
        assert len(batch.encode(encoding)) == 1
    assert json.loads(batch.encode("json")[0]).keys() == row.keys()


@examples(100)
@given(st.data())
def test_what_is_asked_of_a_batch(data: st.DataObject) -> None:
    batch = next(iter(PLAN.batches("customers")))
    any_text = data.draw(st.one_of(st.sampled_from(batch.column_names), TEXTS))
    index: Any = data.draw(ANYTHING)
    for call in (
        lambda: batch.column(any_text),
        lambda: batch.text(any_text),
        lambda: batch.row(index),
        lambda: batch[index],
        lambda: batch.encode(any_text),  # type: ignore[arg-type]
        lambda: batch.encode("avro", schema_id=index),
        lambda: batch.with_layout(uuids=any_text),  # type: ignore[arg-type]
        lambda: Batch.from_rows(any_text, [index]),
        lambda: Batch.from_rows("customers", index),
    ):
        refused_or_done(call, IndexError, OverflowError)


@examples(200)
@given(st.lists(st.one_of(ANYTHING, st.uuids(), st.binary(min_size=16, max_size=16)), max_size=5))
def test_a_set_of_keys(keys: list[Any]) -> None:
    held = KeySet()
    for key in keys:
        if refused_or_done(partial(held.add, key)) is not None:
            assert key in held
        refused_or_done(partial(held.__contains__, key))
    store = KeyStore()
    for key in keys:
        refused_or_done(partial(store.parents, key))
        refused_or_done(partial(store.count, "customers", key), OverflowError)
        refused_or_done(partial(store.add_batch, key))


# --- what services hold -----------------------------------------------------------------------------


def is_even(ident: int) -> bool:
    return ident % 2 == 0


class Message:
    """A message of confluent-kafka, of any content."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Callable[[], Any]:
        return lambda: self._content[name]


STREAM: Final = "banking.trades"
VALUES: Final = [
    bytes(one)
    for encoding in ("avro", "json")
    for batch in PLAN.batches(STREAM)
    for one in [*batch.encode(encoding)][:3]
]
MAYBE_VALUE: Final = st.one_of(
    st.none(),
    BYTES,
    st.builds(
        lambda one, at, put: one[:at] + put + one[at + len(put) :],
        st.sampled_from(VALUES),
        st.integers(0, 90),
        BYTES,
    ),
    st.builds(
        lambda ident, one: b"\0" + ident + one,
        st.binary(min_size=4, max_size=4),
        st.sampled_from(VALUES),
    ),
)
HEADERS: Final = st.one_of(
    st.none(),
    st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(["ce_id", "ce_source", "ce_type", "ce_time", "ce_subject"]), TEXTS
            ),
            st.one_of(st.none(), BYTES, st.uuids().map(lambda one: str(one).encode())),
        ),
        max_size=6,
    ),
)
MESSAGES: Final = st.fixed_dictionaries(
    {
        "error": st.one_of(st.none(), st.none(), st.none(), st.just("an error")),
        "partition": st.one_of(st.integers(0, 2), INTEGERS),
        "offset": st.one_of(st.integers(0, 9), INTEGERS),
        "key": st.one_of(st.none(), BYTES),
        "value": MAYBE_VALUE,
        "headers": HEADERS,
        "timestamp": st.one_of(
            st.just((1, 1_780_000_000_000)), st.tuples(st.integers(0, 2), INTEGERS)
        ),
    }
)


@examples(300)
@given(
    st.lists(MESSAGES, max_size=8),
    st.sampled_from(["avro", "json"]),
    st.one_of(st.none(), st.integers(1, 3), INTEGERS),
    st.dictionaries(
        st.one_of(st.integers(0, 2), INTEGERS), st.one_of(st.integers(0, 9), INTEGERS), max_size=3
    ),
    st.one_of(st.just(0), st.integers(0, 3), INTEGERS),
)
def test_records_of_any_content(
    messages: list[dict[str, Any]], value: Any, partitions: Any, ends: dict[int, int], rows: int
) -> None:
    held = refused_or_done(
        lambda: Reconciliation(SMALL, STREAM, partitions=partitions, value=value), OverflowError
    )
    if held is None:
        return
    made = [*SMALL.batches(STREAM)]
    every = dict.fromkeys(range(3), 10) | ends
    for again in range(3):
        for batch in made:
            held.expect(batch)
        for number, end in ends.items():
            refused_or_done(partial(held.in_time_below, number, end), OverflowError)
        for message in messages:
            refused_or_done(
                partial(held.find, [Message(message)], every, is_even),
                OverflowError,
            )
        if again:
            held.finish()
        if refused_or_done(lambda: held.next_exact(rows), OverflowError) is not True:
            break
    assert min(held.counts.values()) >= 0
    assert len(held.findings) <= 10 * len(held.counts)
    assert len(held.missing) <= (partitions or 1)


HEAD: Final = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"
TUPLES: Final = [bytes(one) for one in next(iter(PLAN.batches("customers"))).encode("pgcopy")]


@examples(300)
@given(
    st.sampled_from([HEAD, b"", HEAD[:-1], HEAD[:-4] + b"\0\0\0\5junk!"]),
    st.lists(st.one_of(st.sampled_from(TUPLES), BYTES), max_size=4),
    st.lists(st.tuples(st.integers(0, 2_000), BYTES), max_size=3),
    st.integers(1, 300),
)
def test_a_copy_of_any_bytes(
    head: bytes, parts: list[bytes], changes: list[tuple[int, bytes]], step: int
) -> None:
    data = bytearray(head + b"".join(parts) + b"\xff\xff")
    for at, put in changes:
        data[at : at + len(put)] = put
    held = Reconciliation(PLAN, "customers")
    for at in range(0, len(data), step):
        refused_or_done(partial(held.find_copied, bytes(data[at : at + step])))
    assert held.found[0] <= len(parts) + 1
    assert min(held.counts.values()) >= 0


SOUND: Final[dict[str, Any]] = {
    "bootstrap": [("127.0.0.1", 1)],
    "client_id": "any",
    "acks": "all",
    "idempotent": True,
    "retries": 3,
    "retry_backoff_ms": (10, 20),
    "request_timeout_ms": 100,
    "delivery_timeout_ms": 200,
    "linger_ms": 0,
    "max_in_flight": 1,
    "batch_size": 1000,
    "compression": "none",
    "queue_records": 10,
    "queue_bytes": 10_000,
    "tls": None,
    "sasl": None,
}


@examples(40)
@given(st.data())
def test_the_producer_of_any_options(data: st.DataObject) -> None:
    option = data.draw(st.sampled_from([*SOUND]))
    value = data.draw(
        st.one_of(
            ANYTHING,
            st.lists(st.tuples(TEXTS, INTEGERS), max_size=2),
            st.tuples(TEXTS, TEXTS, TEXTS),
            st.tuples(INTEGERS, INTEGERS),
            st.dictionaries(st.sampled_from(["ca", "certificate", "key", "verify"]), ANYTHING),
        )
    )
    made = refused_or_done(
        lambda: Producer(**{**SOUND, option: value}), OverflowError, ProducerError, ValueError
    )
    if made is None:
        return
    batch = next(iter(PLAN.batches(STREAM)))
    topic = data.draw(TEXTS)
    try:
        refused_or_done(lambda: made.partitions([topic], 0.0), ProducerError)
        refused_or_done(
            lambda: made.limit(topic, data.draw(INTEGERS)),
            *(OverflowError, ProducerError, RuntimeError),  # of a topic that was not asked about
        )
        refused_or_done(
            lambda: made.send(batch, topic, schema_id=data.draw(st.none() | INTEGERS)),
            *(OverflowError, ProducerError, RuntimeError),
        )
        refused_or_done(lambda: made.flush(data.draw(st.sampled_from([0.0, -1.0, float("nan")]))))
        made.report()
    finally:
        made.close()


@examples(200)
@given(st.one_of(MAYBE_VALUE, TEXTS.map(lambda text: text.encode(errors="replace"))))
def test_a_value_of_a_topic_is_shown(value: bytes | None) -> None:
    config = ProducerConfig(bootstrap_servers="127.0.0.1:1", schema_registry_url=None)
    decoder = Decoder(config)
    try:
        refused_or_done(lambda: decoder(value))
    finally:
        decoder.close()


# --- texts of users ---------------------------------------------------------------------------------

PROPERTY_NAMES: Final = [
    *("bootstrap.servers", "sasl.jaas.config", "sasl.mechanism", "security.protocol", "acks"),
    *("ssl.truststore.location", "schema.registry.url", "basic.auth.user.info", "linger.ms"),
    *("ssl.keystore.key", "compression.type", "producer.acks", "retries", "max.in.flight"),
]
LINES: Final = st.builds(
    lambda name, between, value: f"{name}{between}{value}",
    st.one_of(st.sampled_from(PROPERTY_NAMES), TEXTS),
    st.sampled_from(["=", ":", " ", "\\\n", "", " = "]),
    st.one_of(
        TEXTS, st.sampled_from(["\\u12", "\\", "true", "-1", "1e999", 'x required username="a'])
    ),
)


@examples(300)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(LINES, max_size=6).map(
            lambda lines: "\n".join(lines).encode(errors="surrogatepass")
        ),
    )
)
@example(b"ssl.truststore.location=\\u0000")
@example(b"ssl.keystore.location=\\ud800\nacks=1")
@example(b"schema.registry.ssl.truststore.location=/\n\\u0000=1")
@example(b"ssl.truststore.location=" + b"x" * 5_000)
def test_a_file_of_properties(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "client.properties"
    path.write_bytes(content)
    with suppress(ConfigurationError):
        read_properties(path)


@examples(300)
@given(
    st.dictionaries(
        st.one_of(st.sampled_from(PROPERTY_NAMES), TEXTS), st.one_of(TEXTS, INTEGERS), max_size=4
    ),
    st.one_of(TEXTS, st.just("")),
    TEXTS,
    TEXTS,
)
@example({"ssl.truststore.location": "\0"}, "\0", "\0", "\0")
@example({"ssl.keystore.location": "\ud800"}, "\ud800", "h\ud800:1", "h\ud800")
@example({"sasl.password": "a\0b", "\0": 1}, "x" * 300, "x" * 300, "x" * 300)
@example({"ssl.truststore.location": "/"}, "", "h:1\0", "h/\0")
def test_settings_of_a_producer(client: Any, prefix: str, bootstrap: str, registry: str) -> None:
    for one in (
        {"client_options": client},
        {"registry_options": client},
        {"topic_prefix": prefix},
        {"bootstrap_servers": bootstrap},
        {"schema_registry_url": registry},
        {"schema_registry_url": f"http://{registry}:{prefix}@h"},
    ):
        with suppress(DatagenError):
            ProducerConfig(**one)


CONNECTIONS: Final = st.one_of(
    TEXTS,
    st.builds(
        "postgresql://{}:{}@{}:{}/{}?{}".format,
        *(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS),
    ),
    st.builds(
        lambda name, value: f"{name}={value}",
        st.sampled_from(["host", "port", "options", "password", "connect_timeout", "sslmode", "x"]),
        TEXTS,
    ),
)


@examples(400)
@given(CONNECTIONS)
def test_a_connection_string(text: str) -> None:
    with suppress(DatagenError):
        found = ConnectionString(text)
        assert not {unicodedata.category(one) for one in found.where} & {"Cc", "Cs"}
        found.without_secrets("a b\\")


@examples(200)
@given(st.one_of(TEXTS, st.sampled_from(["s3://", "s3://b/../x", "/", "file:///x"])))
def test_a_location_of_files(location: str) -> None:
    refused_or_done(lambda: FilesTarget(location=location, format="csv"))


@pytest.mark.parametrize("location", ["a\0b", "\ud800", "file:///\0", "s3://b/\ud800"])
def test_a_location_that_no_folder_can_have(location: str) -> None:
    with pytest.raises(OptionError, match="a name that a folder can have"):
        FilesTarget(location=location, format="csv")


#: Names that no file has, and what no file of settings is.
NO_FILES: Final = {
    "a NUL": "a\0b",
    "half a character": "\ud800",
    "too long": "x" * 300,
    "a folder too long": f"{'x' * 300}/a",
    "a path too long": "a/" * 3_000,
    "a folder": ".",
    "a file as a folder": "file/a",
    "a link to itself": "loop",
    "in a link to itself": "loop/a",
    "without an end": "/dev/zero",
    "in no folder that takes files": "/proc/a",
    "of a home that is not there": "~nobody-of-this-name/a",
}


def _paths(folder: Path) -> list[tuple[Callable[[Path], object], type[Exception]]]:
    """All that a name of a file is given to, and the error for one that cannot be."""

    def record(path: Path) -> None:
        recorder = Recorder.again(replace(Receipt.read(receipt(folder)), path=path))
        recorder.write("unfinished", {})

    return [
        (Receipt.read, ConfigurationError),
        (Position.read, ConfigurationError),
        (read_properties, ConfigurationError),
        (record, ConfigurationError),
        (Position.read(position(folder)).write, ConfigurationError),
        (lambda path: [*found(path / "runs")], ConfigurationError),
        (read_whole, OSError),
        (partial(write_whole, content=b""), OSError),
    ]


@pytest.mark.parametrize("name", NO_FILES.values(), ids=NO_FILES)
def test_a_name_that_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "own").mkdir()
    calls = _paths(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(Path(name)) or name == "/dev/zero"
    for call, error in calls:
        with suppress(error):
            call(Path(name))
    assert {one.name for one in tmp_path.iterdir()} == {"own", "file", "loop"}
    with suppress(ConfigurationError):
        local._home(Path(name))


# --- files of ours ----------------------------------------------------------------------------------

JSONS: Final = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), INTEGERS, st.floats(), st.text(max_size=10)),
        st.sampled_from([float("inf"), float("nan"), -1, 2**63]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def paths_of(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is anything in a document."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [before, *(path for key, one in inner for path in paths_of(one, (*before, key)))]


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with something else in one place."""
    if not path:
        return value
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


def receipt(folder: Path) -> Path:
    recorder = Recorder(folder / "receipt.json", command="stream", options={"customers": 20})
    sinks = {
        "kafka": {
            "bootstrap": "h:1",
            "topics": {STREAM: {"topic": "t", "partitions": {"0": {"first": 0}}}},
        },
        "postgres": {"address": "h:1/d", "as_of": "2026-06-01T00:00:00Z"},
    }
    plan = {
        "seed": 3,
        "customers": 20,
        "from_customer": 0,
        "as_of": "2026-07-01T00:00:00Z",
        "days": 90,
    }
    stream = {"since": None, "until": "2026-06-01T00:00:00Z"}
    recorder.write(
        "ok", {"plan": plan, "order": "time", "rows": {STREAM: 3}, "sinks": sinks, "stream": stream}
    )
    return recorder.path


def position(folder: Path) -> Path:
    path = folder / "position.json"
    Position(
        plan=PLAN,
        from_customer=0,
        time=PLAN.as_of,
        start=PLAN.as_of,
        marks={"kafka": {"a": 1}, "stdout": {"bytes": 3}},
        events={STREAM: 3},
        options={"customers": 20},
        follows=("postgres",),
    ).write(path)
    return path


@pytest.mark.parametrize("kind", ["receipt", "position"])
@examples(150)
@given(data=st.data())
def test_a_document_of_ours_that_is_another(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    made, reader = {"receipt": (receipt, Receipt.read), "position": (position, Position.read)}[kind]
    path = made(tmp_path)
    text = path.read_bytes()
    document = json.loads(text)
    other = data.draw(
        st.one_of(
            st.binary(max_size=50),
            st.integers(0, len(text)).map(lambda at: text[:at]),
            st.builds(
                lambda place, value: json.dumps(changed(document, place, value)).encode(),
                st.sampled_from(paths_of(document)),
                JSONS,
            ),
        )
    )
    path.write_bytes(other)
    with suppress(ConfigurationError):
        found = reader(path)
        if isinstance(found, Receipt):
            found.as_plan()


@examples(200)
@given(
    st.one_of(
        st.none(),
        JSONS,
        st.dictionaries(st.sampled_from(["bytes", "device", "inode", "size"]), JSONS),
    )
)
def test_a_mark_of_standard_output(mark: Any) -> None:
    sink = LinesTarget().sink(None)  # type: ignore[arg-type]
    refused_or_done(lambda: sink.written_since(mark or {}))


# --- the local stack --------------------------------------------------------------------------------


@examples(300)
@given(
    st.one_of(
        st.binary(min_size=8, max_size=60),
        st.builds(
            lambda version, rest: b"\0\0\0\x20\0\x0b" + version + rest,
            st.binary(min_size=2, max_size=2),
            BYTES,
        ),
    )
)
def test_a_request_to_join(request: bytes) -> None:
    changed_to = bytearray(request)
    proxy.shorten_session(changed_to)
    assert len(changed_to) == len(request)


SCHEMAS: Final = st.one_of(
    JSONS,
    st.recursive(
        st.sampled_from(["int", "string", "null", "R", "x"]),
        lambda inner: st.one_of(
            st.builds(lambda one: {"type": "array", "items": one}, inner),
            st.builds(lambda one: {"type": "map", "values": one}, inner),
            st.lists(inner, max_size=3),
            st.builds(
                lambda name, one: {
                    "type": "record",
                    "name": name,
                    "fields": [{"name": "a", "type": one}],
                },
                *(st.sampled_from(["R", "a.b", "1", ""]), inner),
            ),
        ),
        max_leaves=6,
    ),
)


@examples(300)
@given(
    SCHEMAS,
    st.text(max_size=10),
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.binary(max_size=40),
)
def test_the_local_registry(
    tmp_path: Path, schema: Any, name: str, method: str, body: bytes
) -> None:
    text = json.dumps(schema)
    with suppress(InvalidSchemaError):
        Schema(text)
    subjects = Subjects(tmp_path / "registry.json")
    for path in (
        f"/subjects/{name}/versions",
        f"/subjects/{name}/versions/{name}",
        f"/{name}",
        f"/config/{name}",
    ):
        for sent in (
            json.dumps({"schema": text}).encode(),
            json.dumps({"schema": schema}).encode(),
            body,
        ):
            status, _ = answer(subjects, method, path, sent)
            assert 200 <= status < 500, (method, path, sent)
