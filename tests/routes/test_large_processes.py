"""Processes with many instances: desired, scaled and removed in turns (spec: desired-lrps.md §5-§8)."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import trio
from google.protobuf.message import Message

from bbs.acts.effects import CALLS_PER_CELL_MAX, Effects
from bbs.convergence.lrps import LRPConvergence
from bbs.http.endpoints import Call, Peer, Unary
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence
from bbs.models.domain import NEVER_NS, Domain
from bbs.models.errors import BBSError, InvalidRequest, ResourceExists, ResourceNotFound
from bbs.models.events import (
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    DesiredLRPChanged,
    DesiredLRPCreated,
    DesiredLRPRemoved,
    Event,
    Hub,
)
from bbs.models.outcome import Announcement, Outcome, put
from bbs.models.versions import Version
from bbs.peers.interfaces import Cell
from bbs.peers.stub import AuctionRequested, StopRequested, UpdateRequested
from bbs.routes.context import Context
from bbs.routes.desired_lrps import DesiredLRPLifecycle
from bbs.routes.large_processes import INSTANCES_AT_ONCE_MAX, INSTANCES_IN_A_TURN
from bbs.routes.table import route_table
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Fault, Faults, MemoryBackend
from bbs.store.store import Store, StoreUnavailable
from bbs.sync.hubs.hub import EventHubs
from tests.faulty_peers import FaultyPeers, PeerFault
from tests.records import desired_message
from tests.routes.calls import a_call

LARGE = 1_234
NOW_NS = 1_700_000_000_000_000_000
RETRY_S = 2.0
CELLS = 9
CALLED_AT_ONCE = CELLS * CALLS_PER_CELL_MAX


def desire_request(process_guid: str, instances: int) -> pb.DesireLRPRequest:
    message = desired_message(process_guid)
    message.instances = instances
    return pb.DesireLRPRequest(desired_lrp=message)


def scale_request(instances: int) -> pb.UpdateDesiredLRPRequest:
    return pb.UpdateDesiredLRPRequest(process_guid="p", update=pb.DesiredLRPUpdate(instances=instances))


@dataclass
class Bench:
    """A store whose writes take 10 ms, and what was told; ``made`` counts the epochs, hence rows, that were made."""

    store: Store
    faults: Faults
    hubs: EventHubs
    events: list[Event]
    peers: FaultyPeers = field(default_factory=FaultyPeers)
    instances_max: int = INSTANCES_MAX
    refused: list[str] = field(default_factory=list)
    made: int = 0
    instances_told: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.effects = Effects(auctioneer=self.peers, reps=self.peers, cells=self.peers)
        context = Context(
            store=self.store,
            hubs=self.hubs,
            effects=self.effects,
            log=null_logger(),
            app_log=self._app_log,
            desired_lrp_instances_max=self.instances_max,
            now_ns=lambda: NOW_NS,
            new_guid=self._new_guid,
        )
        self.lifecycle = DesiredLRPLifecycle(context)
        self.routes = route_table(context, on_unrecoverable=lambda error: None)
        self.convergence = LRPConvergence(
            self.store,
            self.peers.present_cells,
            effects=self.effects,
            convergence_workers=20,
            log=null_logger(),
            now_ns=lambda: NOW_NS,
            new_guid=self._new_guid,
            instances_max=self.instances_max,
        )

    def _new_guid(self) -> str:
        self.made += 1
        return f"epoch{self.made}"

    async def desire(self, instances: int, process_guid: str = "p") -> None:
        await self.lifecycle.desire(desire_request(process_guid, instances), a_call("trace"))

    async def update(self, process_guid: str = "p", **changes: object) -> None:
        update = pb.DesiredLRPUpdate(**changes)  # type: ignore[arg-type]
        await self.lifecycle.update(
            pb.UpdateDesiredLRPRequest(process_guid=process_guid, update=update), a_call("trace")
        )

    async def scale(self, instances: int) -> None:
        await self.update(instances=instances)

    def _app_log(self, process_guid: str, error: BBSError) -> bool:
        self.refused.append(f"{process_guid}: {error}")
        return True

    async def ask(self, name: str, request: Message) -> None:
        """Ask as a client does."""
        [endpoint] = [route.endpoint for route in self.routes.routes if route.name == name]
        assert isinstance(endpoint, Unary)
        answer = await endpoint.handle(Call(request.SerializeToString(), "trace", "", Peer("1:2")))
        assert isinstance(answer, bytes)
        response = pb.DesiredLRPLifecycleResponse.FromString(answer)
        if response.HasField("error"):
            raise BBSError.from_wire(response.error)

    async def remove(self, process_guid: str = "p") -> None:
        await self.lifecycle.remove(pb.RemoveDesiredLRPRequest(process_guid=process_guid), a_call("trace"))

    async def run_on_cells(self, indices: range) -> None:
        """Let cells have started these instances."""
        self.peers.cells = {
            f"c{number}": Cell(cell_id=f"c{number}", rep_url="https://rep.example.com")
            for number in range(CELLS)
        }
        rows = self.store.committed.actual_lrps
        for index in indices:
            lrp = rows.rows_at("p", index).ordinary
            assert lrp is not None
            instance = InstanceKey(instance_guid=f"i{index}", cell_id=f"c{index % CELLS}")
            running = replace(lrp, state=ActualLRPState.RUNNING, instance=instance)
            self.store.committed.apply([put(running)])

    def rows(self) -> list[ActualLRP]:
        return list(self.store.committed.actual_lrps.rows.values())

    def indices(self) -> list[int]:
        return sorted(lrp.index for lrp in self.rows())

    def auctioned(self) -> list[tuple[int, ...]]:
        return [
            start.indices
            for each in self.peers.requests
            if isinstance(each, AuctionRequested)
            for start in each.starts
        ]

    async def half_way(self) -> None:
        """Wait until some rows have come or gone, and others have not."""
        self.instances_told = trio.Event()
        await self.instances_told.wait()
        assert 0 < len(self.rows()) < LARGE

    def count(self, event_class: type[Event]) -> int:
        return sum(isinstance(event, event_class) for event in self.events)


@asynccontextmanager
async def opened(disk: Disk | None = None, *, instances_max: int = INSTANCES_MAX) -> AsyncIterator[Bench]:
    events: list[Event] = []
    hubs = EventHubs(log=null_logger())

    def publish(announcements: tuple[Announcement, ...]) -> None:
        hubs.publish(announcements)
        for announcement in announcements:
            events.extend(announcement.events(Hub.DESIRED))
            events.extend(told := announcement.events(Hub.INSTANCE))
            if told:
                opened_bench.instances_told.set()

    faults = Faults(write_s=0.01)
    backend = MemoryBackend(
        disk or Disk(), Keyring({"l": "k"}, "l"), on_dropped=lambda row: None, faults=faults
    )
    await backend.acquire_writer_lock()
    store = Store(backend, publish=publish, write_retry_s=RETRY_S)
    await store.load()
    opened_bench = Bench(store, faults, hubs, events, instances_max=instances_max)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await nursery.start(opened_bench.effects.run)
        yield opened_bench
        nursery.cancel_scope.cancel()
    backend.lose_session()


@pytest.fixture
async def bench(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Bench]:
    async with opened() as bench:
        yield bench


@pytest.mark.parametrize(
    ("route", "request_for"),
    [
        pytest.param("DesireDesiredLRP", lambda n: desire_request("q", n), id="a desire"),
        pytest.param("UpdateDesireLRP", lambda n: scale_request(n), id="an update"),
    ],
)
@pytest.mark.parametrize("instances", [INSTANCES_MAX + 1, 2**31 - 1])
async def test_too_many_instances_are_refused_before_anything_is_made(
    bench: Bench, route: str, request_for: Callable[[int], Message], instances: int
) -> None:
    await bench.desire(1)
    made = bench.made

    with pytest.raises(InvalidRequest, match=f"^Invalid field: instances: {instances} is more than 100000$"):
        await bench.ask(route, request_for(instances))

    assert (bench.made, bench.store.head.staged(), len(bench.rows())) == (made, 0, 1)
    assert len(bench.refused) == 1


async def test_the_bound_itself_is_allowed(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(instances_max=3) as bench:
        await bench.ask("DesireDesiredLRP", desire_request("p", 3))
        with pytest.raises(InvalidRequest):
            await bench.ask("UpdateDesireLRP", scale_request(4))

        assert bench.indices() == [0, 1, 2]


@pytest.mark.parametrize(
    "instances",
    [INSTANCES_AT_ONCE_MAX, INSTANCES_AT_ONCE_MAX + 1, LARGE],
    ids=["the largest that is done at once", "the smallest that is not", "large"],
)
async def test_a_life(bench: Bench, instances: int) -> None:
    await bench.desire(instances)

    assert bench.indices() == list(range(instances))
    assert bench.auctioned() == [tuple(range(instances))]
    assert bench.events[0].name == DesiredLRPCreated.name
    created = [
        event.actual_lrp.index for event in bench.events if isinstance(event, ActualLRPInstanceCreated)
    ]
    assert created == list(range(instances))
    bench.events.clear()

    await bench.scale(1)

    assert bench.indices() == [0]
    assert bench.events[-1].name == DesiredLRPChanged.name
    assert bench.count(ActualLRPInstanceRemoved) == instances - 1
    bench.events.clear()
    bench.peers.requests.clear()

    await bench.scale(instances)

    assert bench.indices() == list(range(instances))
    assert bench.auctioned() == [tuple(range(1, instances))]
    assert bench.events[-1].name == DesiredLRPChanged.name
    assert bench.count(ActualLRPInstanceCreated) == instances - 1
    bench.events.clear()

    await bench.remove()

    assert bench.indices() == []
    assert bench.events[0].name == DesiredLRPRemoved.name
    assert bench.count(ActualLRPInstanceRemoved) == instances


@pytest.mark.parametrize("scale", [True, False], ids=["scaled to 1", "removed"])
async def test_instances_on_cells_are_stopped_there(bench: Bench, scale: bool) -> None:
    await bench.desire(LARGE)
    await bench.run_on_cells(range(10, 900))

    await (bench.scale(1) if scale else bench.remove())
    await trio.testing.wait_all_tasks_blocked()

    stopped = [each.lrp.index for each in bench.peers.requests if isinstance(each, StopRequested)]
    assert sorted(stopped) == list(range(10, 900))
    assert bench.indices() == [*([0] if scale else []), *range(10, 900)]


async def test_new_routes_reach_every_cell(bench: Bench) -> None:
    await bench.desire(LARGE)
    await bench.run_on_cells(range(LARGE))

    await bench.update(routes=pb.ProtoRoutes(routes={"internal-router": b'[{"hostname":"x"}]'}))
    await trio.testing.wait_all_tasks_blocked()

    told = [each for each in bench.peers.requests if isinstance(each, UpdateRequested)]
    assert sorted(each.lrp.index for each in told) == list(range(LARGE))
    assert {each.internal_routes for each in told} == {("x",)}
    assert bench.events[-1].name == DesiredLRPChanged.name


async def test_rows_that_are_there_already_are_adopted(bench: Bench) -> None:
    await bench.desire(LARGE)
    kept = {lrp.key: lrp for lrp in bench.rows() if lrp.index % 2}
    await bench.remove()
    bench.store.committed.apply([put(lrp) for lrp in kept.values()])

    await bench.desire(LARGE)

    assert bench.indices() == list(range(LARGE))
    assert {lrp.key: lrp for lrp in bench.rows() if lrp.index % 2} == kept
    assert bench.auctioned()[-1] == tuple(range(0, LARGE, 2))


@pytest.mark.parametrize(
    ("request_again", "refusal"),
    [
        pytest.param(lambda bench: bench.desire(LARGE), ResourceExists, id="desired already"),
        pytest.param(lambda bench: bench.update("q", instances=LARGE), ResourceNotFound, id="never desired"),
    ],
)
async def test_refusals_are_those_of_small_requests(
    bench: Bench, request_again: Callable[[Bench], Awaitable[None]], refusal: type[BBSError]
) -> None:
    await bench.desire(LARGE)
    with pytest.raises(refusal):
        await request_again(bench)

    await bench.remove()  # does not wait for what was refused

    assert bench.indices() == []


class RowsPerStep(trio.abc.Instrument):
    """The most rows that any task made, or had staged, between two checkpoints."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._before = (0, 0)
        self.made = self.staged = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._before = (self._bench.made, self._bench.store.statistics().staged_rows)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        made, staged = self._before
        self.made = max(self.made, self._bench.made - made)
        self.staged = max(self.staged, self._bench.store.statistics().staged_rows - staged)


async def test_no_step_makes_or_lands_more_than_a_turn(bench: Bench) -> None:
    steps = RowsPerStep(bench)
    trio.lowlevel.add_instrument(steps)
    try:
        await bench.desire(LARGE)
        await bench.scale(1)
        await bench.scale(LARGE)
        await bench.remove()
    finally:
        trio.lowlevel.remove_instrument(steps)

    assert steps.made <= INSTANCES_IN_A_TURN + 1, "and the record's tag"
    assert steps.staged <= INSTANCES_IN_A_TURN


async def test_a_reader_that_keeps_reading_is_not_cut_off(bench: Bench) -> None:
    subscription = bench.hubs.subscribe(frozenset({Hub.DESIRED, Hub.INSTANCE}), version=Version.V3)
    received = 0
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            nonlocal received
            while True:
                received += (await subscription.receive()).count(b"\n\n")

        nursery.start_soon(read)
        await bench.desire(5_000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert received == 5_001
    assert bench.hubs.statistics().cut_off == 0


async def test_others_wait_if_they_are_about_the_same_process(bench: Bench) -> None:
    answered: list[str] = []

    async def ask(what: str, request: Awaitable[None]) -> None:
        await request
        answered.append(what)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "large", bench.desire(LARGE))
        await bench.half_way()
        nursery.start_soon(ask, "same", bench.remove())
        nursery.start_soon(ask, "other", bench.desire(1, "q"))

    assert answered[0] == "other"
    assert answered.index("large") < answered.index("same")
    assert [lrp.process_guid for lrp in bench.rows()] == ["q"]


async def test_a_pass_in_between_makes_nothing_twice(bench: Bench) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.desire, LARGE)
        await bench.half_way()
        await bench.convergence.converge()

    assert bench.indices() == list(range(LARGE))
    created = Counter(
        event.actual_lrp.index for event in bench.events if isinstance(event, ActualLRPInstanceCreated)
    )
    assert created == Counter(range(LARGE))
    auctioned = Counter(index for indices in bench.auctioned() for index in indices)
    assert auctioned == Counter(range(LARGE))


@pytest.mark.parametrize("request_name", ["scale", "remove"])
async def test_a_pass_in_between_strands_nothing(bench: Bench, request_name: str) -> None:
    await bench.desire(LARGE)
    await bench.store.commit(Outcome(rows=(put(Domain(name="d", expire_time_ns=NEVER_NS)),)), about="d")
    async with trio.open_nursery() as nursery:
        if request_name == "scale":
            nursery.start_soon(bench.scale, 1)
        else:
            nursery.start_soon(bench.remove)
        await bench.half_way()
        await bench.convergence.converge()

    assert bench.indices() == ([0] if request_name == "scale" else [])
    assert bench.count(ActualLRPInstanceRemoved) == LARGE - len(bench.rows())


@pytest.mark.parametrize(
    ("request_name", "expected"),
    [("desire", list(range(LARGE))), ("scale", [0]), ("remove", [])],
)
class TestConvergenceCarriesThroughWhatEndedHalfWay:
    async def test_when_the_database_was_away(
        self, bench: Bench, request_name: str, expected: list[int]
    ) -> None:
        await self._begin(bench, request_name)
        bench.faults.next_writes.extend([Fault.NONE, Fault.NONE, *[Fault.LOST_BEFORE] * 30])

        with pytest.raises(StoreUnavailable, match="the change was begun, and convergence"):
            await self._request(bench, request_name)

        assert bench.indices() != expected
        if request_name == "scale":
            assert isinstance(bench.events[-1], DesiredLRPChanged), "the record is another one"
        bench.faults.next_writes.clear()
        await self._repaired(bench, expected)

    async def test_when_it_was_cancelled(self, bench: Bench, request_name: str, expected: list[int]) -> None:
        await self._begin(bench, request_name)
        await self._half(bench, request_name)

        await self._repaired(bench, expected)
        if request_name != "remove":
            await bench.remove()  # nobody waits for the request that is gone
            assert bench.indices() == []

    async def test_when_the_process_died(
        self, autojump_clock: trio.testing.MockClock, request_name: str, expected: list[int]
    ) -> None:
        disk = Disk()
        async with opened(disk) as bench:
            await self._begin(bench, request_name)
            await self._half(bench, request_name)
        async with opened(disk) as bench:
            assert bench.indices() != expected
            await self._repaired(bench, expected)

    async def _begin(self, bench: Bench, request_name: str) -> None:
        await bench.store.commit(Outcome(rows=(put(Domain(name="d", expire_time_ns=NEVER_NS)),)), about="d")
        if request_name != "desire":
            await bench.desire(LARGE)

    async def _half(self, bench: Bench, request_name: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._request, bench, request_name)
            await bench.half_way()
            nursery.cancel_scope.cancel()

    async def _request(self, bench: Bench, request_name: str) -> None:
        match request_name:
            case "desire":
                await bench.desire(LARGE)
            case "scale":
                await bench.scale(1)
            case _:
                await bench.remove()

    async def _repaired(self, bench: Bench, expected: list[int]) -> None:
        await bench.store.drain()
        assert bench.store.head.staged() == 0
        await bench.convergence.converge()
        assert bench.indices() == expected
        assert all(lrp.presence is Presence.ORDINARY for lrp in bench.rows())
        await bench.convergence.converge()
        assert bench.convergence.statistics().missing == bench.convergence.statistics().extra == 0
        assert bench.store.committed.attention.surplus == {}


async def test_of_a_process_that_was_stored_with_any_number_the_bounds_worth_is_created(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened(instances_max=300) as bench:
        await bench.desire(3)
        lrp = bench.store.committed.desired_lrps.rows["p"]
        await bench.store.commit(Outcome(rows=(put(replace(lrp, instances=2**31 - 1)),)), about="p")

        await bench.convergence.converge()
        await bench.convergence.converge()

        assert bench.indices() == list(range(300))
        await bench.update(annotation="still can be updated")
        await bench.scale(2)
        assert bench.indices() == [0, 1]


@pytest.fixture
def room_for_100_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbs.acts.effects.QUEUE_MAX", 100)


@pytest.mark.usefixtures("room_for_100_calls")
async def test_what_is_beyond_the_queue_to_the_cells_is_stopped_by_convergence(bench: Bench) -> None:
    bench.peers.faults = [PeerFault(call="stop_lrp_instance", takes_s=60, times=CALLED_AT_ONCE)]
    await bench.store.commit(Outcome(rows=(put(Domain(name="d", expire_time_ns=NEVER_NS)),)), about="d")
    await bench.desire(LARGE)
    await bench.run_on_cells(range(LARGE))

    await bench.remove()
    await trio.testing.wait_all_tasks_blocked()
    assert bench.effects.statistics().queued == 100
    assert bench.effects.statistics().dropped == LARGE - 100 - CALLED_AT_ONCE
    await bench.convergence.converge()

    stopped = {each.lrp.index for each in bench.peers.requests if isinstance(each, StopRequested)}
    assert stopped == set(range(LARGE))
