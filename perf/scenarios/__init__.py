"""The scenarios of ``python -m perf compare``: each a setup, rounds, and checks, on any BBS."""

from collections.abc import Callable, Sequence
from typing import Final

from perf.beds import Bed
from perf.scenarios.auctions import Auctions
from perf.scenarios.benchmark import Benchmark
from perf.scenarios.connections import Churn, Idle, Storm
from perf.scenarios.fan_out import FanOut
from perf.scenarios.growth import BesideList, Grown, Lists, Restart
from perf.scenarios.life import Life
from perf.scenarios.passes import FLAGS, Passes
from perf.scenarios.trial import Scenario, Sizes, Trial

LRPS: Final = "LRPs"
GROWTH: Final = (10_000, 50_000, 100_000, 250_000)


def _grown(trial: type[Grown], points: Sequence[int]) -> Callable[[Bed, Sizes], Trial]:
    return lambda bed, sizes: trial(bed, sizes, tuple(sizes.points or points))


SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="life", what="every request of an LRP's life, auctions included", trial=Life),
        Scenario(name="auctions", what="how fast desires and crashes reach the auctioneer", trial=Auctions),
        Scenario(
            name="benchmark",
            what="upstream's benchmark: reps, nsync, a route-emitter and a stream per cell",
            trial=Benchmark,
        ),
        Scenario(
            name="growth",
            what="seeding, lists and memory as the fleet grows",
            trial=_grown(Lists, GROWTH),
            axis=LRPS,
            points=GROWTH,
            plain_auctions=True,
        ),
        Scenario(
            name="beside-list",
            what="how long a claim takes while a list is read over and over",
            trial=_grown(BesideList, (100_000,)),
            axis=LRPS,
            points=(100_000,),
            plain_auctions=True,
        ),
        Scenario(
            name="restart",
            what="how long the server takes to answer after a start on its data",
            trial=_grown(Restart, GROWTH),
            axis=LRPS,
            points=GROWTH,
            plain_auctions=True,
            own_only=True,
        ),
        Scenario(
            name="passes",
            what="convergence: as desired, a tenth of the cells vanished, they are back",
            trial=_grown(Passes, (10_000,)),
            axis=LRPS,
            points=(10_000,),
            plain_auctions=True,
            flags=FLAGS,
        ),
        Scenario(
            name="fan-out",
            what="events to many subscribers, of everything and of one cell each",
            trial=FanOut,
            axis="subscribers",
            points=(10, 100, 1_000, 4_000),
        ),
        Scenario(
            name="storm",
            what="all route-emitters come back at once",
            trial=Storm,
            axis="route-emitters",
            points=(100, 1_000),
        ),
        Scenario(name="churn", what="a new connection for each request", trial=Churn),
        Scenario(name="idle", what="writes beside 2,000 idle connections", trial=Idle),
    )
}
