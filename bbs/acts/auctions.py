"""What an auction is asked for with, and what is different by what brings it about (spec: peers.md §2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bbs.log import Data
from bbs.models.desired_lrp import DesiredLRP
from bbs.peers.interfaces import LRPStart

INDICES_LOGGED_MAX: Final = 2_000
"""How many indices of one auction its log line names; a line has no room for more (`bbs.log.bounds`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionCause:
    """What is different about auctions, by what brings them about (spec: peers.md §2.1, §2.3).

    ``drivers_when_none`` are the volume drivers of an LRP without volume mounts: the request's JSON shows whether they are
    ``()`` or ``None``. ``failed`` is the log's name of a failure. ``indices_key`` is what the log lines before and after a
    call name the instances by: ``indices`` has all of them, ``index`` the one that crashed, '' means no such lines.
    """

    drivers_when_none: tuple[str, ...] | None
    failed: str
    indices_key: Literal["indices", "index", ""]

    def about(self, start: LRPStart) -> Data:
        """What the log lines before and after the call say. Only with an ``indices_key``."""
        indices = start.indices[0] if self.indices_key == "index" else start.indices[:INDICES_LOGGED_MAX]
        return {"app_guid": start.process_guid, self.indices_key: indices}


DESIRED: Final = AuctionCause(drivers_when_none=(), failed="failed-to-request-auction", indices_key="indices")
CRASHED: Final = AuctionCause(drivers_when_none=None, failed="failed-requesting-auction", indices_key="index")
EVACUATED: Final = AuctionCause(drivers_when_none=None, failed="failed-requesting-auction", indices_key="")


def lrp_start(
    lrp: DesiredLRP, indices: Sequence[int], *, drivers_when_none: tuple[str, ...] | None
) -> LRPStart:
    """A request to place ``indices`` of ``lrp``; for ``drivers_when_none`` see `AuctionCause`."""
    return LRPStart(
        process_guid=lrp.process_guid,
        domain=lrp.domain,
        indices=tuple(indices),
        placement_tags=lrp.placement_tags,
        volume_drivers=lrp.volume_drivers or drivers_when_none,
        rootfs=lrp.rootfs,
        memory_mb=lrp.memory_mb,
        disk_mb=lrp.disk_mb,
        max_pids=lrp.max_pids,
    )
