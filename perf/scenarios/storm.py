"""The morning after a failover: every cell and every route-emitter connects at the same moment (`perf.crowd`)."""

import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

import grpc

from perf.beds import Bed
from perf.beside import paused
from perf.crowd import GATHER_MAX_S, Crowd, Gathered, expect_descriptors
from perf.figures import Sample, percentile
from perf.readings import Parts, Reading
from perf.scenarios.trial import SEND_MAX_S, Sizes, Trial, WrongAnswer

RENEWAL_PAUSE_S: Final = 0.05
"""As of pings: renewals are to show how long others wait, and must not be what they wait for."""
REST_S: Final = 2.0
"""After a storm, for the server to notice that its clients are gone."""
WARM_UP_CLIENTS: Final = 50
RENEWED_CELL: Final = 1_000_000
"""None of the fleet's."""


class Storm(Trial):
    """A point is a number of clients, who come with full handshakes first, as to a new master, and then once more with the
    sessions they have, as after an interruption. Meanwhile one connection pings, and a presence is renewed in Locket.
    """

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        expect_descriptors(max(points))
        super().__init__(bed, sizes, points)
        self._clients = 0
        self._fleet = self.fleet(sizes.lrps)
        self._generator = self.generator()
        self._pinger = self.generator(1)
        self._crowd = Crowd(bed.credentials, sizes.lrps).__enter__()
        self.send(self._generator, "desire", self._fleet.desires())
        self.send(self._generator, "start", self._fleet.starts())

    def prepare(self, point: int | None) -> None:
        assert point is not None
        self._clients = point

    def warm_up(self) -> None:
        self._storm("warm-up", min(self._clients, WARM_UP_CLIENTS), resume=False)

    def measure(self) -> list[Reading]:
        quiet = self._pings_until(_later(self.sizes.turn_s))
        return [
            _wait_of("ping, nothing beside it", quiet, Parts()),
            *self._storm("full handshakes", self._clients, resume=False),
            *self._storm("sessions resumed", self._clients, resume=True),
        ]

    def check(self) -> None:
        for cell in range(self._fleet.cells):
            expected = self._fleet.lrps_of_cell(cell)
            for request in (self._fleet.actual_lrps_of_cell(cell), self._fleet.scheduling_infos_of(cell)):
                self.expect_rows(self._generator, f"rows of cell-{cell}", request, expected)

    def close(self) -> None:
        self._crowd.__exit__(None, None, None)
        self._pinger.close()
        self.remove(self._generator, self._fleet, self._fleet.lrps)
        self._generator.close()

    def _storm(self, how: str, clients: int, *, resume: bool) -> list[Reading]:
        with self.bed.probe.measured() as meter, self._renewing() as renewals:
            gathering = self._crowd.gather(clients, resume=resume)
            pings = self._pings_until(gathering)
            gathered = gathering.result(GATHER_MAX_S)
        self._crowd.disperse()
        time.sleep(REST_S)
        if gathered.failed:
            raise WrongAnswer(
                f"{how}: {gathered.failed} of {gathered.connections} connections failed,"
                f" first: {gathered.first_failure}"
            )
        told = [_served(how, gathered, meter.parts), _wait_of(f"{how}: ping meanwhile", pings, meter.parts)]
        if renewals.latencies_s:
            told.append(_wait_of(f"{how}: renewal in Locket meanwhile", renewals, meter.parts))
        return told

    def _pings_until(self, over: "Future[Gathered] | threading.Event") -> Sample:
        is_over = over.done if isinstance(over, Future) else over.is_set
        pings = paused(self._fleet.ping(), until=is_over)
        return self.good("ping", self._pinger.run(pings, max_s=SEND_MAX_S))

    @contextmanager
    def _renewing(self) -> Iterator[Sample]:
        """Renew a presence over and over, where Locket is known. The sample is filled in meanwhile."""
        renewals = Sample(latencies_s=array("d"))
        cells = self.bed.cells
        if cells is None:
            yield renewals
            return
        over, failures = threading.Event(), list[grpc.RpcError]()

        def renew() -> None:
            try:
                while not over.is_set():
                    began_s = time.perf_counter()
                    cells.register([RENEWED_CELL])
                    renewals.latencies_s.append(time.perf_counter() - began_s)
                    over.wait(RENEWAL_PAUSE_S)
                cells.release([RENEWED_CELL])
            except grpc.RpcError as error:
                failures.append(error)

        renewing = threading.Thread(target=renew)
        renewing.start()
        try:
            yield renewals
        finally:
            over.set()
            renewing.join()
        if failures:
            raise WrongAnswer(f"renewal in Locket: {failures[0]}")


def _later(seconds: float) -> threading.Event:
    later = threading.Event()
    threading.Timer(seconds, later.set).start()
    return later


def _served(how: str, gathered: Gathered, parts: Parts) -> Reading:
    shaken_s, served_s = gathered.shaken_s, gathered.served_s
    return Reading(
        step=f"{how}: all served",
        values={
            "s": served_s[-1],
            "half served s": percentile(served_s, 0.5),
            "handshakes/s": len(shaken_s) / shaken_s[-1],
            "connections": gathered.connections,
            "resumed": gathered.resumed,
            "crowd's CPU s": gathered.cpu_s,
        },
        parts=parts,
        work=gathered.connections,
    )


def _wait_of(step: str, sample: Sample, parts: Parts) -> Reading:
    """A reading whose headline is the longest wait."""
    at = sample.percentiles_ms()
    return Reading(
        step=step, values={"max ms": at.max_ms, "p99 ms": at.p99_ms, "p50 ms": at.p50_ms}, parts=parts, work=0
    )
