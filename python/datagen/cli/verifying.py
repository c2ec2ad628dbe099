"""``verify``: what services hold of a run, held against the plan."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from .. import loader
from ..errors import ConfigurationError, VerificationError
from ..receipts import Receipt
from ..settlement import Settlement, attach
from ..sinks import SINKS, options_of
from ..sinks.command_line import FileName, Option, is_given
from ..verification import WRONG, Compared, Verdict, Verification
from ..verification import verify as compare
from .console import Console
from .load_options import (
    GroupedCommand,
    grouped,
    load_options,
    on_local_stack,
    options_named,
    run_from,
)
from .resuming import check_database, check_properties

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["verify"]

#: What a receipt says of these, so that they need not be given again.
_TAKEN_OVER: Final = (
    *("kafka_bootstrap", "schema_registry", "kafka_config", "registry_ca", "local", "topic_prefix"),
    *("master_topics", "no_avro", "avro_enums", "no_cloudevents", "record_timestamp"),
    "postgres_schema",
)


def _options() -> list[click.Parameter]:
    writing = {"receipt", "resume"}
    loading = [
        one for one in load_options(customers=100, parallel=False) if one.name not in writing
    ]
    own = [
        Option(
            "--show",
            type=click.IntRange(0, 100_000),
            default=10,
            show_default=True,
            metavar="N",
            help="Rows of each kind and table or topic that are named.",
        ),
        Option(
            "--fingerprint",
            is_flag=True,
            help="Print one line alone: what is there as 32 digits, ok or failed, and the number of rows.",
        ),
        Option(
            "--workers",
            type=int,
            default=0,
            show_default=True,
            help="Threads that make rows; 0 is one a core.",
        ),
    ]
    receipt = click.Argument(
        ["receipt"],
        metavar="[RECEIPT]",
        required=False,
        type=FileName(exists=True),
    )
    return [receipt, *loading, *grouped({"What is said": own})]


@click.command(
    cls=GroupedCommand,
    name="verify",
    short_help="Read again what a load left, and compare every row with the plan.",
    epilog="Example: datagen load --create-topics --receipt a.json, and then: datagen verify a.json",
    params=_options(),
)
@click.pass_context
def verify(context: click.Context, /, **options: Any) -> None:
    """Read PostgreSQL and Kafka again, make the rows again, and name what differs.

    What to look for says the RECEIPT of a run (see `datagen runs`), or else the options of a `load`, as they were
    given to it. Addresses with secrets are in no receipt: give those again. Rows are missing, double, altered,
    misplaced (another partition), late (out of order in time) or foreign (another producer's). What cannot be read, as it was deleted
    or is in an open transaction, is said, and is not taken for right. Exit code 0 if all is as planned, 6 if not.
    """
    quiet = options["fingerprint"]
    if quiet and options["as_json"]:
        raise click.UsageError("--fingerprint and --json are two ways to say it; give one of them.")
    console = _Console(as_json=options["as_json"] or quiet, silent=quiet)
    try:
        with options_named():
            asked = _asked(context, options)
        if options["local"]:
            run = loader.Load(plan=asked.plan, targets=asked.targets)
            asked = replace(asked, targets=on_local_stack(context, run, console.say).targets)
        console.begin(asked)
        with options_named():
            verdict = compare(asked, console)
    except KeyboardInterrupt as error:
        attach(error, Settlement(()))  # there was nothing to load
        raise
    finally:
        console.close()
    if quiet:
        state = "ok" if verdict.ok else "failed"
        click.echo(f"{verdict.fingerprint} {state} {verdict.rows} rows")
    elif options["as_json"]:
        click.echo(json.dumps(verdict.as_json(), ensure_ascii=False))
    else:
        console.judge(verdict)
    if not verdict.ok:
        raise VerificationError("what the services hold is not what the plan says")


def _asked(context: click.Context, options: dict[str, Any]) -> Verification:
    receipt = None
    if options["receipt"] is not None:
        receipt = Receipt.read(options["receipt"])
        plan = receipt.as_plan()
        if receipt.command == "stream" and receipt.stream is None:
            ended = {"unfinished": "its process was killed", "interrupted": "it was interrupted"}
            why = f" ({receipt.error})" if receipt.outcome == "failed" and receipt.error else ""
            raise ConfigurationError(
                f"{receipt.path} does not say how far the stream came, since {ended.get(receipt.outcome, 'it failed')} before "
                f"it had sent anything for good{why}: begin it anew, or resume it from its position"
            )
        _take_over(context, options, receipt)
        shards, options["shard"] = receipt.of_shards, None
        options["customers"] = plan.customers - int(receipt.plan["from_customer"])
    elif not any(options_of(name).wanted(options) for name in SINKS):
        skipped = " and ".join(options_of(name).skip for name in SINKS)
        raise click.UsageError(f"{skipped} together leave nothing to verify.")
    else:
        shards = options["shard"][1] if options["shard"] else 1
    run = run_from(context, options, fast=options["fast"])
    stream = receipt.stream if receipt and receipt.stream else {}
    return Verification(
        plan=run.plan,
        from_customer=run.from_customer,
        targets=run.targets,
        order=run.order,
        since=_instant(stream.get("since")),
        until=_instant(stream.get("until")),
        receipt=receipt,
        shards=shards,
        show=options["show"],
        workers=options["workers"],
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _take_over(context: click.Context, options: dict[str, Any], receipt: Receipt) -> None:
    """Completes options by those of a receipt; refuses a plan beside it."""
    rates = receipt.plan.get("labels") or {}
    own = {**receipt.plan, "labels": bool(rates), "label_rate": tuple(rates.items())}
    for name in ("customers", "seed", "from_customer", "as_of", "days", "labels", "label_rate"):
        if is_given(context, name):
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"The receipt says what {option} is; leave it out.")
        options[name] = own[name]
    typed = click.core.ParameterSource.COMMANDLINE
    params = {param.name: param for param in context.command.params}
    # What the command line names as an address overrides where the run went.
    elsewhere = [
        name for sink in SINKS for name in options_of(sink).addresses if is_given(context, name)
    ]
    for name in _TAKEN_OVER:
        if name not in receipt.options or is_given(context, name):
            continue
        if name == "local" and elsewhere:
            continue
        options[name] = params[name].type_cast_value(context, receipt.options[name])
        context.set_parameter_source(name, typed)
    # Shards have each their own order.
    options["order"] = receipt.order if receipt.shards == 1 else "entity"
    kafka = receipt.sinks.get("kafka", {})
    for name, kept in (("kafka_bootstrap", "bootstrap"), ("schema_registry", "registry")):
        # Of a run of the library, or one that the environment said it to.
        if kafka.get(kept) and not is_given(context, name) and not options["kafka_config"]:
            options[name] = kafka[kept]
    for name in SINKS:
        skip = options_of(name).skip.removeprefix("--").replace("-", "_")
        options[skip] = options[skip] or name not in receipt.sinks
    check_properties(context, options, receipt)
    if not options["skip_postgres"] and not options["local"]:
        check_database(context, options, receipt)


class _Console(Console):
    """What a load says, without words where one line is all that is wanted."""

    def __init__(self, *, as_json: bool, silent: bool) -> None:
        super().__init__(as_json=as_json)
        self._silent = silent

    def say(self, text: str) -> None:
        if not self._silent:
            super().say(text)

    def begin(self, asked: Verification) -> None:
        plan = asked.plan
        first = f" from customer {asked.from_customer:,} on" if asked.from_customer else ""
        self.say(
            f"Verifying {plan.customers - asked.from_customer:,} customers{first} (seed {plan.seed}, {plan.days} "
            f"days up to {plan.as_of:%Y-%m-%dT%H:%M:%SZ})"
        )
        receipt = asked.receipt
        if receipt is not None and receipt.outcome != "ok":
            why = f": {receipt.error}" if receipt.error else ""
            self.say(f"The run is {receipt.outcome}{why}")
            if receipt.killed_at is not None:
                self.say(f"Events are verified up to {receipt.killed_at}, its last position")

    def judge(self, verdict: Verdict) -> None:
        """Says what is right and what is not."""
        for one in verdict.compared:
            for line in self._lines(one):
                self.say(line)
        total = {kind: sum(one.counts[kind] for one in verdict.compared) for kind in WRONG}
        wrong = ", ".join(f"{count:,} {kind}" for kind, count in total.items() if count)
        rate = f" in {verdict.seconds:,.2f} s" if verdict.seconds else ""
        self.say(f"{verdict.rows:,} rows read{rate}{f': {wrong}' if wrong else ''}")
        self.say(f"Fingerprint: {verdict.fingerprint}")
        self.say(f"Verification: {'ALL OK' if verdict.ok else 'FAILED'}")

    def _lines(self, one: Compared) -> Sequence[str]:
        mark = self.mark("[OK]", "green") if one.ok else self.mark("[FAIL]", "red")
        unit = "records" if one.sink == "kafka" else "rows"
        notes = f" ({'; '.join(one.notes)})" if one.notes else ""
        if one.ok:
            return [f"  {mark} {one.place}: {one.found} {unit}{notes}"]
        wrong = ", ".join(f"{one.counts[kind]:,} {kind}" for kind in WRONG if one.counts[kind])
        said = f"  {mark} {one.place}: {one.found} {unit}, planned {one.planned}"
        return [
            f"{said}{f': {wrong}' if wrong else ''}{notes}",
            *(f"    cannot verify: {what}" for what in one.unseen),
            *(
                f"    {row.kind} {row.id or '(no id)'} {row.place}{f': {row.why}' if row.why else ''}"
                for row in one.named
            ),
        ]
