"""A container, from the moment that a cell reserves room for it until the cell forgets it."""

from dataclasses import dataclass, field
from enum import Enum, auto

import trio

from bbs.client import RunningReport
from bbs.models import pb


class ContainerState(Enum):
    RESERVED = auto()
    """Claimed, or about to be; being created."""
    RUNNING = auto()
    STOPPING = auto()
    """Told to stop; still answers whoever is routed to it."""


@dataclass(eq=False, kw_only=True)
class Container:
    key: pb.ActualLRPKey
    instance: pb.ActualLRPInstanceKey
    port: int
    internal_routes: tuple[str, ...] = ()
    metric_tags: dict[str, str] = field(default_factory=dict)
    state: ContainerState = ContainerState.RESERVED
    stop_wanted: trio.Event = field(default_factory=trio.Event)
    crashed: trio.Event = field(default_factory=trio.Event)
    crash_reason: str = ""
    """Why, if somebody else has it crash; else its behaviour says so."""
    talking: trio.Lock = field(default_factory=trio.Lock)
    """The rep says one thing at a time about a container."""

    @property
    def guid(self) -> str:
        return self.instance.instance_guid

    @property
    def at(self) -> tuple[str, int]:
        return self.key.process_guid, self.key.index

    @property
    def serves(self) -> bool:
        return self.state is not ContainerState.RESERVED

    async def wait_for_its_end(self) -> None:
        """Until it is to stop, or has crashed."""
        async with trio.open_nursery() as nursery:
            for end in (self.stop_wanted, self.crashed):
                nursery.start_soon(_wait_and_cancel, end, nursery.cancel_scope)

    def report(self, address: str, zone: str) -> RunningReport:
        return RunningReport(
            net_info=pb.ActualLRPNetInfo(
                address=address, ports=[pb.PortMapping(container_port=8080, host_port=self.port)]
            ),
            internal_routes=self.internal_routes,
            metric_tags=self.metric_tags,
            routable=True,
            availability_zone=zone,
        )


async def _wait_and_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
