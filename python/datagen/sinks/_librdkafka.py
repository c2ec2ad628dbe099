"""librdkafka's errors and log lines: what they mean, and where they go."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError, DatagenError, RejectedError, UnreachableError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from ..presets import ProducerConfig

__all__ = ["ClientEvents", "failure", "kind_of"]

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
        "ILLEGAL_SASL_STATE",
        "SASL_AUTHENTICATION_FAILED",
        "SECURITY_DISABLED",
        "TOPIC_AUTHORIZATION_FAILED",
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

# What librdkafka says when the other side speaks another protocol, or refuses our certificate, which
# with TLS 1.3 it does after the handshake, by an alert.
_MISMATCH: Final = re.compile(
    r"security\.protocol|PLAINTEXT broker listener|SSL handshake failed|Invalid response size"
    r"|SSL alert number"
)
# A broker that wants SASL or TLS hangs up, and is asked again twenty times a second. One that just
# starts or ends does so too, but not as often.
_HANG_UP: Final = re.compile(r"Disconnected: .* in state (UP|APIVERSION_QUERY)\b")
_HANG_UPS: Final = 10


def kind_of(name: str) -> type[ConfigurationError | RejectedError | UnreachableError]:
    """The exception for one of librdkafka's errors."""
    if name in _CONFIGURATION:
        return ConfigurationError
    return UnreachableError if name in _UNREACHABLE else RejectedError


def failure(what: str, error: KafkaError, config: ProducerConfig) -> DatagenError:
    """The exception for ``error``, saying first what failed; never with a password in it."""
    return kind_of(error.name())(config.hide(f"{what}: {error.str()} ({error.name()})"))


class ClientEvents:
    """What a client reports outside of calls. Log lines go to ``logging``, at DEBUG, not stderr.

    They are kept until ``forget``, for they have the causes that a failed call does not tell.
    """

    def __init__(self, config: ProducerConfig) -> None:
        self._config = config
        self.forget()

    def forget(self) -> None:
        self._cause = ""
        self._problem = ""
        self._hang_ups = 0
        self._last_line = ""

    @property
    def cause(self) -> str:
        """The last trouble with a broker, or nothing."""
        return self._cause

    @property
    def problem(self) -> str:
        """Why no broker will ever accept this configuration, or nothing."""
        if self._problem or self._hang_ups < _HANG_UPS:
            return self._problem
        return "it closes each connection; it may ask for SASL or TLS"

    def on_error(self, error: KafkaError) -> None:
        """``error_cb`` of the client."""
        text = self._clean(error.str())
        if error.name() in _CONFIGURATION or _MISMATCH.search(text):
            self._problem = self._problem or text
        elif error.name() != "_ALL_BROKERS_DOWN" or not self._cause:
            self._cause = text

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
