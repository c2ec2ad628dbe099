"""Labels: what they are of, that they are off unless asked for, and that no single column gives them away."""

from __future__ import annotations

import csv
import json
import pickle
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet as pq

from command import DATAGEN, assert_failed, run
from datagen import MasterDataStore, Plan, catalogue
from datagen.errors import OptionError, RejectedError
from datagen.loader import Load, load
from datagen.position import Position
from datagen.sinks.files import FilesTarget
from planned import rows
from targets import Silent

if TYPE_CHECKING:
    from pathlib import Path

#: So many frauds that a classifier finds enough to learn from.
RATES = {
    "pix-scam": 0.02,
    "account-takeover": 0.01,
    "mule-chain": 0.01,
    "structuring": 0.002,
    "card-testing": 0.02,
    "cloned-card": 0.03,
    "bust-out": 0.01,
}
#: What is woven in; the rest is there anyway.
FRAUDS = {name.replace("-", "_").upper() for name in RATES}
PLAN = Plan(11, 3_000, labels=RATES)


def test_a_plan_without_labels_has_none() -> None:
    with pytest.raises(OptionError, match="labels=True"):
        Plan().batches("labels")
    with pytest.raises(OptionError, match="labels=True"):
        Plan().rows("labels")
    assert Plan().labels is None
    assert "labels" not in Plan().names


def test_rates_are_part_of_a_plan() -> None:
    usual, other = Plan(labels=True), Plan(labels={"pix-scam": 0.5 / 2})
    assert usual != other != Plan()
    assert usual.labels is not None
    assert other.labels == usual.labels | {"pix-scam": 0.25}
    for plan in (usual, other):
        assert Plan(labels=plan.labels) == plan
        assert pickle.loads(pickle.dumps(plan)) == plan  # noqa: S301 - as written
        assert hash(pickle.loads(pickle.dumps(plan))) == hash(plan)  # noqa: S301
        assert eval(repr(plan)) == plan  # noqa: S307 - as written
    assert Plan(labels=False) == Plan(labels=None) == Plan()


@pytest.mark.parametrize(
    "given",
    [
        {"pix-scam": 0.26},
        {"pix-scam": -0.1},
        {"pix-scam": float("nan")},
        {"pix-scam": True},
        {"pix-scam": "often"},
        {"bribery": 0.1},
    ],
)
def test_senseless_rates_are_refused(given: Any) -> None:
    with pytest.raises(OptionError, match="labels"):
        Plan(labels=given)


def test_what_is_no_rate_is_refused() -> None:
    with pytest.raises(TypeError, match="mapping of rates"):
        Plan(labels=0.1)  # type: ignore[arg-type]


def test_labels_are_rows_as_others() -> None:
    plan = Plan(3, 300, labels=RATES)
    found = rows(plan, "labels")
    assert len(found) == plan.rows("labels") > 0
    assert [*found[0]] == [field.name for field in catalogue()["labels"].fields]
    assert found == rows(plan, "labels", stop=100) + rows(plan, "labels", start=100)
    assert {row["scenario"] for row in found} <= FRAUDS | {"DEFAULT_PATH", "CHURN"}
    assert all(row["started_at"] < row["known_at"] for row in found)


def test_show_prints_labels() -> None:
    shown = run(
        *(
            *DATAGEN,
            "show",
            "labels",
            "--labels",
            "--label-rate",
            "pix-scam=0.2",
            "--format",
            "json",
        ),
        *("--customers", "50", "-n", "3"),
    )
    assert shown.code == 0, shown
    assert len([json.loads(line) for line in shown.lines]) == 3


def _read(kind: str, path: Path) -> list[Any]:
    """The rows of a file, by readers of others."""
    match kind:
        case "parquet":
            return [*pq.read_table(path).to_pylist()]
        case "avro":
            with path.open("rb") as file:
                return [*fastavro.reader(file)]
        case "csv":
            return [*csv.DictReader(path.read_text("utf-8").splitlines())]
        case _:
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "avro"])
def test_files_have_labels(tmp_path: Path, kind: str) -> None:
    ended = run(
        *(*DATAGEN, "files", kind, "--labels", "--label-rate", "pix-scam=0.2"),
        *("--customers", "60", "--parts", "2", "-o", str(tmp_path)),
    )
    assert ended.code == 0, ended
    plan = Plan(customers=60, labels={"pix-scam": 0.2})
    [found] = [path for path in tmp_path.iterdir() if path.name == "labels"]
    written = [_read(kind, path) for path in sorted(found.iterdir())]
    expected = rows(plan, "labels")
    assert len(expected) == plan.rows("labels") > 20
    assert [len(part) for part in written] == [plan.rows("labels", 0, 30), plan.rows("labels", 30)]
    assert [
        (str(row["event_id"]), row["scenario"], row["role"]) for part in written for row in part
    ] == [(str(row["event_id"]), row["scenario"], row["role"]) for row in expected]
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert [*manifest["relations"]] == [*plan.names, "labels"]
    assert manifest["relations"]["labels"]["rows"] == len(expected)
    assert manifest["plan"]["labels"] == plan.labels


def test_files_have_labels_alone(tmp_path: Path) -> None:
    given = (*DATAGEN, "files", "csv", "--customers", "60", "--tables", "labels", "--stdout")
    ended = run(*given, "--labels", "--label-rate", "pix-scam=0.2")
    plan = Plan(customers=60, labels={"pix-scam": 0.2})
    assert ended.code == 0
    assert len([*csv.reader(ended.out.splitlines())]) == 1 + plan.rows("labels")
    assert_failed(run(*given), 2, "give --labels")
    without = run(*DATAGEN, "files", "csv", "--customers", "5", "-o", str(tmp_path))
    assert without.code == 0
    assert not [*tmp_path.glob("labels*")]


@pytest.mark.parametrize("fast", [False, True])
def test_the_library_writes_labels_that_are_asked_for(tmp_path: Path, fast: bool) -> None:
    plan = Plan(customers=60, labels=RATES)
    target = FilesTarget(
        format="parquet", location=tmp_path, relations=("banking.transactions", "labels")
    )
    report = load(Load(plan=plan, targets={"files": target}, fast=fast), Silent())
    assert report.ok
    found = pq.read_table(tmp_path / "labels.parquet").to_pylist()
    assert [one["event_id"] for one in found] == [
        str(one["event_id"]) for one in rows(plan, "labels")
    ]
    with pytest.raises(OptionError, match="relations: 'labels' is not allowed; use them only"):
        load(Load(plan=Plan(customers=60), targets={"files": target}), Silent())


def test_an_event_with_two_labels_is_refused() -> None:
    store, batch = MasterDataStore(), next(Plan(customers=60, labels=RATES).batches("labels"))
    store.add_batch(batch)
    assert store.counts["labels"] == len(batch)
    with pytest.raises(RejectedError, match="event_id"):
        store.add_batch(batch)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["labels"], "--labels"),
        (["loans", "--label-rate", "pix-scam=0.1"], "--labels"),
        (["loans", "--labels", "--label-rate", "pix-scam=2"], "share of 0 to 0.25"),
        (["loans", "--labels", "--label-rate", "pix-scam=much"], "a share such as 0.002"),
        (["loans", "--labels", "--label-rate", "bribery=0.1"], "rates of pix-scam"),
    ],
)
def test_senseless_options_are_refused(given: list[str], said: str) -> None:
    assert_failed(run(*DATAGEN, "show", *given), 2, said)


def test_a_position_keeps_the_rates(tmp_path: Path) -> None:
    plan = Plan(labels={"bust-out": 0.001})
    before = Position(plan=plan, from_customer=0, time=plan.as_of, start=plan.as_of)
    before.write(tmp_path / "position")
    assert Position.read(tmp_path / "position").plan == plan


# --- No column alone, all together ----------------------------------------------------------------


def _events(name: str) -> pd.DataFrame:
    batches = [batch.with_layout(uuids="text", enums="text") for batch in PLAN.batches(name)]
    import pyarrow as pa

    events: pd.DataFrame = pa.Table.from_batches(
        [pa.record_batch(one) for one in batches]
    ).to_pandas()
    key = catalogue()[name].primary_key
    labels = pd.DataFrame(rows(PLAN, "labels"))
    frauds = labels[labels["scenario"].isin(FRAUDS)]
    scenarios = dict(zip(frauds["event_id"].astype(str), frauds["scenario"], strict=True))
    events["scenario"] = events[key].map(scenarios)
    if name == "banking.transactions":
        # What people order themselves: nobody commits a fraud by a salary or by the bill of a card.
        events = events[events["transaction_type"].isin(["PIX", "TED", "DEPOSIT", "WITHDRAWAL"])]
    return events.reset_index(drop=True)


def _numbers(events: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns as numbers: decimals and times as they are, texts and symbols by how frequent they are, the rest as codes."""
    found = {}
    for name in columns:
        column = events[name]
        if name == "occurred_at":
            local = column.dt.tz_convert("America/Sao_Paulo")
            found["hour"] = local.dt.hour + local.dt.minute / 60
            found["weekday"] = local.dt.day_of_week
            found["day"] = local.dt.day
        elif name in {"amount", "balance_after", "installments"}:
            found[name] = column.astype(float)
            if name == "amount":
                found["centavos"] = (column.astype(float) * 100).round() % 100
        elif name == "pix_key":
            # Most are of one account or person, so that how frequent they are tells of more than the column.
            text = column.fillna("")
            found[name] = text.str.len()
            found[f"{name} digits"] = text.str.count(r"\d")
        else:
            counts = column.fillna("").value_counts()
            found[name] = column.fillna("").map(counts).astype(float)
            if len(counts) < 200:
                found[f"{name} code"] = column.fillna("").astype("category").cat.codes
    return pd.DataFrame(found)


def _history(events: pd.DataFrame, entity: str, party: str, place: str | None) -> pd.DataFrame:
    """What an analyst adds: the entity's own past."""
    groups = events.groupby(entity, sort=False)
    amount = events["amount"].astype(float)
    median = groups["amount"].transform(lambda one: one.astype(float).median())
    seconds = events["occurred_at"].astype("datetime64[ms, UTC]").astype("int64") / 1000
    since = seconds.groupby(events[entity], sort=False).diff().fillna(1e7)
    until = -seconds.groupby(events[entity], sort=False).diff(-1).fillna(-1e7)
    near: dict[str, Any] = {}
    for hours in (1, 24):
        count, spent = np.zeros(len(events)), np.zeros(len(events))
        stamps, sums = seconds.to_numpy(), amount.to_numpy()
        for places in groups.indices.values():
            own, totals = stamps[places], np.concatenate([[0.0], np.cumsum(sums[places])])
            first = np.searchsorted(own, own - hours * 3600)
            last = np.searchsorted(own, own + hours * 3600, side="right")
            count[places], spent[places] = last - first, totals[last] - totals[first]
        near[f"count {hours}"], near[f"spent {hours}"] = count, spent / median
    met = events.groupby([entity, party], dropna=False, sort=False).cumcount()
    found = pd.DataFrame(
        {
            "since": since,
            "until": until,
            "beside the median": amount / median,
            "met": met,
            **near,
        },
        index=events.index,
    )
    if place is not None:
        home = groups[place].transform(lambda one: one.mode().iloc[0])
        away = (events[place] != home) & (events["entry_mode"] != "ECOMMERCE")
        found["away"] = away
        found["back"] = away.groupby(events[entity], sort=False).shift(1, fill_value=False) != away
    return found


def _auc(features: pd.DataFrame, frauds: np.ndarray, groups: np.ndarray) -> float:
    """Area under the curve of a gradient boosting for entities that it has not seen."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits

    # One honest event in four is enough for an area.
    some = frauds | (np.arange(len(frauds)) % 4 == 0)
    table, frauds = features.to_numpy(dtype=float)[some], frauds[some]
    test = groups[some] % 3 == 0
    model = HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=12, early_stopping=False, random_state=0
    )
    # Threads that wait for one another are slower than one where processors are shared.
    with threadpool_limits(1):
        model.fit(table[~test], frauds[~test])
    return float(roc_auc_score(frauds[test], model.predict_proba(table[test])[:, 1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stream", "entity", "party", "place"),
    [
        ("banking.transactions", "account_id", "counterparty_name", None),
        ("banking.card-transactions", "card_id", "merchant_id", "merchant_state"),
    ],
)
def test_no_column_finds_frauds_and_all_do(
    stream: str, entity: str, party: str, place: str | None
) -> None:
    pytest.importorskip("sklearn")
    events = _events(stream)
    frauds = events["scenario"].notna().to_numpy()
    assert 300 < frauds.sum() < len(events) / 10
    ids = {catalogue()[stream].primary_key, entity, "end_to_end_id", "authorization_code"}
    columns = [name for name in events.columns if name not in {*ids, "scenario"}]
    raw = _numbers(events, columns)
    groups = pd.factorize(events[entity])[0]
    alone = {name: _auc(raw[[name]], frauds, groups) for name in raw}
    assert max(alone.values()) < 0.7, alone
    together = pd.concat([raw, _history(events, entity, party, place)], axis=1)
    assert _auc(together, frauds, groups) > 0.85
