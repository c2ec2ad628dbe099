"""The protocol of an engine: a client that queues event batches, sends them and counts outcomes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, TypeVar

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..._core import Batch
    from ...presets import EngineName, ProducerConfig
    from .delivery import Outcome

__all__ = ["Engine", "UnsupportedError", "chosen"]

Client = TypeVar("Client")

_log = logging.getLogger(__name__)


class UnsupportedError(ConfigurationError):
    """The configuration, or the cluster, asks for something that only librdkafka does."""


class Engine(Protocol):
    """Connects when first asked to, and again after ``close``. Times are seconds."""

    @property
    def name(self) -> EngineName: ...
    @property
    def has_failures(self) -> bool:
        """Whether an event has failed, or none can be sent at all; cheap enough for each batch."""

    @property
    def failure(self) -> tuple[str, str] | None:
        """The name and the text of the error that makes sending impossible."""

    @property
    def last_error(self) -> str:
        """The last error of a broker, or an empty text."""

    @property
    def last_progress(self) -> float:
        """When an event was last acknowledged, or the later end of a pause that a broker asked for.

        By ``time.monotonic``; 0 before the first. An engine may leave acknowledgements out.
        """

    def limit(self, topic: str, max_message_bytes: int) -> None:
        """Keeps batches below what a topic takes; called before the first event is sent."""

    def find(self, topics: Iterable[str]) -> None:
        """Learns the partitions of topics and connects to their leaders, where that is needed.

        Raises ``UnsupportedError`` where the brokers ask for something that this engine lacks.
        """

    def send(
        self,
        batch: Batch,
        topic: str,
        schema_id: int | None,
        wait: Callable[[], None],
        *,
        timestamp: int | None = None,
    ) -> None:
        """Queues every event of a batch; calls ``wait`` while the queue has no capacity.

        ``schema_id`` None: events are JSON. With ``timestamp``, in milliseconds, all records bear that; else
        events what the configuration says, and rows of a table the time of their last change.
        """

    def wait_for_capacity(self, seconds: float) -> bool:
        """Whether the queue takes events again, after so many seconds at most."""

    def flush(self, seconds: float) -> bool:
        """Whether every event has an outcome, after so many seconds at most."""

    def purge(self, *, in_flight: bool) -> None:
        """Gives up queued events, and with ``in_flight`` those that a broker has not answered."""

    def outcomes(self) -> Iterable[Outcome]:
        """The outcomes so far, topic by topic; after ``close`` the final ones."""

    def close(self) -> None:
        """Disconnects; queued events are dropped."""


def chosen(
    config: ProducerConfig,
    *,
    native: Callable[[], Client],
    confluent: Callable[[], Client],
    lack: UnsupportedError | None = None,
) -> Client:
    """The client of the engine that the configuration names; ``auto`` takes native unless it has a ``lack``."""
    if config.engine != "confluent" and lack is None:
        try:
            return native()
        except UnsupportedError as error:
            lack = error
    if lack is not None and config.engine == "native":
        raise ConfigurationError(
            f"The engine native cannot do this: {lack}. Use --engine confluent."
        ) from None
    if lack is not None:
        _log.warning("Kafka engine: confluent, since native cannot do this: %s", lack)
    return confluent()
