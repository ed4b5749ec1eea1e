"""The cells of the harness: presences in a server's Locket, whose reps are `perf.peers`.

A server without any cell takes every instance for lost half a minute after its start, and desires it anew; nothing that is
measured on it after that is about the fleet that was seeded.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import TracebackType
from typing import Any, Final, Self

from bbs.demo import presence_of
from bbs.models.pb import locket_pb2
from bbs.tls.contexts import TLSFiles
from bbs.tls.grpc_credentials import channel_credentials, grpc

TTL_S: Final = 864_000
"""Upstream's benchmark's: no cell has to be renewed during a run (spec: benchmarks.md §2)."""

RENEWED_TTL_S: Final = 15
RENEWED_EVERY_S: Final = 5.0
"""Of presences that are renewed, also upstream's (spec: benchmarks.md §4)."""

CALL_MAX_S: Final = 30.0
OWNER: Final = "bbs-perf"


class CellsFailed(Exception):
    """Locket does not register a cell; the text says in one line what to look at."""


class Cells:
    """Those that were registered with the Locket at ``locket``, as host:port; released when the context ends."""

    def __init__(self, locket: str, *, tls: TLSFiles, rep_url: str) -> None:
        self.present: set[int] = set()
        self.zones = 1
        """Among which those that are registered from now on are spread."""
        self._rep_url = rep_url
        self._locket = locket
        self._channel = grpc.secure_channel(locket, channel_credentials(tls))
        self._lock: Any = self._method("Lock", locket_pb2.LockResponse)
        self._release: Any = self._method("Release", locket_pb2.ReleaseResponse)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._channel.close()

    @property
    def locket_port(self) -> int:
        return int(self._locket.rpartition(":")[2])

    def register(self, numbers: Iterable[int], *, ttl_s: int = TTL_S) -> None:
        """Have ``cell-0`` and so on, or renew them.

        Raises:
          CellsFailed: Locket refuses, or does not answer.
        """
        for number in numbers:
            request = locket_pb2.LockRequest(resource=self._presence(number), ttl_in_seconds=ttl_s)
            self._call(self._lock, request, f"cell-{number} cannot be registered")
            self.present.add(number)

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """As real cells do it, these have presences that soon expire and renew them all the time, as long as the context is entered.

        Raises:
          CellsFailed: one could not be renewed. Told at the end.
        """
        ends = Event()
        failed: list[CellsFailed] = []

        def renew() -> None:
            try:
                while not ends.wait(RENEWED_EVERY_S):
                    self.register(sorted(self.present), ttl_s=RENEWED_TTL_S)
            except CellsFailed as error:
                failed.append(error)

        self.register(sorted(self.present), ttl_s=RENEWED_TTL_S)
        renewing = Thread(target=renew)
        renewing.start()
        try:
            yield
        finally:
            ends.set()
            renewing.join()
            self.register_again()
        if failed:
            raise failed[0]

    def register_up_to(self, count: int) -> None:
        self.register(set(range(count)) - self.present)

    def register_again(self) -> None:
        """All of them, for long: after a restart of a server whose Locket lives in it, too."""
        self.register(sorted(self.present))

    def release(self, numbers: Iterable[int]) -> None:
        """Let these vanish, as if they had not renewed their presence."""
        for number in numbers:
            request = locket_pb2.ReleaseRequest(resource=self._presence(number))
            self._call(self._release, request, f"cell-{number} cannot be released")
            self.present.discard(number)

    def _call(self, method: Any, request: object, what: str) -> None:
        try:
            method(request, timeout=CALL_MAX_S, wait_for_ready=True)
        except grpc.RpcError as error:
            raise CellsFailed(
                f"{what}: {error.code().name.lower()}: {error.details()}: check locket={self._locket}, ca=, cert= and key="
            ) from error

    def _presence(self, number: int) -> locket_pb2.Resource:
        return presence_of(
            f"cell-{number}",
            owner=OWNER,
            rep_url=self._rep_url,
            zone=f"z{number % self.zones + 1}",
            memory_mb=1000,
            disk_mb=2000,
            containers=300,
        ).to_wire()

    def _method(self, name: str, response: Any) -> Any:
        return self._channel.unary_unary(
            f"/models.Locket/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
