"""Load from a process of its own, beside what the harness itself sends, so that neither's bytes delay the other's clock."""

import itertools
import multiprocessing
import os
import signal
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from perf.figures import Sample, merged
from perf.load import Credentials, LoadGenerator
from perf.rows import count_rows

START_MAX_S: Final = 60.0
ASK_MAX_S: Final = 120.0
ONCE_MAX_S: Final = 600.0
PING_PAUSE_S: Final = 0.005

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """Lists to be asked for one right after the other, under the name that their latencies together are counted by. Each must
    have ``rows``, or None: any number.
    """

    name: str
    requests: Sequence[bytes]
    rows: int | None = None


class OtherProcess:
    """A context manager: one process, which does one thing at a time. It has started once the context is entered, and what
    it is still doing in the end is cut off. ``begin`` is called in it first, with ``given``.
    """

    def __init__(
        self, begin: "Callable[P, object] | None" = None, *given: "P.args", **named: "P.kwargs"
    ) -> None:
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(None if begin is None else partial(begin, *given, **named),),
        )
        self._pid = 0
        self._asked: Future[Any] = Future()

    def __enter__(self) -> Self:
        self._asked = asked = self._pool.submit(os.getpid)
        self._pid = asked.result(START_MAX_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._asked.done() and self._pid:
            os.kill(self._pid, signal.SIGTERM)
        self._pool.shutdown()

    def submit(self, work: "Callable[P, T]", *args: "P.args", **kwargs: "P.kwargs") -> "Future[T]":
        """Have it call ``work`` once it has done what it was given before."""
        self._asked = asked = self._pool.submit(work, *args, **kwargs)
        return asked


class Beside(OtherProcess):
    """A process that sends requests."""

    def repeat(
        self, credentials: Credentials, requests: Sequence[bytes], *, connections: int, for_s: float
    ) -> "Future[Sample]":
        """Send the requests over and over for that long. The sample is always cut short, and keeps no body."""
        return self.submit(_repeat, credentials, list(requests), connections, for_s)

    def ping(self, credentials: Credentials, request: bytes, *, for_s: float) -> "Future[Sample]":
        """Send the request on one connection as `paused` does."""
        return self.submit(_ping, credentials, request, for_s)

    def once(self, credentials: Credentials, request: bytes) -> "Future[Sample]":
        return self.submit(_once, credentials, request)

    def paced(
        self, credentials: Credentials, asks: Sequence[Ask], *, for_s: float
    ) -> "Future[tuple[dict[str, Sample], str]]":
        """Ask for each once, evenly spread over that time; if the server is slower, one right after the other.

        Gives the samples by name, and what was wrong, or an empty text.
        """
        return self.submit(_paced, credentials, list(asks), for_s)


def paused(request: bytes, until: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
    """The request over and over, for one connection, `PING_PAUSE_S` between an answer and the next one: enough to see how long
    others wait, and too few to be what they wait for.
    """
    while not until():
        yield request
        time.sleep(PING_PAUSE_S)  # holds up the generator, which has nothing else to do on its one connection


def _begin(also: Callable[[], object] | None) -> None:
    leave_interrupts_to_the_harness()
    if also is not None:
        also()


def leave_interrupts_to_the_harness() -> None:
    """To be called in each process that the harness starts: the terminal's Ctrl-C reaches all of them, and it is the harness
    that ends them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _paced(credentials: Credentials, asks: list[Ask], for_s: float) -> tuple[dict[str, Sample], str]:
    samples: dict[str, list[Sample]] = {}
    wrong = ""
    began_s = time.monotonic()
    with LoadGenerator(credentials.target(), connections=1) as generator:
        generator.connect()
        for number, ask in enumerate(asks):
            time.sleep(max(0.0, began_s + number * for_s / len(asks) - time.monotonic()))
            took = Sample(latencies_s=array("d", [0.0]))
            for request in ask.requests:
                sample = generator.run([request], max_s=ASK_MAX_S)
                if not sample.good:
                    wrong = wrong or f"{ask.name}: {sample.trouble()}"
                    continue
                if ask.rows is not None and (found := count_rows(sample.last_body)) != ask.rows:
                    wrong = wrong or f"{ask.name}: {found} rows instead of {ask.rows}"
                took.latencies_s[0] += sample.latencies_s[0]
                took.elapsed_s += sample.elapsed_s
            samples.setdefault(ask.name, []).append(took)
    return {name: merged(several) for name, several in samples.items()}, wrong


def _once(credentials: Credentials, request: bytes) -> Sample:
    with LoadGenerator(credentials.target(), connections=1) as generator:
        sample = generator.run([request], max_s=ONCE_MAX_S)
    sample.last_body = b""
    return sample


def _repeat(credentials: Credentials, requests: list[bytes], connections: int, for_s: float) -> Sample:
    return _sent(credentials, itertools.cycle(requests), connections, for_s)


def _ping(credentials: Credentials, request: bytes, for_s: float) -> Sample:
    return _sent(credentials, paused(request), 1, for_s)


def _sent(credentials: Credentials, requests: Iterable[bytes], connections: int, for_s: float) -> Sample:
    with LoadGenerator(credentials.target(), connections=connections) as generator:
        sample = generator.run(requests, max_s=for_s)
    sample.last_body = b""
    return sample
