"""Signals that come while a client of confluent-kafka is made."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from datagen.sinks.kafka.interrupt import held

if TYPE_CHECKING:
    from collections.abc import Iterator


class Interrupting:
    """A value during the reading of which Ctrl-C comes."""

    def __str__(self) -> str:
        signal.raise_signal(signal.SIGINT)
        return "5"


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c")
@pytest.mark.parametrize("client", [Producer, Consumer, AdminClient])
def test_ctrl_c_while_a_client_is_made(client: type) -> None:
    options = {"group.id": "one", "socket.timeout.ms": Interrupting(), "log_level": 0}
    with pytest.raises(KeyboardInterrupt):
        held(client, options)
