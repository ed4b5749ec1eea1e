"""What some scenarios want to hold at every moment, besides what always has to."""

from collections.abc import Iterator

from tests.simulation import invariants
from tests.simulation.world import World


class NoHoles:
    """Once an instance has been reachable, every route-emitter always knows somebody who serves it.

    To be watched only while no cell dies and no app crashes.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._reachable: set[tuple[str, int]] = set()

    def __call__(self) -> Iterator[str]:
        serving = invariants.serving(self._world.cells.values())
        wanted = list(self._world.cloud.instances())
        self._reachable.intersection_update(wanted)
        for at in wanted:
            for emitter in self._world.emitters:
                if not serving.isdisjoint(emitter.endpoints(*at)):
                    self._reachable.add(at)
                elif at in self._reachable:
                    yield f"{emitter.name} knows nobody who serves {at}: {list(emitter.endpoints(*at))}"
