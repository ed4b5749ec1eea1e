"""What has to be true of a server after a soak: nothing is kept, and memory does not grow with time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final

from perf.soak.vitals import Vitals

COUNTED: Final = ("tasks", "threads", "descriptors", "clients", "cells", "sessions")
"""What is no more after the load than it was before, but for `THREADS_MORE_MAX`."""

THREADS_MORE_MAX: Final = 2
"""gRPC's own pool, in which Locket's calls are served, has a thread or two more or fewer from time to time."""

PEERS_MAX: Final = 6
"""Connections to auctioneer, reps and callbacks, two to each that stay open when idle: they come and go by themselves."""

BLOCKS_KEPT_MAX: Final = 12_000
"""Of Python's allocator, more at rest than before, after however many requests. Trio alone keeps up to 1,000 deadlines that
nobody waits for any more (and twice as many as there are live ones) before it throws them away, some ten blocks each.
"""

GROWTH_SHARE_MAX: Final = 0.05
GROWTH_BYTES_MAX: Final = 8_000_000
"""Resident memory while the load is steady may grow by the larger of the two, warm-up left out."""

WARM_UP_SHARE: Final = 0.25
SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. ``found`` and ``allowed`` are in words."""

    what: str
    found: str
    allowed: str
    good: bool
    told: str = ""


def at_rest(before: Vitals, now: Vitals) -> bool:
    """Whether all that is counted is back at what it was."""
    return all(each.good for each in counted(before, now))


def alike(one: Vitals, other: Vitals) -> bool:
    """Whether all that is counted is the same, but for tasks and threads."""
    return all(
        _without_peers(what, one) == _without_peers(what, other)
        for what in COUNTED
        if what not in ("tasks", "threads")
    )


def counted(before: Vitals, after: Vitals) -> list[Check]:
    checks = []
    for what in COUNTED:
        was, now = (_without_peers(what, vitals) for vitals in (before, after))
        told = _more(before.stacks, after.stacks) if what == "tasks" and now > was else ""
        allowed = was + THREADS_MORE_MAX if what == "threads" else was
        checks.append(
            Check(what=what, found=f"{now:,}", allowed=f"{allowed:,}", good=now <= allowed, told=told)
        )
    checks.append(
        Check(what="peers", found=f"{after.peers}", allowed=f"{PEERS_MAX}", good=after.peers <= PEERS_MAX)
    )
    for table, rows in before.rows.items():
        now = after.rows[table]
        checks.append(Check(what=f"rows of {table}", found=f"{now:,}", allowed=f"{rows:,}", good=now <= rows))
    return checks


def kept(before: Vitals, after: Vitals) -> list[Check]:
    """What the server holds in memory at rest, for all the requests that it has answered in between."""
    requests = after.requests - before.requests
    blocks = after.blocks - before.blocks
    return [
        Check(
            what="memory blocks kept",
            found=f"{blocks:,} after {requests:,} requests",
            allowed=f"{BLOCKS_KEPT_MAX:,}",
            good=blocks <= BLOCKS_KEPT_MAX,
            told=_more(before.types, after.types) if blocks > BLOCKS_KEPT_MAX else "",
        ),
        Check(
            what="garbage that cannot be collected",
            found=f"{after.uncollectable:,}",
            allowed=f"{before.uncollectable:,}",
            good=after.uncollectable <= before.uncollectable,
        ),
    ]


def grown(samples: Sequence[Vitals]) -> Check:
    """The trend of resident memory once the load has run for `WARM_UP_SHARE` of its time."""
    steady = after_warm_up(samples)
    growth = slope([(each.at_s, each.resident_bytes) for each in steady]) * (steady[-1].at_s - steady[0].at_s)
    allowed = max(GROWTH_BYTES_MAX, GROWTH_SHARE_MAX * steady[0].resident_bytes)
    return Check(
        what="growth of resident memory",
        found=f"{growth / 1e6:+.1f} MB in {steady[-1].at_s - steady[0].at_s:,.0f} s",
        allowed=f"{allowed / 1e6:.1f} MB",
        good=growth <= allowed,
    )


def after_warm_up(samples: Sequence[Vitals]) -> Sequence[Vitals]:
    """The samples that count: at least two, if there are as many."""
    assert len(samples) >= 2, "a trend needs two samples"
    return samples[min(int(WARM_UP_SHARE * len(samples)), len(samples) - 2) :]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between any two points (Theil and Sen): one sample during a collection does not move it."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)


def _without_peers(what: str, vitals: Vitals) -> int:
    """Descriptors without the connections to peers, which have a bound of their own."""
    value: int = getattr(vitals, what)
    return value - vitals.peers if what == "descriptors" else value


def _more(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Of what there is more than before: the largest differences."""
    more = {name: number - before.get(name, 0) for name, number in after.items()}
    largest = sorted((-number, name) for name, number in more.items() if number > 0)[:SHOWN]
    return "; ".join(f"{-number:+,} {name}" for number, name in largest)
