"""LRPs under every sequence of requests, convergence passes and lost cells.

Each answer is one that the tables allow, no sequence meets a bug, the rows keep their invariants, and once all cells are
back and time has passed, nothing is stranded.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from bbs.http.endpoints import Call, Peer, Unary
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.actual_lrp import NO_INSTANCE, ActualLRPState, InstanceKey, Presence, Rows
from bbs.models.errors import BBSError
from bbs.models.events import Hub
from bbs.models.outcome import Announcement, delete, put
from bbs.models.versions import Version
from bbs.peers.interfaces import Cell
from bbs.peers.stub import StopRequested, StubPeers
from bbs.service import Service, ServiceSettings
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import Backend, Seen
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from bbs.store.tables import Tables
from tests.convergence.test_full_scan import filed
from tests.databases import ON_BOTH, SomeDatabase
from tests.records import desired_message
from tests.routes import lrp_answers as allowed
from tests.routes.conftest import fail_on_dropped_row

KEYRING = Keyring({"label": "key"}, "label")
SECOND_NS = 1_000_000_000
CELLS = ("c1", "c2")
STRATEGIES = {"p": pb.DesiredLRP.ROLLING, "q": pb.DesiredLRP.RECREATE}
HELD = (ActualLRPState.CLAIMED, ActualLRPState.RUNNING)

Step = tuple[Any, ...]
OpenBackend = Callable[[], AbstractAsyncContextManager[Backend]]


class Fleet:
    """The real handlers on a store, and cells that are there or not."""

    def __init__(self, backend: Backend) -> None:
        self.now_ns = 10**18
        self.peers = StubPeers()
        self.appear(*CELLS)
        self.unrecoverable: list[BBSError] = []
        self.service = Service(
            backend,
            peers=self.peers.as_peers(),
            log=null_logger(),
            settings=ServiceSettings(convergence_workers=4),
            now_ns=lambda: self.now_ns,
            on_unrecoverable=self.unrecoverable.append,
            on_published=self._published,
        )
        self.store, self.hubs, self.effects = self.service.store, self.service.hubs, self.service.effects
        self.convergence = self.service.lrp_convergence
        # Somebody listens, or events are never worked out.
        self.streams = [
            self.hubs.subscribe(frozenset({hub}), version=Version.V3) for hub in (Hub.GROUP, Hub.INSTANCE)
        ]

    def _published(self, announcements: tuple[Announcement, ...]) -> None:
        for announcement in announcements:
            for hub in Hub:
                announcement.events(hub)

    def appear(self, *cells: str) -> None:
        self.peers.cells = {cell: Cell(cell_id=cell, rep_url=f"https://{cell}:1801") for cell in cells}

    def rows(self, guid: str, index: int) -> Rows:
        return self.store.head.rows_at(guid, index)

    async def ask(self, path: str, request: Any, response_class: Any = pb.ActualLRPLifecycleResponse) -> Any:
        """The response; an exception from the handler is a bug, and ends the test."""
        route = self.service.routes.find("POST", f"/v1/{path}".encode())
        endpoint = getattr(route, "endpoint", None)
        assert isinstance(endpoint, Unary)
        answer = await endpoint.handle(Call(request.SerializeToString(), "", f"/v1/{path}", Peer("")))
        return response_class.FromString(answer if isinstance(answer, bytes) else b"".join(answer))

    async def error(self, path: str, request: Any) -> str:
        return error_name((await self.ask(path, request)).error)

    async def do(self, step: Step) -> None:
        self.now_ns += 1
        name, *arguments = step
        await getattr(self, f"do_{name}")(*arguments)
        check_rows(self.store.committed)
        assert not self.unrecoverable

    # What follows are the steps.

    async def do_wait(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND_NS

    async def do_cells(self, cells: frozenset[str]) -> None:
        self.appear(*cells)

    async def do_converge(self) -> None:
        await self.convergence.converge()

    async def do_domain(self, domain: str, ttl_s: int) -> None:
        request = pb.UpsertDomainRequest(domain=domain, ttl=ttl_s)
        assert await self.error("domains/upsert", request) == ""

    async def do_desire(self, guid: str, n: int) -> None:
        existed = self.store.head.desired_lrp(guid) is not None
        lrp = desired_message(guid, instances=n, update_strategy=STRATEGIES[guid])
        answer = await self.error("desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=lrp))
        assert answer == ("ResourceExists" if existed else "")

    async def do_update(self, guid: str, n: int) -> None:
        existed = self.store.head.desired_lrp(guid) is not None
        request = pb.UpdateDesiredLRPRequest(process_guid=guid, update=pb.DesiredLRPUpdate(instances=n))
        assert await self.error("desired_lrp/update", request) == ("" if existed else allowed.NOT_FOUND)

    async def do_remove_desired(self, guid: str) -> None:
        existed = self.store.head.desired_lrp(guid) is not None
        request = pb.RemoveDesiredLRPRequest(process_guid=guid)
        assert await self.error("desired_lrp/remove", request) == ("" if existed else allowed.NOT_FOUND)

    async def do_claim(self, guid: str, index: int, who: InstanceKey) -> None:
        expected = allowed.claim(self.rows(guid, index), who)
        request = pb.ClaimActualLRPRequest(
            process_guid=guid, index=index, actual_lrp_instance_key=instance(who)
        )
        assert await self.error("actual_lrps/claim", request) == expected

    async def do_start(self, guid: str, index: int, who: InstanceKey, domain: str, revision: str) -> None:
        expected = allowed.start(self.rows(guid, index), who, domain)
        request = pb.StartActualLRPRequest(
            actual_lrp_key=key(guid, index, domain),
            actual_lrp_instance_key=instance(who),
            actual_lrp_net_info=NET,
        )
        assert await self.error(f"actual_lrps/start{revision}", request) == expected

    async def do_crash(self, guid: str, index: int, who: InstanceKey) -> None:
        desired = self.store.head.desired_lrp(guid)
        expected = allowed.crash(self.rows(guid, index), who, desired, self.now_ns)
        request = pb.CrashActualLRPRequest(
            actual_lrp_key=key(guid, index), actual_lrp_instance_key=instance(who), error_message="boom"
        )
        assert await self.error("actual_lrps/crash", request) == expected

    async def do_fail(self, guid: str, index: int) -> None:
        expected = allowed.fail(self.rows(guid, index))
        request = pb.FailActualLRPRequest(actual_lrp_key=key(guid, index), error_message="no room")
        assert await self.error("actual_lrps/fail", request) == expected

    async def do_remove(self, guid: str, index: int, who: InstanceKey | None) -> None:
        expected = allowed.remove(self.rows(guid, index), who)
        request = pb.RemoveActualLRPRequest(
            process_guid=guid,
            index=index,
            actual_lrp_instance_key=None if who is None else instance(who),
        )
        assert await self.error("actual_lrps/remove", request) == expected

    async def do_retire(self, guid: str, index: int) -> None:
        expected = allowed.retire(self.rows(guid, index))
        request = pb.RetireActualLRPRequest(actual_lrp_key=key(guid, index))
        assert await self.error("actual_lrps/retire", request) == expected

    async def do_remove_evacuating(self, guid: str, index: int, who: InstanceKey) -> None:
        expected = allowed.remove_evacuating(self.rows(guid, index), who)
        request = pb.RemoveEvacuatingActualLRPRequest(
            actual_lrp_key=key(guid, index), actual_lrp_instance_key=instance(who)
        )
        assert await self.error("actual_lrps/remove_evacuating", request) == expected

    async def do_evacuate(self, guid: str, index: int, who: InstanceKey, what: str) -> None:
        expected = allowed.evacuate(self.rows(guid, index), who)
        request = pb.EvacuateCrashedActualLRPRequest(
            actual_lrp_key=key(guid, index), actual_lrp_instance_key=instance(who)
        )
        if what == "crashed":
            request.error_message = "boom"
        answer = await self.ask(f"actual_lrps/evacuate_{what}", request, pb.EvacuationResponse)
        assert (error_name(answer.error), answer.keep_container) == expected

    async def do_evacuate_running(
        self, guid: str, index: int, who: InstanceKey, domain: str, revision: str
    ) -> None:
        running = sum(
            lrp.presence is Presence.ORDINARY and lrp.state is ActualLRPState.RUNNING
            for lrp in self.store.head.rows_of(guid)
        )
        desired = self.store.head.desired_lrp(guid)
        expected = allowed.evacuate_running(self.rows(guid, index), who, desired, running)
        request = pb.EvacuateRunningActualLRPRequest(
            actual_lrp_key=key(guid, index, domain),
            actual_lrp_instance_key=instance(who),
            actual_lrp_net_info=NET,
        )
        path = f"actual_lrps/evacuate_running{revision}"
        answer = await self.ask(path, request, pb.EvacuationResponse)
        assert (error_name(answer.error), answer.keep_container) == expected

    async def settle(self) -> None:
        """All cells are there, all domains fresh, reps stop what they are told to, time passes: nothing is stranded."""
        self.appear(*CELLS)
        for domain in ("d", "e"):
            await self.do_domain(domain, 0)
        for _ in range(6):
            self.now_ns += 17 * 60 * SECOND_NS
            self.peers.requests.clear()
            await self.convergence.converge()
            for asked in list(self.peers.requests):
                if isinstance(asked, StopRequested):
                    await self.do_remove(asked.lrp.process_guid, asked.lrp.index, asked.lrp.instance)
        tables = self.store.committed
        for desired in tables.desired_lrps.rows.values():
            indices = {
                lrp.index
                for lrp in tables.actual_lrps.by_process_guid[desired.process_guid]
                if lrp.presence is Presence.ORDINARY
            }
            assert indices == set(range(desired.instances)), desired.process_guid
        for lrp in tables.actual_lrps.rows.values():
            assert lrp.process_guid in tables.desired_lrps.rows or lrp.presence is Presence.EVACUATING, lrp
            assert lrp.state is not ActualLRPState.CRASHED, lrp
            assert lrp.presence is not Presence.SUSPECT, lrp


def check_rows(tables: Tables) -> None:
    fresh = Tables()
    for lrp in tables.actual_lrps.rows.values():
        assert (lrp.instance == NO_INSTANCE) == (lrp.state not in HELD), lrp
        if lrp.presence is Presence.EVACUATING:
            assert lrp.state is ActualLRPState.RUNNING, lrp
        elif lrp.presence is Presence.SUSPECT:
            assert lrp.state in HELD, lrp
        fresh.apply([put(lrp)])
    fresh.apply([put(desired) for desired in tables.desired_lrps.rows.values()])
    assert filed(tables.attention) == filed(fresh.attention), "an index does not agree with a scan"


NET = pb.ActualLRPNetInfo(address="10.0.0.1")


def key(guid: str, index: int, domain: str = "d") -> pb.ActualLRPKey:
    return pb.ActualLRPKey(process_guid=guid, index=index, domain=domain)


def instance(who: InstanceKey) -> pb.ActualLRPInstanceKey:
    return pb.ActualLRPInstanceKey(instance_guid=who.instance_guid, cell_id=who.cell_id)


def error_name(error: pb.Error) -> str:
    return "" if not error.type and not error.message else pb.Error.Type.Name(error.type)


async def hold(steps: list[Step], open_backend: OpenBackend) -> None:
    async with open_backend() as backend, trio.open_nursery() as nursery:
        fleet = Fleet(backend)
        await fleet.store.load()
        await nursery.start(fleet.store.run)
        await nursery.start(fleet.effects.run)
        for step in steps:
            await fleet.do(step)
        await fleet.settle()
        nursery.cancel_scope.cancel()


GUIDS = st.sampled_from(sorted(STRATEGIES))
INDICES = st.integers(0, 2)
WHO = st.builds(InstanceKey, instance_guid=st.sampled_from(["a", "b"]), cell_id=st.sampled_from(CELLS))
DOMAINS = st.sampled_from(["d", "d", "d", "e"])
PLACE = (GUIDS, INDICES, WHO)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("desire"), GUIDS, INDICES),
        st.tuples(st.just("desire"), GUIDS, INDICES),
        st.tuples(st.just("update"), GUIDS, INDICES),
        st.tuples(st.just("remove_desired"), GUIDS),
        st.tuples(st.just("claim"), *PLACE),
        st.tuples(st.just("start"), *PLACE, DOMAINS, st.sampled_from([".r1", ".r1", ""])),
        st.tuples(st.just("start"), *PLACE, DOMAINS, st.sampled_from([".r1", ".r1", ""])),
        st.tuples(st.just("crash"), *PLACE),
        st.tuples(st.just("fail"), GUIDS, INDICES),
        st.tuples(st.just("remove"), GUIDS, INDICES, st.none() | WHO),
        st.tuples(st.just("retire"), GUIDS, INDICES),
        st.tuples(st.just("remove_evacuating"), *PLACE),
        st.tuples(st.just("evacuate"), *PLACE, st.sampled_from(["claimed", "crashed", "stopped"])),
        st.tuples(st.just("evacuate_running"), *PLACE, DOMAINS, st.sampled_from([".r1", ""])),
        st.tuples(st.just("evacuate_running"), *PLACE, DOMAINS, st.sampled_from([".r1", ""])),
        st.tuples(st.just("domain"), DOMAINS, st.sampled_from([0, 1, 60])),
        st.tuples(st.just("cells"), st.frozensets(st.sampled_from(CELLS))),
        st.tuples(st.just("converge")),
        st.tuples(st.just("converge")),
        st.tuples(st.just("wait"), st.sampled_from([1, 31, 301, 1000])),
    ),
    max_size=40,
)


def memory() -> OpenBackend:
    @asynccontextmanager
    async def open_backend() -> AsyncIterator[Backend]:
        backend = MemoryBackend(Disk(), KEYRING, on_dropped=fail_on_dropped_row)
        await backend.acquire_writer_lock()
        yield backend
        await backend.aclose()

    return open_backend


@settings(max_examples=150)
@given(STEPS)
def test_any_sequence_of_steps(steps: list[Step]) -> None:
    trio.run(hold, steps, memory(), clock=MockClock(autojump_threshold=0))


@ON_BOTH
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_some_sequences_on_a_database(some_database: SomeDatabase, steps: list[Step]) -> None:
    @asynccontextmanager
    async def open_backend() -> AsyncIterator[Backend]:
        backend = some_database.database.backend(KEYRING, on_dropped=fail_on_dropped_row)
        await backend.acquire_writer_lock()
        try:
            yield backend
        finally:
            await backend.aclose()

    async def run() -> None:
        async with open_asyncio_loop(null_logger()):
            await hold(steps, open_backend)
            async with open_backend() as backend:  # the next example's database is empty again
                left = [row.record async for rows in backend.load(Seen()) for row in rows]
                await backend.write([delete(record) for record in left if record is not None])

    trio.run(run)


A, B = InstanceKey(instance_guid="a", cell_id="c1"), InstanceKey(instance_guid="b", cell_id="c2")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            [
                ("desire", "p", 1),
                ("evacuate_running", "p", 0, A, "e", ".r1"),
                ("start", "p", 0, B, "d", ".r1"),
            ],
            id="upstream's process ends on the domain of the second",
        ),
        pytest.param(
            [
                ("desire", "p", 1),
                ("start", "p", 0, A, "d", ".r1"),
                ("cells", frozenset({"c2"})),
                ("converge",),
                ("start", "p", 0, B, "d", ".r1"),
                ("cells", frozenset(CELLS)),
                ("converge",),
            ],
            id="a cell is lost and found",
        ),
    ],
)
async def test_a_sequence(steps: list[Step], autojump_clock: MockClock) -> None:
    await hold(steps, memory())
