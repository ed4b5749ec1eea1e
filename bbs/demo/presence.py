"""What a simulated cell has Locket keep: the same for the demo's cells and for those of the load harness."""

from bbs.models import pb
from bbs.models.go_json import to_json
from bbs.sync.locket.client import Resource


def presence_of(
    cell_id: str, *, owner: str, rep_url: str, zone: str, memory_mb: int, disk_mb: int, containers: int
) -> Resource:
    """The presence of a cell that has room for so much in all, and whose rep is at ``rep_url``."""
    cell = pb.CellPresence(
        cell_id=cell_id,
        rep_address=rep_url,
        rep_url=rep_url,
        zone=zone,
        capacity=pb.CellCapacity(memory_mb=memory_mb, disk_mb=disk_mb, containers=containers),
        rootfs_providers=[pb.Provider(name="preloaded", properties=["cflinuxfs4"])],
    )
    return Resource.presence(cell_id, owner=owner, value=to_json(cell))
