"""Tasks under every sequence of requests, passes and restarts: answers, rows and events agree with a small model.

The model is a dictionary of dictionaries and one function per request, written from the tables (spec: tasks.md §4, §6),
not from the code. The server is the handlers on a real store, whose database is a disk in memory or a real Postgres.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from bbs.lifecycle.task_convergence import TaskLimits
from bbs.log import Logger, null_logger
from bbs.models import pb
from bbs.models.errors import Failure
from bbs.models.events import Event, Hub, TaskChanged, TaskCreated, TaskRemoved
from bbs.models.outcome import Announcement, delete
from bbs.models.task import Task
from bbs.peers.stub import StubPeers
from bbs.routes.tasks import TaskLifecycle, TaskReads
from bbs.service import Service, ServiceSettings
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import Backend, Seen
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from tests.convergence.bench import fail_on_unrecoverable
from tests.databases import ON_BOTH, SomeDatabase
from tests.records import task_definition
from tests.routes.calls import a_call
from tests.routes.conftest import fail_on_dropped_row

KEYRING = Keyring({"label": "key"}, "label")
SECOND_NS = 1_000_000_000
MAX_RETRIES = 1
KICK_NS, PENDING_NS, COMPLETED_NS = 30 * SECOND_NS, 1800 * SECOND_NS, 120 * SECOND_NS

Fields = dict[str, Any]
Step = tuple[Any, ...]
OpenBackend = Callable[[], AbstractAsyncContextManager[Backend]]


class Refused(Exception):
    pass


@dataclass
class Model:
    """Tasks by guid, as dictionaries; ``told`` are the events of the last step: kind, before, after."""

    rows: dict[str, Fields] = field(default_factory=dict)
    told: list[tuple[str, Fields, Fields]] = field(default_factory=list)
    now: int = 10**18

    def do(self, step: Step) -> str:
        """The answer: an error's text, or what the request returns."""
        self.told.clear()
        self.now += 1
        name, *arguments = step
        try:
            return str(getattr(self, name)(*arguments) or "")
        except Refused as refusal:
            return str(refusal)

    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND_NS

    def desire(self, guid: str) -> None:
        if guid in self.rows:
            raise Refused("the requested resource already exists")
        self.rows[guid] = {
            "state": "Pending", "cell": "", "created": self.now, "updated": self.now, "completed": 0, "result": "",
            "failed": False, "reason": "", "count": 0, "rejection": "",
        }  # fmt: skip
        self.told.append(("created", {}, dict(self.rows[guid])))

    def start(self, guid: str, cell: str) -> str:
        row = self.find(guid)
        if row["state"] == "Running" and row["cell"] == cell:
            return ""
        self.need(row, {"Pending"}, "Running")
        self.change(guid, state="Running", cell=cell, updated=self.now)
        return "should start"

    def complete(self, guid: str, cell: str, failed: bool) -> None:
        row = self.find(guid)
        if row["state"] == "Running" and row["cell"] != cell:
            raise Refused(f"Running on cell {row['cell']} not {cell}")
        self.need(row, {"Running"}, "Completed")
        self.end(guid, failed=failed, reason="why", result="r", cell="")

    def fail(self, guid: str) -> None:
        self.need(self.find(guid), {"Pending", "Running"}, "Completed")
        self.end(guid, failed=True, reason="f", result="", cell="")

    def cancel(self, guid: str) -> None:
        self.need(self.find(guid), {"Pending", "Running"}, "Completed")
        self.end(guid, failed=True, reason="task was cancelled", result="", cell="")

    def reject(self, guid: str) -> None:
        row = self.find(guid)
        accepted, count = row["state"] in {"Pending", "Running"}, row["count"]
        if accepted:
            self.change(guid, state="Pending", count=count + 1, rejection="no", updated=self.now)
        else:
            self.told.append(("changed", {}, row))
        if count >= MAX_RETRIES:
            self.told.clear()
            self.need(self.rows[guid], {"Pending", "Running"}, "Completed")
            self.end(guid, failed=True, reason="no", result="", cell="")
        elif not accepted:
            raise Refused("the request received is invalid")

    def resolving(self, guid: str) -> None:
        self.need(self.find(guid), {"Completed"}, "Resolving")
        self.change(guid, state="Resolving", updated=self.now)

    def delete(self, guid: str) -> None:
        self.need(self.find(guid), {"Resolving"}, "Resolving")
        self.told.append(("removed", self.rows.pop(guid), {}))

    def converge(self, cells: frozenset[str]) -> None:
        for guid, row in sorted(self.rows.items()):
            if row["state"] == "Pending" and row["created"] < self.now - PENDING_NS:
                self.end(guid, failed=True, reason="not started within time limit", result="")
            elif row["state"] == "Running" and row["cell"] not in cells:
                self.end(guid, failed=True, reason="cell disappeared before completion", result="")
            elif row["state"] == "Resolving" and row["updated"] < self.now - KICK_NS:
                self.change(guid, state="Completed")
            row = self.rows[guid]
            if row["state"] == "Completed" and row["completed"] < self.now - COMPLETED_NS:
                self.told.append(("removed", self.rows.pop(guid), {}))

    def restart(self) -> None:
        pass

    def find(self, guid: str) -> Fields:
        if guid not in self.rows:
            raise Refused("the requested resource could not be found")
        return self.rows[guid]

    def need(self, row: Fields, states: set[str], to: str) -> None:
        if row["state"] not in states:
            raise Refused(f"Cannot transition from {row['state']} to {to}")

    def end(self, guid: str, **changes: Any) -> None:
        self.change(guid, state="Completed", updated=self.now, completed=self.now, **changes)

    def change(self, guid: str, **changes: Any) -> None:
        before = self.rows[guid]
        self.rows[guid] = before | changes
        self.told.append(("changed", before, self.rows[guid]))


class SomeCells(StubPeers):
    present: frozenset[str] = frozenset()

    async def present_cells(self, *, log: Logger) -> frozenset[str]:
        return self.present


class Served:
    """The same steps, by way of the handlers."""

    def __init__(self, backend: Backend, clock: Callable[[], int]) -> None:
        self.told: list[Event] = []
        self.peers = SomeCells()
        service = Service(
            backend,
            peers=self.peers.as_peers(),
            log=null_logger(),
            settings=ServiceSettings(
                max_task_retries=MAX_RETRIES,
                task_limits=TaskLimits(
                    kick_ns=KICK_NS, expire_pending_ns=PENDING_NS, expire_completed_ns=COMPLETED_NS
                ),
            ),
            now_ns=clock,
            on_unrecoverable=fail_on_unrecoverable,
            on_published=self._publish,
        )
        self.store, self.convergence = service.store, service.task_convergence
        self.handlers, self.reads = TaskLifecycle(service.context), TaskReads(service.context)

    def _publish(self, announcements: tuple[Announcement, ...]) -> None:
        self.told.extend(event for told in announcements for event in told.events(Hub.TASK))

    async def do(self, step: Step) -> str:
        self.told.clear()
        name, *arguments = step
        try:
            return str(await getattr(self, name)(*arguments) or "")
        except Failure as error:
            return str(error)

    async def wait(self, seconds: int) -> None:
        pass

    async def desire(self, guid: str) -> None:
        request = pb.DesireTaskRequest(task_guid=guid, domain="d", task_definition=task_definition())
        await self.handlers.desire(request, a_call())

    async def start(self, guid: str, cell: str) -> str:
        answer = await self.handlers.start(pb.StartTaskRequest(task_guid=guid, cell_id=cell), a_call())
        assert isinstance(answer, bytes)
        return "should start" if pb.StartTaskResponse.FromString(answer).should_start else ""

    async def complete(self, guid: str, cell: str, failed: bool) -> None:
        await self.handlers.complete(
            pb.CompleteTaskRequest(
                task_guid=guid, cell_id=cell, failed=failed, failure_reason="why", result="r"
            ),
            a_call(),
        )

    async def fail(self, guid: str) -> None:
        await self.handlers.fail(pb.FailTaskRequest(task_guid=guid, failure_reason="f"), a_call())

    async def cancel(self, guid: str) -> None:
        await self.handlers.cancel(pb.TaskGuidRequest(task_guid=guid), a_call())

    async def reject(self, guid: str) -> None:
        await self.handlers.reject(pb.RejectTaskRequest(task_guid=guid, rejection_reason="no"), a_call())

    async def resolving(self, guid: str) -> None:
        await self.handlers.resolving(pb.TaskGuidRequest(task_guid=guid), a_call())

    async def delete(self, guid: str) -> None:
        await self.handlers.delete(pb.TaskGuidRequest(task_guid=guid), a_call())

    async def converge(self, cells: frozenset[str]) -> None:
        self.peers.present = cells
        await self.convergence.converge()

    async def rows(self) -> dict[str, Fields]:
        answer = await self.reads.tasks(pb.TasksRequest(), a_call())
        assert isinstance(answer, list)
        found = pb.TasksResponse.FromString(b"".join(answer)).tasks
        for each in found:
            assert each.task_definition == task_definition()
        return {each.task_guid: shown(each) for each in found}

    def told_in_short(self) -> list[tuple[str, Fields, Fields]]:
        short: list[tuple[str, Fields, Fields]] = []
        for event in self.told:
            match event:
                case TaskCreated(task):
                    short.append(("created", {}, shown(task.message())))
                case TaskChanged(before, after):
                    short.append(("changed", shown(before.message()), shown(after.message())))
                case TaskRemoved(task):
                    short.append(("removed", shown(task.message()), {}))
                case other:
                    raise AssertionError(other)
        return short


def shown(message: pb.Task) -> Fields:
    if not message.task_guid:
        return {}
    return {
        "state": pb.Task.State.Name(message.state),
        "cell": message.cell_id,
        "created": message.created_at,
        "updated": message.updated_at,
        "completed": message.first_completed_at,
        "result": message.result,
        "failed": message.failed,
        "reason": message.failure_reason,
        "count": message.rejection_count,
        "rejection": message.rejection_reason,
    }


async def agree(steps: list[Step], open_backend: OpenBackend) -> None:
    model = Model()
    parts: list[list[Step]] = [[]]
    for step in steps:
        parts[-1].append(step)
        if step == ("restart",):
            parts.append([])
    for part in parts:
        async with open_backend() as backend, trio.open_nursery() as nursery:
            served = Served(backend, lambda: model.now)
            await served.store.load()
            assert await served.rows() == model.rows
            await nursery.start(served.store.run)
            for step in part:
                expected = model.do(step)
                if step != ("restart",):
                    assert await served.do(step) == expected, step
                    assert await served.rows() == model.rows, step
                    told = served.told_in_short()
                    if step[0] == "converge":  # which task comes first is nobody's business
                        told, model.told = sorted(told, key=str), sorted(model.told, key=str)
                    assert told == model.told, step
            nursery.cancel_scope.cancel()


def memory() -> OpenBackend:
    """Backends on one disk."""
    disk = Disk()

    @asynccontextmanager
    async def open_backend() -> AsyncIterator[Backend]:
        backend = MemoryBackend(disk, KEYRING, on_dropped=fail_on_dropped_row)
        await backend.acquire_writer_lock()
        yield backend
        await backend.aclose()

    return open_backend


GUIDS = st.sampled_from(["t", "u", "v"])
CELLS = st.sampled_from(["c1", "c2"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("desire"), GUIDS),
        st.tuples(st.just("start"), GUIDS, CELLS),
        st.tuples(st.just("start"), GUIDS, CELLS),
        st.tuples(st.just("complete"), GUIDS, CELLS, st.booleans()),
        st.tuples(st.sampled_from(["fail", "cancel", "reject", "reject", "resolving", "delete"]), GUIDS),
        st.tuples(st.just("wait"), st.sampled_from([1, 31, 121, 1801])),
        st.tuples(st.just("converge"), st.frozensets(CELLS)),
        st.just(("restart",)),
    ),
    max_size=40,
)


@given(STEPS)
def test_any_sequence_of_steps(steps: list[Step]) -> None:
    trio.run(agree, steps, memory(), clock=MockClock(autojump_threshold=0))


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
            await agree(steps, open_backend)
            async with open_backend() as backend:  # the next example's database is empty again
                left = [row.record async for rows in backend.load(Seen()) for row in rows]
                await backend.write([delete(task) for task in left if isinstance(task, Task)])

    trio.run(run)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            [
                ("desire", "t"),
                ("start", "t", "c1"),
                ("restart",),
                ("complete", "t", "c1", False),
                ("resolving", "t"),
                ("wait", 31),
                ("converge", frozenset({"c1"})),
                ("resolving", "t"),
                ("restart",),
                ("delete", "t"),
                ("desire", "t"),
            ],
            id="a whole life, with restarts",
        ),
        pytest.param(
            [("desire", "t"), ("start", "t", "c1"), ("reject", "t"), ("reject", "t"), ("reject", "t")],
            id="one reject too many",
        ),
    ],
)
async def test_a_sequence(steps: list[Step]) -> None:
    await agree(steps, memory())
