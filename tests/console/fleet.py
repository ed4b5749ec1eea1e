"""Apps and cells for a server that tests ask about them."""

from typing import Any, Final

import trio

from bbs.client import RunningReport
from bbs.models import pb
from bbs.models.go_json import to_json
from tests.cfdot.conftest import Server
from tests.records import desired_message

RUNNING: Final = RunningReport(
    net_info=pb.ActualLRPNetInfo(
        address="10.1.2.3", ports=[pb.PortMapping(container_port=8080, host_port=61001)]
    ),
    routable=True,
    availability_zone="z7",
)


def desire(server: Server, guid: str, **fields: Any) -> None:
    server.tell("create-desired-lrp", to_json(desired_message(guid, domain=f"{guid}-domain", **fields)))


def as_cells_and_auctioneer(server: Server, *calls: Any) -> None:
    """Each call takes a client."""

    async def make() -> None:
        async with server.client() as client:
            for call in calls:
                await call(client)

    trio.run(make)


def key(guid: str, index: int) -> pb.ActualLRPKey:
    return pb.ActualLRPKey(process_guid=guid, index=index, domain=f"{guid}-domain")


def on(cell_id: str, guid: str = "i") -> pb.ActualLRPInstanceKey:
    return pb.ActualLRPInstanceKey(instance_guid=guid, cell_id=cell_id)


def presence(cell_id: str, *, port: int = 1) -> pb.CellPresence:
    return pb.CellPresence(
        cell_id=cell_id,
        rep_url=f"https://127.0.0.1:{port}",
        zone="z1",
        capacity=pb.CellCapacity(memory_mb=1000, disk_mb=2000, containers=50),
        placement_tags=["isolated"],
        optional_placement_tags=["gpu"],
        rootfs_providers=[pb.Provider(name="preloaded", properties=["cflinuxfs4"])],
    )


def announce(server: Server, cell: pb.CellPresence) -> None:
    server.tell("claim-presence", "-k", cell.cell_id, "-o", cell.cell_id, "-v", to_json(cell), "-t", "600")
