"""Figures of a stream for Prometheus, on this machine alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..stream import Status

__all__ = ["Metrics"]


class Metrics:
    """Serves the last status. Raises ``ConfigurationError`` without the library, or for a port in use."""

    def __init__(self, port: int) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise ConfigurationError(
                "--metrics needs prometheus-client: pip install 'datagen[metrics]'"
            ) from None
        self._status: Status | None = None
        registry = CollectorRegistry()
        registry.register(self)
        try:
            start_http_server(port, addr="127.0.0.1", registry=registry)
        except OSError as error:
            raise ConfigurationError(
                f"--metrics {port}: the port cannot be had ({error.strerror})"
            ) from None

    def take(self, status: Status) -> None:
        self._status = status

    def describe(self) -> list[Any]:
        """Nothing, so that no figure is asked for while none is there."""
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        status = self._status
        if status is None:
            return
        events = CounterMetricFamily("datagen_events", "Events sent.", labels=["stream"])
        for name, count in status.events.items():
            events.add_metric([name], count)
        yield events
        gauges = {
            "datagen_event_time_seconds": (
                "Event time up to which all was sent, since 1970.",
                status.time.timestamp(),
            ),
            "datagen_lag_seconds": ("How late that is.", status.lag),
            "datagen_rate": ("Events a second.", status.rate),
            "datagen_speed": ("Seconds of event time a second.", status.speed),
            "datagen_live": ("1 once the history is sent.", float(status.live)),
            "datagen_waiting": ("1 while a sink does not answer.", float(bool(status.waiting))),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        delays, total, buckets = status.delays, 0, []
        for bound, count in zip((*delays.BOUNDS, "+Inf"), delays.counts, strict=True):
            total += count
            buckets.append((str(bound), total))
        text = "How late live events were sent, in seconds."
        yield HistogramMetricFamily("datagen_delay_seconds", text, buckets=buckets, sum_value=None)
