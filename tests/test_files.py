"""Tables and streams as files: every format read by others, names, parts, folders by time, and what goes wrong."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import dataset, fs
from pyarrow import parquet as pq

from command import DATAGEN, assert_failed, outcome_of, run, started, wait_until
from datagen import Batch, Plan, catalogue
from datagen.cli.console import Console
from datagen.errors import (
    ConfigurationError,
    OptionError,
    ReferentialIntegrityError,
    RejectedError,
    UnreachableError,
)
from datagen.loader import Load, load
from datagen.sinks.files import FILES as FILES_STAGE
from datagen.sinks.files import FORMATS, FilesTarget, part_of
from relations import RELATIONS, every_relation
from running import absent
from services._net import free_port
from services.s3 import ObjectStore
from targets import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = (*DATAGEN, "files")
PLAN = Plan(customers=60, days=40)
STREAMS = tuple(stream.name for stream in catalogue().streams)


def written(folder: Path, kind: str = "parquet", plan: Plan = PLAN, **more: Any) -> dict[str, Any]:
    """Loads into a folder; returns the manifest."""
    order = more.pop("order", "time")
    first = more.pop("from_customer", 0)
    target = FilesTarget(format=kind, location=str(folder), **more)
    job = Load(
        plan=plan, from_customer=first, targets={"files": target}, fast=True, workers=2, order=order
    )
    report = load(job, Silent())
    assert report.ok
    return dict(json.loads((folder / target.manifest).read_bytes()))


@cache
def expected(name: str, order: Any = "time", plan: Plan = PLAN) -> list[dict[str, Any]]:
    """The rows as the core gives them one by one, uuids as text."""
    if not RELATIONS[name].is_stream:
        order = "entity"
    rows = [batch.row(i) for batch in plan.batches(name, order=order) for i in range(len(batch))]
    ids = [field.name for field in RELATIONS[name].fields if field.type == "uuid"]
    return [row | {one: row[one] and str(row[one]) for one in ids} for row in rows]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each format."""
    found = {kind: tmp_path_factory.mktemp(kind) for kind in FORMATS}
    for kind, folder in found.items():
        written(folder, kind)
    return found


# --- Each format, by readers of others ------------------------------------------------------------


@every_relation
def test_parquet_has_every_value(folders: dict[str, Path], name: str) -> None:
    table = pq.read_table(folders["parquet"] / f"{name}.parquet")
    assert table.to_pylist() == expected(name)
    assert pl.read_parquet(folders["parquet"] / f"{name}.parquet").height == table.num_rows
    for field in RELATIONS[name].fields:
        kind = table.schema.field(field.name).type
        match field.type:
            case "uuid" | "text" | "char" | "enum":
                assert kind == pa.string()
            case "decimal":
                assert kind == pa.decimal128(field.precision, field.scale)
            case "instant":
                assert kind == pa.timestamp("ms", "UTC")
            case "date":
                assert kind == pa.date32()


@every_relation
def test_csv_has_every_value(folders: dict[str, Path], name: str) -> None:
    path = folders["csv"] / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [field.name for field in RELATIONS[name].fields]
    for row, wanted in zip(rows, expected(name), strict=True):
        assert {key: _read(text, wanted[key]) for key, text in row.items()} == wanted
    # pandas and Arrow guess types of their own.
    assert len(pd.read_csv(path)) == arrow_csv.read_csv(path).num_rows == len(rows)


def _read(text: str, like: Any) -> Any:
    match like:
        case None:
            assert text == ""
            return None
        case bool():
            return {"true": True, "false": False}[text]
        case datetime():
            return datetime.fromisoformat(text).astimezone(UTC)
        case Decimal() | int() | str():
            return type(like)(text)
        case _:
            return type(like).fromisoformat(text)


@every_relation
def test_json_lines_are_the_messages(folders: dict[str, Path], name: str) -> None:
    order: Any = "time" if RELATIONS[name].is_stream else "entity"
    messages = b"".join(
        bytes(row) + b"\n"
        for batch in PLAN.batches(name, order=order)
        for row in batch.encode("json")
    )
    assert (folders["jsonl"] / f"{name}.jsonl").read_bytes() == messages
    assert pl.read_ndjson(
        folders["jsonl"] / f"{name}.jsonl", infer_schema_length=None
    ).height == PLAN.rows(name)


@every_relation
@pytest.mark.parametrize("compression", FORMATS["avro"].compressions)
def test_avro_has_every_value(tmp_path: Path, name: str, compression: str) -> None:
    parents = {key.table for key in RELATIONS[name].foreign_keys}
    written(tmp_path, "avro", compression=compression, relations=(*parents, name))
    with (tmp_path / f"{name}.avro").open("rb") as file:
        reader = fastavro.reader(file)
        assert json.loads(reader.metadata["avro.schema"]) == json.loads(RELATIONS[name].avro_schema)
        ids = [field.name for field in RELATIONS[name].fields if field.type == "uuid"]
        found: list[Any] = list(reader)
    rows = [row | {one: row[one] and str(row[one]) for one in ids} for row in found]
    assert rows == expected(name)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_file_of_text_is_compressed_as_a_whole(
    tmp_path: Path, folders: dict[str, Path], kind: str, compression: str
) -> None:
    written(tmp_path, kind, compression=compression, relations=("customers",))
    plain = (folders[kind] / f"customers.{kind}").read_bytes()
    if compression == "gzip":
        assert gzip.decompress((tmp_path / f"customers.{kind}.gz").read_bytes()) == plain
    else:
        with pa.input_stream(str(tmp_path / f"customers.{kind}.zst"), compression="zstd") as file:
            assert file.read() == plain


@pytest.mark.parametrize("compression", FORMATS["parquet"].compressions)
def test_compressions_of_parquet(tmp_path: Path, compression: str) -> None:
    written(tmp_path, compression=compression, relations=("customers",))
    file = pq.ParquetFile(tmp_path / "customers.parquet")
    columns = file.metadata.row_group(0)
    codec = {"none": "UNCOMPRESSED"}.get(compression, compression.upper())
    assert {columns.column(at).compression for at in range(1, columns.num_columns)} == {codec}
    # Nothing repeats in a primary key.
    of_key = "UNCOMPRESSED" if compression in {"snappy", "lz4"} else codec
    assert columns.column(0).compression == of_key
    assert file.read().to_pylist() == expected("customers")


def test_uuids_of_parquet(tmp_path: Path) -> None:
    written(tmp_path, uuids="binary", relations=("accounts",))
    path = tmp_path / "accounts.parquet"
    assert "UUID" in str(pq.ParquetFile(path).metadata.schema.column(0).logical_type)
    found = pq.read_table(path).column("account_id").to_pylist()
    assert [str(one) for one in found] == [row["account_id"] for row in expected("accounts")]


def test_texts_with_quotes_and_line_ends_are_read_back(tmp_path: Path) -> None:
    from datagen.sinks.files.place import Place

    row = next(PLAN.batches("customers")).row(0) | {"name": 'Ana "Nina", da\nSilva'}
    batch = Batch.from_rows("customers", [row])
    for kind in ("csv", "jsonl"):
        place = Place(str(tmp_path / kind))
        place.begin()
        out = place.create("customers")
        writer = FORMATS[kind].writer(out, RELATIONS["customers"], "none", "text")
        writer.write(FORMATS[kind].convert(batch, "text"), 0, 1)
        writer.close()
        out.finish()
        place.publish(["customers"], [])
        place.clear()
    (found,) = csv.DictReader(io.StringIO((tmp_path / "csv" / "customers").read_text(), newline=""))
    assert found["name"] == row["name"]
    assert json.loads((tmp_path / "jsonl" / "customers").read_text())["name"] == row["name"]


# --- Order, parts and folders by time ---------------------------------------------------------------


@pytest.mark.parametrize("order", ["time", "entity"])
@pytest.mark.parametrize("name", STREAMS)
def test_the_order_of_events(tmp_path: Path, name: str, order: str) -> None:
    written(tmp_path, "jsonl", order=order, relations=(name,))
    lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
    ids = [json.loads(line)[RELATIONS[name].primary_key] for line in lines]
    assert ids == [row[RELATIONS[name].primary_key] for row in expected(name, order)]


@pytest.mark.parametrize("together", [True, False])
@every_relation
def test_parts_concatenate_to_the_whole(tmp_path: Path, name: str, together: bool) -> None:
    whole, in_parts = tmp_path / "whole", tmp_path / "parts"
    written(whole, "jsonl", order="entity", relations=(name,))
    if together:
        written(in_parts, "jsonl", order="entity", parts=11, relations=(name,))
    else:
        for part in (11, *range(1, 1 if name == "stocks" else 11)):
            # Reference rows are in the first part.
            number = 1 if name == "stocks" else part
            first, stop = part_of(0, PLAN.customers, 11, number)
            plan = Plan(customers=stop, days=PLAN.days)
            more: Any = {"from_customer": first, "parts": 11, "part": number}
            written(in_parts, "jsonl", plan, order="entity", relations=(name,), **more)
    found = sorted((in_parts / name).iterdir())
    assert found[0].name == "part-01-of-11.jsonl"
    assert len(found) == (1 if name == "stocks" else 11)
    assert b"".join(path.read_bytes() for path in found) == (whole / f"{name}.jsonl").read_bytes()


@pytest.mark.parametrize(("more", "order"), [((), "entity"), (("--partition-by", "day"), "time")])
def test_the_order_without_a_word(tmp_path: Path, more: tuple[str, ...], order: str) -> None:
    done = run(*FILES, "parquet", "-o", tmp_path / "bank", "--tables", "banking.trades", *more)
    assert done.code == 0, done
    assert json.loads((tmp_path / "bank" / "manifest.json").read_bytes())["order"] == order


def test_a_part_by_the_command(tmp_path: Path) -> None:
    plan = ("--customers", "50", "--from-customer", "10", "--days", "40")
    for part in (2, 1):
        done = run(
            *(*FILES, "jsonl", "-o", tmp_path / "bank", *plan, "--tables", "customers,stocks"),
            *("--parts", "2", "--part", part),
        )
        assert done.code == 0, done
    whole = run(*FILES, "jsonl", *plan, "--tables", "customers", "--stdout")
    parts = sorted((tmp_path / "bank" / "customers").iterdir())
    assert "".join(path.read_text() for path in parts) == whole.out
    names = {path.name for path in (tmp_path / "bank").iterdir()}
    assert names == {"customers", "stocks", "manifest-1-of-2.json", "manifest-2-of-2.json"}


@pytest.mark.parametrize(("span", "form"), [("day", "%Y-%m-%d"), ("month", "%Y-%m")])
def test_folders_by_time(tmp_path: Path, span: Any, form: str) -> None:
    found = written(tmp_path, partition_by=span, parts=2)
    assert (tmp_path / "customers" / "part-1-of-2.parquet").exists()
    for name in STREAMS:
        wanted = expected(name)
        time_of = RELATIONS[name].time
        parts = dataset.dataset(tmp_path / name, partitioning="hive", format="parquet")
        table = parts.to_table()
        assert table.num_rows == len(wanted) == found["relations"][name]["rows"]
        key = RELATIONS[name].primary_key
        assert {*table.column(key).to_pylist()} == {row[key] for row in wanted}
        days = pc.strftime(table.column(time_of), format=form).to_pylist()
        assert days == [str(value) for value in table.column(span).to_pylist()]
        for file in parts.files:
            times = pq.ParquetFile(file).read([time_of], use_threads=False)[time_of].to_pylist()
            assert times == sorted(times)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_stream_without_events_is_found(tmp_path: Path, kind: str) -> None:
    # A day without a session has no trades.
    plan = Plan(customers=20, days=1, as_of="2026-06-29T00:00:00Z")
    assert plan.rows("banking.trades") == 0
    found = written(tmp_path, kind, plan, partition_by="day", relations=("banking.trades",))
    trades = found["relations"]["banking.trades"]
    assert trades["rows"] == 0
    (file,) = trades["files"]
    assert file["rows"] == 0
    assert file["path"].startswith("banking.trades/day=2026-06-28/part-1-of-1.")
    assert (tmp_path / file["path"]).stat().st_size == file["bytes"]
    if kind == "parquet":
        table = dataset.dataset(tmp_path / "banking.trades", partitioning="hive").to_table()
        names = [field.name for field in RELATIONS["banking.trades"].fields]
        assert (table.num_rows, table.column_names) == (0, [*names, "day"])


def test_a_part_without_events_is_found(tmp_path: Path) -> None:
    found = written(
        tmp_path, plan=Plan(20), parts=20, partition_by="month", relations=("banking.installments",)
    )
    files = found["relations"]["banking.installments"]["files"]
    none = [file for file in files if file["rows"] == 0]
    assert {re.sub(r".*/part-", "", file["path"])[:2] for file in files} == {
        f"{part:02}" for part in range(1, 21)
    }
    assert none
    assert len({file["path"].split("/")[1] for file in none}) == 1


def test_a_range_of_customers(tmp_path: Path) -> None:
    written(tmp_path, from_customer=20)
    rows = pq.read_table(tmp_path / "accounts.parquet").num_rows
    assert rows == PLAN.rows("accounts", 20)
    assert pq.read_table(tmp_path / "stocks.parquet").num_rows == 42


# --- The manifest, and the names of files ------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_the_manifest_tells_of_each_file(folders: dict[str, Path], kind: str) -> None:
    found = json.loads((folders[kind] / "manifest.json").read_bytes())
    assert found["plan"] == {
        "seed": 42,
        "from_customer": 0,
        "customers": 60,
        "as_of": "2026-07-01T00:00:00.000000Z",
        "days": 40,
    }
    assert found["versions"]["catalogue"] == catalogue().version
    assert list(found["relations"]) == [*RELATIONS]
    paths = set()
    for name, one in found["relations"].items():
        assert one["rows"] == PLAN.rows(name) == sum(file["rows"] for file in one["files"])
        for file in one["files"]:
            content = (folders[kind] / file["path"]).read_bytes()
            assert file["bytes"] == len(content)
            assert file["sha256"] == hashlib.sha256(content).hexdigest()
            paths.add(file["path"])
    # Nothing else is left in the folder.
    there = {str(path.relative_to(folders[kind])) for path in folders[kind].rglob("*")}
    assert there == paths | {"manifest.json"}


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_runs_give_equal_bytes(tmp_path: Path, folders: dict[str, Path], kind: str) -> None:
    written(tmp_path, kind)
    for path in folders[kind].iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(
        ConfigurationError, match=r"manifest.json is there already, and 10 more; .*overwrite=True"
    ):
        written(tmp_path)
    with pytest.raises(ConfigurationError, match=r"manifest.json is there already; "):
        written(tmp_path, "csv")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_file_of_someone_else_is_refused_without_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "customers.parquet").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"customers.parquet is there already; "):
        written(tmp_path)
    assert (tmp_path / "customers.parquet").read_text() == "mine"
    written(tmp_path, relations=("accounts",))


def test_a_file_that_is_cut_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datagen.sinks.files.place import Place

    publish = Place.publish

    def cut(place: Place, paths: list[str], stale: list[str]) -> None:
        publish(place, paths, stale)
        (tmp_path / "loans.csv").write_text("")

    monkeypatch.setattr(Place, "publish", cut)
    target = FilesTarget(format="csv", location=str(tmp_path))
    report = load(Load(plan=PLAN, targets={"files": target}, fast=True), Silent())
    wrong = [check for check in report["files"].checks if not check.ok]
    assert [(check.name, check.found) for check in wrong] == [("loans", 0)]


def test_overwriting_leaves_no_file_of_the_run_before(tmp_path: Path) -> None:
    written(tmp_path, partition_by="day")
    (tmp_path / "banking.trades" / "mine.txt").write_text("mine")
    written(tmp_path, "csv", parts=3, overwrite=True)
    listed = [
        file["path"]
        for one in json.loads((tmp_path / "manifest.json").read_bytes())["relations"].values()
        for file in one["files"]
    ]
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {*listed, "manifest.json", "banking.trades/mine.txt"}
    assert not list(tmp_path.rglob("day=*"))


def test_parts_of_another_number_are_refused(tmp_path: Path) -> None:
    written(tmp_path, parts=4, relations=("customers",))
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(
        ConfigurationError, match=r"part-1-of-4.parquet is there already, and 3 more"
    ):
        written(tmp_path, parts=2, relations=("customers",))


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def test_overwriting_takes_only_what_a_manifest_lists(tmp_path: Path) -> None:
    bank, outside = tmp_path / "bank", tmp_path / "outside"
    written(bank, "csv", parts=2, relations=("customers",))
    outside.mkdir()
    mine = [
        outside / "part-3-of-3.csv",
        bank / "customers" / "backup" / "part-1-of-2.csv",
        bank / "accounts" / "x" / "part-1-of-9.csv",
        bank / "manifest-1-of-7.txt",
    ]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (bank / "customers" / "link").symlink_to(outside)
    written(bank, "csv", relations=("customers",), overwrite=True)
    assert [path.read_text() for path in mine] == ["mine"] * 4
    assert not list((bank / "customers").glob("part-*"))


@pytest.mark.parametrize(
    "name",
    ["customers/part-1-of-3.csv", "manifest-1-of-7.json", "customers.csv", "manifest.json"],
)
def test_overwriting_refuses_what_no_manifest_lists(tmp_path: Path, name: str) -> None:
    written(tmp_path, "csv", parts=2, relations=("customers",))
    (tmp_path / name).write_text('{"name": "my web app"}')
    before = contents(tmp_path)
    with pytest.raises(
        ConfigurationError, match=f"{name} is (in )?no manifest.*; remove it, or choose another"
    ):
        written(tmp_path, "csv", relations=("customers",), overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("what", ["file", "link"])
def test_overwriting_leaves_what_has_come_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from datagen.sinks.files.place import Place

    written(tmp_path, "csv", relations=("customers",))
    alone = Place.alone
    mine = tmp_path / "accounts" / "part-1-of-2.csv"

    def come(place: Place) -> Any:
        mine.parent.mkdir()
        mine.symlink_to("nowhere") if what == "link" else mine.write_text("mine")
        return alone(place)

    monkeypatch.setattr(Place, "alone", come)
    with pytest.raises(ConfigurationError, match=f"{mine} is in no manifest"):
        written(tmp_path, "csv", relations=("accounts",), parts=2, overwrite=True)
    assert mine.is_symlink() or mine.read_text() == "mine"
    assert (tmp_path / "customers.csv").exists()


@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 5, 12, 25])
def test_what_ends_while_files_get_their_names_leaves_the_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: int
) -> None:
    from datagen.sinks.files.place import Place

    written(tmp_path, parts=2)
    before = contents(tmp_path)
    move, moves = Place._move, itertools.count(1)

    def fails_once(place: Place, source: str, to: str) -> None:
        if next(moves) == at:
            raise error
        move(place, source, to)

    monkeypatch.setattr(Place, "_move", fails_once)
    with pytest.raises((UnreachableError, KeyboardInterrupt)):
        written(tmp_path, plan=Plan(7, 90), overwrite=True, partition_by="month")
    assert contents(tmp_path) == before


def test_what_was_there_is_kept_where_it_cannot_be_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from datagen.sinks.files.place import Place

    written(tmp_path, relations=("customers", "accounts"))
    before = {value for value in contents(tmp_path).values() if value}
    move, moves = Place._move, itertools.count(1)

    def fails_for_good(place: Place, source: str, to: str) -> None:
        if next(moves) > 2:
            raise OSError("no")
        move(place, source, to)

    monkeypatch.setattr(Place, "_move", fails_for_good)
    with pytest.raises(OSError, match="no"):
        written(tmp_path, plan=Plan(7, 90), overwrite=True, relations=("customers", "accounts"))
    assert "what was there before is in" in caplog.text
    assert before <= {*contents(tmp_path).values()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_where_a_file_should_be(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "customers.csv").mkdir()
    (tmp_path / "customers.csv" / "mine").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"customers\.csv is a folder"):
        written(tmp_path, "csv", relations=("customers",), overwrite=overwrite)
    assert contents(tmp_path) == {"customers.csv/mine": b"mine"}


def test_a_link_that_leads_nowhere_is_something(tmp_path: Path) -> None:
    (tmp_path / "stocks.csv").symlink_to(tmp_path / "unmounted")
    with pytest.raises(ConfigurationError, match=r"stocks.csv is there already; "):
        written(tmp_path, "csv", relations=("stocks",))
    assert (tmp_path / "stocks.csv").is_symlink()


@pytest.mark.parametrize(
    ("more", "differing"),
    [
        ({"plan": Plan(5, 60)}, "seed"),
        ({"partition_by": "month"}, "partition_by"),
        ({"whole": (0, 90)}, "range of customers"),
    ],
)
def test_parts_of_two_banks_do_not_meet(
    tmp_path: Path, more: dict[str, Any], differing: str
) -> None:
    part: dict[str, Any] = {"plan": Plan(customers=60), "parts": 2, "whole": (0, 60)}
    written(tmp_path, **(part | {"plan": Plan(customers=30), "part": 1}))
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError, match=f"manifest-1-of-2.json .* another {differing};"):
        written(tmp_path, **(part | {"part": 2, "from_customer": 30} | more))
    assert contents(tmp_path) == before


def test_parts_of_two_catalogues_do_not_meet(tmp_path: Path) -> None:
    part: dict[str, Any] = {"parts": 2, "whole": (0, 60)}
    found = written(tmp_path, plan=Plan(customers=30), part=1, **part)
    ours = found["versions"]["catalogue"]
    found["versions"]["catalogue"] = ours - 1
    (tmp_path / "manifest-1-of-2.json").write_text(json.dumps(found))
    with pytest.raises(
        ConfigurationError,
        match=f"1-of-2.json .* catalogue version {ours - 1}, and this run has version {ours};",
    ):
        written(tmp_path, plan=Plan(customers=60), from_customer=30, part=2, **part)
    # What is replaced may be of any version.
    written(tmp_path, plan=Plan(customers=30), part=1, overwrite=True, **part)


def test_two_runs_at_once_into_one_folder(tmp_path: Path) -> None:
    written(tmp_path, partition_by="month")
    plan = ("--customers", "60", "--days", "40", "--partition-by", "month", "--overwrite")
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(run, *FILES, "csv", "-o", tmp_path, *plan, "--seed", seed, "--parts", seed)
            for seed in (1, 2, 3)
        ]
        assert 0 in [one.result().code for one in runs]
    found = json.loads((tmp_path / "manifest.json").read_bytes())["relations"].values()
    listed = {file["path"] for one in found for file in one["files"]}
    assert {*contents(tmp_path)} == listed | {"manifest.json"}


def test_a_manifest_removes_nothing_outside_its_folder(tmp_path: Path) -> None:
    mine, bank = tmp_path / "mine.parquet", tmp_path / "bank"
    mine.write_text("mine")
    bank.mkdir()
    entries = [{"path": path} for path in ("../mine.parquet", str(mine), "sub/../../mine.parquet")]
    listed = {"relations": {"customers": {"files": entries}}, "versions": {"datagen": "1"}}
    (bank / "manifest.json").write_text(json.dumps(listed))
    written(bank, overwrite=True)
    assert mine.read_text() == "mine"


# --- What goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"format": "xlsx"}, "format: 'xlsx' is not allowed; use parquet, csv, jsonl, avro"),
        ({"location": ""}, "location: '' is not allowed; use a folder, or a URL of file://, s3://"),
        ({"location": None}, "location: None is not allowed; use a folder, or a URL"),
        ({"location": 7}, "location: 7 is not allowed; use a folder, or a URL"),
        ({"location": "ftp://host/x"}, "location: 'ftp://host/x' is not allowed"),
        ({"location": "ftp://me:hunter2@host/x"}, r"location: 'ftp://\*\*\*@host/x' is not"),
        ({"location": "S3:/bucket/x"}, "location: 'S3:...' is not allowed; use s3://, or a folder"),
        ({"location": "file:/x"}, "location: 'file:...' is not allowed; use file://, or a folder"),
        ({"location": "file:///x?a=b"}, r"location: 'file:///x\?...' is not allowed; use %3F for"),
        ({"location": "FILE:///x#y"}, "location: 'FILE:///x#...' is not allowed; use %23 for a #"),
        ({"location": "gs://bucket/x#y"}, "location: 'gs://bucket/x#...' is not allowed; use %23"),
        ({"relations": ("customer",)}, "relations: 'customer' is not allowed; use customers, "),
        ({"relations": "customers"}, "relations: 'customers' is not allowed; use a tuple of names"),
        ({"relations": None}, "relations: None is not allowed; use a tuple of names"),
        ({"relations": (["loans"],)}, r"relations: \['loans'\] is not allowed; use customers, "),
        ({"format": ["csv"]}, r"format: \['csv'\] is not allowed"),
        ({"compression": "rar"}, "compression: 'rar' .* use snappy, zstd, gzip, lz4, none"),
        ({"format": "csv", "compression": "snappy"}, "compression: 'snappy' .* use none, gzip"),
        ({"parts": 0}, "parts: 0 is not allowed; use 1 to 10000"),
        ({"parts": 2.5}, "parts: 2.5 is not allowed; use 1 to 10000"),
        ({"parts": "3"}, "parts: '3' is not allowed; use 1 to 10000"),
        ({"parts": True}, "parts: True is not allowed; use 1 to 10000"),
        ({"parts": 4, "part": 1.0}, "part: 1.0 is not allowed; use 1 to 4"),
        ({"parts": 4, "part": "1"}, "part: '1' is not allowed; use 1 to 4"),
        ({"whole": (0, 9)}, r"whole: \(0, 9\) is not allowed; use it with part only"),
        ({"parts": 4, "part": 1, "whole": 9}, "whole: 9 is not allowed; use the first customer, "),
        (
            {"parts": 4, "part": 1, "whole": (9, 9)},
            r"whole: \(9, 9\) is not allowed; use the first",
        ),
        ({"overwrite": "no"}, "overwrite: 'no' is not allowed; use True or False"),
        ({"partition_by": ["day"]}, r"partition_by: \['day'\] is not allowed; use day or month"),
        ({"parts": 4, "part": 5}, "part: 5 is not allowed; use 1 to 4"),
        ({"parts": 4, "part": 0}, "part: 0 is not allowed; use 1 to 4"),
        ({"partition_by": "year"}, "partition_by: 'year' is not allowed; use day or month"),
        ({"uuids": "hex"}, "uuids: 'hex' is not allowed; use text or binary"),
        ({"format": "csv", "uuids": "binary"}, "uuids: 'binary' is not allowed; use text"),
    ],
)
def test_what_cannot_be_asked_for(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        FilesTarget(**({"format": "parquet", "location": "x"} | asked))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"relations": ()}, "relations: .* use one"),
        ({"parts": 2}, "parts: 2 .* use 1, or one part"),
        ({"descriptor": -1}, "descriptor: -1 is not allowed"),
        ({"descriptor": "1"}, "descriptor: '1' is not allowed"),
        ({"location": "x"}, "location: 'x' is not allowed; use none for one stream"),
        ({"overwrite": True}, "overwrite: True is not allowed; use False for one stream"),
    ],
)
def test_what_cannot_be_asked_of_one_stream(asked: dict[str, Any], message: str) -> None:
    one: dict[str, Any] = {"format": "csv", "descriptor": 1, "relations": ("loans",)}
    with pytest.raises(OptionError, match=message):
        FilesTarget(**(one | asked))


def test_a_folder_as_a_path_or_a_url(tmp_path: Path) -> None:
    wanted = FilesTarget(format="csv", location=str(tmp_path / "a b"))
    assert FilesTarget(format="csv", location=tmp_path / "a b") == wanted
    url = (tmp_path / "a b").as_uri()
    for location in (url, url.replace("file", "FILE")):
        done = run(*FILES, "csv", "--tables", "stocks", "-o", location, "--overwrite")
        assert done.code == 0, done
    assert {path.name for path in (tmp_path / "a b").iterdir()} == {"manifest.json", "stocks.csv"}


def test_more_parts_than_customers(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="parts: 61 is not allowed; use 1 to 60"):
        written(tmp_path, parts=61)


def test_folders_by_time_need_the_order_of_time(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="order: 'entity' is not allowed; use time"):
        written(tmp_path, partition_by="day", order="entity")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "bank").write_text("mine")
    with pytest.raises(ConfigurationError, match="bank is a file; name a folder"):
        written(tmp_path / "bank")
    with pytest.raises(ConfigurationError, match=r"bank/sub: .*Not a directory"):
        written(tmp_path / "bank" / "sub")


def test_an_orphan_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datagen import check

    real = check.MasterDataStore.check_batch
    orphan = next(Plan(seed=7, customers=20).batches("banking.trades"))

    def cut(store: Any, batch: Batch) -> Batch:
        return real(store, orphan if batch.name == "banking.trades" else batch)

    monkeypatch.setattr(check.MasterDataStore, "check_batch", cut)
    with pytest.raises(ReferentialIntegrityError, match=r"banking\.trades row 0: account_id = "):
        written(tmp_path / "bank")
    assert not list((tmp_path / "bank").rglob("*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_no_space_is_left(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)], check=False
    )
    if mounted.returncode:
        pytest.skip("this account may not mount")
    try:
        with pytest.raises(
            RejectedError, match=r"small/.*: .*No space left on device.*nothing was kept"
        ):
            written(small, "csv", Plan(customers=400))
        assert not list(small.rglob("*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(not os.access("/proc", os.X_OK), reason="has no /proc")
def test_a_folder_that_nobody_may_write_to() -> None:
    with pytest.raises(ConfigurationError, match=r"^/proc/bank: "):
        written(Path("/proc/bank"))


# --- The command ------------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    done = run(*FILES, "parquet", "-o", tmp_path / "bank")
    assert done.code == 0, done
    assert done.err == ""
    assert done.lines[0] == (
        "Writing 100 customers as parquet (seed 42, 90 days up to 2026-07-01T00:00:00Z)"
    )
    assert "  [OK] customers: 100 rows" in done.lines
    assert done.lines[-1] == "Validation: ALL OK"


def test_the_result_as_json(tmp_path: Path) -> None:
    done = run(*FILES, "csv", "-o", tmp_path / "bank", "--parts", "2", "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    assert found["ok"] is True
    assert found["files"]["outcome"] == "committed"
    assert found["files"]["rows"]["customers"] == 100
    assert found["checks"]["banking.trades"]["ok"] is True
    refused = run(*FILES, "csv", "-o", tmp_path / "bank", "--parts", "2", "--json")
    assert refused.code == 3
    assert json.loads(refused.out)["error"] in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("csv",), "say where to: either --output FOLDER or --stdout"),
        (("csv", "-o", "x", "--stdout"), "say where to: either --output FOLDER or --stdout"),
        (("csv", "--stdout", "--json"), "--json and --stdout would both write"),
        (("csv", "--stdout"), "Invalid value for --tables: .* use one, for one stream of bytes"),
        (("xml", "-o", "x"), "Invalid value for 'FORMAT'"),
        (("csv", "-o", "x", "--tables", "custmers"), "Invalid value for --tables: 'custmers'"),
        (("csv", "-o", "x", "--tables", ","), "Invalid value for --tables: ','"),
        (
            ("csv", "-o", "x", "--parts", "3", "--part", "4"),
            "Invalid value for --part: 4 is .* use 1 to 3",
        ),
        (("csv", "-o", "x", "--parts", "101"), "Invalid value for --parts: 101 .* 1 to 100"),
        (("csv", "-o", "x", "--parts", "101", "--part", "1"), "Invalid value for --parts: 101"),
        (
            ("csv", "-o", "x", "--parts", "2", "--part", "2", "--tables", "stocks"),
            "--part: 2 .*use 1",
        ),
        (("csv", "-o", "gopher://x"), "Invalid value for --output: 'gopher://x' is not allowed"),
        (("csv", "-o", "x", "--customers", "0"), "Invalid value for --customers: 0"),
        (("csv", "-o", "x", "--partition-by", "day", "--order", "entity"), "--order: 'entity'"),
        (("csv", "-o", "-"), "--output is a folder: use --stdout .*, or ./- for a folder"),
        (("csv", "-o", "file:///x?y=z"), "Invalid value for --output: 'file:///x"),
        (
            ("csv", "--stdout", "--tables", "loans", "--overwrite"),
            "--overwrite .*: leave it out with --stdout",
        ),
        (("csv", "-o", "x", "--part", "1"), "say of how many with --parts N"),
        (
            ("csv", "-o", "x", "--as-of", "2021-01-02"),
            "--days: 90 .* use 1 to 1, or a later --as-of",
        ),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    where = [str(tmp_path / "bank") if one == "x" else one for one in arguments]
    done = run(*FILES, *where)
    assert done.code == 2, done
    assert re.search(message, done.err), done
    assert not (tmp_path / "bank").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_one_relation_to_standard_output(tmp_path: Path, kind: str) -> None:
    plan = ("--customers", "60", "--days", "40", "--tables", "banking.trades", "--order", "time")
    found = tmp_path / "found"
    with found.open("wb") as file:
        done = subprocess.run(
            [*FILES, kind, *plan, "--stdout"], stdout=file, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 0, done.stderr
    assert b"Validation: ALL OK" in done.stderr
    written(tmp_path / "bank", kind, relations=("banking.trades",))
    assert found.read_bytes() == (tmp_path / "bank" / f"banking.trades.{kind}").read_bytes()


def test_standard_output_that_is_full_or_closed() -> None:
    command = shlex.join([*FILES, "csv", "--tables", "customers", "--stdout"])
    done = run("sh", "-c", f"{command} > /dev/full")
    assert done.code == 4, done
    assert "Cannot write to standard output: No space left on device" in done.err
    done = run("sh", "-c", f"{command} >&-")
    assert done.code == 4, done
    assert done.err == "Error: Cannot write to standard output: it is closed\n"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("relation", ["customers", "banking.transactions"])
def test_what_has_gone_out_before_a_signal_is_said(relation: str, name: str, code: int) -> None:
    """A reader has these rows, and nothing takes them back."""
    words = ("csv", "--tables", relation, "--customers", 100_000, "--stdout")
    with started(*FILES, *words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = b""
        while part := os.read(process.stdout.fileno(), 1 << 16):
            seen += part
            if len(seen) > 4 << 20 and process.poll() is None:
                process.send_signal(getattr(signal, name))
        err = process.stderr.read()
        assert process.wait(60) == code, err
    told = re.search(
        r"^Files: an output that is not whole: at least ([\d,]+) rows, ([\d,]+) bytes\.$",
        err,
        re.MULTILINE,
    )
    assert told, err
    rows, size = (int(one.replace(",", "")) for one in told.groups())
    lines = seen.count(b"\n") - 1  # that of names
    assert lines - 4_096 <= rows <= lines
    assert size <= len(seen) <= size + 65_536
    assert "Discard what was written: the same command can be repeated." in err
    assert "Nothing was loaded" not in err


def test_no_home_of_that_name() -> None:
    done = run(*FILES, "csv", "--tables", "customers", "-o", "~no-such-user/x")
    assert done.code == 3, done
    assert "there is no such home" in done.err


def test_a_log_of_a_run_whose_rows_come_late(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console()
    monkeypatch.setattr(Console, "_QUIET", 0.0)
    console.start(FILES_STAGE, "events", 100)
    console.advance(0)
    console.advance(10)


@pytest.mark.parametrize("more", [(), ("--compression", "gzip")])
def test_a_reader_that_goes_ends_the_command_quietly(more: tuple[str, ...]) -> None:
    command = shlex.join(
        [*FILES, "csv", "--customers", "9000", "--tables", "customers", "--stdout", *more]
    )
    done = run("sh", "-c", f"{{ {command}; echo $? >&2; }} | head -c 12 | wc -c")
    assert done.out.strip() == "12"
    (head, code) = done.err.splitlines()
    assert head.startswith("Writing 9,000 customers as csv")
    assert code == "141"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(tmp_path: Path, sent: signal.Signals) -> None:
    with started(*FILES, "csv", "--customers", "20000", "-o", tmp_path / "bank") as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "bank").glob(".datagen-*/banking.*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[sent], err
    assert "Files: nothing committed." in out
    assert not list((tmp_path / "bank").rglob("*"))


def test_without_pyarrow(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    done = run(*FILES, "csv", "-o", tmp_path / "bank", PYTHONPATH=str(tmp_path))
    assert done.code == 3, done
    assert done.err == (
        "Error: files need pyarrow, which is not installed: pip install 'datagen[files]'\n"
    )


# --- An object store --------------------------------------------------------------------------------


class Store:
    """A folder that is taken for an object store: it has no lock, and needs no folder for a name."""

    type_name = "store"

    def __init__(self, folder: Path) -> None:
        self._files = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def open_output_stream(self, path: str, **more: Any) -> Any:
        self._files.create_dir(path.rpartition("/")[0])
        return self._files.open_output_stream(path, **more)

    def move(self, source: str, to: str) -> None:
        self._files.create_dir(to.rpartition("/")[0])
        self._files.move(source, to)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bucket of a store."""
    from datagen.sinks.files import place

    monkeypatch.setattr(place, "_file_system", lambda location: (Store(tmp_path), location))
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


def during(part: int | None, parts: int, work: Any) -> None:
    """Has something done while a run writes to the bucket."""

    class Busy(Silent):
        done = False

        def start(self, *_: object) -> None:
            if not self.done:
                self.done = True
                work()

    target = FilesTarget(
        format="csv",
        location="bucket/bank",
        relations=("stocks", "customers"),
        parts=parts,
        part=part,
    )
    assert load(Load(plan=PLAN, targets={"files": target}, fast=True), Busy()).ok


def test_a_run_under_way_keeps_others_out_of_a_store(bucket: Path) -> None:
    def refused() -> None:
        with pytest.raises(
            ConfigurationError,
            match=r"bucket/bank: another run writes there since 20.*; wait .* remove bucket/bank/\.d",
        ):
            written(Path("bucket/bank"), "csv", overwrite=True)

    during(None, 1, refused)
    assert {path.name for path in (bucket / "bank").iterdir()} == {
        *("customers.csv", "stocks.csv", "manifest.json")
    }


def test_parts_are_written_to_a_store_at_once(bucket: Path) -> None:
    def other(part: int) -> None:
        during(part, 2, lambda: None)

    def same() -> None:
        with pytest.raises(ConfigurationError, match="another run writes there"):
            other(1)
        other(2)

    during(1, 2, same)
    assert {path.name for path in (bucket / "bank").iterdir()} == {
        *("customers", "stocks", "manifest-1-of-2.json", "manifest-2-of-2.json")
    }


def test_a_run_that_was_broken_off_keeps_nobody_out_for_good(bucket: Path) -> None:
    left = bucket / "bank" / ".datagen-0123" / "under-way-manifest.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"remove bucket/bank/\.datagen-0123 if"):
        during(None, 1, lambda: None)
    long_ago = time.time() - 25 * 3600
    os.utime(left, (long_ago, long_ago))
    during(None, 1, lambda: None)


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with absent(), ObjectStore() as server:
        yield server


def keys(store: ObjectStore) -> dict[str, Any]:
    return {**store.environment}


@pytest.mark.slow
@pytest.mark.timeout(900)  # the store may have to be built
def test_an_object_store(store: ObjectStore, folders: dict[str, Path]) -> None:
    plan = ("--customers", "60", "--days", "40", "--order", "time")
    command = (*FILES, "parquet", *plan, "-o", store.url("of/team"))
    done = run(*command, **keys(store))
    assert done.code == 0, done
    there = {path.name: path.read_bytes() for path in (store.folder / "of/team").iterdir()}
    assert there == {path.name: path.read_bytes() for path in folders["parquet"].iterdir()}

    again = run(*command, **keys(store))
    assert again.code == 3
    assert "s3://bank/of/team/manifest.json is there already, and 10 more" in again.err
    replaced = run(
        *(*FILES, "csv", *plan, "-o", store.url("of/team"), "--overwrite", "--parts", "2"),
        **keys(store),
    )
    assert replaced.code == 0, replaced
    files = fs.S3FileSystem(
        access_key=store.access_key,
        secret_key=store.secret_key,
        endpoint_override=store.endpoint,
        scheme="http",
        region="us-east-1",
    )
    found = files.get_file_info(fs.FileSelector("bank/of/team", recursive=True))
    names = {one.path for one in found if one.type == fs.FileType.File}
    assert "bank/of/team/customers/part-2-of-2.csv" in names
    assert len(names) == 2 * 9 + 2
    assert not [name for name in names if name.endswith(".parquet") or ".datagen-" in name]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_runs_at_once_into_an_object_store(store: ObjectStore) -> None:
    command = (*FILES, "csv", "-o", store.url("of/two"), "--overwrite")
    with started(*command, "--customers", "20000", **keys(store)) as first:
        assert wait_until(lambda: bool([*store.folder.glob("of/two/.datagen-*/under-way-*")]), 60)
        second = run(*command, **keys(store))
        assert_failed(second, 3, "s3://bank/of/two: another run writes there since 20")
        done = outcome_of(first, 300)
    assert done.code == 0, done
    there = {path.name for path in (store.folder / "of/two").iterdir()}
    assert there == {f"{name}.csv" for name in RELATIONS} | {"manifest.json"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_object_store_that_refuses(store: ObjectStore) -> None:
    wrong = keys(store) | {"AWS_SECRET_ACCESS_KEY": "not-the-key-4711"}
    refused = run(*FILES, "csv", "-o", store.url("x"), **wrong)
    assert refused.code == 3, refused
    assert "ACCESS_DENIED" in refused.err
    assert "not-the-key-4711" not in refused.err
    no_bucket = store.url("x").replace("s3://bank", "s3://other")
    missing = run(*FILES, "csv", "-o", no_bucket, **keys(store))
    assert missing.code == 3, missing
    assert "s3://other/x: there is no other" in missing.err
    gone = store.url("x").replace(store.endpoint, f"127.0.0.1:{free_port()}")
    away = run(*FILES, "csv", "-o", gone, **keys(store))
    assert away.code == 5, away
    assert len(away.err.splitlines()) == 1
