"""spec: tasks.md §5; peers.md §4; examples.md H28-H36."""

import gc
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from bbs.log import Logger
from bbs.models import pb
from bbs.models.errors import InvalidStateTransition, ResourceNotFound, UnknownError
from bbs.models.task import Task, TaskState
from bbs.models.wire import encode
from bbs.peers.callbacks import HANDED_OVER_PER_WORKER_MAX, HTTPTaskCallbacks
from bbs.peers.http import ConnectionClosed, HTTPClient, TimedOut
from bbs.peers.interfaces import CallbackStatistics
from tests.log_lines import Lines
from tests.peers.peer_server import WAIT_S, Do, PeerServer, Step, answer, closed_port, peer_server, redirect


def completed(task_guid: str = "t", url: str = "", *, annotation: str = "", **fields: Any) -> Task:
    definition = pb.TaskDefinition(completion_callback_url=url, annotation=annotation)
    given: dict[str, Any] = {
        "failed": True,
        "failure_reason": "f",
        "created_at_ns": 1_700_000_000_000_000_000,
    }
    return Task(
        task_guid=task_guid,
        domain="d",
        updated_at_ns=1,
        state=TaskState.Completed,
        definition=encode(definition),
        **(given | fields),
    )


@dataclass
class Ledger:
    """The tasks' states, and what was done to them."""

    states: dict[str, TaskState] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    delete_fails: bool = False
    changed: trio.Event = field(default_factory=trio.Event)

    async def resolving(self, task_guid: str) -> None:
        await trio.lowlevel.checkpoint()
        if task_guid not in self.states:
            raise ResourceNotFound
        if self.states[task_guid] is not TaskState.Completed:
            raise InvalidStateTransition.between(self.states[task_guid].name, "Resolving")
        self.states[task_guid] = TaskState.Resolving
        self._did(f"resolving {task_guid}")

    async def delete(self, task_guid: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.delete_fails:
            raise UnknownError("no")
        del self.states[task_guid]
        self._did(f"delete {task_guid}")

    def _did(self, what: str) -> None:
        self.done.append(what)
        self.changed.set()


@dataclass
class Pool:
    callbacks: HTTPTaskCallbacks
    ledger: Ledger

    def add(self, task: Task) -> Task:
        self.ledger.states[task.task_guid] = task.state
        return task

    async def settle(self, reached: Callable[[CallbackStatistics], bool]) -> None:
        """Wait until the statistics are such."""
        with trio.fail_after(WAIT_S):
            while not reached(self.callbacks.statistics()):
                await trio.testing.wait_all_tasks_blocked(0.001)

    async def call_back(self, task: Task) -> None:
        """Call back a task, and wait for the end of it."""
        await self.callbacks.submit(task)
        await self.settle(lambda now: now.told + now.untold + now.skipped == 1)
        await trio.testing.wait_all_tasks_blocked(0.001)


@asynccontextmanager
async def running(http: HTTPClient, log: Logger, *, workers: int = 2) -> AsyncIterator[Pool]:
    pool = Pool(HTTPTaskCallbacks(http=http, workers=workers), Ledger())
    async with trio.open_nursery() as nursery:
        run = partial(
            pool.callbacks.run,
            resolving=pool.ledger.resolving,
            delete=pool.ledger.delete,
            log=log.session("task-completion-workpool"),
        )
        await nursery.start(run)
        yield pool
        nursery.cancel_scope.cancel()


@pytest.fixture
async def pool(http: HTTPClient, log: Logger) -> AsyncIterator[Pool]:
    async with running(http, log) as pool:
        yield pool


def statuses(*numbers: int) -> list[Step]:
    return [answer(f"{number} Whatever") for number in numbers]


@pytest.mark.parametrize(
    ("script", "requests", "is_gone"),
    [
        pytest.param(statuses(200), 1, True, id="H28"),
        pytest.param(statuses(404), 1, True, id="H29 404"),
        pytest.param(statuses(500), 1, True, id="H29 500"),
        pytest.param(statuses(503, 504, 200), 3, True, id="H30"),
        pytest.param(statuses(503, 503, 503), 3, False, id="H31"),
        pytest.param(statuses(504, 504, 504), 3, False, id="H31 504"),
        pytest.param(statuses(502), 1, True, id="502"),
        pytest.param(statuses(503, 302), 2, True, id="a redirect to nowhere"),
        pytest.param(statuses(304), 1, True, id="304"),
        pytest.param([redirect("307 Again", "/b"), *statuses(503), *statuses(200)], 3, True, id="redirected"),
        pytest.param([Do.HANG_UP], 1, False, id="hung up"),
        pytest.param([b"\x00\x00\r\n\r\n"], 1, False, id="garbage"),
        pytest.param([redirect("302 Found", "ftp://127.0.0.1/")], 1, False, id="redirected astray"),
    ],
)
async def test_what_an_answer_does(
    pool: Pool, server: PeerServer, script: list[Step], requests: int, is_gone: bool
) -> None:
    server.plays(*script)

    await pool.call_back(pool.add(completed(url=f"{server.address}/a")))

    assert len(server.sent) == requests
    assert pool.ledger.done == ["resolving t", "delete t"] if is_gone else ["resolving t"]
    assert pool.ledger.states == ({} if is_gone else {"t": TaskState.Resolving})


async def test_H32_who_refuses_the_connection_is_asked_once(pool: Pool, lines: Lines) -> None:
    await pool.call_back(pool.add(completed(url=f"http://127.0.0.1:{await closed_port()}/")))

    assert pool.ledger.states == {"t": TaskState.Resolving}
    assert lines.messages == ["bbs.task-completion-workpool.handle-completed-task.doing-request-failed"]


async def test_H33_who_takes_too_long_is_asked_again(
    impatient: HTTPClient, server: PeerServer, log: Logger
) -> None:
    server.plays(Do.HANG, *statuses(200))
    async with running(impatient, log) as pool:
        await pool.call_back(pool.add(completed(url=server.address)))

        assert len(server.sent) == 2
        assert not pool.ledger.states


async def test_H34_without_a_url_nothing_happens(pool: Pool, log: Logger) -> None:
    await pool.callbacks.submit(pool.add(completed()))
    pool.callbacks.submit_nowait(completed(), log=log)
    await trio.testing.wait_all_tasks_blocked(0.001)

    assert pool.ledger.states == {"t": TaskState.Completed}
    assert not pool.ledger.done


@pytest.mark.parametrize("is_there", [True, False], ids=["resolving", "gone"])
async def test_H35_a_task_that_is_not_ours_is_not_told(
    pool: Pool, server: PeerServer, is_there: bool
) -> None:
    task = completed(url=server.address)
    if is_there:
        pool.ledger.states["t"] = TaskState.Resolving

    await pool.call_back(task)

    assert not server.connections
    assert not pool.ledger.done


@pytest.mark.parametrize(
    ("task", "body"),
    [
        pytest.param(
            {},
            '{"task_guid":"t","failed":true,"failure_reason":"f","result":"","created_at":1700000000000000000}',
            id="H36",
        ),
        pytest.param(
            {"failed": False, "failure_reason": "", "result": "ok", "annotation": '{"a":1}'},
            '{"task_guid":"t","failed":false,"failure_reason":"","result":"ok","annotation":"{\\"a\\":1}",'
            '"created_at":1700000000000000000}',
            id="annotation",
        ),
        pytest.param(
            {"failure_reason": "<boom>", "result": "&\u2028ü"},
            '{"task_guid":"t","failed":true,"failure_reason":"\\u003cboom\\u003e","result":"\\u0026\\u2028ü",'
            '"created_at":1700000000000000000}',
            id="escaped",
        ),
    ],
)
async def test_H36_the_body_is_as_go_writes_it(
    pool: Pool, server: PeerServer, task: dict[str, Any], body: str
) -> None:
    await pool.call_back(pool.add(completed(url=f"{server.address}/done?x=1", **task)))

    [sent] = server.sent
    assert sent.body.decode() == body
    assert sent.lines == [
        "POST /done?x=1 HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "User-Agent: Go-http-client/1.1",
        f"Content-Length: {len(body.encode())}",
        "Content-Type: application/json",
        "Accept-Encoding: gzip",
    ]


async def test_over_tls_our_certificate_is_shown(pool: Pool, tls_server: PeerServer) -> None:
    await pool.call_back(pool.add(completed(url=tls_server.address)))

    assert len(tls_server.sent) == 1
    assert not pool.ledger.states


async def test_a_url_that_is_none_leaves_the_task_resolving(pool: Pool, lines: Lines) -> None:
    await pool.call_back(pool.add(completed(url="http://h:port/")))

    assert pool.ledger.states == {"t": TaskState.Resolving}
    assert lines.messages == ["bbs.task-completion-workpool.handle-completed-task.building-request-failed"]


async def test_a_delete_that_fails_is_logged(pool: Pool, server: PeerServer, lines: Lines) -> None:
    pool.ledger.delete_fails = True

    await pool.call_back(pool.add(completed(url=server.address)))

    assert lines.messages[-1] == "bbs.task-completion-workpool.handle-completed-task.delete-task-failed"


async def test_used_up_attempts_are_logged(pool: Pool, server: PeerServer, lines: Lines) -> None:
    server.plays(*statuses(503, 503, 504))

    await pool.call_back(pool.add(completed(url=server.address)))

    data = lines.data_of("bbs.task-completion-workpool.handle-completed-task.callback-failed")
    assert (data["status_code"], data["callback_url"], data["task_guid"]) == (504, server.address, "t")


class Failing(HTTPClient):
    """Gets no response, each time for the same reason."""

    def __init__(self, tls: ssl.SSLContext, why: Exception) -> None:
        super().__init__(tls=tls, timeout_s=1)
        self.why = why
        self.attempts = 0

    async def send(self, *args: Any, **kwargs: Any) -> int:
        await trio.lowlevel.checkpoint()
        self.attempts += 1
        raise self.why


@pytest.mark.parametrize("why", [TimedOut("slow"), ConnectionClosed("use of closed network connection")])
async def test_three_attempts_are_all_there_are(
    client_tls: ssl.SSLContext, log: Logger, lines: Lines, why: Exception
) -> None:
    http = Failing(client_tls, why)
    async with running(http, log) as pool:
        await pool.call_back(pool.add(completed(url="http://h/")))

        assert http.attempts == 3
        assert (
            lines.data_of("bbs.task-completion-workpool.handle-completed-task.callback-failed")["status_code"]
            == 0
        )
        assert pool.ledger.states == {"t": TaskState.Resolving}


async def test_a_receiver_that_hangs_holds_its_own_worker_only(pool: Pool, server: PeerServer) -> None:
    server.otherwise = Do.HANG
    async with peer_server() as other:
        await pool.callbacks.submit(pool.add(completed("stuck", server.address)))
        await server.wait_for_requests(1)
        for n in range(20):
            await pool.callbacks.submit(pool.add(completed(f"t-{n}", other.address)))
        await pool.settle(lambda now: now.told == 20)

        assert pool.ledger.states == {"stuck": TaskState.Resolving}
        assert pool.callbacks.statistics().calling == 1


async def test_convergence_waits_and_requests_do_not_when_all_is_full(
    http: HTTPClient, log: Logger, server: PeerServer
) -> None:
    server.otherwise = Do.HANG
    async with running(http, log, workers=1) as pool, trio.open_nursery() as nursery:
        for n in range(2):
            await pool.callbacks.submit(pool.add(completed(f"t-{n}", server.address)))
            await server.wait_for_requests(1)
        nursery.start_soon(pool.callbacks.submit, pool.add(completed("waits", server.address)))
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert len(nursery.child_tasks) == 1

        # One more than fit: one waits in between, to be passed on.
        for n in range(HANDED_OVER_PER_WORKER_MAX):
            pool.callbacks.submit_nowait(completed(f"h-{n}", server.address), log=log)
        await trio.testing.wait_all_tasks_blocked(0.001)
        pool.callbacks.submit_nowait(completed("fits", server.address), log=log)
        pool.callbacks.submit_nowait(completed("dropped", server.address), log=log)

        assert pool.callbacks.statistics() == CallbackStatistics(
            queued=1,
            handed_over=HANDED_OVER_PER_WORKER_MAX,
            calling=1,
            told=0,
            untold=0,
            skipped=0,
            dropped=1,
        )
        nursery.cancel_scope.cancel()


async def test_what_requests_hand_over_is_called_back(pool: Pool, server: PeerServer, log: Logger) -> None:
    for n in range(15):
        pool.callbacks.submit_nowait(pool.add(completed(f"t-{n}", server.address)), log=log)
    await pool.settle(lambda now: now.told == 15)

    assert len(server.sent) == 15
    assert not pool.ledger.states


def test_a_pool_needs_a_worker(client_tls: ssl.SSLContext, log: Logger) -> None:
    http = HTTPClient(tls=client_tls, timeout_s=1)

    with pytest.raises(ValueError, match="must provide positive maxWorkers; provided 0"):
        HTTPTaskCallbacks(http=http, workers=0)


async def test_who_waits_for_a_task_holds_none(pool: Pool, server: PeerServer, log: Logger) -> None:
    """A task may have megabytes, and there are a thousand workers."""
    server.plays(*statuses(200, 503, 503, 503))
    for guid in ("held-told", "held-untold"):
        pool.callbacks.submit_nowait(pool.add(completed(guid, server.address)), log=log)
    pool.callbacks.submit_nowait(completed("held-skipped", server.address), log=log)
    await pool.settle(lambda now: now.told + now.untold + now.skipped == 3)
    await trio.testing.wait_all_tasks_blocked(0.001)

    alive = [each.task_guid for each in gc.get_objects() if type(each) is Task]
    assert [guid for guid in alive if guid.startswith("held")] == []
