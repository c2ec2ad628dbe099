"""One Kafka cluster: the client that asks for metadata, and the causes of missing answers."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import TYPE_CHECKING, Any, Final

from ..._client_settings import addresses
from ...errors import ConfigurationError, DatagenError, RejectedError, UnreachableError
from .interrupt import HeldInterrupt, held
from .librdkafka import ClientEvents, advice_of_client, failure, is_authorization, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from ...presets import ProducerConfig

__all__ = ["TIMEOUT", "Cluster"]

_log = logging.getLogger(__name__)

#: How long the cluster may take to answer, in seconds.
TIMEOUT: Final = 10.0
#: How long an address that refuses connections is tried, in seconds: a name may have several.
_REFUSED: Final = 1.0
#: How long a port may accept connections without an answer before it is tried by HTTP.
_SILENT: Final = 1.5
#: How long a leader's host may be missing: a name that does not exist, any other cause.
_UNKNOWN_NAME: Final = 3.0
_UNREACHED: Final = 5.0
#: Seconds between two calls of a client's callbacks while an answer is awaited.
_POLL: Final = 0.05
#: The most seconds for which the client waits for metadata at a time.
_LONGEST_POLL: Final = 0.8
#: The client's errors when it has waited for so long.
_PASSING: Final = frozenset({"_TIMED_OUT", "_TRANSPORT"})
#: Options that would break the sink's counts or the order of events.
_RESERVED: Final = frozenset({"delivery.report.only.error", "queuing.strategy", "transactional.id"})


class Cluster:
    """Checks the options when made; connects when first asked for something.

    The client here asks and never sends, so that a sink can look at a topic before its producer is
    set up.
    """

    def __init__(self, config: ProducerConfig) -> None:
        self.config = config
        self.events = ClientEvents(config)
        #: Those of every client. Without a limit of the user's, an event has none: the sink gives up
        #: once nothing is acknowledged any more, which a slow broker's full queue is no sign of.
        self.options: dict[str, Any] = {
            "message.timeout.ms": "0",
            **config.client.librdkafka(),
            "logger": self.events,
            "error_cb": self.events.on_error,
            "throttle_cb": self.events.on_throttle,
        }
        self._admin: AdminClient | None = None
        self._answered = False
        #: How the cluster calls itself, once it has answered; not every server that speaks Kafka's protocol does.
        self.ident: str | None = None
        self._check_options()

    @property
    def address(self) -> str:
        return self.config.bootstrap

    @property
    def admin(self) -> AdminClient:
        if self._admin is None:
            self._admin = self.new_admin()
        return self._admin

    def new_admin(self) -> AdminClient:
        """Another client, which knows nothing yet."""
        from confluent_kafka.admin import AdminClient

        return held(AdminClient, {**self.options, "enable.idempotence": "false"})

    def renew(self) -> None:
        """Forgets what the client remembers of the cluster, such as a leader's former epoch."""
        self._admin = None

    def connect(self, timeout: float = TIMEOUT) -> None:
        """Waits until the cluster has answered once, unless it has before."""
        if not self._answered:
            self.metadata(timeout)

    def disconnect(self) -> None:
        """Drops the client, which ends its threads."""
        self._admin = None
        self._answered = False

    def failure(self, what: str, error: KafkaException) -> DatagenError:
        """The exception to raise for a client's, saying first what failed."""
        return failure(what, error.args[0], self.config)

    def failed(self, name: str, text: str) -> DatagenError:
        """The exception for an error of the native engine, by librdkafka's name for it."""
        kind = kind_of(name)
        if not name.startswith("_"):
            text = f"{text} ({name})"  # the broker's own word for it
        advice = advice_of_client(name, self.config)
        if kind is ConfigurationError and not is_authorization(name):
            advice = ". Check security.protocol, sasl.* and ssl.* (--kafka-option)"
        return kind(f"Kafka: {text}{advice}.")

    # --- topics that are not there

    def missing(self, topics: Iterable[str]) -> ConfigurationError:
        """The exception for topics that do not exist."""
        names = list(topics)
        several = "topics {} do not exist" if len(names) > 1 else "topic {} does not exist"
        said = several.format(", ".join(names))
        return ConfigurationError(f"Kafka at {self.address}: {said}; add --create-topics")

    def deleted(self, topics: Iterable[str]) -> RejectedError:
        """The exception for topics that were there when events were first sent to them."""
        names = list(topics)
        said = "topics {} are gone" if len(names) > 1 else "topic {} is gone"
        return RejectedError(
            f"Kafka at {self.address}: {said.format(', '.join(names))}, deleted while events were "
            "sent; find out by whom"
        )

    def absent(self, topics: Iterable[str]) -> list[str]:
        """Those topics that do not exist, if the cluster still answers; asked for after a failure."""
        try:
            existing = self.metadata(timeout=1.0).topics
        except DatagenError:
            return []
        return [name for name in topics if name not in existing]

    # --- waiting

    def metadata(self, timeout: float = TIMEOUT, admin: AdminClient | None = None) -> Any:
        """The whole cluster's: asking for a topic by name could create it."""
        request = _MetadataRequest(admin or self.admin)
        try:
            return self._answered_in_time(request, timeout)
        finally:
            request.end()

    def _answered_in_time(self, request: _MetadataRequest, timeout: float) -> Any:
        from confluent_kafka import KafkaException

        client = request.client
        self.events.forget()
        began = time.monotonic()
        end = began + timeout
        _log.debug("Kafka at %s: waiting for metadata, %g s at most", self.address, timeout)
        asked_what_it_is = False
        while True:
            asked = request.ask(end)
            while not asked.done():
                wait_for([asked], timeout=_POLL)
                self._serve(client)
                waited = time.monotonic() - began
                if self.events.problem:
                    raise self._refused(self.events.problem)
                refused = self.events.refused and waited >= min(_REFUSED, timeout)
                if self.events.unreached and (refused or waited >= _UNKNOWN_NAME):
                    number, (address, reason) = next(iter(self.events.unreached.items()))
                    raise self.unreached(number, address, reason)
                if refused:
                    raise self._no_answer(f"refused the connection ({self.events.last_error})")
                if waited >= _SILENT and not self.events.last_error and not asked_what_it_is:
                    asked_what_it_is = True
                    if self._is_http_server():
                        raise self._refused("an HTTP server answers there")
                if waited >= timeout:
                    break
            try:
                # A broker that has just started may not know of any.
                if asked.done() and (found := asked.result()).brokers:
                    self._answered = True
                    self.ident = found.cluster_id or None
                    return found
            except KafkaException as error:
                if kind_of(error.args[0].name()) is not UnreachableError:
                    raise self.failure("Kafka's metadata", error) from None
            if time.monotonic() >= end:
                cause = f" ({self.events.last_error})" if self.events.last_error else ""
                raise self._no_answer(f"did not answer within {timeout:g} s{cause}")
            time.sleep(_POLL)

    def wait(
        self,
        futures: Collection[Future[Any]],
        seconds: float,
        admin: AdminClient | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Whether all answers came in time; ``check`` may raise meanwhile."""
        end = time.monotonic() + seconds
        while not all(one.done() for one in futures):
            if time.monotonic() >= end:
                return False
            wait_for(futures, timeout=_POLL)
            self._serve(admin or self.admin)
            check()
        return True

    def check_brokers(self, brokers: Iterable[int], waited: float) -> None:
        """Raises for one of the brokers that cannot be reached at its advertised address."""
        for number in brokers:
            if number in self.events.unreached:
                address, reason = self.events.unreached[number]
                if waited >= (_UNKNOWN_NAME if "resolve" in reason else _UNREACHED):
                    raise self.unreached(number, address, reason)

    def unreached(self, number: int, address: str, reason: str) -> UnreachableError:
        """The exception for a broker that cannot be reached at its advertised address."""
        return UnreachableError(
            f"Kafka at {self.address} answers, but its broker {number} is advertised as {address}, "
            f"where it cannot be reached: {reason}. Start that broker, or set its "
            "advertised.listeners to an address that this machine can reach."
        )

    def _refused(self, problem: str) -> ConfigurationError:
        protocol = self.config.client_options.get("security.protocol", "plaintext")
        return ConfigurationError(
            f"Kafka at {self.address} refused the connection: {problem}. Expected is a Kafka "
            f"broker's listener for {protocol}; check its address (--kafka-bootstrap), "
            "security.protocol, sasl.* and ssl.* (--kafka-option)."
        )

    def _no_answer(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"Kafka at {self.address} {what}. Is the broker running? `datagen local up` starts one; "
            "--kafka-bootstrap names another."
        )

    def _is_http_server(self) -> bool:
        """Whether the first address speaks HTTP: some servers await a line's end in silence."""
        host, port = (addresses(self.address) or [("", 0)])[0]
        connection = http.client.HTTPConnection(host, port, timeout=1.0)
        try:
            connection.request("HEAD", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError):
            return False
        else:
            return True
        finally:
            connection.close()

    def _serve(self, client: AdminClient) -> None:
        """Serves the client's callbacks, which report why there is no connection."""
        from confluent_kafka import KafkaException

        try:
            with HeldInterrupt():
                client.poll(0)
        except KafkaException as error:
            raise self.failure(f"Kafka at {self.address} refused the client", error) from None

    def _check_options(self) -> None:
        from confluent_kafka import KafkaException, Producer

        for name in sorted(_RESERVED & self.config.client_options.keys()):
            raise ConfigurationError(f"Kafka option {name} is reserved for datagen; remove it.")
        nowhere = {"bootstrap.servers": "", "metadata.broker.list": ""}
        try:
            # Without brokers the client checks everything and opens no connection.
            held(Producer, {**self.options, **nowhere})
        except (KafkaException, TypeError, ValueError) as error:
            said = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            said = said.removeprefix("Failed to create producer: ")
            raise ConfigurationError(self.config.hide(f"Kafka option: {said}.")) from None


class _MetadataRequest:
    """The cluster's metadata, asked for on another thread so that callbacks are served meanwhile."""

    def __init__(self, client: AdminClient) -> None:
        self.client = client
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self, end: float) -> Future[Any]:
        """The answer, or the client's error once it is ``end`` by the monotonic clock."""
        future: Future[Any] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(future, end), daemon=True, name="kafka-metadata"
        )
        self._thread.start()
        return future

    def end(self) -> None:
        """Waits for the thread, ``_LONGEST_POLL`` seconds at most.

        A client that is at work when the interpreter goes would bring the process down.
        """
        self._ended.set()
        if self._thread is not None:
            with HeldInterrupt():
                self._thread.join()

    def _run(self, future: Future[Any], end: float) -> None:
        from confluent_kafka import KafkaException

        wait = _POLL
        while True:
            # Longer each time, for a cluster that is far away, and short enough to be waited for.
            wait = min(wait * 1.6, _LONGEST_POLL)
            try:
                future.set_result(self.client.list_topics(timeout=wait))
            except KafkaException as error:
                over = self._ended.is_set() or time.monotonic() >= end
                if error.args[0].name() in _PASSING and not over:
                    continue
                future.set_exception(error)
            except Exception as error:  # noqa: BLE001 - it is raised by `result`
                future.set_exception(error)
            return
