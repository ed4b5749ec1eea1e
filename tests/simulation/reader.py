"""Somebody who reads DesiredLRPs now and then, over connections that he keeps, and compares them with what was acknowledged."""

from random import Random
from typing import NoReturn

import trio

from bbs.client import ClientConfig, InternalBBSClient, TransportError
from bbs.models.errors import BBSError
from bbs.testing._network import Network
from tests.simulation.ledger import Ledger, Version
from tests.simulation.promises import Promises

CONFIG = ClientConfig(url="http://bbs:8889", request_timeout_s=90.0)
"""Patient: it waits for the answer of a server that sleeps, which is one that may be stale."""

PAUSES_S = ((0.5, 12.0), (0.5, 12.0), (20.0, 70.0), (20.0, 70.0))
"""Of as many readers, each with connections of its own. Those that pause for long have one to a server that was master when
they last asked.
"""


class Reader:
    def __init__(self, network: Network, random: Random, ledger: Ledger, promises: Promises) -> None:
        self._network = network
        self._random = random
        self._ledger = ledger
        self._promises = promises

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for pause_s in PAUSES_S:
                nursery.start_soon(self._read_now_and_then, pause_s)

    async def _read_now_and_then(self, pause_s: tuple[float, float]) -> NoReturn:
        connector = self._network.connector("reader")
        async with InternalBBSClient.connect(CONFIG, connector=connector) as bbs:
            await trio.sleep(self._random.uniform(1, 5))
            while True:
                await self._read(bbs)
                await trio.sleep(self._random.uniform(*pause_s))

    async def _read(self, bbs: InternalBBSClient) -> None:
        with self._ledger.read() as possible:
            try:
                infos = await bbs.desired_lrp_scheduling_infos()
            except (BBSError, TransportError):
                return
        found = {info.desired_lrp_key.process_guid: Version.of(info) for info in infos}
        for process_guid, versions in possible.items():
            self._promises.was_read(process_guid, found.get(process_guid), versions)
