"""``stream``: a bank that lives, and the line that says how it goes."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .._core import Plan
from .._files import is_there
from .._secrets import without_user
from ..errors import ConfigurationError, OptionError
from ..loader import RunReport
from ..position import Position, instant_text, millis_of, moment
from ..settlement import attach, settlement_of
from ..sinks import SINKS, options_of
from ..sinks.base import streams, tables
from ..sinks.command_line import FileName, Option, is_given
from ..sinks.lines import LinesTarget
from ..stream import Outcome, Status, Stream
from ..stream import stream as carry_out
from . import signals
from .console import Console, width_of_terminal
from .load_options import (
    GroupedCommand,
    Moment,
    check_target,
    grouped,
    how_to_look,
    labels_from,
    on_local_stack,
    option_groups,
    options_named,
    receipt_option,
    recorded,
    run_from,
    shard_option,
)
from .loading import judge
from .outputs import check_takes_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..sinks.base import Target

__all__ = ["stream"]

#: Days that a plan goes on after the day on which a stream starts.
_AHEAD: Final = 365
#: What a position is of: these cannot change on the way.
_FIXED: Final = (
    *("customers", "seed", "from_customer", "as_of", "days", "start", "no_backfill"),
    *("labels", "label_rate"),
    *("topic_prefix", "stdout", "master_topics", "exactly_once", "shard"),
)
#: What else a position keeps, so that it need not be given again; none is a secret.
_KEPT: Final = (
    *("until", "speed", "rate", "kafka_bootstrap", "schema_registry", "skip_kafka", "kafka_config"),
    *(
        "no_avro",
        "avro_enums",
        "no_cloudevents",
        "record_timestamp",
        "preset",
        "engine",
        "registry_ca",
    ),
    *("skip_postgres", "postgres_schema"),
)
#: What it keeps until the tables are loaded.
_OF_LOADING: Final = ("truncate", "replica_identity")


class _Instant(Moment):
    """A moment with its zone."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(super().convert(str(value), param, ctx))
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            self.fail(f"{value!r}: write 2026-07-01T00:00:00Z, or 2026-07-01", param, ctx)
        return moment(millis_of(found.astimezone(UTC)))


class _Duration(click.ParamType[Any]):
    """Seconds, or a number with its unit."""

    name = "DURATION"
    _UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        if found is None or not float(found[1]):
            self.fail(f"{value!r}: write seconds, or 90s, 5m or 2h", param, ctx)
        return float(found[1]) * self._UNITS[found[2]]


def _options() -> list[click.Parameter]:
    history = [
        Option(
            "--as-of",
            type=Moment(),
            help="Where the plan ends, and the stream with it [default: that of load, if the stream "
            "starts within its history; else a year after the day it starts].",
        ),
        Option(
            "--days",
            type=int,
            default=90,
            show_default=True,
            help="Days of history before --as-of; by default before the day on which the stream starts.",
        ),
    ]
    groups = option_groups(customers=100, parallel=False, history=history)
    groups["What"].append(
        shard_option(
            "Stream only this one of N blocks of the customers, beside the others or after them. Each has its own "
            "--position, and the same command, begun again, goes on from it."
        )
    )
    groups["Where to"].append(
        Option(
            "--stdout",
            is_flag=True,
            help="Print events, a JSON object a line; all else goes to stderr. PostgreSQL and Kafka "
            "then take part only where the command names their address.",
        )
    )
    moments = [
        Option(
            "--start",
            type=_Instant(),
            help="Event time at which live begins; what is before is sent at once [default: now].",
        ),
        Option("--until", type=_Instant(), help="Event time at which the stream ends."),
        Option(
            "--duration",
            type=_Duration(),
            help="How long live lasts, by the clock: seconds, or 90s, 5m, 2h.",
        ),
        Option(
            "--speed",
            type=float,
            metavar="X",
            default=1.0,
            show_default=True,
            help="Seconds of event time for each second of the clock.",
        ),
        Option(
            "--rate",
            type=float,
            metavar="N",
            help="Events a second, instead of a speed. No event is left out where that is too many.",
        ),
        Option("--no-backfill", is_flag=True, help="Send nothing of before the start."),
    ]
    position = [
        Option(
            "--position",
            type=FileName(),
            metavar="FILE",
            help="File that says, every second, how far the stream has come.",
        ),
        Option(
            "--resume",
            is_flag=True,
            help="Go on where --position says, with its plan; no event is missing or doubled.",
        ),
        Option(
            "--metrics",
            type=click.IntRange(1, 65_535),
            metavar="PORT",
            help="Show figures for Prometheus on 127.0.0.1.",
        ),
        receipt_option(),
    ]
    return grouped({**groups, "Time": moments, "Position": position})


@click.command(
    cls=GroupedCommand,
    name="stream",
    short_help="Send events as time passes: a bank that lives.",
    epilog="Example: datagen stream --local --position bank.json, and on another day: "
    "datagen stream --local --position bank.json --resume",
    params=_options(),
)
@click.pass_context
def stream(context: click.Context, /, **options: Any) -> None:
    """Load the tables, send the history at full speed, then each event when its time comes.

    Tables have the balances, limits and debts of the start, and follow from there on: slice by slice, a
    second each, rows change before the events that say so are sent.

    It ends with the plan (exit code 0), at --until or after --duration, and at Ctrl-C or SIGTERM once what
    was sent has arrived; a second one ends it at once. At speed 1 a stream that started now stays with the
    clock: resumed, it first sends what it has missed. Any other goes on at the time where it stopped.
    """
    if options["rate"] is not None and is_given(context, "speed"):
        raise click.UsageError("--rate and --speed are two ways to say it; give one of them.")
    if options["stdout"]:
        check_takes_data()
    with options_named():
        asked = _asked(context, options)
    console = _Console(as_json=options["stdout"])
    try:
        asked = replace(asked, run=recorded(context, options, asked.run))
        console.recorder = asked.run.recorder
        if options["local"]:
            run = on_local_stack(context, asked.run, console.say)
            asked = replace(asked, run=run)
        _stream_and_judge(context, asked, console, options["metrics"])
    except BaseException as error:
        signals.last_words()
        console.close()
        settlement = settlement_of(error)
        # Nothing is left of a stream whose only reader has gone, as `| head` does.
        unread = isinstance(error, BrokenPipeError) and [*asked.run.targets] == ["stdout"]
        if unread and asked.file is None:
            console.recorder = None
            raise
        if settlement is not None and not console.ended:
            console.say_receipt()
            console.say(settlement.sentence)
            for line in (line for one in settlement.sinks for line in one.lines()):
                console.say(line)
            console.say(_way_on(asked.file))
        raise
    finally:
        console.close()
        console.say_receipt()


def _way_on(file: Path | None) -> str:
    if file is None:
        return "It cannot be resumed, having no --position."
    return f"The position is in {file}: --resume goes on there."


def _stream_and_judge(
    context: click.Context, asked: Stream, console: _Console, port: int | None
) -> None:
    """Streams, and raises where it was told to end, or the outcome is not what was sent."""
    metrics = None
    if port is not None:
        from .metrics import Metrics

        metrics = Metrics(port)
    console.begin(asked, metrics)
    with signals.Postponed() as clock, options_named():
        outcome = carry_out(asked, console, clock)
    console.close()
    console.say_receipt()
    if outcome.report is None:
        console.was_ended(outcome, asked.file)
        error = clock.exception
        attach(error, outcome.settlement)
        raise error
    console.came_to_end(outcome, outcome.report, asked, how_to_look(context, asked.run))
    try:
        judge(outcome.report)
    except BaseException as error:
        attach(error, outcome.report.settlement)
        raise


def _asked(context: click.Context, options: dict[str, Any]) -> Stream:
    """The stream that options, and with ``--resume`` a position, ask for."""
    file: Path | None = options["position"]
    before = None
    again = options["shard"] is not None and file is not None and is_there(file)
    if options["resume"] or again:
        if file is None:
            raise click.UsageError("--resume needs the --position to go on from.")
        before = Position.read(file)
        _take_over(context, options, before)
    elif file is not None:
        check_target(file, "--position")
        if is_there(file):
            raise ConfigurationError(
                f"{file} is there: add --resume to go on from it, or delete it to begin anew"
            )
    if options["stdout"]:
        _leave_out_unnamed(context, options, before.follows if before else ())
    now = moment(millis_of(datetime.now(UTC)))
    start = before.start if before else options["start"] or now
    if before is None:
        _choose_plan(options, start)
    run = run_from(context, options, fast=False)
    if before is not None and (run.plan, run.from_customer) != (before.plan, before.from_customer):
        raise ConfigurationError(f"{file} is of other customers than its shard has")
    targets = dict(run.targets)
    if options["stdout"]:
        targets["stdout"] = LinesTarget()
    if before is not None:
        targets = _still_following(context, targets, before)
    if not any({*one.relations} & {*streams()} for one in targets.values()):
        raise click.UsageError(
            "No events are sent anywhere: leave out --skip-kafka, or add --stdout."
        )
    # Where the clock is the wall's, it goes on meanwhile.
    follows = options["start"] is None and options["rate"] is None
    behind = (now - start).total_seconds() if follows and options["speed"] == 1 else None
    if follows and before is None:
        behind = 0.0
    return Stream(
        run=replace(run, targets=targets, fast=True),
        start=start,
        until=options["until"],
        speed=options["speed"],
        rate=options["rate"],
        duration=options["duration"],
        backfill=not options["no_backfill"],
        behind=behind,
        file=file,
        from_position=before,
        options=_kept(context, options),
        options_of_loading=_given(context, options, _OF_LOADING),
    )


def _still_following(
    context: click.Context, targets: dict[str, Target], before: Position
) -> dict[str, Target]:
    """The targets of events, and those of tables alone that the stream has kept in step."""
    for name in before.follows:
        skip = options_of(name).skip
        if name not in targets and not is_given(context, skip.removeprefix("--").replace("-", "_")):
            raise click.UsageError(
                f"Tables in {name} follow this stream: name its address, or leave it out with {skip}."
            )
    events = {*streams()}
    return {
        name: one
        for name, one in targets.items()
        if name in before.follows or events & {*one.relations}
    }


def _choose_plan(options: dict[str, Any], start: datetime) -> None:
    """Says where the plan ends if the user has not: values depend on it, and on nothing else."""
    if options["as_of"] is not None:
        return
    usual = Plan(days=options["days"])
    end = usual.as_of
    if not end - timedelta(days=usual.days) <= start < end:
        day = start.replace(hour=0, minute=0, second=0, microsecond=0)
        _check_history(day, options["days"])
        end = day + timedelta(days=_AHEAD)
        options["days"] += _AHEAD
    options["as_of"] = instant_text(end)


def _check_history(start: datetime, days: int) -> None:
    """Refuses a start that has no room for so many days before it, by the names of what was given."""
    try:
        Plan(as_of=start, days=days)
    except OptionError as error:
        name = "start" if error.option == "as_of" else error.option
        allowed = error.allowed.replace("as_of", "--start")
        raise OptionError(name, instant_text(start) if name == "start" else days, allowed) from None


def _leave_out_unnamed(
    context: click.Context, options: dict[str, Any], following: Sequence[str]
) -> None:
    """With ``--stdout``, sinks take part only where their address was typed, or tables in them follow."""
    if options["local"]:
        return
    typed = click.core.ParameterSource.COMMANDLINE
    for name in SINKS:
        sink = options_of(name)
        skip = sink.skip.removeprefix("--").replace("-", "_")
        named = any(context.get_parameter_source(one) is typed for one in sink.addresses)
        if skip in options and not named and name not in following:
            options[skip] = True
            context.set_parameter_source(skip, typed)


def _kept(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options that a position keeps, as JSON has them."""
    kept = _given(context, options, (*_FIXED, *_KEPT))
    registry = kept.get("schema_registry", "")
    if registry != without_user(registry):
        # A user, or a key in a query, is not for a file.
        del kept["schema_registry"]
    if options["shard"] is not None:
        # The plan ends with the customers of the shard.
        kept |= {name: options[name] for name in ("customers", "from_customer")}
        kept["shard"] = "{}/{}".format(*options["shard"])
    return kept


def _given(context: click.Context, options: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those of some options that are given, as JSON has them."""
    given = {}
    for name in names:
        value = options[name]
        if not is_given(context, name):
            continue
        given[name] = instant_text(value) if isinstance(value, datetime) else value
        if isinstance(value, Path):
            given[name] = str(value.resolve())
    return given


def _take_over(context: click.Context, options: dict[str, Any], before: Position) -> None:
    """Completes options by those of a position; refuses those that contradict it."""
    plan = before.plan
    own = {
        "seed": plan.seed,
        "customers": plan.customers - before.from_customer,
        "from_customer": before.from_customer,
        "as_of": instant_text(plan.as_of),
        "days": plan.days,
        "labels": plan.labels is not None,
        "label_rate": tuple((plan.labels or {}).items()),
    }
    params = {param.name: param for param in context.command.params}
    if "shard" in before.options:
        # Its plan ends with its own customers; the command has those of all shards.
        for name in ("customers", "from_customer"):
            own[name] = params[name].type_cast_value(context, before.options.get(name, own[name]))
    for name in (*_FIXED, *_KEPT, *(() if before.loaded else _OF_LOADING)):
        kept = own.get(name, before.options.get(name))
        if kept is not None and name not in own:
            kept = params[name].type_cast_value(context, kept)
        if not is_given(context, name):
            if kept is not None:
                if name == "speed" and options["rate"] is not None:
                    continue
                options[name] = kept
                if name in before.options:
                    context.set_parameter_source(name, click.core.ParameterSource.COMMANDLINE)
            continue
        if name not in _FIXED:
            continue
        given = options[name]
        if name == "as_of":
            given = instant_text(Plan(as_of=given, days=1).as_of)
        if name == "days" and "as_of" not in before.options:
            # It was counted from the day on which the stream started.
            same = given in {kept, before.options.get("days", kept)}
        elif name == "label_rate":
            same = Plan(labels=labels_from(options | {"labels": True})).labels == plan.labels
        else:
            same = given == (params[name].get_default(context) if kept is None else kept)
        if not same:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"{option} is not what the position says; leave it out, or begin a new stream without --resume."
            )
        options[name] = given if kept is None else kept
    if options["rate"] is not None and is_given(context, "rate"):
        options["speed"] = 1.0


class _Console(Console):
    """What a load says of its tables, and then a line: refreshed on a terminal, now and then in a log."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(as_json=as_json)
        self._metrics: Any = None
        self._shows_speed = False
        self._line = False
        self._said: tuple[bool, bool] | None = None
        #: Whether it was said how the stream ended.
        self.ended = False

    #: Seconds between two statuses, and between two lines of a log.
    every: Final = 1.0
    _IN_A_LOG: Final = 10.0

    def begin(self, asked: Stream, metrics: Any) -> None:
        self._metrics = metrics
        self._shows_speed = asked.rate is not None or asked.speed != 1
        plan, before = asked.plan, asked.from_position
        # What ended as its tables were loaded has sent no event.
        before = before if before is not None and before.loaded else None
        pace = f"{asked.rate:,g} events/s" if asked.rate is not None else f"speed {asked.speed:,g}"
        begin = (
            f"resumed at {instant_text(before.time)}"
            if before
            else f"live from {instant_text(asked.start)}"
        )
        self.say(
            f"Streaming {asked.run.customers:,} customers (seed {plan.seed}, {plan.days} days up to "
            f"{plan.as_of:%Y-%m-%dT%H:%M:%SZ}), {begin}, {pace}"
        )
        for target in asked.run.targets.values():
            if {*target.relations} & {*tables()}:
                self.say(
                    f"Tables are as of {instant_text(asked.start)} and follow from there on, a slice before "
                    "its events."
                )
                break

    def goes(self, status: Status) -> None:
        if self._metrics is not None:
            self._metrics.take(status)
        terminal = self._on_a_terminal()
        # The last column would have some terminals begin a new line.
        room = width_of_terminal() - 1 if terminal else None
        text = _line(status, speed=self._shows_speed, room=room)
        stream = self._stream()
        if not terminal:
            now, said = time.monotonic(), (status.live, bool(status.waiting))
            if said != self._said or now - self._spoke >= self._IN_A_LOG:
                self._spoke, self._said = now, said
                self.say(text)
            return
        self._line = True
        stream.write(f"\r\x1b[2K{text}")
        stream.flush()

    def say(self, text: str) -> None:
        if self._line:
            self._line = False
            self._stream().write("\n")
        super().say(text)

    def close(self) -> None:
        super().close()
        if self._line:
            self._line = False
            self._stream().write("\n")

    def was_ended(self, outcome: Outcome, file: Path | None) -> None:
        """Says where a stream was told to end."""
        self.ended = True
        status = outcome.status
        self.say(f"Ended at {instant_text(status.time)}: {status.total:,} events.")
        if not outcome.settled:
            self.say(
                f"Not all that was sent since {instant_text(outcome.position.time)} was acknowledged."
            )
        if file is not None:
            self.say(_way_on(file))

    def came_to_end(
        self, outcome: Outcome, report: RunReport, asked: Stream, look: Sequence[str]
    ) -> None:
        """Says how a stream ended by itself."""
        self.ended = True
        status, end = outcome.status, asked.plan.as_of
        why = "the plan is at its end" if status.time >= end else "as asked for"
        late = _late(status.delays.quantile(0.99))
        self.say(f"Ended at {instant_text(status.time)}, {why}: {status.total:,} events, {late}.")
        self.tail(report, look)


def _late(seconds: float) -> str:
    if not seconds:
        return "none of them live"
    if seconds > 60:
        return "99% of those live more than 60 s late"
    return f"99% of those live within {seconds:g} s of their time"


def _line(status: Status, *, speed: bool, room: int | None = None) -> str:
    """How a stream goes; in ``room`` columns what matters most of it."""
    when = f"{status.time:%Y-%m-%dT%H:%M:%SZ}"
    when = f"{when} {f'live, {status.lag:,.1f} s late' if status.live else 'history'}"
    rate = f"{status.rate:,.0f}" if status.rate >= 10 else f"{status.rate:.1f}"
    parts = {
        "when": when,
        "rate": f"{rate} events/s",
        "speed": f"speed {status.speed:,.4g}" if speed and status.live else "",
        "total": f"{status.total:,} events",
        "waiting": status.waiting,
    }
    text = "; ".join(filter(None, parts.values()))
    for name in ("speed", "total", "rate"):
        if room is not None and len(text) > room:
            del parts[name]
            text = "; ".join(filter(None, parts.values()))
    return text if room is None or len(text) <= room else f"{text[: room - 1]}…"
