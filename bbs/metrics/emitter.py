"""Makes Loggregator's envelopes as upstream's client does, one for each value (spec: metrics-and-logs.md §1, §2.7)."""

from collections.abc import Callable
from time import time_ns
from typing import Final

from bbs.log import Logger
from bbs.metrics.loggregator import Envelope, Loggregator
from bbs.models.pb import envelope_pb2

APP_GUID_PARTS: Final = 5
"""Dash-separated parts of an app's guid, with which its processes' guids begin."""


class Emitter:
    """Envelopes of the four kinds that the spec names (§1): metric, duration, component, counter, and of an app's log.

    ``now_ns`` is the wall clock, in Unix nanoseconds. No method blocks or raises; what there is no room for is dropped.
    """

    def __init__(
        self,
        loggregator: Loggregator,
        *,
        origin: str = "",
        source_id: str = "",
        instance_id: str = "",
        log: Logger,
        now_ns: Callable[[], int] = time_ns,
    ) -> None:
        self._loggregator = loggregator
        self._origin = origin
        self._source_id = source_id
        self._instance_id = instance_id
        self._log = log
        self._now_ns = now_ns

    @property
    def dropped(self) -> int:
        return self._loggregator.dropped

    def metric(self, name: str, value: int, **tags: str) -> None:
        self._gauge(name, "Metric", value, tags)

    def duration(self, name: str, seconds: float) -> None:
        self._gauge(name, "nanos", round(seconds * 1e9), {})

    def component(self, name: str, value: float, unit: str) -> None:
        self._gauge(name, unit, value, {})

    def counter(self, name: str, delta: int) -> None:
        envelope = self._envelope({})
        envelope.counter.name = name
        envelope.counter.delta = delta
        self._loggregator.emit(envelope)

    def app_log(self, process_guid: str, error_type: str, message: str) -> bool:
        """Write into an app's own log, for its developers, that a request about it was invalid. Returns False if the guid
        does not begin with an app's, so that there is no such log.
        """
        parts = process_guid.split("-")
        if len(parts) < APP_GUID_PARTS:
            return False
        app_guid = "-".join(parts[:APP_GUID_PARTS])
        text = f"Error parsing request for app with guid {app_guid}, {error_type}, {message}"
        envelope = Envelope(timestamp=self._now_ns(), source_id=app_guid)
        envelope.tags.update({"origin": self._origin, "source_type": "DIEGO-API", "source_id": app_guid})
        envelope.log.payload = text.encode()
        envelope.log.type = envelope_pb2.Log.ERR
        self._loggregator.emit(envelope)
        return True

    def _gauge(self, name: str, unit: str, value: float, tags: dict[str, str]) -> None:
        # Tags are keyword arguments, whose names can't have the dash that upstream's have: ``cell-id``.
        envelope = self._envelope({key.replace("_", "-"): tag for key, tag in tags.items()})
        gauge = envelope.gauge.metrics[name]
        gauge.unit = unit
        gauge.value = float(value)
        self._loggregator.emit(envelope)

    def _envelope(self, tags: dict[str, str]) -> Envelope:
        envelope = Envelope(
            timestamp=self._now_ns(), source_id=self._source_id, instance_id=self._instance_id
        )
        envelope.tags.update({"origin": self._origin, **tags})
        return envelope
