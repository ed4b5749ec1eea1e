"""What a scenario is made of, and what all of them need: sending and checking."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from perf.beds import Bed
from perf.figures import Sample
from perf.load import LoadGenerator
from perf.readings import Reading, reading_of
from perf.rows import count_rows
from perf.workloads import Fleet

SEND_MAX_S: Final = 900.0
SETTLE_MAX_S: Final = 30.0


class WrongAnswer(Exception):
    """An answer that does not fit what was done before, or none: figures taken from here on would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the scenarios are. ``points`` overrides a scenario's own."""

    lrps: int = 2_000
    connections: int = 64
    turn_s: float = 5.0
    points: tuple[int, ...] | None = None


class Trial:
    """One scenario on one bed. The runner calls `prepare` for each point, then `warm_up`, `measure` once per round, `check`.

    Each of these may raise WrongAnswer, which ends the scenario on this bed; what is wrong but does not spoil what comes
    after goes into ``troubles``.
    """

    def __init__(self, bed: Bed, sizes: Sizes) -> None:
        self.bed = bed
        self.sizes = sizes
        self.troubles: list[str] = []

    def prepare(self, point: int | None) -> None:
        """Bring the server to where it is measured."""

    def warm_up(self) -> None:
        """A round that does not count."""
        self.measure()

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
    and in an hour with a handshake per auction. What auctions cost is the question of others.
    """

    name: str
    what: str
    trial: Callable[[Bed, Sizes], Trial]
    axis: str = ""
    points: Sequence[int] = ()
    flags: tuple[str, ...] = ()
    plain_auctions: bool = False
    own_only: bool = False

    any_point: ClassVar[tuple[None]] = (None,)

    def points_of(self, sizes: Sizes) -> Sequence[int | None]:
        if not self.axis:
            return self.any_point
        return sizes.points if sizes.points is not None else self.points
