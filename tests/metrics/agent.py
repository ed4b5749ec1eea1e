"""A Loggregator agent: a real gRPC server with mutual TLS that keeps the envelopes it gets."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from bbs.models.pb import envelope_pb2, ingress_pb2
from bbs.tls.contexts import TLSFiles
from bbs.tls.grpc_credentials import grpc, server_credentials
from tests.waiting import wait_until


class Agent:
    """``batches`` as they came. ``may_read`` unset: it takes nothing."""

    def __init__(self, tls: TLSFiles) -> None:
        self._tls = tls
        self.batches: list[envelope_pb2.EnvelopeBatch] = []
        self.may_read = threading.Event()
        self.may_read.set()
        self.port = 0
        self._server: grpc.Server | None = None
        self._threads: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        self._threads = ThreadPoolExecutor(4)
        self._server = grpc.server(self._threads, options=[("grpc.so_reuseport", 0)])
        handler: Any = grpc.stream_unary_rpc_method_handler(
            self._take,
            request_deserializer=envelope_pb2.EnvelopeBatch.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("loggregator.v2.Ingress", {"BatchSender": handler}),)
        )
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", server_credentials(self._tls))
        self._server.start()

    def stop(self) -> None:
        assert self._server is not None
        assert self._threads is not None
        self.may_read.set()
        self._server.stop(0).wait()
        self._threads.shutdown()

    def envelopes(self) -> list[envelope_pb2.Envelope]:
        return [envelope for batch in list(self.batches) for envelope in batch.batch]

    async def until(self, count: int) -> list[envelope_pb2.Envelope]:
        """Wait for that many envelopes."""
        # gRPC's threads know nothing of Trio.
        await wait_until(lambda: len(self.envelopes()) >= count, within_s=20, what=f"{count} envelopes")
        return self.envelopes()

    def _take(self, batches: Iterator[Any], context: object) -> ingress_pb2.BatchSenderResponse:
        for batch in batches:
            self.may_read.wait()
            self.batches.append(batch)
        return ingress_pb2.BatchSenderResponse()


@contextmanager
def agent(tls: TLSFiles) -> Iterator[Agent]:
    running = Agent(tls)
    running.start()
    try:
        yield running
    finally:
        running.stop()
