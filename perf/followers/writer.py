"""Commits rows as a master's group commits do, in a process of its own: at a rate, or as fast as it can.

A master answers requests beside that, and makes far fewer rows of a core's work than the 5,000 per second that followers are
asked about. So there is no master here, only its backend.
"""

import multiprocessing
import time
from array import array
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

import trio

from bbs.log import null_logger
from bbs.models.actual_lrp import ActualLRP
from bbs.models.outcome import Record, put
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.crypto import Keyring
from bbs.store.dsn import parse_dsn
from bbs.store.postgres import PostgresBackend
from bbs.store.store import BATCH_ROWS_MAX
from perf.beside import OtherProcess
from perf.convergence import ConvergedFleet
from perf.figures import percentile

BATCH_ROWS: Final = 50
"""Of a batch: under load a master's transactions carry some 30 decisions, of one row or two each."""

KEYS: Final[dict[str, Any]] = {"encryption_keys": {"label": "key"}, "active_key_label": "label"}
FILL_MAX_S: Final = 600.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """``batches_s`` is how long each batch took, from its rows to the answer to its commit; ``cpu_s`` the writer's own.
    ``token`` is the last commit's, or empty if nobody followed.
    """

    rows: int
    elapsed_s: float
    cpu_s: float
    batches_s: "array[float]" = field(repr=False)
    token: str

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.elapsed_s

    @property
    def batches_per_s(self) -> float:
        return len(self.batches_s) / self.elapsed_s

    def batch_ms(self, share: float) -> float:
        return 1e3 * percentile(sorted(self.batches_s), share)


class Writer(OtherProcess):
    """The process. ``lrps`` ActualLRPs are there once it is `filled`, and are written again and again from then on."""

    def __init__(self, dsn: str, lrps: int) -> None:
        self._ours, theirs = multiprocessing.get_context("spawn").Pipe()
        super().__init__(_begin, dsn, lrps, theirs)

    def fill(self) -> None:
        self.submit(_fill).result(FILL_MAX_S)

    def write(self, *, for_s: float, rows_per_s: float | None) -> "Future[Written]":
        """Write for that long: at that rate, if it can be reached, or None: one batch after the other."""
        return self.submit(_write, for_s, rows_per_s)

    def next_token(self, wait_s: float) -> tuple[str, float] | None:
        """The token of the commit that is answered next, and when it was answered, by `time.monotonic`. None if there is none
        within that time, or nobody follows.
        """
        while self._ours.poll():
            self._ours.recv()  # the answer to a question that was given up
        self._ours.send(None)
        if not self._ours.poll(wait_s):
            return None
        token, at_s = self._ours.recv()
        return (token, at_s) if token else None


class _Rows:
    """Of the writer's process."""

    def __init__(self, dsn: str, lrps: int, harness: "Connection[tuple[str, float], None]") -> None:
        self.dsn = parse_dsn(dsn, {})
        self.records: list[Record] = list(ConvergedFleet(lrps=lrps, instances_per_process=1).records())
        self.actual_lrps = [each for each in self.records if isinstance(each, ActualLRP)]
        self.harness = harness
        self.version = 0
        self.next = 0

    def batch(self) -> Sequence[Record]:
        """The next ones in turn, each changed since it was written last."""
        lrps = self.actual_lrps
        self.version += 1
        numbers = range(self.next, self.next + min(BATCH_ROWS, len(lrps)))
        self.next = numbers.stop % len(lrps)
        return [replace(lrps[i % len(lrps)], since_ns=self.version) for i in numbers]

    def tell(self, token: object) -> None:
        """Answer the harness, if it has asked."""
        if self.harness.poll():
            self.harness.recv()
            self.harness.send(("" if token is None else str(token), time.monotonic()))


_rows: _Rows


def _begin(dsn: str, lrps: int, harness: "Connection[tuple[str, float], None]") -> None:
    global _rows
    _rows = _Rows(dsn, lrps, harness)


def _fill() -> None:
    async def fill(backend: PostgresBackend) -> None:
        for first in range(0, len(_rows.records), BATCH_ROWS_MAX):
            await backend.write([put(each) for each in _rows.records[first : first + BATCH_ROWS_MAX]])

    trio.run(_with_backend, fill)


def _write(for_s: float, rows_per_s: float | None) -> Written:
    async def write(backend: PostgresBackend) -> Written:
        batches_s, rows = array("d"), 0
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        now_s = began_s
        while now_s < began_s + for_s:
            if rows_per_s is not None:
                await trio.sleep(max(0.0, began_s + rows / rows_per_s - now_s))
            batch = [put(each) for each in _rows.batch()]
            sent_s = time.monotonic()
            await backend.write(batch)
            now_s = time.monotonic()
            batches_s.append(now_s - sent_s)
            rows += len(batch)
            _rows.tell(backend.token)
        return Written(
            rows=rows,
            elapsed_s=now_s - began_s,
            cpu_s=time.process_time() - began_cpu_s,
            batches_s=batches_s,
            token="" if backend.token is None else str(backend.token),
        )

    return trio.run(_with_backend, write)


async def _with_backend(work: Callable[[PostgresBackend], Awaitable[T]]) -> T:
    async with open_asyncio_loop(null_logger()):
        keyring = Keyring(KEYS["encryption_keys"], KEYS["active_key_label"])
        backend = PostgresBackend(_rows.dsn, keyring, on_dropped=lambda row: None)
        try:
            await backend.acquire_writer_lock()
            return await work(backend)
        finally:
            await backend.aclose()
