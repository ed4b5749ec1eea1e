"""How long large work keeps everybody else waiting: pings on one connection, before and while others list, and while
one process with many instances is desired, scaled and removed.

The other requests are sent by a process of their own, so that their bytes don't delay the clock of the pings.
"""

import itertools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perf.figures import JSON, Sample, number, table
from perf.load import LoadGenerator, Target
from perf.workloads import Fleet

QUIET_S: Final = 2.0
LISTING_S: Final = 4.0
LIST_MAX_S: Final = 120.0
CHANGE_MAX_S: Final = 300.0
SEED_MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A `Target` in a form that can be handed to another process: the URL and the paths of certificates."""

    url: str
    ca: Path | None
    cert: Path | None
    key: Path | None

    def target(self) -> Target:
        return Target.from_url(self.url, ca=self.ca, cert=self.cert, key=self.key)


@dataclass(slots=True, kw_only=True)
class Hold:
    """Latencies of pings, by what else went on meanwhile, and how many lists or changes were answered during them."""

    lrps: int
    instances: int
    pings: dict[str, Sample]
    answers: dict[str, int]
    took_s: dict[str, float]
    troubles: list[str]

    def report(self) -> str:
        rows = []
        for meanwhile, sample in self.pings.items():
            at = sample.percentiles_ms()
            milliseconds = [number(each, digits=1) for each in (at.p50_ms, at.p99_ms, at.max_ms)]
            answers, took_s = self.answers.get(meanwhile), self.took_s.get(meanwhile)
            rows.append(
                [
                    meanwhile,
                    "-" if answers is None else str(answers),
                    "-" if took_s is None else number(took_s, digits=1),
                    number(sample.answers),
                    *milliseconds,
                ]
            )
        header = ["meanwhile", "answers", "took s", "pings", "p50 ms", "p99 ms", "max ms"]
        return "\n".join(
            [
                f"ping on one connection, {self.lrps:,} LRPs, and a process of {self.instances:,} instances",
                "",
                table(header, rows),
                *(f"TROUBLE: {trouble}" for trouble in self.troubles),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "instances": self.instances,
            "pings": {meanwhile: sample.as_json() for meanwhile, sample in self.pings.items()},
            "answers": dict(self.answers),
            "took_s": dict(self.took_s),
            "troubles": list(self.troubles),
        }


def measure_hold(credentials: Credentials, *, lrps: int, instances: int, say: Callable[[str], None]) -> Hold:
    """Desire ``lrps`` LRPs; ping alone, while each kind of list is read in a row, and during each change of a process
    of ``instances``; remove the LRPs again.
    """
    target = credentials.target()
    fleet = Fleet(target=target, lrps=lrps)
    hold = Hold(lrps=lrps, instances=instances, pings={}, answers={}, took_s={}, troubles=[])
    say(f"desiring {lrps:,} LRPs")
    hold.troubles += _send_all(fleet, "desire", fleet.desires())
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as lister,
        LoadGenerator(target, connections=1) as pinger,
    ):
        lister.submit(_list_for, credentials, fleet.ping(), 0.0).result(
            LIST_MAX_S
        )  # it takes a while to start
        hold.pings["nothing else"] = _ping_for(pinger, fleet, QUIET_S)
        for name, request in (
            ("list ActualLRPs", fleet.list_actual_lrps()),
            ("list scheduling infos", fleet.list_scheduling_infos()),
            ("list DesiredLRPs", fleet.list_desired_lrps()),
        ):
            say(name)
            listing = lister.submit(_list_for, credentials, request, LISTING_S)
            hold.pings[name] = _ping_for(pinger, fleet, LISTING_S)
            hold.answers[name], trouble = listing.result(LIST_MAX_S)
            if trouble:
                hold.troubles.append(f"{name}: {trouble}")
        for name, request in fleet.changes_of_large(instances):
            say(name)
            began = time.perf_counter()
            changing = lister.submit(_change, credentials, request)
            hold.pings[name] = _ping_until(pinger, fleet, changing)
            hold.took_s[name] = time.perf_counter() - began
            hold.answers[name], trouble = changing.result(CHANGE_MAX_S)
            if trouble:
                hold.troubles.append(f"{name}: {trouble}")
    hold.troubles += [f"ping, {name}: {each.first_error}" for name, each in hold.pings.items() if each.errors]
    hold.troubles += _send_all(fleet, "remove", fleet.removes())
    return hold


def _send_all(fleet: Fleet, what: str, requests: list[bytes]) -> list[str]:
    with LoadGenerator(fleet.target, connections=64) as generator:
        sample = generator.run(requests, max_s=SEED_MAX_S)
    return [] if sample.good else [f"{what}: {sample.trouble()}"]


def _list_for(credentials: Credentials, request: bytes, for_s: float) -> tuple[int, str]:
    """Runs in the lister's process: how many answers, and the first error if there was one."""
    with LoadGenerator(credentials.target(), connections=1) as generator:
        sample = generator.run(itertools.repeat(request), max_s=for_s)
    return sample.answers, sample.first_error


def _change(credentials: Credentials, request: bytes) -> tuple[int, str]:
    """Runs in the lister's process, like `_list_for`."""
    with LoadGenerator(credentials.target(), connections=1) as generator:
        sample = generator.run([request], max_s=CHANGE_MAX_S)
    return sample.answers, sample.first_error


def _ping_until(pinger: LoadGenerator, fleet: Fleet, changing: "Future[tuple[int, str]]") -> Sample:
    pings = itertools.takewhile(lambda ping: not changing.done(), itertools.repeat(fleet.ping()))
    return pinger.run(pings, max_s=CHANGE_MAX_S)


def _ping_for(pinger: LoadGenerator, fleet: Fleet, for_s: float) -> Sample:
    return pinger.run(itertools.repeat(fleet.ping()), max_s=for_s)  # ends by time, so it is always cut short
