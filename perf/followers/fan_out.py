"""Events to thousands of subscribers: all of them on the master, beside half of them on each of two followers."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from threading import Event, Thread
from typing import Final

from bbs.embedded_postgres import EmbeddedPostgres
from perf import room
from perf.beds import Bed
from perf.beside import paused
from perf.figures import JSON, Sample, merged, number, table
from perf.followers.processes import Follower, Followers
from perf.load import LoadGenerator
from perf.server import ServerFailed, cpu_of, walsenders_cpu_s
from perf.streams import Delivered, Streams
from perf.workloads import Fleet

ALONE: Final = "the master alone"
FOLLOWED: Final = "two followers"
FOLLOWERS: Final = 2
ROUNDS: Final = 2

DELIVERIES: Final = 100_000
"""About as many to all subscribers together in each leg, if that makes no fewer writes than `LRPS_MIN`, two for each."""

LRPS_MIN: Final = 20
LRPS_MAX: Final = 250
assert 2 * LRPS_MAX < 1_024, "so many waiting events and a subscriber is cut off"

WRITE_CONNECTIONS: Final = 4
SEND_MAX_S: Final = 300.0
QUIET_MAX_S: Final = 30.0

STREAM_BYTES: Final = 150_000
"""What a subscriber takes, in the server and in the harness together, with a few events on their way."""

BESIDE_BYTES: Final = 1_000_000_000
"""Of the servers, their Postgres and the harness, without subscribers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What happened once the streams were open: ``took_s`` from the first write to the last event, which came ``last_after_s``
    after the last answer. ``master_s``, ``followers_s``, ``walsenders_s`` and ``readers_s`` are CPU.
    """

    deliveries: int
    expected: int
    ended: int
    took_s: float
    last_after_s: float
    writes: Sample
    pings: Sample
    master_s: float
    followers_s: float
    walsenders_s: float
    readers_s: float
    opening_s: float
    master_bytes: int

    def trouble(self) -> str:
        if self.ended:
            return f"{self.ended} streams were cut off"
        if self.deliveries != self.expected:
            return f"{self.deliveries:,} events instead of {self.expected:,}"
        return self.writes.trouble() or self.pings.trouble()

    def figures(self) -> dict[str, float]:
        writes, pings = self.writes.percentiles_ms(), self.pings.percentiles_ms()
        return {
            "deliveries/s": self.deliveries / self.took_s,
            "last event after ms": 1e3 * self.last_after_s,
            "writes/s": self.writes.per_s,
            "write p50 ms": writes.p50_ms,
            "write p99 ms": writes.p99_ms,
            "ping p50 ms": pings.p50_ms,
            "ping p99 ms": pings.p99_ms,
            "ping longest ms": pings.max_ms,
            "master CPU s": self.master_s,
            "followers CPU s": self.followers_s,
            "walsenders CPU s": self.walsenders_s,
            "readers CPU s": self.readers_s,
            "opening s": self.opening_s,
            "master MB": self.master_bytes / 1e6,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    subscribers: int
    lrps: int
    legs: Mapping[str, Sequence[Leg]]

    @property
    def troubles(self) -> list[str]:
        return [
            f"{name}: {trouble}"
            for name, legs in self.legs.items()
            for leg in legs
            if (trouble := leg.trouble())
        ]

    def medians(self) -> dict[str, dict[str, float]]:
        return {
            name: {figure: median(leg.figures()[figure] for leg in legs) for figure in legs[0].figures()}
            for name, legs in self.legs.items()
        }

    def table(self) -> str:
        alone, followed = (self.medians()[name] for name in (ALONE, FOLLOWED))
        rows = [
            [
                figure,
                number(value, digits=_digits(value)),
                number(followed[figure], digits=_digits(followed[figure])),
                number(followed[figure] / value, digits=2) if value else "-",
            ]
            for figure, value in alone.items()
        ]
        return table([f"{self.subscribers:,} subscribers", ALONE, FOLLOWED, "times"], rows)

    def as_json(self) -> dict[str, JSON]:
        return {
            "subscribers": self.subscribers,
            "lrps": self.lrps,
            "troubles": list[JSON](self.troubles),
            "legs": {
                name: [{figure: round(value, 4) for figure, value in leg.figures().items()} for leg in legs]
                for name, legs in self.legs.items()
            },
        }


def _digits(value: float) -> int:
    return 0 if value >= 100 else 2


def expect_room(subscribers: int) -> None:
    """
    Raises:
      room.TooFewDescriptors, room.TooLittleMemory: this machine can't have so many.
    """
    of, instead = f"{subscribers:,} subscribers", "fewer of them (--subscribers)"
    room.expect_descriptors(subscribers, of=of, instead=instead)
    room.expect_memory(BESIDE_BYTES + subscribers * STREAM_BYTES, of=of, instead=instead)


def measure_fan_out(
    bed: Bed,
    pool: Followers,
    postgres: EmbeddedPostgres,
    *,
    subscribers: int,
    rounds: int = ROUNDS,
    say: Callable[[str], None],
) -> FanOut:
    """Claim and start LRPs at the master of ``bed``, while everybody reads the events of all of them."""
    lrps = max(LRPS_MIN, min(LRPS_MAX, DELIVERIES // (2 * subscribers)))
    fleet = Fleet(target=bed.target, lrps=lrps * 2 * rounds)
    assert bed.cells is not None
    bed.cells.register_up_to(fleet.cells)
    legs: dict[str, list[Leg]] = {ALONE: [], FOLLOWED: []}
    first = 0
    with LoadGenerator(bed.target, connections=WRITE_CONNECTIONS) as generator:
        for round_ in range(rounds):
            for name in list(legs)[:: -1 if round_ % 2 else 1]:
                say(f"round {round_ + 1} of {rounds}: {subscribers:,} subscribers, {name}")
                numbers = range(first, first + lrps)
                first = numbers.stop
                desired = generator.run(fleet.desires_of(numbers), max_s=SEND_MAX_S)
                if not desired.good:
                    raise ServerFailed(f"desire: {desired.trouble()}")
                followers = pool.exactly(FOLLOWERS if name == FOLLOWED else 0)
                legs[name].append(_measure(bed, postgres, fleet, numbers, generator, followers, subscribers))
    return FanOut(subscribers=subscribers, lrps=lrps, legs=legs)


def _measure(
    bed: Bed,
    postgres: EmbeddedPostgres,
    fleet: Fleet,
    numbers: range,
    generator: LoadGenerator,
    followers: Sequence[Follower],
    subscribers: int,
) -> Leg:
    # Two readers in both legs, so that they are as quick in either.
    servers = [each.credentials for each in followers] or [bed.credentials] * FOLLOWERS
    shares = [subscribers - subscribers // 2, subscribers // 2]
    with ExitStack() as stack:
        readers = [stack.enter_context(Streams(each)) for each in servers]
        opening_s = sum(
            reader.open([fleet.subscribe()] * share) for reader, share in zip(readers, shares, strict=True)
        )
        bed.wait_until_idle()
        is_over, pings = Event(), list[Sample]()
        pinging = Thread(target=lambda: pings.append(_pings(bed, fleet, is_over)))
        before = _cpu(bed, postgres, followers, readers)
        began_s = time.time()
        pinging.start()
        try:
            samples = [
                generator.run(list(each), max_s=SEND_MAX_S)
                for each in (fleet.claims_of(numbers), fleet.starts_of(numbers))
            ]
            answered_s = time.time()
            delivered = [
                reader.delivered_once(2 * len(numbers) * share, max_s=QUIET_MAX_S)
                for reader, share in zip(readers, shares, strict=True)
            ]
        finally:
            is_over.set()
            pinging.join()
        used = [now - then for now, then in zip(_cpu(bed, postgres, followers, readers), before, strict=True)]
        last_s = max(each.last_s for each in delivered)
        master_bytes = int(bed.resident_mb() * 1e6)
    return Leg(
        deliveries=_total(delivered),
        expected=2 * len(numbers) * subscribers,
        ended=sum(each.ended for each in delivered),
        took_s=max(last_s - began_s, 1e-6),
        last_after_s=max(0.0, last_s - answered_s),
        writes=merged(samples),
        pings=pings[0],
        master_s=used[0],
        followers_s=used[1],
        walsenders_s=used[2],
        readers_s=used[3],
        opening_s=opening_s,
        master_bytes=master_bytes,
    )


def _pings(bed: Bed, fleet: Fleet, is_over: Event) -> Sample:
    with LoadGenerator(bed.target, connections=1) as generator:
        return generator.run(paused(fleet.ping(), until=is_over.is_set), max_s=SEND_MAX_S)


def _cpu(
    bed: Bed, postgres: EmbeddedPostgres, followers: Sequence[Follower], readers: Sequence[Streams]
) -> tuple[float, float, float, float]:
    """Seconds so far: of the master, the followers, the walsenders and the readers."""
    assert bed.server is not None
    return (
        cpu_of(bed.server.pid).server_s,
        sum(each.cpu_s() for each in followers),
        sum(walsenders_cpu_s(postgres.pid).values()),
        sum(reader.delivered().cpu_s for reader in readers),
    )


def _total(delivered: Sequence[Delivered]) -> int:
    return sum(each.total for each in delivered)
