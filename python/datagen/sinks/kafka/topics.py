"""Topics: made, looked at, and refused where events would not stay or could not arrive."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError, OptionError, RejectedError, UnreachableError
from .cluster import TIMEOUT
from .librdkafka import is_authorization, kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from confluent_kafka import KafkaException

    from .cluster import Cluster

__all__ = ["Settings", "Topic", "Topics", "check_name", "retention"]

_log = logging.getLogger(__name__)

_HOUR_MS: Final = 3_600_000
_MAX_RETENTION_HOURS: Final = 2**63 // _HOUR_MS
_MAX_REPLICAS: Final = 2**15 - 1
_NO_LIMIT: Final = 2**63 - 1
#: Seconds for descriptions of configurations, which not every broker gives.
_DESCRIBE: Final = 6.0
#: Seconds for replicas that are not in sync.
_IN_SYNC: Final = 5.0
#: What the topics of tables have, whatever is asked for: they keep the last row of each key, however old.
_COMPACTED: Final = {"cleanup.policy": "compact", "retention.ms": "-1"}
#: Options that leave a topic's settings to the broker, or set them.
_CHOICES: Final = (
    "--retention-hours broker, --partitions, --replication-factor and --topic-config change what "
    "is asked for"
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is in the cluster; ``created`` is whether this run made it."""

    name: str
    partitions: int
    created: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a topic about the records that it takes and keeps; None is not known."""

    min_in_sync: int | None = None
    max_message_bytes: int | None = None
    retention_ms: int | None = None
    cleanup_policy: str = ""
    timestamp_type: str = ""
    before_max_ms: int | None = None
    after_max_ms: int | None = None


class Topics:
    """The topics of a cluster, by name; those of ``tables`` are compacted, and no others."""

    def __init__(self, cluster: Cluster, tables: Collection[str]) -> None:
        self._cluster = cluster
        self._tables = tables
        self._spans: dict[str, tuple[datetime, datetime]] = {}
        #: Of every topic that was made or required, as far as the broker describes them.
        self.settings: dict[str, Settings] = {}

    def create(
        self,
        partitions: Mapping[str, int],
        retention_hours: int | None,
        replication_factor: int | None,
        config: Mapping[str, str],
    ) -> set[str]:
        """Makes the topics that are missing; those that this call made.

        Checks first whatever can be: names, numbers, the cluster's size and defaults.
        """
        asked = {name: str(text) for name, text in config.items()}
        of_streams = retention(retention_hours) | asked
        of_tables = asked | _COMPACTED
        if replication_factor is not None and not 1 <= replication_factor <= _MAX_REPLICAS:
            raise OptionError("replication_factor", replication_factor, f"1 to {_MAX_REPLICAS}")
        for name in partitions:
            check_name(name)
        metadata = self._cluster.metadata()
        missing = {name: n for name, n in partitions.items() if name not in metadata.topics}
        if not missing:
            return set()
        brokers = len(metadata.brokers)
        if replication_factor is not None and replication_factor > brokers:
            raise ConfigurationError(
                f"Kafka at {self._cluster.address} has {brokers} "
                f"broker{'s' if brokers != 1 else ''}, so topics cannot have "
                f"{replication_factor} replicas; use --replication-factor {brokers} or less."
            )
        configs = {name: of_tables if name in self._tables else of_streams for name in missing}
        self._check_plans(metadata, replication_factor, configs)
        return self._make(missing, metadata, replication_factor or -1, configs)

    def require(self, topics: Iterable[str]) -> dict[str, int]:
        """The number of partitions of each topic; raises ``ConfigurationError`` if one is missing."""
        wanted = list(topics)
        for name in wanted:
            check_name(name)
        existing = self._cluster.metadata().topics
        missing = [name for name in wanted if name not in existing]
        if missing:
            raise self._hidden(missing) or self._cluster.missing(missing)
        return {name: len(existing[name].partitions) for name in wanted}

    def leaders(self, topics: Iterable[str]) -> Any:
        """The cluster's metadata, once every partition of topics that were just made has a leader."""
        wanted = set(topics)
        end = time.monotonic() + TIMEOUT
        _log.debug("waiting for a leader of each partition, %g s at most", TIMEOUT)
        while True:
            metadata = self._cluster.metadata()
            found = {name: metadata.topics[name] for name in wanted & metadata.topics.keys()}
            leaders = [one.leader for each in found.values() for one in each.partitions.values()]
            if found.keys() == wanted and min(leaders, default=0) >= 0:
                return metadata
            if time.monotonic() >= end:
                names = ", ".join(sorted(wanted - found.keys())) or ", ".join(sorted(wanted))
                raise UnreachableError(
                    f"Kafka at {self._cluster.address}: no leader for {names} after {TIMEOUT:g} s"
                )
            time.sleep(0.05)

    def check(self, topics: Iterable[str], metadata: Any, made: Iterable[str] = ()) -> None:
        """Raises where events would be refused or would not stay: replicas, policies, times."""
        names, new = list(topics), set(made)
        self.settings |= self._described(names)
        for name in names:
            self._check_replicas(name, metadata, self.settings[name], new=name in new)
            self._check_policy(name, self.settings[name])
        for name in names:
            self._check_times(name, self.settings[name])

    def check_event_time(
        self, topics: Iterable[str], oldest: datetime, newest: datetime | None
    ) -> None:
        """Remembers the times that records of topics will have, and checks those known so far."""
        for name in topics:
            self._spans[name] = oldest, newest or oldest
            if name in self.settings:
                self._check_times(name, self.settings[name])

    def delete(self, topics: Iterable[str]) -> None:
        """Deletes topics, and waits until no broker lists them; those that are missing are gone."""
        from confluent_kafka import KafkaException

        cluster = self._cluster
        wanted = list(topics)
        cluster.connect()
        futures = cluster.admin.delete_topics(
            wanted, operation_timeout=TIMEOUT, request_timeout=TIMEOUT
        )
        _log.debug("waiting for topics to be deleted, %g s at most", TIMEOUT)
        cluster.wait(futures.values(), TIMEOUT + 1)
        for name, future in futures.items():
            if not future.done():
                raise UnreachableError(
                    f"Kafka at {cluster.address} did not delete topic {name} within {TIMEOUT:g} s"
                )
            try:
                future.result()
            except KafkaException as error:
                code = error.args[0].name()
                if is_authorization(code):
                    raise ConfigurationError(
                        f"Cannot delete topic {name}: the user needs the ACL Delete on it ({code})"
                    ) from None
                if code != "UNKNOWN_TOPIC_OR_PART":
                    raise cluster.failure(f"Cannot delete topic {name}", error) from None
            self.settings.pop(name, None)
        end = time.monotonic() + TIMEOUT
        while left := cluster.metadata().topics.keys() & wanted:
            if time.monotonic() >= end:
                still = ", ".join(sorted(left))
                raise UnreachableError(
                    f"Kafka at {cluster.address} still has {still} after {TIMEOUT:g} s"
                )
            time.sleep(0.05)

    # --- making them

    def _make(
        self,
        missing: Mapping[str, int],
        metadata: Any,
        factor: int,
        configs: Mapping[str, Mapping[str, str]],
    ) -> set[str]:
        from confluent_kafka import KafkaException
        from confluent_kafka.cimpl import NewTopic

        cluster = self._cluster
        left, made = dict(missing), set[str]()
        refused: dict[str, KafkaException] = {}
        began = time.monotonic()
        _log.info("Kafka: creating %s, %g s at most", ", ".join(missing), TIMEOUT)

        def check() -> None:
            cluster.check_brokers(metadata.brokers, time.monotonic() - began)

        while left:
            try:
                new = [
                    NewTopic(name, n, replication_factor=factor, config=dict(configs[name]))
                    for name, n in left.items()
                ]
            except (KafkaException, ValueError, TypeError, OverflowError) as error:
                raise ConfigurationError(
                    cluster.config.hide(f"Cannot create topics: {error}.")
                ) from None
            futures = cluster.admin.create_topics(new, request_timeout=TIMEOUT)
            cluster.wait(
                futures.values(), max(began + TIMEOUT - time.monotonic(), 1.0), None, check
            )
            late = time.monotonic() >= began + TIMEOUT
            for name, future in futures.items():
                try:
                    if future.done():
                        future.result()
                        made.add(name)
                    elif not late:
                        continue
                    else:
                        raise UnreachableError(
                            f"Kafka at {cluster.address} did not create topic {name} within "
                            f"{TIMEOUT:g} s{_and_made(made)}"
                        )
                except KafkaException as error:
                    code = error.args[0].name()
                    # Quotas on creating, and controllers that change, pass.
                    if kind_of(code) is UnreachableError and not late:
                        continue
                    if code != "TOPIC_ALREADY_EXISTS":  # another run was faster
                        refused[name] = error
                del left[name]
            if left:
                time.sleep(0.2)
        if refused:
            name, first = next(iter(refused.items()))
            raise self._not_made(name, first, made)
        return made

    def _not_made(self, name: str, error: KafkaException, made: set[str]) -> Exception:
        said, code = error.args[0].str(), error.args[0].name()
        what = f"Cannot create topic {name}: {said} ({code})"
        after = _and_made(made)
        if is_authorization(code):
            advice = f"the user needs the ACL Create on topic {name} or on the cluster"
        elif code == "TOPIC_EXCEPTION":
            advice = "use another --topic-prefix"
        elif code in {"UNSUPPORTED_VERSION", "_UNSUPPORTED_FEATURE"}:
            advice = "name the replicas with --replication-factor"
        else:
            advice = _CHOICES
        kind = kind_of(code)
        if kind is RejectedError or code in {"UNSUPPORTED_VERSION", "_UNSUPPORTED_FEATURE"}:
            kind = ConfigurationError
        return kind(self._cluster.config.hide(f"{what}; {advice}{after}."))

    def _check_plans(
        self, metadata: Any, factor: int | None, configs: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Refuses topics that would be refused once they are made, by the cluster's defaults."""
        defaults = self._defaults(metadata)
        if factor is None:
            factor = _number(defaults.get("default.replication.factor"))
        planned = {name: _settings({**defaults, **config}) for name, config in configs.items()}
        name, settings = next(iter(planned.items()))
        needed = settings.min_in_sync
        if self._cluster.config.client.acks == "all" and factor and needed and factor < needed:
            brokers = len(metadata.brokers)
            least = f"--replication-factor {needed}, or " if needed <= brokers else ""
            raise ConfigurationError(
                f"Topic {name} would have {_replicas(factor)} and needs {needed} in sync "
                f"(min.insync.replicas) for acks=all; add {least}--topic-config "
                f"min.insync.replicas={factor}."
            )
        for name, settings in planned.items():
            self._check_policy(name, settings)
            self._check_times(name, settings)

    def _defaults(self, metadata: Any) -> dict[str, str]:
        """The broker's defaults for topics, by the names that topics have."""
        from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]
        from confluent_kafka.cimpl import RESOURCE_BROKER

        broker = min(metadata.brokers)
        found = self._describe([ConfigResource(RESOURCE_BROKER, str(broker))], [broker])
        given = next(iter(found.values()), {})
        kept = {
            name: given[name]
            for name in ("default.replication.factor", "min.insync.replicas")
            if given.get(name)
        }
        for name, factor in (("ms", 1), ("minutes", 60_000), ("hours", _HOUR_MS)):
            if (number := _number(given.get(f"log.retention.{name}"))) is not None:
                kept["retention.ms"] = str(number * factor if number >= 0 else -1)
                break
        for name in ("cleanup.policy", "message.timestamp.type"):
            if given.get(f"log.{name}"):
                kept[name] = given[f"log.{name}"]
        for name in ("before", "after"):
            if given.get(f"log.message.timestamp.{name}.max.ms"):
                own = f"message.timestamp.{name}.max.ms"
                kept[own] = given[f"log.{own}"]
        return kept

    # --- looking at them

    def _described(self, topics: Iterable[str]) -> dict[str, Settings]:
        from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]
        from confluent_kafka.cimpl import RESOURCE_TOPIC

        names = list(topics)
        found = self._describe([ConfigResource(RESOURCE_TOPIC, name) for name in names])
        return {name: _settings(found.get(name, {})) for name in names}

    def _describe(
        self, resources: list[Any], brokers: Collection[int] = ()
    ) -> dict[str, dict[str, str]]:
        """The configurations of those resources that ``brokers`` describe to this user."""
        from confluent_kafka import KafkaException

        futures = self._cluster.admin.describe_configs(resources, request_timeout=_DESCRIBE)
        began = time.monotonic()

        def check() -> None:
            self._cluster.check_brokers(brokers, time.monotonic() - began)

        self._cluster.wait(futures.values(), _DESCRIBE + 1, check=check)
        found = {}
        for resource, future in futures.items():
            try:
                entries = future.result(0)
            except (KafkaException, TimeoutError) as error:
                why = error.args[0].str() if isinstance(error, KafkaException) else "no answer"
                _log.info(
                    "Kafka does not describe %s, which is not checked: %s", resource.name, why
                )
            else:
                found[resource.name] = {
                    name: entry.value for name, entry in entries.items() if entry.value is not None
                }
        return found

    def _hidden(self, topics: list[str]) -> ConfigurationError | None:
        """The exception for a topic that is not listed since the user may not see it."""
        from confluent_kafka import KafkaException, TopicCollection

        try:
            futures = self._cluster.admin.describe_topics(
                TopicCollection(topics), request_timeout=_DESCRIBE
            )
            self._cluster.wait(futures.values(), _DESCRIBE + 1)
        except (KafkaException, ValueError):
            return None
        for name, future in futures.items():
            try:
                future.result(0)
            except KafkaException as error:
                if is_authorization(error.args[0].name()):
                    return ConfigurationError(
                        f"Kafka at {self._cluster.address}: topic {name} does not exist or the user "
                        f"may not use it ({error.args[0].name()}); it needs the ACLs Describe and "
                        "Write, and --create-topics the ACL Create"
                    )
            except TimeoutError:
                pass
        return None

    # --- refusing them

    def _check_replicas(self, name: str, metadata: Any, settings: Settings, *, new: bool) -> None:
        needed = settings.min_in_sync
        if self._cluster.config.client.acks != "all" or needed is None:
            return
        end = time.monotonic() + _IN_SYNC
        while True:
            partitions = metadata.topics[name].partitions.values()
            replicas = min((len(one.replicas) for one in partitions), default=needed)
            if replicas < needed:
                # One that exists keeps its replicas, whatever an option says.
                first = f"delete it{', which this run created,' if new else ''} and create it with"
                raise ConfigurationError(
                    f"Topic {name} has {_replicas(replicas)} and needs {needed} in sync "
                    f"(min.insync.replicas) for acks=all; {first} --replication-factor {needed}, or "
                    f"set its min.insync.replicas to {replicas}."
                )
            in_sync = min((len(one.isrs) for one in partitions), default=needed)
            if in_sync >= needed:
                return
            if time.monotonic() >= end:
                raise UnreachableError(
                    f"Kafka at {self._cluster.address}: topic {name} has {in_sync} of {replicas} "
                    f"replicas in sync and needs {needed} (min.insync.replicas) for acks=all; start "
                    "the brokers that are away."
                )
            _log.info("Kafka: waiting for replicas of %s to be in sync, %g s", name, _IN_SYNC)
            time.sleep(0.5)
            metadata = self._cluster.metadata()

    def _check_policy(self, name: str, settings: Settings) -> None:
        if name in self._tables:
            if "delete" in settings.cleanup_policy:
                raise ConfigurationError(
                    f"Topic {name} is of a table, and deletes rows by their age (cleanup.policy="
                    f"{settings.cleanup_policy}); set its cleanup.policy to compact, or use another "
                    "--topic-prefix."
                )
        elif "compact" in settings.cleanup_policy:
            raise ConfigurationError(
                f"Topic {name} is compacted (cleanup.policy={settings.cleanup_policy}), so it would "
                "keep only the last event of each key; set its cleanup.policy to delete, or use "
                "another --topic-prefix."
            )

    def _check_times(self, name: str, settings: Settings) -> None:
        """Whether records that bear the time of their event are taken as they are, and stay."""
        is_table = name in self._tables
        of_production = self._cluster.config.record_timestamp != "event"
        if name not in self._spans or (of_production and not is_table):
            return
        oldest, newest = self._spans[name]
        now = datetime.now(UTC)
        way_out = "leave out --master-topics" if is_table else "use --record-timestamp production"
        otherwise = f"or {way_out}."
        if settings.timestamp_type == "LogAppendTime":
            raise ConfigurationError(
                f"Topic {name} stamps records itself (message.timestamp.type=LogAppendTime), so they "
                "cannot bear the time of their event; set its message.timestamp.type to CreateTime, "
                f"{otherwise}"
            )
        age, lead = _ms(now - oldest), _ms(newest - now)
        kept = settings.retention_ms
        if kept is not None and 0 <= kept < age and not is_table:
            raise ConfigurationError(
                f"Topic {name} keeps records for {kept / _HOUR_MS:.4g} hours (retention.ms={kept}), and "
                f"the oldest event is {age / _HOUR_MS:.0f} hours old: it would be deleted. Set "
                f"retention.ms of the topic to -1 (--retention-hours -1 where the run creates it), "
                f"{otherwise}"
            )
        for limit, distance, option in (
            (settings.before_max_ms, age, "message.timestamp.before.max.ms"),
            (settings.after_max_ms, lead, "message.timestamp.after.max.ms"),
        ):
            if limit is not None and distance > limit:
                raise ConfigurationError(
                    f"Topic {name} refuses records that are {distance / _HOUR_MS:.0f} hours from now "
                    f"({option}={limit}). Set its {option} to {_NO_LIMIT} (--topic-config where the "
                    f"run creates it), {otherwise}"
                )


def check_name(topic: str) -> None:
    """Raises ``ConfigurationError`` for a name that no topic has: Kafka's ``org.apache.kafka.common.internals.Topic``."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic) or topic in {".", ".."}:
        raise ConfigurationError(
            f"topic {topic[:80]!r}{'…' if len(topic) > 80 else ''} cannot be: a topic has 1 to 249 "
            "letters, digits, '.', '_' and '-'; correct --topic-prefix"
        )


def retention(hours: int | None) -> dict[str, str]:
    """The topic's configuration for so many hours; -1 is without limit, None leaves it out."""
    if hours is None:
        return {}
    if hours != -1 and not 1 <= hours <= _MAX_RETENTION_HOURS:
        raise OptionError("retention_hours", hours, f"1 to {_MAX_RETENTION_HOURS}, -1 or None")
    return {"retention.ms": str(-1 if hours == -1 else hours * _HOUR_MS)}


def _settings(config: Mapping[str, str]) -> Settings:
    # The former name, up to Kafka 3.5, was a limit in both directions.
    both = config.get("message.timestamp.difference.max.ms")
    return Settings(
        min_in_sync=_number(config.get("min.insync.replicas")),
        max_message_bytes=_number(config.get("max.message.bytes")),
        retention_ms=_number(config.get("retention.ms")),
        cleanup_policy=config.get("cleanup.policy", ""),
        timestamp_type=config.get("message.timestamp.type", ""),
        before_max_ms=_number(config.get("message.timestamp.before.max.ms", both)),
        after_max_ms=_number(config.get("message.timestamp.after.max.ms", both)),
    )


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)


def _replicas(number: int) -> str:
    return "1 replica" if number == 1 else f"{number} replicas"


def _and_made(made: Iterable[str]) -> str:
    names = ", ".join(sorted(made))
    return f"; created: {names}" if names else ""
