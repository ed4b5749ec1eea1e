"""The stage: a BBS, and around it a database, Locket, an auctioneer and cells, all tasks of the test's own process."""

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from random import Random
from typing import Final, NoReturn, Unpack, cast

import trio
import trio.testing

from bbs.client import ClientConfig, ClientOptions, Connector, InternalBBSClient
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, Presence
from bbs.peers.callbacks import HTTPTaskCallbacks
from bbs.peers.http import HTTPClient
from bbs.peers.interfaces import Peers
from bbs.service import ServiceSettings
from bbs.sync.locket.presences import Presences
from bbs.sync.locket.table import LocalLocket, LocketTable, expire_on_time
from bbs.testing._auctioneer import Auctioneer, Reps
from bbs.testing._behaviour import CellBehaviour, StageCell
from bbs.testing._callbacks import Callbacks, CalledBack
from bbs.testing._faults import Fault
from bbs.testing._faulty_routes import ConnectionIsCut, FaultyRoutes
from bbs.testing._inflicting import Inflicting
from bbs.testing._masters import Masters
from bbs.testing._misuse import StageMisused
from bbs.testing._network import Network

EPOCH_NS: Final = 1_700_000_000_000_000_000
"""What the wall clock shows when virtual time begins."""
CLIENT_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.1
VIRTUAL_MAX_S: Final = 4 * 3600.0
"""In virtual time a wait for what never happens would have no end, and no pause either."""
TOLD_MAX: Final = 10_000
LOCKET_DEADLINE_S: Final = 10.0
CALLBACK_WORKERS: Final = 4


class Stage:
    """A BBS to test a client with. `open_stage` makes it.

    Attributes:
      cells: those that were added, by their ids.
      told: what cells and the auctioneer have done and were answered, one line each, for whoever wonders about a test. Old lines are
        forgotten.
    """

    def __init__(self, nursery: trio.Nursery, *, port: int | None, converge_every_s: float) -> None:
        """Use `open_stage`, which also starts it."""
        self.cells: dict[str, StageCell] = {}
        self.told = deque[str](maxlen=TOLD_MAX)
        self.bugs: list[BaseException] = []
        self._nursery = nursery
        self._presences = LocketTable(trio.current_time)
        self._locket = LocalLocket(self._presences)
        self._network = Network(Random("network"), latency_s=(0.0, 0.0))
        self._auctioneer = Auctioneer(
            self.cells, self._presences, self._network, Random("auctioneer"), self._tell
        )
        self._reps = Reps(self.cells, self._network, Random("reps"), self._tell)
        self._callbacks = Callbacks()
        routes = FaultyRoutes()
        guids = (f"guid-{number}" for number in count(1))
        self._masters = Masters(
            network=self._network,
            port=port,
            peers=self._peers,
            settings=ServiceSettings(converge_repeat_interval_s=converge_every_s),
            now_ns=_clock(),
            new_guid=lambda: next(guids),
            routes=routes,
            on_bug=self._on_bug,
        )
        self._inflicting = Inflicting(
            self._masters, routes=routes, locket=self._locket, auctioneer=self._auctioneer
        )

    @property
    def url(self) -> str:
        """Where the BBS is. Without a port one gets there by `connect`, or by `connector`."""
        return self._masters.url

    @property
    def routes(self) -> list[str]:
        """The names by which faults know the routes."""
        return [route.name for route in self._masters.service.routes.routes]

    @property
    def called_back(self) -> list[CalledBack]:
        """What those who desired tasks were told, in order."""
        return self._callbacks.made

    @property
    def connector(self) -> Connector | None:
        """How clients of `bbs.client` get to ``url``: what `BBSClient.connect` takes under this name. None if there is a port, as
        they then get there by TCP.
        """
        return self._network.connector("test") if self._masters.port is None else None

    @asynccontextmanager
    async def connect(self, **options: Unpack[ClientOptions]) -> AsyncIterator[InternalBBSClient]:
        """A client of the BBS, as `BBSClient.connect` makes them, with its ``options``: by the port if there is one, else in memory.

        Its calls are tried three times and may take 10 s each, unless the options say otherwise.
        """
        config = replace(ClientConfig(url=self.url, request_timeout_s=CLIENT_TIMEOUT_S), **options)
        async with InternalBBSClient.connect(config, connector=self.connector) as client:
            yield client

    async def add_cell(
        self,
        cell_id: str,
        behaviour: CellBehaviour | None = None,
        *,
        zone: str = "z1",
        containers: int = 250,
    ) -> StageCell:
        """Boot a cell, which has room for so many instances. It is registered when this returns.

        Raises:
          StageMisused: there is one of that name.
        """
        if cell_id in self.cells:
            raise StageMisused(
                f"there is a cell {cell_id!r} already: give this one another name, or boot that one again with"
                f" `await stage.boot({cell_id!r})` once it is gone"
            )
        self.cells[cell_id] = StageCell(
            cell_id,
            behaviour or CellBehaviour(),
            zone=zone,
            network=self._network,
            locket=LocalLocket(self._presences),
            random=Random(cell_id),
            tell=self._tell,
            capacity=containers,
        )
        await self.boot(cell_id)
        return self.cells[cell_id]

    async def boot(self, cell_id: str) -> None:
        """Boot a cell that has vanished or has been evacuated. It is registered when this returns.

        Raises:
          StageMisused: there is none of that name, or it is up.
        """
        if (cell := self.cells.get(cell_id)) is None:
            raise StageMisused(
                f"there is no cell {cell_id!r}: add it with `await stage.add_cell({cell_id!r})`"
            )
        if cell.is_up:
            raise StageMisused(
                f"{cell_id!r} is up: have it vanish or evacuate first, and wait until it is gone"
            )
        await self._nursery.start(cell.run)
        await self._until(lambda: cell.is_announced, within_s=60, what=lambda: f"{cell_id} is not registered")

    async def inflict(self, *faults: Fault) -> None:
        """Have ``faults`` happen, each at its time. Those that begin at once have begun when this returns.

        Raises:
          StageMisused: one of them makes no sense; none has begun.
        """
        self._inflicting.must_make_sense(faults)
        for fault in faults:
            await self._nursery.start(self._inflicting.inflict, fault)

    async def until_running(self, process_guid: str, instances: int, *, within_s: float = 120.0) -> None:
        """Wait until so many instances of a process run, without those that are being replaced.

        Raises:
          AssertionError: they do not in time; the text says what they do.
        """

        def running() -> bool:
            states = [lrp.state for lrp in self._instances(process_guid) if lrp.presence is Presence.ORDINARY]
            return states.count(ActualLRPState.RUNNING) == instances

        def what() -> str:
            lines = [_described(lrp) for lrp in self._instances(process_guid)]
            return f"not {instances} instances of {process_guid!r} run. " + (
                "; ".join(lines) or "There are none: has it been desired?"
            )

        await self._until(running, within_s=within_s, what=what)

    # What goes on behind the scenes

    async def start(self) -> None:
        """Done by `open_stage`."""
        self._nursery.start_soon(expire_on_time, self._presences)
        await self._nursery.start(self._masters.run)
        self._nursery.start_soon(self._auctioneer.run)

    def _peers(self) -> Peers:
        return Peers(
            auctioneer=self._auctioneer,
            reps=self._reps,
            cells=Presences(self._locket, deadline_s=LOCKET_DEADLINE_S),
            callbacks=HTTPTaskCallbacks(http=cast(HTTPClient, self._callbacks), workers=CALLBACK_WORKERS),
        )

    def _instances(self, process_guid: str) -> list[ActualLRP]:
        rows = self._masters.service.store.committed.actual_lrps.rows.values()
        return [lrp for lrp in rows if lrp.process_guid == process_guid]

    async def _until(self, holds: Callable[[], object], *, within_s: float, what: Callable[[], str]) -> None:
        with trio.move_on_after(within_s):
            while not holds():  # noqa: ASYNC110  # rows have no event of their own
                await trio.sleep(POLL_S)
            return
        raise AssertionError(f"after {within_s:g} s {what()}")

    def _tell(self, what: str) -> None:
        self.told.append(f"{trio.current_time():.3f} {what}")

    def _on_bug(self, bug: BaseException) -> None:
        if not isinstance(bug, ConnectionIsCut):
            self.bugs.append(bug)


@asynccontextmanager
async def open_stage(
    *, port: int | None = None, converge_every_s: float = 30.0, virtual_max_s: float = VIRTUAL_MAX_S
) -> AsyncIterator[Stage]:
    """A BBS without cells, rows or faults, until the block ends; then whatever has gone on is stopped. What the block raises comes in
    a group, as from any nursery.

    Without ``port`` everything is in memory, in the time that Trio's clock shows: with `trio.testing.MockClock` it is virtual, and
    hours pass in milliseconds. With ``port`` the BBS also listens on 127.0.0.1, without TLS, for clients in other processes; 0
    takes a free one, and ``url`` has it.

    Raises:
      StageMisused: a port in virtual time; or more than ``virtual_max_s`` of virtual time, after which the block is cancelled.
      ExceptionGroup: the BBS met a bug of its own; the test that found it has not failed otherwise.
    """
    if port is not None and is_time_virtual():
        raise StageMisused(
            "a stage with a port needs the real clock, as the programs that connect to it know no other:"
            " run this test without `autojump_clock` (or another MockClock), or open the stage without a port"
        )
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, port=port, converge_every_s=converge_every_s)
        await stage.start()
        if is_time_virtual():
            nursery.start_soon(_end_after, virtual_max_s)
        yield stage
        nursery.cancel_scope.cancel()
    if stage.bugs:
        raise BaseExceptionGroup("the BBS has a bug, please report it", stage.bugs)


def is_time_virtual() -> bool:
    return isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)


async def _end_after(virtual_max_s: float) -> NoReturn:
    await trio.sleep(virtual_max_s)
    raise StageMisused(
        f"{virtual_max_s:g} s of virtual time have passed: the test waits for what does not happen. Give its waits a"
        " deadline (`trio.fail_after`), or `open_stage` another `virtual_max_s`"
    )


def _clock() -> Callable[[], int]:
    """The wall clock: it goes as Trio's does, and shows the real time if that does."""
    start_ns, start_s = EPOCH_NS if is_time_virtual() else time.time_ns(), trio.current_time()
    return lambda: start_ns + int((trio.current_time() - start_s) * 1e9)


def _described(lrp: ActualLRP) -> str:
    where = f" on {lrp.instance.cell_id}" if lrp.instance.cell_id else ""
    why = lrp.placement_error or lrp.crash_reason
    return f"index {lrp.index}: {lrp.state}{where}{f' ({why})' if why else ''}"
