"""A simulated route-emitter: it watches the fleet, and knows where each process can be reached."""

from collections import defaultdict
from collections.abc import Iterable

import trio

from bbs.client import BBSClient
from bbs.models import pb


class RouteEmitter:
    """``endpoints`` has the address of each running instance by process guid. ``changes`` counts what it was told."""

    def __init__(self) -> None:
        self.endpoints: dict[str, set[str]] = {}
        self.changes = 0
        self.watches = trio.Event()
        """Set when it has the first snapshot."""

    async def run(self, bbs: BBSClient) -> None:
        """Watch until cancelled.

        Raises:
          WatchFailed: the server can't be watched.
        """
        async with bbs.watch() as fleet:
            self._register(fleet.actual_lrps.values())
            self.watches.set()
            async for _ in fleet:
                self.changes += 1
                self._register(fleet.actual_lrps.values())

    def _register(self, lrps: Iterable[pb.ActualLRP]) -> None:
        endpoints: defaultdict[str, set[str]] = defaultdict(set)
        for lrp in lrps:
            for port in lrp.actual_lrp_net_info.ports:
                address = f"{lrp.actual_lrp_net_info.address}:{port.host_port}"
                endpoints[lrp.actual_lrp_key.process_guid].add(address)
        self.endpoints = dict(endpoints)
