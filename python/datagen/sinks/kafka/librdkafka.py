"""librdkafka's errors and log lines: the exceptions, advice and logs that they become."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError, DatagenError, RejectedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import KafkaError, ThrottleEvent

    from ...presets import ProducerConfig

__all__ = [
    "ClientEvents",
    "advice_of_client",
    "consumer_properties",
    "failure",
    "hint",
    "is_authorization",
    "kind_of",
    "name_of",
]

_log = logging.getLogger(__name__)

# By name (librdkafka's rdkafka.h, rd_kafka_resp_err_t). All others: the broker refused the data.
_CONFIGURATION: Final = frozenset(
    {
        "_AUTHENTICATION",
        "_BAD_MSG",
        "_INVALID_ARG",
        "_SSL",
        "_UNKNOWN_TOPIC",
        "_UNSUPPORTED_FEATURE",
        "CLUSTER_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        "ILLEGAL_SASL_STATE",
        "INVALID_CONFIG",
        "INVALID_PARTITIONS",
        "INVALID_REPLICATION_FACTOR",
        "INVALID_REPLICA_ASSIGNMENT",
        "INVALID_REQUIRED_ACKS",
        "POLICY_VIOLATION",
        "SASL_AUTHENTICATION_FAILED",
        "SECURITY_DISABLED",
        "TOPIC_AUTHORIZATION_FAILED",
        "TOPIC_EXCEPTION",
        "UNKNOWN_TOPIC_OR_PART",
        "UNSUPPORTED_SASL_MECHANISM",
        "UNSUPPORTED_VERSION",
    }
)
_UNREACHABLE: Final = frozenset(
    {
        "_ALL_BROKERS_DOWN",
        "_DESTROY",
        "_FATAL",
        "_GAPLESS_GUARANTEE",
        "_INCONSISTENT",
        "_MSG_TIMED_OUT",
        "_PURGE_INFLIGHT",
        "_PURGE_QUEUE",
        "_QUEUE_FULL",
        "_RESOLVE",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_TRANSPORT",
        "BROKER_NOT_AVAILABLE",
        "FENCED_LEADER_EPOCH",
        "INVALID_PRODUCER_EPOCH",
        "KAFKA_STORAGE_ERROR",
        "LEADER_NOT_AVAILABLE",
        "NETWORK_EXCEPTION",
        "NOT_CONTROLLER",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "NOT_LEADER_FOR_PARTITION",
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        "REPLICA_NOT_AVAILABLE",
        "REQUEST_TIMED_OUT",
        "THROTTLING_QUOTA_EXCEEDED",
        "UNKNOWN_LEADER_EPOCH",
        "UNKNOWN_PRODUCER_ID",
    }
)

#: By error name: which setting is in the way, and a value that works. ``{topic}`` is the topic.
_HINTS: Final[Mapping[str, str]] = {
    "CLUSTER_AUTHORIZATION_FAILED": (
        "the user needs the ACL Write on the topics (brokers before 2.8: IdempotentWrite on the "
        "cluster), or --kafka-option enable.idempotence=false"
    ),
    "INVALID_RECORD": (
        "the topic does not take the records' time (message.timestamp.before.max.ms, "
        "message.timestamp.after.max.ms; use --record-timestamp production), or has a schema policy"
    ),
    "INVALID_REQUIRED_ACKS": "use --kafka-option acks=all",
    "INVALID_TIMESTAMP": (
        "the topic's message.timestamp.before.max.ms or message.timestamp.after.max.ms refuses the "
        "records' time; use --record-timestamp production, or --topic-config "
        "message.timestamp.before.max.ms=9223372036854775807 and --topic-config "
        "message.timestamp.after.max.ms=9223372036854775807 where the run creates the topic"
    ),
    "KAFKA_STORAGE_ERROR": "a broker cannot write to its disk; see its log",
    "MSG_SIZE_TOO_LARGE": (
        "max.message.bytes of the topic is smaller than a batch; use --kafka-option "
        "batch.size=16384, or for single events that are too large a larger max.message.bytes "
        "(--topic-config max.message.bytes=1048588 where the run creates the topic)"
    ),
    "NOT_ENOUGH_REPLICAS": "fewer replicas are in sync than the topic's min.insync.replicas",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": (
        "fewer replicas are in sync than the topic's min.insync.replicas"
    ),
    "POLICY_VIOLATION": "a policy of the cluster refuses the records",
    "RECORD_LIST_TOO_LARGE": (
        "segment.bytes of the topic is smaller than a batch; use --kafka-option batch.size=16384"
    ),
    "TOPIC_AUTHORIZATION_FAILED": "the user needs the ACLs Describe and Write on topic {topic}",
    "UNKNOWN_TOPIC_OR_PART": "add --create-topics",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": (
        "the user needs the ACLs Write and Describe on transactional ids, and Read on groups, that begin with "
        "datagen- (and the topic prefix before it)"
    ),
    "UNSUPPORTED_COMPRESSION_TYPE": (
        "the broker does not take the codec {codec}; use --kafka-option compression.type=none "
        "(or gzip)"
    ),
    "UNSUPPORTED_FOR_MESSAGE_FORMAT": (
        "the topic's message.format.version knows no headers; use --no-cloudevents"
    ),
    "_FENCED": "another process has begun the same load with --exactly-once, and sends in its place",
    "_MSG_TIMED_OUT": (
        "message.timeout.ms ran out; --kafka-option message.timeout.ms=0 sets no limit to an event"
    ),
}

# librdkafka's words for a broker that speaks another protocol, or refuses our certificate, which
# with TLS 1.3 it does after the handshake, by an alert.
_MISMATCH: Final = re.compile(
    r"security\.protocol|PLAINTEXT broker listener|SSL handshake failed|Invalid response size"
    r"|SSL alert number"
)
# A broker that wants SASL or TLS hangs up, and is asked again twenty times a second. One that just
# starts or ends does so too, but not as often.
_HANG_UP: Final = re.compile(r"Disconnected: .* in state (UP|APIVERSION_QUERY)\b")
_HANG_UPS: Final = 10
# An address that refuses at once, or a name that does not exist: waiting changes neither.
_REFUSED: Final = re.compile(
    r"Connect to \S+ failed: (Connection refused|No route to host|Network is unreachable)"
    r"|Failed to resolve .*(not known|No address|nodename nor servname)"
)
# A broker by the address that it is advertised with, and why there is no connection to it.
_NO_CONNECTION: Final = re.compile(
    r"(?:\w+://)?(?P<address>\S+)/(?P<number>\d+): (?P<reason>(?:Connect to|Failed to resolve|Connection setup)"
    r".*)"
)


def is_authorization(name: str) -> bool:
    """Whether an error says that the user may not do something."""
    return name.endswith("_AUTHORIZATION_FAILED")


def name_of(code: int) -> str:
    """The name that librdkafka has for one of its numbers."""
    from confluent_kafka import KafkaError

    return str(KafkaError(code).name())


def hint(name: str, topic: str, config: ProducerConfig) -> str:
    """Advice for an error of a topic, as the end of a sentence; empty if there is none."""
    text = _HINTS.get(name, "")
    return text.format(topic=topic, codec=config.client.compression_type)


def kind_of(name: str) -> type[ConfigurationError | RejectedError | UnreachableError]:
    """The exception for one of librdkafka's errors."""
    if name in _CONFIGURATION:
        return ConfigurationError
    return UnreachableError if name in _UNREACHABLE else RejectedError


def failure(what: str, error: KafkaError, config: ProducerConfig) -> DatagenError:
    """The exception for ``error``, saying first what failed; never with a password in it."""
    said = f"{what}: {error.str()} ({error.name()}){advice_of_client(error.name(), config)}"
    return kind_of(error.name())(config.hide(said))


def advice_of_client(name: str, config: ProducerConfig) -> str:
    """What to do about an error of the whole client, as the end of a sentence; mostly empty."""
    return f"; {hint(name, '', config)}" if name == "CLUSTER_AUTHORIZATION_FAILED" else ""


def consumer_properties(config: ProducerConfig, events: ClientEvents) -> dict[str, Any]:
    """The properties of a consumer that reads the ends of partitions and commits nothing."""
    given = config.client.librdkafka()
    return {
        **{name: given[name] for name in config.client_options},
        "bootstrap.servers": config.bootstrap,
        "client.id": "datagen",
        "group.id": "datagen",  # the client wants a name
        "enable.auto.commit": "false",
        "enable.idempotence": "false",
        "enable.partition.eof": "true",  # so that poll returns at the end
        "fetch.wait.max.ms": "10",
        "logger": events,
        "error_cb": events.on_error,
    }


class ClientEvents:
    """The errors and pauses that a client reports outside of calls. Log lines go to ``logging``, at DEBUG, not stderr.

    They are kept until ``forget``, for they have the causes that a failed call does not tell.
    """

    def __init__(self, config: ProducerConfig) -> None:
        self._config = config
        self._throttled_until = 0.0
        #: By a broker's number, the address that it is advertised with and why it was not reached
        #: when last tried, which may have been some requests ago.
        self.unreached: dict[int, tuple[str, str]] = {}
        self.forget()

    def forget(self) -> None:
        self._last_error = ""
        self._problem = ""
        self._hang_ups = 0
        self._last_line = ""
        self._all_down = False

    @property
    def last_error(self) -> str:
        """The last error of a broker, or an empty text."""
        return self._last_error

    @property
    def problem(self) -> str:
        """Why no broker will ever accept this configuration, or nothing."""
        if self._problem or self._hang_ups < _HANG_UPS:
            return self._problem
        return "it closes each connection; it may ask for SASL or TLS"

    @property
    def refused(self) -> bool:
        """Whether every address refused a connection, or does not exist."""
        return self._all_down and _REFUSED.search(self._last_error) is not None

    @property
    def throttled_until(self) -> float:
        """The moment, by ``time.monotonic``, up to which a broker holds answers back by a quota."""
        return self._throttled_until

    def on_error(self, error: KafkaError) -> None:
        """``error_cb`` of the client."""
        text = self._clean(error.str())
        if found := _NO_CONNECTION.match(_without_time(error.str())):
            reason = self._config.hide(found["reason"])
            self.unreached[int(found["number"])] = found["address"], reason
        if error.name() in _CONFIGURATION or _MISMATCH.search(text):
            self._problem = self._problem or text
        elif error.name() == "_ALL_BROKERS_DOWN":
            self._all_down = True
            self._last_error = self._last_error or text
        else:
            self._last_error = text

    def on_throttle(self, event: ThrottleEvent) -> None:
        """``throttle_cb`` of the client."""
        _log.debug("%s holds answers back for %.3g s", event, event.throttle_time)
        until = time.monotonic() + event.throttle_time
        self._throttled_until = max(self._throttled_until, until)

    def log(self, _level: int, form: str, *args: object) -> None:
        """``logger`` of the client, for which librdkafka takes anything with this method."""
        line = self._config.hide(form % args)
        if _HANG_UP.search(line):
            self._hang_ups += 1
        # While a broker is away the same line comes twenty times a second.
        same = _without_time(line)
        if same != self._last_line:
            self._last_line = same
            _log.debug("%s", line)

    def _clean(self, text: str) -> str:
        return self._config.hide(_without_time(text)).replace("/bootstrap: ", ": ")


def _without_time(line: str) -> str:
    return re.sub(
        r" \(after \d+ms in state \w+(, \d+ identical error\(s\) suppressed)?\)", "", line
    )
