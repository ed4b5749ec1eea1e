"""The mixed load: all that a Diego asks of its BBS, at a pace that keeps the number of rows where it is.

Each kind of work is a `Worker`: a piece of it is begun at fixed intervals, leaves nothing behind, and is counted once it is
done. Whatever a piece makes has a guid of its own that never comes again, so that what the server keeps by guid shows. The
fleet that runs all the time is one process per cell, see `Mixed.settle`.
"""

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from bbs.client import (
    ClientConfig,
    EvacuationFailed,
    EventSource,
    EventSourceError,
    InternalBBSClient,
    RunningReport,
    TransportError,
)
from bbs.models import pb
from bbs.models.errors import BBSError, ResourceNotFound
from perf.beds import Bed
from perf.cells import RENEWED_EVERY_S, RENEWED_TTL_S, CellsFailed
from perf.load import LoadGenerator
from perf.soak.rude import RUDE, RudeFailed, encrypted
from perf.tasks import seed_definition
from perf.workloads import DOMAIN, NET_INFO, ZONE, Fleet, seed_lrp

PIECE_MAX_S: Final = 120.0
"""For one piece of work; only a server that hangs takes so long."""

INSTANCES_PER_CELL: Final = 20
HEARTBEAT_EVERY_S: Final = 2.0
PINGING: Final = "thousands of pings"
PINGS: Final = 1_000
PING_TIMES_MIN: Final = 15
"""So that a block of memory that is kept of each request is more than what varies without a leak."""

PING_CONNECTIONS: Final = 4
CALLS_AT_ONCE: Final = 64
REQUEST_MAX_S: Final = 60.0
POLL_S: Final = 0.1
DOMAIN_TTL_S: Final = 120.0
TASK_REJECTIONS: Final = 4
"""A task that was rejected three times (``--max-task-retries``) has failed with the next one."""

EVENTS_PER_SUBSCRIPTION: Final = 20
SUBSCRIBED_MAX_S: Final = 3.0
SEND_STALL_S: Final = 3
NOT_READING_S: Final = 4.0 * SEND_STALL_S
"""How long a slow subscriber does not read before it looks whether it was dropped, which it is once a write has taken the
server `SEND_STALL_S`; then twice as long, and so on, since that needs enough events.
"""

READING_S: Final = 2.0

TROUBLES_MAX: Final = 20
REPORT: Final = RunningReport(net_info=NET_INFO, routable=True, availability_zone=ZONE)


class WrongState(Exception):
    """Something is not as it has to be after what was done."""


class LeftOff(Exception):
    """A piece of work was not done, since the load is over."""


REFUSED: Final = (
    BBSError,
    TransportError,
    EventSourceError,
    EvacuationFailed,
    CellsFailed,
    RudeFailed,
    WrongState,
    OSError,
    trio.TooSlowError,
    trio.BrokenResourceError,
)


@dataclass(slots=True, kw_only=True)
class Done:
    """Pieces of work by kind, and what went wrong, of which only the first `TROUBLES_MAX` are kept."""

    pieces: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)

    def fail(self, what: str) -> None:
        if len(self.troubles) < TROUBLES_MAX:
            self.troubles.append(what)


@dataclass(frozen=True, slots=True)
class Worker:
    """``number`` pieces of ``work`` are under way at once, each beginning ``every_s`` after the one before or later."""

    name: str
    work: Callable[[], Awaitable[None]]
    every_s: float
    number: int = 1


class Mixed:
    """The load on ``bed``, from ``cells`` cells with `INSTANCES_PER_CELL` instances each.

    Attributes:
      done: what was done so far, by kind.
    """

    def __init__(self, bed: Bed, client: InternalBBSClient, *, cells: int) -> None:
        assert bed.cells is not None
        assert bed.peers is not None
        assert cells >= 2, "an evacuation needs a second cell"
        self.done = Done()
        self._bed = bed
        self._client = client
        self._cells = cells
        self._presences = bed.cells
        self._callback_url = f"{bed.peers.plain_url}/task-is-complete"
        self._fleet = Fleet(target=bed.target, lrps=1)
        self._numbers = itertools.count()
        self._turns = itertools.count()
        self._names: set[str] = set()
        self._each_done = trio.Event()
        self._over = trio.Event()

    def _workers(self) -> list[Worker]:
        churn = max(1, self._cells // 5)
        return [
            Worker("presences renewed", self._renew, RENEWED_EVERY_S),
            *(
                Worker("heartbeats of cells", partial(self._heartbeat, cell), HEARTBEAT_EVERY_S)
                for cell in range(self._cells)
            ),
            Worker("processes through their life", self._life_of_process, 0.5, churn),
            Worker("tasks through their life", self._life_of_task, 0.2, churn),
            Worker("lists of everything", self._lists, 1.0),
            Worker(PINGING, self._ping, 1.0),
            Worker("subscriptions", self._subscribe, 0.5, churn),
            Worker("subscribers that were dropped", self._subscribe_slowly, 0.5, churn),
            Worker("clients that came and went", self._come_and_go, 0.5),
            Worker("rude connections", self._be_rude, 0.2, churn),
        ]

    async def settle(self) -> None:
        """Have the fleet run that runs all the time: a process of `INSTANCES_PER_CELL` instances on each cell."""
        await trio.to_thread.run_sync(lambda: self._presences.register(range(self._cells + 1), ttl_s=60))
        await self._client.upsert_domain(DOMAIN, ttl_s=DOMAIN_TTL_S)
        for cell in range(self._cells):
            lrp = seed_lrp(_home(cell))
            lrp.instances = INSTANCES_PER_CELL
            await self._client.desire_lrp(lrp)
            await self._heartbeat(cell)

    async def run(self, *, for_s: float, each_kind: bool) -> None:
        """Work for that long; with ``each_kind`` on until each kind of work was done once, and enough pings were sent. Gives up after twice `PIECE_MAX_S`
        more.
        """
        workers = self._workers()
        self._names = {worker.name for worker in workers}
        with trio.move_on_after(for_s + 2 * PIECE_MAX_S):
            async with trio.open_nursery() as nursery:
                for worker in workers:
                    for _ in range(worker.number):
                        nursery.start_soon(self._repeat, worker)
                await trio.sleep(for_s)
                if each_kind and not self.done.troubles:
                    await self._each_done.wait()
                self._over.set()
        for name in sorted(self._names - set(self.done.pieces)) if each_kind else ():
            self.done.fail(f"{name}: not once")

    async def leave(self) -> None:
        """Remove all rows, also those that a piece of work left behind when it failed, and have all cells vanish."""
        for lrp in await self._client.desired_lrps():
            await self._client.remove_desired_lrp(lrp.process_guid)
        for actual in await self._client.actual_lrps():
            with suppress(ResourceNotFound):  # a convergence pass may have removed it by now
                await self._client.remove_actual_lrp(actual.actual_lrp_key)
        for task in await self._client.tasks():
            self.done.fail(f"task {task.task_guid} was left behind in state {task.state}")
        await trio.to_thread.run_sync(lambda: self._presences.release(sorted(self._presences.present)))

    async def _repeat(self, worker: Worker) -> None:
        while not self._over.is_set():
            next_s = trio.current_time() + worker.every_s
            try:
                with trio.fail_after(PIECE_MAX_S):
                    await worker.work()
            except LeftOff:
                return
            except REFUSED as error:
                self.done.fail(f"{worker.name}: {type(error).__name__}: {error}")
            else:
                self.done.pieces[worker.name] += 1
                if self._names <= set(self.done.pieces) and self.done.pieces[PINGING] >= PING_TIMES_MIN:
                    self._each_done.set()
            with trio.move_on_at(next_s):
                await self._over.wait()

    # Cells

    async def _renew(self) -> None:
        """All presences, and a cell beside them that has nothing to run comes or goes."""
        numbers = range(self._cells + next(self._turns) % 2)

        def renew() -> None:
            self._presences.register(numbers, ttl_s=RENEWED_TTL_S)
            self._presences.release(self._presences.present - set(numbers))

        await trio.to_thread.run_sync(renew)

    async def _heartbeat(self, cell: int) -> None:
        """As a rep does it: ask for what is on the cell, and say of each instance that it runs."""
        await self._client.actual_lrps(cell_id=f"cell-{cell}")
        for index in range(INSTANCES_PER_CELL):
            await self._start(_key(_home(cell), index), _instance(_home(cell), index, cell))

    # Processes and tasks

    async def _life_of_process(self) -> None:
        """Desired, scaled, crashed, evacuated, scaled back, removed."""
        client, number = self._client, next(self._numbers)
        guid = f"soak-process-{number:09d}"
        here, there = number % self._cells, (number + 1) % self._cells
        lrp = seed_lrp(guid)
        lrp.instances = 2
        await client.desire_lrp(lrp)
        await client.update_desired_lrp(guid, pb.DesiredLRPUpdate(instances=3, annotation="scaled"))
        for index in range(3):
            key, instance = _key(guid, index), _instance(guid, index, here)
            await client.claim_actual_lrp(key, instance)
            await self._start(key, instance)
        await client.crash_actual_lrp(_key(guid, 1), _instance(guid, 1, here), error_message="out of memory")
        await self._start(_key(guid, 1), _instance(guid, 1, there))
        evacuee, replacement = _instance(guid, 0, here), _instance(guid, 0, there)
        if not await client.evacuate_running_actual_lrp(_key(guid, 0), evacuee, REPORT):
            raise WrongState(f"{guid}: its container was let go before another one ran")
        await self._start(_key(guid, 0), replacement)
        if await client.evacuate_running_actual_lrp(_key(guid, 0), evacuee, REPORT):
            raise WrongState(f"{guid}: its container is kept although another one runs")
        await client.update_desired_lrp(guid, pb.DesiredLRPUpdate(instances=1))
        await client.remove_actual_lrp(_key(guid, 1), _instance(guid, 1, there))
        await client.remove_actual_lrp(_key(guid, 2), _instance(guid, 2, here))
        await client.desired_lrp_by_process_guid(guid)
        await client.remove_desired_lrp(guid)
        await client.remove_actual_lrp(_key(guid, 0), replacement)

    async def _life_of_task(self) -> None:
        """Completed with a callback, which deletes it; completed and deleted by a client; cancelled; rejected too often."""
        client, number = self._client, next(self._numbers)
        guid, cell_id = f"soak-task-{number:09d}", f"cell-{number % self._cells}"
        fate = number % 4
        definition = seed_definition()
        if fate == 0:
            definition.completion_callback_url = self._callback_url
        await client.desire_task(task_guid=guid, domain=DOMAIN, definition=definition)
        if fate in (0, 1):
            await client.start_task(task_guid=guid, cell_id=cell_id)
            await client.complete_task(task_guid=guid, cell_id=cell_id, result="x" * 200)
        elif fate == 2:
            await client.cancel_task(guid)
        else:
            for _ in range(TASK_REJECTIONS):
                await client.reject_task(guid, rejection_reason="no room")
        if fate:
            await client.resolving_task(guid)
            await client.delete_task(guid)
            return
        while True:
            try:
                await client.task_by_guid(guid)
            except ResourceNotFound:
                return
            await trio.sleep(POLL_S)

    # Readers

    async def _lists(self) -> None:
        client = self._client
        await client.upsert_domain(DOMAIN, ttl_s=DOMAIN_TTL_S)
        for ask in (
            client.actual_lrps,
            client.actual_lrp_groups,
            client.desired_lrps,
            client.desired_lrp_scheduling_infos,
            client.desired_lrp_routing_infos,
            client.tasks,
            client.domains,
            client.cells,
        ):
            await ask()

    async def _subscribe(self) -> None:
        """To one kind of events after the other, for a while; every third stream is left without a word."""
        turn = next(self._turns)
        subscribe: Callable[[], Awaitable[EventSource]] = (
            self._client.subscribe_to_instance_events,
            self._client.subscribe_to_task_events,
            lambda: self._client.subscribe_to_instance_events(cell_id=f"cell-{turn % self._cells}"),
            self._client.subscribe_to_events,
        )[turn % 4]
        async with await subscribe() as events:
            with trio.move_on_after(SUBSCRIBED_MAX_S):
                for _ in range(EVENTS_PER_SUBSCRIPTION):
                    await events.next()

    async def _subscribe_slowly(self) -> None:
        """Subscribe and do not read, until the server has ended the stream."""
        async with encrypted(self._bed.target, is_narrow=True) as stream:
            await stream.send_all(self._fleet.subscribe())
            for patience in itertools.count(1):
                with trio.move_on_after(patience * NOT_READING_S):
                    await self._over.wait()
                    raise LeftOff
                with trio.move_on_after(READING_S):
                    try:
                        while await stream.receive_some(64 * 1024):
                            pass
                    except trio.BrokenResourceError:
                        pass  # reset, or ended in the middle of a TLS record
                    return

    # Connections

    async def _ping(self) -> None:
        """Cheap requests in numbers, so that a little that is kept of each adds up within a minute."""

        def ping() -> str:
            with LoadGenerator(self._bed.target, connections=PING_CONNECTIONS) as generator:
                return generator.run([self._fleet.ping()] * PINGS, max_s=REQUEST_MAX_S).trouble()

        if trouble := await trio.to_thread.run_sync(ping):
            raise WrongState(f"pings: {trouble}")

    async def _come_and_go(self) -> None:
        async with connected(self._bed) as client:
            if not await client.ping():
                raise WrongState("a ping was not answered")
            await client.cells()

    async def _be_rude(self) -> None:
        await RUDE[next(self._turns) % len(RUDE)](self._bed.target)

    async def _start(self, key: pb.ActualLRPKey, instance: pb.ActualLRPInstanceKey) -> None:
        await self._client.start_actual_lrp(key, instance, REPORT)


@asynccontextmanager
async def connected(bed: Bed) -> AsyncIterator[InternalBBSClient]:
    """A client with connections of its own, all closed in the end."""
    known = bed.credentials
    config = ClientConfig(
        url=known.url,
        ca_file=known.ca,
        cert_file=known.cert,
        key_file=known.key,
        idle_connections_max=CALLS_AT_ONCE,
        attempts=1,
        request_timeout_s=REQUEST_MAX_S,
    )
    async with InternalBBSClient.connect(config) as client:
        yield client


def _home(cell: int) -> str:
    """The process that runs on a cell all the time."""
    return f"soak-home-{cell:06d}"


def _key(process_guid: str, index: int) -> pb.ActualLRPKey:
    return pb.ActualLRPKey(process_guid=process_guid, index=index, domain=DOMAIN)


def _instance(process_guid: str, index: int, cell: int) -> pb.ActualLRPInstanceKey:
    return pb.ActualLRPInstanceKey(instance_guid=f"{process_guid}-{index}-{cell}", cell_id=f"cell-{cell}")
