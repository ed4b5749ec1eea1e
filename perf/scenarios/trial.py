"""What a scenario is made of, and what all of them need: sending and checking."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from perf.beds import Bed
from perf.figures import Sample, merged
from perf.load import LoadGenerator
from perf.readings import Reading, reading_of
from perf.rows import count_rows
from perf.tasks import Tasks
from perf.workloads import Fleet

SEND_MAX_S: Final = 900.0
SETTLE_MAX_S: Final = 30.0
WARM_LRPS: Final = 1_000


class WrongAnswer(Exception):
    """An answer that does not fit what was done before, or none: figures taken from here on would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the scenarios are. ``points`` has, by scenario, those that take the place of its own."""

    lrps: int = 10_000
    connections: int = 64
    turn_s: float = 5.0
    points: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """How long a scenario takes on one server at its default size on two quiet cores, in seconds: all that comes before and
    after the rounds, and a round. Only to say beforehand how long a run is going to be.
    """

    setup_s: float
    round_s: float


class Trial:
    """One scenario on one bed; ``points`` are those that it will be prepared for. The runner calls `prepare` for each point, then `warm_up`, `measure` once per round, `check`.

    Each of these may raise WrongAnswer, which ends the scenario on this bed; what is wrong but does not spoil what comes
    after goes into ``troubles``.
    """

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        self.bed = bed
        self.sizes = sizes
        self.points = points
        self.troubles: list[str] = []

    def prepare(self, point: int | None) -> None:
        """Bring the server to where it is measured."""

    def warm_up(self) -> None:
        """A round that does not count."""
        self.measure()

    def warm_up_small(self) -> None:
        """A round of a trial with `WARM_LRPS` at most, for trials that leave nothing: what has to become warm (connections, caches
        of the database, code that is imported late) does with a thousand.
        """
        small = type(self)(self.bed, replace(self.sizes, lrps=min(self.sizes.lrps, WARM_LRPS)), self.points)
        try:
            small.measure()
        finally:
            small.close()

    def measure(self) -> list[Reading]:
        raise NotImplementedError

    def check(self) -> None:
        """Look whether the server holds what the answers said."""

    def close(self) -> None:
        """Leave a server that is not ours as it was found; always called."""

    def fleet(self, lrps: int, *, prefix: str = "BENCHMARK-BBS-GUID-") -> Fleet:
        """Its cells are registered, where that is possible."""
        fleet = Fleet(target=self.bed.target, lrps=lrps, prefix=prefix)
        if self.bed.cells is not None:
            self.bed.cells.register_up_to(fleet.cells)
        return fleet

    def tasks(self, tasks: int) -> Tasks:
        """Their cells are registered, too."""
        made = Tasks(target=self.bed.target, tasks=tasks)
        if self.bed.cells is not None:
            self.bed.cells.register_up_to(made.cells)
        return made

    def generator(self, connections: int | None = None) -> LoadGenerator:
        return LoadGenerator(self.bed.target, connections=connections or self.sizes.connections)

    def remove(self, generator: LoadGenerator, fleet: Fleet, lrps: int) -> None:
        """Remove the first so many of a fleet that runs. Reps are asked to stop the instances, and those of the harness only
        say that they will; so it says that they have, itself. On a server of ours, which ends anyhow, nothing is removed.
        """
        if self.bed.is_own:
            return
        removed = generator.run(fleet.removes_of(range(lrps)), max_s=SEND_MAX_S)
        stopped = generator.run(fleet.stopped_of(range(lrps)), max_s=SEND_MAX_S)
        self.good("remove", removed)
        self.good("remove what was stopped", stopped)

    def send(self, generator: LoadGenerator, step: str, requests: Iterable[bytes]) -> Reading:
        """Send them all, as a step.

        Raises:
          WrongAnswer: not all were answered well.
        """
        generator.connect()  # handshakes are no part of a step
        with self.bed.probe.measured() as meter:
            sample = generator.run(requests, max_s=SEND_MAX_S)
        return reading_of(step, self.good(step, sample), meter.parts)

    def rows_of_others(self, generator: LoadGenerator, fleet: Fleet) -> dict[str, int]:
        """How many rows each list has before anything was sent: a server that others use too holds LRPs of theirs."""
        return {
            name: 0
            if self.bed.is_own
            else count_rows(self.good(name, generator.run([request], max_s=SEND_MAX_S)).last_body)
            for name, request in fleet.lists().items()
        }

    def listed(
        self, generator: LoadGenerator, step: str, request: bytes, times: int, expected: int
    ) -> Reading:
        """Ask for a large list so many times, one after the other; each must have so many rows.

        Raises:
          WrongAnswer: one has not.
        """
        generator.connect()
        samples = list[Sample]()
        with self.bed.probe.measured() as meter:
            for _ in range(times):
                samples.append(self.good(step, generator.run([request], max_s=SEND_MAX_S)))
        for sample in samples:
            self.expect(step, count_rows(sample.last_body), expected)
        mb = samples[-1].response_bytes / 1e6
        total = merged(samples)
        total.last_body = b""
        at = total.percentiles_ms()
        return Reading(
            step=step,
            values={"p50 ms": at.p50_ms, "max ms": at.max_ms, "MB": mb},
            parts=meter.parts,
            work=times,
        )

    @staticmethod
    def good(step: str, sample: Sample) -> Sample:
        if not sample.good:
            raise WrongAnswer(f"{step}: {sample.trouble()}")
        return sample

    def expect(self, what: str, found: object, expected: object) -> None:
        """Raises WrongAnswer if they differ."""
        if found != expected:
            raise WrongAnswer(f"{what}: {found} instead of {expected}")

    def expect_rows(
        self, generator: LoadGenerator, what: str, request: bytes, expected: int, *, holding: bytes = b""
    ) -> None:
        """Ask for a list, which must have that many rows; with ``holding``, that many in which these bytes stand."""
        sample = self.good(what, generator.run([request], max_s=SEND_MAX_S))
        self.expect(what, count_rows(sample.last_body, holding=holding), expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``points`` are values of ``axis``, if it has one: what is measured grows along it. ``flags`` are for servers of ours.

    With ``plain_auctions`` these call the auctioneer without TLS: a fleet of a quarter of a million is seeded in minutes so,
    and in an hour with a handshake per auction. What auctions cost is the question of others. ``needs`` has to be known of a server
    that is given by its URL, or it is left out.
    """

    name: str
    what: str
    trial: type[Trial]
    takes: Takes = Takes(setup_s=15, round_s=20)
    axis: str = ""
    points: Sequence[int] = ()
    flags: tuple[str, ...] = ()
    plain_auctions: bool = False
    own_only: bool = False
    needs: tuple[str, ...] = ()

    any_point: ClassVar[tuple[None]] = (None,)

    def points_of(self, sizes: Sizes) -> Sequence[int | None]:
        """What the trial is prepared for, one after the other."""
        return self._on_axis(sizes) if self.axis else self.any_point

    def begin(self, bed: Bed, sizes: Sizes) -> Trial:
        return self.trial(bed, sizes, self._on_axis(sizes))

    def _on_axis(self, sizes: Sizes) -> Sequence[int]:
        return sizes.points.get(self.name, self.points)

    def expected_s(self, sizes: Sizes, *, rounds: int) -> float:
        """For one server. Grows with the sizes, which is not so of everything; so this is a rough guess."""
        takes_s = self.takes.setup_s + rounds * self.takes.round_s
        if self.axis:
            return takes_s * sum(self._on_axis(sizes)) / sum(self.points)
        return takes_s * sizes.lrps / Sizes().lrps
