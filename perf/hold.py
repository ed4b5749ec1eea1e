"""How long a large list keeps everybody else waiting: pings on one connection, before and while others list.

The lists are read by a process of their own, so that their bytes don't delay the clock of the pings.
"""

import itertools
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from perf.figures import JSON, Sample, number, table
from perf.load import LoadGenerator, Target
from perf.workloads import Fleet

QUIET_S: Final = 2.0
LISTING_S: Final = 4.0
LIST_MAX_S: Final = 120.0
SEED_MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A target in words that another process understands."""

    url: str
    ca: Path | None
    cert: Path | None
    key: Path | None

    def target(self) -> Target:
        return Target.from_url(self.url, ca=self.ca, cert=self.cert, key=self.key)


@dataclass(slots=True, kw_only=True)
class Hold:
    """Pings by what went on meanwhile, and how many lists were answered during them."""

    lrps: int
    pings: dict[str, Sample]
    lists: dict[str, int]
    troubles: list[str]

    def report(self) -> str:
        rows = []
        for meanwhile, sample in self.pings.items():
            at = sample.percentiles_ms()
            milliseconds = [number(each, digits=1) for each in (at.p50_ms, at.p99_ms, at.max_ms)]
            lists = self.lists.get(meanwhile)
            rows.append(
                [meanwhile, "-" if lists is None else str(lists), number(sample.answers), *milliseconds]
            )
        header = ["meanwhile", "lists", "pings", "p50 ms", "p99 ms", "max ms"]
        return "\n".join(
            [
                f"ping on one connection, {self.lrps:,} LRPs",
                "",
                table(header, rows),
                *(f"TROUBLE: {trouble}" for trouble in self.troubles),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "pings": {meanwhile: sample.as_json() for meanwhile, sample in self.pings.items()},
            "lists": dict(self.lists),
            "troubles": list(self.troubles),
        }


def measure_hold(credentials: Credentials, *, lrps: int, say: Callable[[str], None]) -> Hold:
    """Desire ``lrps`` LRPs, ping alone, ping while each kind of list is read in a row, remove the LRPs again."""
    target = credentials.target()
    fleet = Fleet(target=target, lrps=lrps)
    hold = Hold(lrps=lrps, pings={}, lists={}, troubles=[])
    with (
        LoadGenerator(target, connections=64) as crowd,
        LoadGenerator(target, connections=1) as pinger,
    ):
        say(f"desiring {lrps:,} LRPs")
        seeding = crowd.run(fleet.desires(), max_s=SEED_MAX_S)
        if not seeding.good:
            hold.troubles.append(f"desire: {seeding.trouble()}")
        crowd.close_connections()
        hold.pings["nothing else"] = _ping(pinger, fleet, QUIET_S)
        for name, request in (
            ("list ActualLRPs", fleet.list_actual_lrps()),
            ("list scheduling infos", fleet.list_scheduling_infos()),
            ("list DesiredLRPs", fleet.list_desired_lrps()),
        ):
            say(name)
            with _Listing(credentials, request) as listing:
                hold.pings[name] = _ping(pinger, fleet, LISTING_S)
                lists = listing.finish()
            hold.lists[name] = lists.answers
            if lists.errors:
                hold.troubles.append(f"{name}: {lists.trouble()}")
        removing = crowd.run(fleet.removes(), max_s=SEED_MAX_S)
        if not removing.good:
            hold.troubles.append(f"remove: {removing.trouble()}")
    hold.troubles += [f"ping, {name}: {each.first_error}" for name, each in hold.pings.items() if each.errors]
    return hold


def _ping(pinger: LoadGenerator, fleet: Fleet, for_s: float) -> Sample:
    return pinger.run(itertools.repeat(fleet.ping()), max_s=for_s)  # ends by time, so it is always cut short
