"""A thousand lines of arguments: each is refused before a connection, or goes as far as the first one.

Options and their kinds are those of the commands themselves, so that a new option is among them. Nothing is reached:
what would connect is counted, and says that nothing answers.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click
import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from psycopg import sql

from command import commands
from datagen import Plan
from datagen.cli import command
from datagen.errors import UnreachableError
from datagen.receipts import Recorder
from datagen.sinks.kafka.cluster import Cluster
from datagen.sinks.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS: Final = ("Tr0ub4dor&3x", "geheim-w0rt/9", "s3cret_t0ken.a.b")
FIRST, SECOND, THIRD = SECRETS

#: A stack is started, figures are served, and what goes to standard output may have no end.
LEFT_OUT: Final = {"local", "metrics", "help", "follow", "version", "stdout"}
#: Those that have options and take no file of another run alone.
COMMANDS: Final = {
    name: found
    for name, found in commands().items()
    if name not in {"local", "benchmark", "report", "merge-receipts"}
}

#: No argument of a process has a zero byte.
TEXTS: Final = st.one_of(
    st.text(st.characters(exclude_categories=(), exclude_characters="\0"), max_size=12),
    st.sampled_from(
        [
            *("", " ", "-", "--", "=", "\x1b[31m", "\udcff", "a b", "é", "💰", "x" * 300),
            *(
                "'",
                '"',
                '"; DROP TABLE x; --',
                "$(id)",
                "`id`",
                "%s",
                "{0}",
                "\\",
                "a\nb",
                "\u202e",
            ),
            *("None", "null", "nan", "inf", "-1", "0x10", "1e3", "١", "1_0", "+3"),
        ]
    ),
)
NUMBERS: Final = st.one_of(
    st.integers(-2, 5).map(str),
    st.sampled_from(["0", "2", "3", "18446744073709551616", "1e9", "-1", "1.5", "9" * 30]),
    TEXTS,
)
#: What a parameter of a name takes, which comes first, and what it does not.
USUAL: Final[dict[str, list[str]]] = {
    "postgres_url": [
        f"postgresql://me:{FIRST}@127.0.0.1:1/x",
        f"postgresql://me:{FIRST}@127.0.0.1:port/x",
        f"postgresql://me:{FIRST}@h@127.0.0.1:1/x",
        f"postgresql://127.0.0.1:1/x?password={FIRST}",
        f"host=127.0.0.1 port=1 password='{FIRST}",
        f"host=127.0.0.1 port=1 password={FIRST}",
    ],
    "schema_registry": [
        f"http://me:{SECOND}@127.0.0.1:1",
        f"http://127.0.0.1:1/?token={THIRD}",
        f"127.0.0.1:1,me:{SECOND}@",
        f"ftp://me:{SECOND}@127.0.0.1",
        "http://127.0.0.1:1",
    ],
    "registry_user": [f"me:{SECOND}", SECOND, f":{SECOND}", "me:"],
    "kafka_bootstrap": ["127.0.0.1:1", "127.0.0.1", ":", "127.0.0.1:99999", "[::1]:1,a:2"],
    "kafka_option": [
        f"sasl.password={FIRST}",
        f"sasl.password:{FIRST}",
        f"sasl.password {FIRST}",
        f"=sasl.password={FIRST}",
        f'sasl.jaas.config=x required username="me" password="{FIRST}";',
        *("acks=all", "linger.ms=-1", "no.such.option=1", "security.protocol=SASL_SSL", "acks"),
    ],
    "registry_option": [f"bearer.auth.token={THIRD}", THIRD, f"basic.auth.user.info=me:{SECOND}"],
    "kafka_config": ["client.properties", "none.properties"],
    "registry_ca": ["client.properties", "none.pem"],
    "topic_config": ["cleanup.policy=compact", "retention.ms=x", "nothing"],
    "label_rate": ["pix-scam=0.1", "pix-scam=2", "pix-scam=nan", "none=0.1", "pix-scam"],
    "partitions": ["3", "banking.trades=3", "none=3", "0", "banking.trades=x"],
    "topic_prefix": ["test.", "a b", "x" * 250, "..", "é"],
    "postgres_schema": ["public", 'a"b', "A b", "x" * 64, "é" * 32, "pg_catalog"],
    "as_of": ["2026-07-01", "2026-07-01T00:00:00Z", "2026-07-01T00:00:00+25:00", "1999-01-01"],
    "start": ["2026-06-01", "2026-06-01T00:00:00Z", "now"],
    "until": ["2026-06-02", "2026-06-01T00:00:00+00:00", "1"],
    "duration": ["1s", "90s", "0", "1e9", "5x"],
    "days": ["1", "30", "3660", "3661"],
    "tables": ["customers", "customers,loans", "none", ",", "customers,customers"],
    "output": ["out", "client.properties", "none/out"],
    "receipt": ["receipt.json", "new.json", "none/a.json", "client.properties"],
    "position": ["new.position", "receipt.json", "none/a"],
    "where": [".", "none"],
    "retention_hours": ["1", "-1", "broker", "0", "9" * 20],
    "key": ["x", "", "00000000-0000-4000-8000-000000000000"],
    "name": ["customers", "banking.trades", "labels", "none", "a b"],
    "names": ["customers", "banking.trades", "none"],
    "id": ["PETR4", "00000000-0000-4000-8000-000000000000", "123.456.789-09", "a@b.c", "x"],
    **{key: ["3", "0"] for key in ("number", "show", "replication_factor")},
    **{key: ["1", "0", "1e99"] for key in ("workers", "part", "parts", "speed", "rate")},
    "seed": ["0", "42", "18446744073709551615"],
    "from_customer": ["0", "5", "99999990"],
}
#: Names of files: what is made of any text stays in the folder.
PATHS: Final = {"receipt", "position", "output", "kafka_config", "registry_ca", "where"}


def values(param: click.Parameter, *, right: bool) -> st.SearchStrategy[str]:
    """What a parameter may be given: what it takes, or anything."""
    name = param.name or ""
    choices = [*map(str, getattr(param.type, "choices", ()))]
    usual = [*USUAL.get(name, ()), *choices]
    if right:
        return st.sampled_from(choices or usual[:1])
    any_text = TEXTS
    if name in PATHS:
        any_text = TEXTS.map(lambda text: text.replace("/", "").replace(":", ""))
    if "int" in type(param.type).__name__.lower() or "float" in type(param.type).__name__.lower():
        any_text = NUMBERS
    return st.one_of(st.sampled_from(usual), any_text) if usual else any_text


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """The arguments of a command; in every other line each value is one that its option takes."""
    name, right = draw(st.sampled_from([*COMMANDS])), draw(st.booleans())
    params = [one for one in COMMANDS[name].params if one.name not in LEFT_OUT]
    arguments = [one for one in params if isinstance(one, click.Argument)]
    options = [one for one in params if isinstance(one, click.Option)]
    said = [name]
    said += [
        draw(values(one, right=right)) for one in arguments if one.required or draw(st.booleans())
    ]
    if "customers" in {one.name for one in params}:
        # Those of some commands are made, and should be few.
        wrong = () if right else ("0", "-1", "x", "99999991")
        said += ["--customers", draw(st.sampled_from(["1", "2", "3", *wrong]))]
    if name == "files" and right:
        said += ["--output", "out", "--overwrite"]
    for option in draw(st.lists(st.sampled_from(options), max_size=4, unique=right)):
        if option.name == "customers" or (
            right
            and not option.is_flag
            and not (USUAL.get(option.name or "") or hasattr(option.type, "choices"))
        ):
            continue
        said.append(draw(st.sampled_from([*option.opts, *option.secondary_opts])))
        if not option.is_flag:
            said.append(draw(values(option, right=right)))
    if not right and draw(st.integers(0, 9)) == 0:
        # A word where a command takes none may be a password; where it takes a name it is that.
        bare = [] if arguments else [FIRST, f"me:{SECOND}"]
        said.append(draw(st.one_of(TEXTS, st.sampled_from([f"--kafka-optio=a={FIRST}", *bare]))))
    return said


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been connected to."""
    found: list[str] = []

    def postgres(server: Server, *_: object, **__: object) -> None:
        found.append("postgres")
        raise UnreachableError(f"PostgreSQL at {server.where} does not answer")

    def kafka(cluster: Cluster, *_: object, **__: object) -> None:
        found.append("kafka")
        raise UnreachableError(f"Kafka at {cluster.address} does not answer")

    monkeypatch.setattr(Server, "connect", postgres)
    monkeypatch.setattr(Cluster, "metadata", kafka)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command runs: with a file of properties, and the receipt of a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.properties").write_text(f"sasl.password={FIRST}\nlinger.ms=5\n")
    receipt_in(tmp_path)
    handlers = logging.getLogger().handlers[:]
    yield tmp_path
    logging.getLogger().handlers[:] = handlers
    logging.captureWarnings(capture=False)


def receipt_in(folder: Path) -> dict[str, Any]:
    recorder = Recorder(folder / "receipt.json", command="load", options={"customers": 2})
    plan = Plan(customers=2)
    topics = {"banking.trades": {"topic": "banking.trades", "partitions": {"0": {"first": 0}}}}
    content = {
        "plan": {
            "seed": plan.seed,
            "customers": plan.customers,
            "from_customer": 0,
            "as_of": plan.as_of.isoformat(),
            "days": plan.days,
        },
        "order": "time",
        "rows": {"customers": 2},
        "sinks": {
            "postgres": {"address": "127.0.0.1:1/x", "as_of": None},
            "kafka": {"bootstrap": "127.0.0.1:1", "topics": topics, "format": "json"},
        },
    }
    recorder.write("ok", content)
    written: dict[str, Any] = json.loads(recorder.path.read_bytes())
    return written


def assert_said_well(code: int, out: str, err: str) -> None:
    """No traceback, no error that was not expected, no secret, and one or two lines that say why."""
    assert code in {0, 2, 3, 4, 5}, err
    for text in (out, err):
        assert "Traceback" not in text
        assert "unexpected" not in text.replace("unexpected extra argument", "")
        for secret in SECRETS:
            assert secret not in text
    if code:
        said = [line for line in err.splitlines() if line.startswith("Error: ")]
        assert len(said) == 1, err
        assert "\x1b" not in err


def settled(number: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
    return settings(
        max_examples=number,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=slow,
    )


@pytest.mark.parametrize("number", [100, pytest.param(1_000, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("folder")
def test_any_arguments(reached: list[str], capfd: pytest.CaptureFixture[str], number: int) -> None:
    ended: Counter[tuple[str, int]] = Counter()

    @settled(number)
    @given(arguments=lines())
    def each(arguments: list[str]) -> None:
        reached.clear()
        code = command._run(arguments)
        out, err = capfd.readouterr()
        assert_said_well(code, out, err)
        if code == 2:
            assert reached == []
        ended[arguments[0], code] += 1

    each()
    if number < 1_000:
        return
    # Each command was refused, and went as far as it can here.
    assert len({name for name, code in ended if code == 2}) == len(COMMANDS), ended
    furthest = {name: {code for one, code in ended if one == name} & {0, 5} for name in COMMANDS}
    assert all(furthest.values()), ended


#: Names that a schema may have, and that SQL would take for something else were they not quoted.
IDENTIFIERS: Final = st.one_of(
    st.sampled_from(
        [
            *(
                'a"b',
                "a'b",
                "a; DROP TABLE public.precious; --",
                'x"; DROP TABLE public.precious; --',
            ),
            *("A b", "select", "é" * 31, "%s", "%(x)s", "{0}", "$$", "\\", "E'\\n'", "a\nb", "a.b"),
            *('"', '""', "x" * 63, "$user", "public, pg_temp", "\u202ex", "💰"),
        ]
    ),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
    ),
)


@settled(15)
@given(name=IDENTIFIERS)
def test_a_name_of_a_schema_is_that_and_no_more(
    folder: Path, pg_dsn: str, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """A load, one that finds its rows there, a table that is looked at, a verification and the DDL: in this schema and in no other."""
    assume(len(name.encode()) <= 63 and not name.startswith("pg_"))
    with psycopg.connect(pg_dsn, autocommit=True) as session:
        session.execute("CREATE TABLE IF NOT EXISTS public.precious (id int)")
        # Of an example that has failed.
        session.execute("DROP TABLE IF EXISTS public.customers CASCADE")
        session.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
        session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        where = [f"--postgres-url={pg_dsn}", f"--postgres-schema={name}"]
        plan = ["--customers=1", "--skip-kafka"]
        ended = []
        for arguments in (
            ["load", *plan, *where, "--truncate"],
            ["load-parallel", *plan, *where, "--truncate"],
            ["load", *plan, *where, "--shard=1/1"],
            ["peek", "customers", *where],
            ["verify", *plan, *where],
            ["schema", "--for=postgres", *where],
        ):
            code = command._run(arguments)
            out, err = capfd.readouterr()
            assert_said_well(code, out, err)
            ended.append(code)
        assert ended in ([0] * 6, [2] * 6), ended
        found = session.execute(
            "SELECT schemaname FROM pg_tables WHERE tablename = 'customers'"
        ).fetchall()
        assert found == ([(name,)] if ended[0] == 0 else [])
        if ended[0] == 0:
            # What is printed makes the same tables in the schema, and in no other.
            session.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
            session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            session.execute(out.encode())
            tables = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('customers', 'loans')"
            assert session.execute(tables).fetchall() == [(name,)]
        session.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
        assert session.execute("SELECT count(*) FROM public.precious").fetchone() == (0,)
