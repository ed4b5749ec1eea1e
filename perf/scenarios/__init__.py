"""The scenarios of ``python -m perf compare``: each a setup, rounds, and checks, on any BBS."""

from typing import Final

from perf.scenarios.auctions import Auctions
from perf.scenarios.benchmark import Benchmark
from perf.scenarios.connections import Churn, Idle
from perf.scenarios.fan_out import FanOut
from perf.scenarios.growth import BesideList, Lists, Restart
from perf.scenarios.large_process import LargeProcess
from perf.scenarios.life import Life
from perf.scenarios.passes import FLAGS, Passes
from perf.scenarios.storm import Storm
from perf.scenarios.tasks import TaskLife
from perf.scenarios.trial import Scenario, Takes

LRPS: Final = "LRPs"
GROWTH: Final = (10_000, 50_000, 100_000)
SUBSCRIBERS: Final = (10, 100, 1_000)
"""The quarter of a million LRPs and the 4,000 subscribers take five minutes more each, so they have to be asked for."""

CROWDS: Final = (200, 1_000, 2_000)
"""4,000 clients need more file descriptors than most machines allow a process."""

LARGE: Final = (100_000,)
FEW: Final = (10_000,)


SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="life",
            what="every request of an LRP's life, auctions included, and the lists of everything",
            trial=Life,
            takes=Takes(setup_s=12, round_s=45),
        ),
        Scenario(
            name="auctions",
            what="how fast desires and crashes reach the auctioneer, and in how many calls",
            trial=Auctions,
            takes=Takes(setup_s=10, round_s=24),
            needs=("peers",),
        ),
        Scenario(
            name="tasks",
            what="every request of a task's life, auctions included",
            trial=TaskLife,
            takes=Takes(setup_s=8, round_s=20),
        ),
        Scenario(
            name="benchmark",
            what="upstream's benchmark: reps, nsync, and a route-emitter and a stream per cell",
            trial=Benchmark,
            takes=Takes(setup_s=35, round_s=8),
        ),
        Scenario(
            name="growth",
            what="desires and starts, lists and memory as the fleet grows",
            trial=Lists,
            takes=Takes(setup_s=95, round_s=12),
            axis=LRPS,
            points=GROWTH,
            plain_auctions=True,
        ),
        Scenario(
            name="beside-list",
            what="how long a claim takes while a list is read over and over",
            trial=BesideList,
            takes=Takes(setup_s=55, round_s=21),
            axis=LRPS,
            points=LARGE,
            plain_auctions=True,
        ),
        Scenario(
            name="restart",
            what="how long the server takes to answer after a start on its data",
            trial=Restart,
            takes=Takes(setup_s=40, round_s=10),
            axis=LRPS,
            points=LARGE,
            plain_auctions=True,
            own_only=True,
        ),
        Scenario(
            name="passes",
            what="convergence: as desired, a tenth of the cells vanished, they are back",
            trial=Passes,
            takes=Takes(setup_s=12, round_s=13),
            axis=LRPS,
            points=FEW,
            plain_auctions=True,
            flags=FLAGS,
            needs=("locket", "debug"),
        ),
        Scenario(
            name="large-process",
            what="one process of 50,000 instances is desired, scaled and removed; pings beside it",
            trial=LargeProcess,
            takes=Takes(setup_s=6, round_s=26),
            axis="instances",
            points=(50_000,),
            plain_auctions=True,
        ),
        Scenario(
            name="fan-out",
            what="events to many subscribers, of everything and of one cell each",
            trial=FanOut,
            takes=Takes(setup_s=20, round_s=48),
            axis="subscribers",
            points=SUBSCRIBERS,
        ),
        Scenario(
            name="storm",
            what="all cells and route-emitters connect at once: until they are served, and how long others wait",
            trial=Storm,
            takes=Takes(setup_s=30, round_s=40),
            axis="clients",
            points=CROWDS,
            plain_auctions=True,
        ),
        Scenario(
            name="churn",
            what="a new connection for each request",
            trial=Churn,
            takes=Takes(setup_s=8, round_s=5),
        ),
        Scenario(
            name="idle",
            what="writes beside 2,000 idle connections",
            trial=Idle,
            takes=Takes(setup_s=15, round_s=40),
        ),
    )
}
