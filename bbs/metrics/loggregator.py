"""Envelopes to the Loggregator agent (spec: metrics-and-logs.md §1).

Metrics must never hold up the server, nor fail it. So `emit` puts an envelope into a bounded queue, and drops and counts it
when the queue is full: the next values come in a few seconds anyway. Batches go out on one long gRPC stream, which gRPC
serves with threads of its own; when it breaks, the batches in it are lost without being counted, and the next batch opens
another stream.
"""

import queue
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.log import Logger
from bbs.models.pb import envelope_pb2, ingress_pb2
from bbs.tls.contexts import TLSFiles
from bbs.tls.grpc_credentials import channel_credentials, grpc

METHOD: Final = "/loggregator.v2.Ingress/BatchSender"
SERVER_NAME: Final = "metron"
QUEUE_MAX: Final = 10_000
"""Envelopes waiting for their batch; a master sends about a hundred every 15 s, and two for each cell with tasks."""

UNSENT_BATCHES_MAX: Final = 20
"""Batches handed to a stream that does not take them: an agent that hangs. Beyond it they are dropped."""

CLOSE_S: Final = 1.0
"""How long the end of the process waits for an agent to take the rest. After that it is lost."""

FLUSH_MIN_S: Final = 0.01
"""A shorter interval, or a negative one, is taken for this: without a pause the event loop would do little else."""

Envelope = envelope_pb2.Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggregatorSettings:
    """Upstream's settings (spec: config.md §2.9), zero for the default. Without ``tls`` nothing is sent at all."""

    tls: TLSFiles | None = None
    api_host: str = ""
    api_port: int = 0
    job_origin: str = ""
    source_id: str = ""
    instance_id: str = ""
    batch_max_size: int = 100
    batch_flush_interval_s: float = 0.1

    @property
    def address(self) -> str:
        if not self.api_port:
            return "localhost:3458"
        host = self.api_host or "127.0.0.1"
        return f"[{host}]:{self.api_port}" if ":" in host else f"{host}:{self.api_port}"


class Loggregator(Protocol):
    def emit(self, envelope: Envelope) -> None:
        """Send it some time, or drop it. Never blocks, never raises."""

    @property
    def dropped(self) -> int:
        """Envelopes lost since the start."""


class NoLoggregator:
    """Drops every envelope: for a server that is not configured to send metrics."""

    dropped = 0

    def emit(self, envelope: Envelope) -> None:
        pass


@asynccontextmanager
async def open_loggregator(settings: LoggregatorSettings, *, log: Logger) -> AsyncIterator[Loggregator]:
    """A client for as long as the block runs; the agent need not be there.

    Raises:
      TLSFilesInvalid: a file can't be used.
    """
    if settings.tls is None:
        yield NoLoggregator()
        return
    channel = grpc.secure_channel(
        settings.address,
        channel_credentials(settings.tls),
        options=[
            ("grpc.ssl_target_name_override", SERVER_NAME),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
        ],
    )
    client = _GRPCLoggregator(channel, settings, log=log)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            yield client
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):  # bounded by CLOSE_S
            await trio.to_thread.run_sync(client.close)
        channel.close()


class _Stream:
    """One call of BatchSender. gRPC takes the batches in a thread of its own, one after the other."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._batches: queue.SimpleQueue[envelope_pb2.EnvelopeBatch | None] = queue.SimpleQueue()
        sender: Any = channel.stream_unary(
            METHOD,
            request_serializer=lambda batch: batch.SerializeToString(),
            response_deserializer=ingress_pb2.BatchSenderResponse.FromString,
        )
        self._call = sender.future(self._take())
        # A call that ended waits for no more batches; its thread does.
        self._call.add_done_callback(lambda _: self._batches.put(None))

    @property
    def is_broken(self) -> bool:
        return bool(self._call.done())

    def send(self, batch: envelope_pb2.EnvelopeBatch) -> bool:
        """Hand over a batch; whether it was taken."""
        if self._batches.qsize() >= UNSENT_BATCHES_MAX:
            return False
        self._batches.put(batch)
        return True

    def close(self, *, within_s: float) -> None:
        """End the stream after what was handed over; blocks."""
        self._batches.put(None)
        # The agent may be away, or hang: then the rest is lost.
        with suppress(grpc.RpcError, grpc.FutureTimeoutError, grpc.FutureCancelledError):
            self._call.result(timeout=within_s)
        self._call.cancel()

    def _take(self) -> Iterator[envelope_pb2.EnvelopeBatch]:
        while (batch := self._batches.get()) is not None:
            yield batch


class _GRPCLoggregator:
    def __init__(self, channel: grpc.Channel, settings: LoggregatorSettings, *, log: Logger) -> None:
        self._channel = channel
        self._batch_max = settings.batch_max_size or 100
        self._flush_s = max(settings.batch_flush_interval_s or 0.1, FLUSH_MIN_S)
        self._log = log
        self._waiting: deque[Envelope] = deque()
        self._full = ClearableEvent()
        self._stream: _Stream | None = None
        self.dropped = 0

    def emit(self, envelope: Envelope) -> None:
        if len(self._waiting) >= QUEUE_MAX:
            self.dropped += 1
            return
        self._waiting.append(envelope)
        if len(self._waiting) >= self._batch_max:
            self._full.set()

    async def run(self) -> None:
        """Send batches when they are full, and what there is after each interval, until cancelled."""
        while True:
            with trio.move_on_after(self._flush_s):
                await self._full.wait()
            self._full.clear()
            self._flush()
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Send the rest, within `CLOSE_S`; blocks."""
        self._flush()
        if self._stream is not None:
            self._stream.close(within_s=CLOSE_S)
            self._stream = None

    def _flush(self) -> None:
        while self._waiting:
            batch = envelope_pb2.EnvelopeBatch()
            while self._waiting and len(batch.batch) < self._batch_max:
                batch.batch.append(self._waiting.popleft())
            if self._stream is not None and self._stream.is_broken:
                self._stream = None
            if self._stream is None:
                self._stream = _Stream(self._channel)
            if not self._stream.send(batch):
                self.dropped += len(batch.batch)
