"""What the log says of the calls that requests and passes make to peers, and which of them carry the client's trace.

spec: peers.md §2, §3; metrics-and-logs.md §3; api.md §4. The peers are real servers on the loopback.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
from google.protobuf.message import Message

from bbs.http.endpoints import Call, Peer, Unary
from bbs.log import LagerSink, Level, root_logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState, InstanceKey
from bbs.models.domain import Domain
from bbs.models.outcome import Outcome, Record, put
from bbs.models.task import TaskState
from bbs.peers.auctioneer import HTTPAuctioneer
from bbs.peers.http import HTTPClient
from bbs.peers.interfaces import Peers
from bbs.peers.reps import HTTPReps
from bbs.peers.stub import StubPeers
from bbs.routes.large_processes import INSTANCES_AT_ONCE_MAX
from bbs.service import Service, ServiceSettings
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from bbs.sync.locket.client import Resource
from bbs.sync.locket.presences import Presences
from bbs.sync.locket.table import LocalLocket, LocketTable
from tests.log_lines import Lines, Said, said
from tests.peers.peer_server import WAIT_S, PeerServer, answer
from tests.records import AnyScope, actual_lrp, desired_lrp, desired_message, task, task_definition

TRACE = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
OH = answer("500 Oh")
NOW_NS = 1_700_000_000_000_000_000

AT_C1 = InstanceKey(instance_guid="a", cell_id="c1")
RUNNING = actual_lrp(state=ActualLRPState.RUNNING, instance=AT_C1)
KEY = pb.ActualLRPKey(process_guid="p", index=0, domain="d")
A = pb.ActualLRPInstanceKey(instance_guid="a", cell_id="c1")
URL = "https://client.example.com/"
ROUTES = {"internal-router": b'[{"hostname":"a.apps.internal"}]'}


@dataclass
class BBS:
    service: Service
    sink: LagerSink
    lines: Lines
    locket: LocalLocket
    table: LocketTable
    auctioneer: PeerServer
    rep: PeerServer

    def announce(self, cell_id: str, rep_url: str) -> None:
        value = f'{{"cell_id":"{cell_id}","rep_url":"{rep_url}"}}'
        self.table.lock(Resource.presence(cell_id, owner="rep", value=value), ttl_s=15)

    async def there_is(self, *records: Record) -> None:
        await self.service.store.commit(
            Outcome(rows=tuple(put(record) for record in records)), AnyScope(self.service.store, "")
        )

    async def ask(self, name: str, request: Message, *, effects: int) -> None:
        """Make a request, the seventh, and wait until so many auctions and calls to cells are done."""
        await self.handle(name, request, 7)
        with trio.fail_after(WAIT_S):
            while self.effects_done() < effects:
                await trio.testing.wait_all_tasks_blocked(0.001)

    async def handle(self, name: str, request: Message, session: int) -> None:
        """Make a request, the ``session``-th."""
        [endpoint] = [route.endpoint for route in self.service.routes.routes if route.name == name]
        assert isinstance(endpoint, Unary)
        call = Call(request.SerializeToString(), TRACE, "", Peer("1:2"))
        call.session = session
        await endpoint.handle(call)

    def effects_done(self) -> int:
        statistics = self.service.effects.statistics()
        return statistics.performed + statistics.failed

    def said(self) -> list[Said]:
        """Without what the request's story says, which has a table of its own (`tests/routes/request_lines.txt`)."""
        return [line for line in self.lines.said() if not STORY.search(line[0])]


@pytest.fixture
async def bbs(
    nursery: trio.Nursery, http: HTTPClient, server: PeerServer, tls_server: PeerServer, lines: Lines
) -> BBS:
    table = LocketTable(trio.current_time)
    locket = LocalLocket(table)
    sink = LagerSink(lines, min_level=Level.DEBUG)
    log = root_logger("bbs", sink)
    backend = MemoryBackend(Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None)
    await backend.acquire_writer_lock()
    service = Service(
        backend,
        peers=Peers(
            auctioneer=HTTPAuctioneer(server.address, http=http),
            reps=HTTPReps(http=http),
            cells=Presences(locket, deadline_s=1),
            callbacks=StubPeers(),
        ),
        log=log,
        settings=ServiceSettings(convergence_workers=1),
        now_ns=lambda: NOW_NS,
        on_unrecoverable=lambda error: None,
    )
    await service.store.load()
    await nursery.start(service.write)
    bbs = BBS(service, sink, lines, locket, table, server, tls_server)
    bbs.announce("c1", tls_server.address)
    return bbs


@dataclass(frozen=True, kw_only=True)
class Case:
    """``lines`` are given once a request, the seventh, is made about ``rows``; it takes so many ``effects``.

    ``trace`` is what the peer gets of the client's trace: its id, or nothing.
    """

    name: str
    rows: Sequence[Record] = ()
    route: str
    request: Message
    lines: Sequence[Said]
    effects: int = 0
    auctioneer: bytes = b""
    rep: bytes = b""
    cells: dict[str, str] = field(default_factory=dict)
    """Presences in place of the usual one."""
    trace: str | None = TRACE


def asked(session: str, numbers: str, *data: dict[str, Any], name: str = "CreateLRPAuctions") -> list[Said]:
    """The lines of a call to the auctioneer that is answered at once."""
    kind, path = ("lrp", "/v1/lrps") if "LRP" in name else ("task", "/v1/tasks")
    call = f"debug {session}.request-{kind}-auctions.do-request"
    return [
        said(f"{call}.creating-request", numbers, *data, attempt=1, request_name=name),
        said(f"{call}.doing-request", numbers, *data, attempt=1, request_path=path),
        said(f"{call}.complete", numbers, *data, request_path=path),
    ]


def called(call: str, numbers: str, *data: dict[str, Any], accepted: bool = True) -> list[Said]:
    """The lines of a call to a rep, which accepts it or answers 500."""
    last = (
        said(f"info {call}.completed", numbers, *data)
        if accepted
        else said(f"error {call}.failed-with-status", numbers, *data, REFUSED)
    )
    return [said(f"info {call}.starting", numbers, *data), last]


P, T, C1 = {"process_guid": "p"}, {"task_guid": "t"}, {"cell_id": "c1"}
INSTANCE = {"process_guid": "p", "instance_guid": "a", "cell_id": "c1"}
LRP_KEY = {"process-guid": "p", "index": 0, "domain": "d"}
STOPPED = LRP_KEY | {"instance-key": {"instance_guid": "a", "cell_id": "c1"}}
UPDATED = LRP_KEY | {"instance-guid": "a"}
REFUSED = {"status-code": 500, "msg": "Internal Server Error"}

DESIRING = "request.desire-lrp.start-instance-range"
DESIRED = {"lower": 0, "upper": 2}
SCALING = "request.update-desired-lrp.start-instance-range"
SCALED = {"guid": "p", "instances_delta": 2, "lower": 1, "upper": 3}
STOPPING = "request.update-desired-lrp.stop-instances-from"
FEWER = {"guid": "p", "instances_delta": -1, "process_guid": "p"}
MANY = INSTANCES_AT_ONCE_MAX + 1
LARGE = {"lower": 0, "upper": MANY, "app_guid": "p", "indices": list(range(MANY))}
MANY_FEWER = FEWER | {"instances_delta": 1 - MANY, "index": 1}
PUSHING = "request.update-desired-lrp.updating-instances"
PUSHED = {"guid": "p", "process_guid": "p"}
REMOVING = "request.remove-desired-lrp.stop-instances-from"
REMOVED = {"process_guid": "p", "index": 0}
RETIRING = "request.retire-actual-lrp.retire-actual-lrp"
CRASHING = "request.crash-actual-lrp"
CRASHED = {"app_guid": "p", "index": 0}
EVACUATING = "request.evacuate-claimed-actual-lrp"
DESIRING_TASK = "request.desire-task.desire-task"
CANCELLING = "request.cancel-task.cancel-task"

STORY = re.compile(
    r"\.db-"
    r"|request\.[a-z-]+\.(starting|complete|(completed-)?updating-[a-z-]+|(in|de)creasing-the-instances)$"
    r"|\.start-instance-range\.(create-unclaimed-actual-lrp\.)?(starting|complete)$"
    r"|converge-(lrps|tasks)\.((succeeded-)?listing-cells|emitting-events-from-convergence|(done-)?submitting-tasks[a-z-]*)$"
    r"|converge-lrps\.[a-z-]*(starting|creating-start-request|complete)$"
)

REMOVE = pb.RemoveDesiredLRPRequest(process_guid="p")
CRASH = pb.CrashActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A, error_message="oops")
EVACUATE = pb.EvacuateClaimedActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A)
RETIRE = pb.RetireActualLRPRequest(actual_lrp_key=KEY)
DESIRE_TASK = pb.DesireTaskRequest(task_guid="t", domain="d", task_definition=task_definition())
CANCEL = pb.TaskGuidRequest(task_guid="t")


def update(**fields: Any) -> pb.UpdateDesiredLRPRequest:
    return pb.UpdateDesiredLRPRequest(process_guid="p", update=pb.DesiredLRPUpdate(**fields))


CASES = [
    Case(
        name="desire",
        route="DesireDesiredLRP",
        request=pb.DesireLRPRequest(desired_lrp=desired_message(instances=2)),
        effects=1,
        lines=[
            said(f"info {DESIRING}.start-lrp-auction-request", "7.1.3", DESIRED, app_guid="p", indices=[0, 1]),
            *asked(DESIRING, "7.1.3.2.1", DESIRED),
            said(f"info {DESIRING}.finished-lrp-auction-request", "7.1.3", DESIRED, app_guid="p", indices=[0, 1]),
        ],
    ),
    Case(
        name="scale up, refused by the auctioneer",
        rows=[desired_lrp()],
        route="UpdateDesireLRP",
        request=update(instances=3),
        auctioneer=OH,
        effects=1,
        lines=[
            said(f"info {SCALING}.start-lrp-auction-request", "7.1.1", SCALED, app_guid="p", indices=[1, 2]),
            *asked(SCALING, "7.1.1.2.1", SCALED),
            said(f"info {SCALING}.finished-lrp-auction-request", "7.1.1", SCALED, app_guid="p", indices=[1, 2]),
            said(f"error {SCALING}.failed-to-request-auction", "7.1.1", SCALED, P),
        ],
    ),
    Case(
        name="scale down",
        rows=[desired_lrp(instances=2), replace(RUNNING, index=1)],
        route="UpdateDesireLRP",
        request=update(instances=1),
        effects=1,
        lines=[
            said(f"debug {STOPPING}.stopping-lrp-instance", "7.1.1", FEWER, index=1),
            *called(f"{STOPPING}.stop-lrp", "7.1.1.3", FEWER, STOPPED, {"index": 1}),
        ],
    ),
    Case(
        name="desire, a large process",
        route="DesireDesiredLRP",
        request=pb.DesireLRPRequest(desired_lrp=desired_message(instances=MANY)),
        effects=1,
        lines=[
            said(f"info {DESIRING}.start-lrp-auction-request", "7.1.3", LARGE),
            *asked(DESIRING, "7.1.3.2.1", {"lower": 0, "upper": MANY}),
            said(f"info {DESIRING}.finished-lrp-auction-request", "7.1.3", LARGE),
        ],
    ),
    Case(
        name="scale down, a large process",
        rows=[desired_lrp(instances=MANY), replace(RUNNING, index=1)],
        route="UpdateDesireLRP",
        request=update(instances=1),
        effects=1,
        lines=[
            said(f"debug {STOPPING}.stopping-lrp-instance", "7.1.1", MANY_FEWER),
            *called(f"{STOPPING}.stop-lrp", "7.1.1.3", MANY_FEWER, STOPPED, {"index": 1}),
        ],
    ),
    Case(
        name="new routes, a large process",
        rows=[desired_lrp(instances=MANY), RUNNING],
        route="UpdateDesireLRP",
        request=update(routes=pb.ProtoRoutes(routes=ROUTES)),
        effects=1,
        lines=[
            said(f"debug {PUSHING}.updating-lrp-instance", "7.1.2", PUSHED),
            *called(f"{PUSHING}.update-lrp", "7.1.2.2", PUSHED, UPDATED),
        ],
    ),
    Case(
        name="remove, a large process",
        rows=[desired_lrp(instances=MANY), RUNNING],
        route="RemoveDesiredLRP",
        request=REMOVE,
        effects=1,
        lines=[
            said(f"debug {REMOVING}.stopping-lrp-instance", "7.1.3", REMOVED),
            *called(f"{REMOVING}.stop-lrp", "7.1.3.3", REMOVED, STOPPED),
        ],
    ),
    Case(
        name="new routes",
        rows=[desired_lrp(), RUNNING],
        route="UpdateDesireLRP",
        request=update(routes=pb.ProtoRoutes(routes=ROUTES)),
        effects=1,
        lines=[
            said(f"debug {PUSHING}.updating-lrp-instance", "7.1.2", PUSHED),
            *called(f"{PUSHING}.update-lrp", "7.1.2.2", PUSHED, UPDATED),
        ],
    ),
    Case(
        name="new routes, refused by the rep",
        rows=[desired_lrp(), RUNNING],
        route="UpdateDesireLRP",
        request=update(routes=pb.ProtoRoutes(routes=ROUTES)),
        rep=OH,
        effects=1,
        lines=[
            said(f"debug {PUSHING}.updating-lrp-instance", "7.1.2", PUSHED),
            *called(f"{PUSHING}.update-lrp", "7.1.2.2", PUSHED, UPDATED, accepted=False),
            said(f"error {PUSHING}.updating-lrp-instance", "7.1.2", PUSHED, INSTANCE),
        ],
    ),
    Case(
        name="remove",
        rows=[desired_lrp(), RUNNING],
        route="RemoveDesiredLRP",
        request=REMOVE,
        effects=1,
        lines=[
            said(f"debug {REMOVING}.stopping-lrp-instance", "7.1.3", REMOVED),
            *called(f"{REMOVING}.stop-lrp", "7.1.3.3", REMOVED, STOPPED),
        ],
    ),
    Case(
        name="remove, refused by the rep",
        rows=[desired_lrp(), RUNNING],
        route="RemoveDesiredLRP",
        request=REMOVE,
        rep=OH,
        effects=1,
        lines=[
            said(f"debug {REMOVING}.stopping-lrp-instance", "7.1.3", REMOVED),
            *called(f"{REMOVING}.stop-lrp", "7.1.3.3", REMOVED, STOPPED, accepted=False),
            said(f"error {REMOVING}.failed-stopping-lrp-instance", "7.1.3", REMOVED, INSTANCE),
        ],
    ),
    Case(
        name="remove, on a cell that is gone",
        rows=[desired_lrp(), RUNNING],
        route="RemoveDesiredLRP",
        request=REMOVE,
        cells={"c2": ""},
        effects=1,
        lines=[
            said(
                f"error {REMOVING}.cell-by-id.failed-to-fetch-presence-from-locket",
                "7.1.3.2", REMOVED, {"cell-id": "c1"},
            ),
            said(f"error {REMOVING}.failed-fetching-cell-presence", "7.1.3", REMOVED, INSTANCE),
        ],
    ),
    Case(
        name="remove, on a cell without https",
        rows=[desired_lrp(), RUNNING],
        route="RemoveDesiredLRP",
        request=REMOVE,
        cells={"c1": "http://c1"},
        effects=1,
        lines=[said(f"error {REMOVING}.create-rep-client-failed", "7.1.3", REMOVED, INSTANCE)],
    ),
    Case(
        name="retire",
        rows=[RUNNING],
        route="RetireActualLRP",
        request=RETIRE,
        lines=called(f"{RETIRING}.stop-lrp", "7.1.1.3", REMOVED, STOPPED),
    ),
    Case(
        name="retire, refused by the rep",
        rows=[RUNNING],
        route="RetireActualLRP",
        request=RETIRE,
        rep=OH,
        lines=[
            line
            for attempt in range(1, 6)
            for line in (
                *called(f"{RETIRING}.stop-lrp", f"7.1.1.{2 * attempt + 1}", REMOVED, STOPPED, accepted=False),
                said(
                    f"error {RETIRING}.retrying-failed-retire-of-actual-lrp", "7.1.1", REMOVED, attempt=attempt
                ),
            )
        ],
    ),
    Case(
        name="crash",
        rows=[desired_lrp(), RUNNING],
        route="CrashActualLRP",
        request=CRASH,
        effects=1,
        trace="",
        lines=[
            said(f"info {CRASHING}.start-lrp-auction-request", "7.1", CRASHED),
            *asked(CRASHING, "7.1.2.1"),
            said(f"info {CRASHING}.finished-lrp-auction-request", "7.1", CRASHED),
        ],
    ),
    Case(
        name="crash, refused by the auctioneer",
        rows=[desired_lrp(), RUNNING],
        route="CrashActualLRP",
        request=CRASH,
        auctioneer=OH,
        effects=1,
        trace="",
        lines=[
            said(f"info {CRASHING}.start-lrp-auction-request", "7.1", CRASHED),
            *asked(CRASHING, "7.1.2.1"),
            said(f"info {CRASHING}.finished-lrp-auction-request", "7.1", CRASHED),
            said(f"error {CRASHING}.failed-requesting-auction", "7.1", P),
        ],
    ),
    Case(
        name="evacuate, refused by the auctioneer",
        rows=[desired_lrp(), RUNNING],
        route="EvacuateClaimedActualLRP",
        request=EVACUATE,
        auctioneer=OH,
        effects=1,
        trace="",
        lines=[
            said(f"info {EVACUATING}.started", "7.1"),
            *asked(EVACUATING, "7.1.2.1"),
            said(f"error {EVACUATING}.failed-requesting-auction", "7.1", P),
            said(f"info {EVACUATING}.completed", "7.1"),
        ],
    ),
    Case(
        name="desire task",
        route="DesireTask",
        request=DESIRE_TASK,
        trace="",
        lines=[
            said(f"debug {DESIRING_TASK}.start-task-auction-request", "7.1.1", T),
            *asked(DESIRING_TASK, "7.1.1.2.1", T, name="CreateTaskAuctions"),
            said(f"debug {DESIRING_TASK}.succeeded-requesting-task-auction", "7.1.1", T),
        ],
    ),
    Case(
        name="desire task, refused by the auctioneer",
        route="DesireTask",
        request=DESIRE_TASK,
        auctioneer=OH,
        trace="",
        lines=[
            said(f"debug {DESIRING_TASK}.start-task-auction-request", "7.1.1", T),
            *asked(DESIRING_TASK, "7.1.1.2.1", T, name="CreateTaskAuctions"),
            said(f"error {DESIRING_TASK}.failed-requesting-task-auction", "7.1.1", T),
        ],
    ),
    Case(
        name="cancel task",
        rows=[task(state=TaskState.Running, cell_id="c1", url=URL)],
        route="CancelTask",
        request=CANCEL,
        lines=[
            said(f"info {CANCELLING}.task-client-completing-task", "7.1.1", T),
            said(f"info {CANCELLING}.start-check-cell-presence", "7.1.1", T, C1),
            said(f"info {CANCELLING}.finished-check-cell-presence", "7.1.1", T, C1),
            said(f"info {CANCELLING}.start-rep-cancel-task", "7.1.1", T),
            *called(f"{CANCELLING}.cancel-task", "7.1.1.3", T, {"task-guid": "t"}),
            said(f"info {CANCELLING}.finished-rep-cancel-task", "7.1.1", T),
        ],
    ),
    Case(
        name="cancel task, refused by the rep",
        rows=[task(state=TaskState.Running, cell_id="c1")],
        route="CancelTask",
        request=CANCEL,
        rep=OH,
        lines=[
            said(f"info {CANCELLING}.start-check-cell-presence", "7.1.1", T, C1),
            said(f"info {CANCELLING}.finished-check-cell-presence", "7.1.1", T, C1),
            said(f"info {CANCELLING}.start-rep-cancel-task", "7.1.1", T),
            *called(f"{CANCELLING}.cancel-task", "7.1.1.3", T, {"task-guid": "t"}, accepted=False),
            said(f"error {CANCELLING}.failed-rep-cancel-task", "7.1.1", T),
        ],
    ),
    Case(
        name="cancel task, on a cell that is gone",
        rows=[task(state=TaskState.Running, cell_id="c1")],
        route="CancelTask",
        request=CANCEL,
        cells={"c2": ""},
        lines=[
            said(f"info {CANCELLING}.start-check-cell-presence", "7.1.1", T, C1),
            said(
                f"error {CANCELLING}.cell-by-id.failed-to-fetch-presence-from-locket",
                "7.1.1.2", T, {"cell-id": "c1"},
            ),
            said(f"error {CANCELLING}.failed-fetching-cell-presence", "7.1.1", T),
        ],
    ),
    Case(
        name="cancel task, on a cell without https",
        rows=[task(state=TaskState.Running, cell_id="c1")],
        route="CancelTask",
        request=CANCEL,
        cells={"c1": "http://c1"},
        lines=[
            said(f"info {CANCELLING}.start-check-cell-presence", "7.1.1", T, C1),
            said(f"info {CANCELLING}.finished-check-cell-presence", "7.1.1", T, C1),
            said(f"error {CANCELLING}.create-rep-client-failed", "7.1.1", T),
        ],
    ),
    Case(
        name="complete task",
        rows=[task(state=TaskState.Running, cell_id="c1", url=URL)],
        route="CompleteTask",
        request=pb.CompleteTaskRequest(task_guid="t", cell_id="c1"),
        lines=[said("info request.complete-task.complete-task.task-client-completing-task", "7.1.1", T)],
    ),
    Case(
        name="fail task",
        rows=[task(url=URL)],
        route="FailTask",
        request=pb.FailTaskRequest(task_guid="t", failure_reason="full"),
        lines=[said("info request.fail-task.task-client-completing-task", "7.1", T)],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
async def test_what_is_said_of_the_calls_for_a_request(bbs: BBS, case: Case) -> None:
    await bbs.there_is(*case.rows)
    if case.cells:
        bbs.table.release(Resource.presence("c1", owner="rep", value=""))
    for cell_id, rep_url in case.cells.items():
        bbs.announce(cell_id, rep_url)
    bbs.auctioneer.otherwise = case.auctioneer or bbs.auctioneer.otherwise
    bbs.rep.otherwise = case.rep or bbs.rep.otherwise

    await bbs.ask(case.route, case.request, effects=case.effects)

    assert bbs.said() == case.lines
    of_request = [line["data"] for line in bbs.lines.lines if line["message"].startswith("bbs.request.")]
    assert {data["trace-id"] for data in of_request} == {TRACE.replace("-", "")}
    assert len({data["span-id"] for data in of_request}) == 1
    assert all("error" in line["data"] for line in bbs.lines.lines if line["log_level"] == Level.ERROR)
    sent = [*bbs.auctioneer.sent, *bbs.rep.sent]
    assert {each.header("X-Vcap-Request-Id") for each in sent} <= {case.trace}


async def test_a_list_of_cells_that_cannot_be_had(bbs: BBS) -> None:
    bbs.locket.unreachable = True

    await bbs.ask("Cells", pb.PingResponse(), effects=0)

    [failed] = [line for line in bbs.said() if line[0].startswith("error")]
    assert failed == said("error request.cells.cells.failed-to-fetch-cells-from-locket", "7.1.2")
    assert {line["data"]["trace-id"] for line in bbs.lines.lines} == {TRACE.replace("-", "")}


@pytest.mark.parametrize("accepted", [True, False])
async def test_what_is_said_of_the_calls_of_a_pass_over_lrps(bbs: BBS, accepted: bool) -> None:
    """One instance is extra, one has old routes, one is missing."""
    if not accepted:
        bbs.auctioneer.otherwise = bbs.rep.otherwise = OH
    await bbs.there_is(
        Domain(name="d", expire_time_ns=NOW_NS + 1),
        replace(RUNNING, process_guid="extra"),
        desired_lrp(routes=pb.ProtoRoutes(routes=ROUTES)),
        replace(RUNNING, internal_routes=("old.apps.internal",), metric_tags=(("source_id", "app"),)),
        desired_lrp("missing"),
    )

    await bbs.service.lrp_convergence.converge()

    retire = "converge-lrps.retire-actual-lrp"
    extra = {"retiring_lrp_count": 1, "process_guid": "extra", "index": 0}
    attempts = 1 if accepted else 5
    expected = []
    for attempt in range(1, attempts + 1):
        expected += called(
            f"{retire}.stop-lrp",
            f"1.N.{2 * attempt}",
            extra,
            STOPPED | {"process-guid": "extra"},
            accepted=accepted,
        )
        if not accepted:
            failed = f"error {retire}.retrying-failed-retire-of-actual-lrp"
            expected.append(said(failed, "1.N", extra, attempt=attempt))
    if not accepted:
        expected.append(said("error converge-lrps.retiring-lrp-failed", "1", process_guid="extra", index=0))
    expected += [
        said("debug converge-lrps.updating-lrp-instance", "1"),
        *called("converge-lrps.update-lrp", "1.N", UPDATED, accepted=accepted),
    ]
    if not accepted:
        expected.append(said("error converge-lrps.updating-lrp-instance", "1", INSTANCE))
    expected += asked("converge-lrps", "1.N.1")
    if not accepted:
        starts = [{"process_guid": "missing", "indices": [0]}]
        failed = "error converge-lrps.failed-to-request-starts"
        expected.append(said(failed, "1", start_requests_count=1, lrp_start_auctions=starts))
    of_calls = [line for line in bbs.said() if not line[0].startswith("info converge-lrps.db-")]
    assert [(what, unnumbered(session), data) for what, session, data in of_calls] == expected
    assert bbs.auctioneer.sent[0].header("X-Vcap-Request-Id") == ""
    assert {each.header("X-Vcap-Request-Id") for each in bbs.rep.sent} == {None}


def unnumbered(session: str) -> str:
    """Which of a pass' sub-sessions it is depends on the other kinds of work."""
    first, *rest = session.split(".")
    return ".".join([first, *(["N"] if rest else []), *rest[1:]])


@pytest.mark.parametrize("accepted", [True, False])
async def test_what_is_said_of_the_calls_of_a_pass_over_tasks(bbs: BBS, accepted: bool) -> None:
    if not accepted:
        bbs.auctioneer.otherwise = OH
    await bbs.there_is(task(created_at_ns=NOW_NS), task("u", created_at_ns=NOW_NS))

    await bbs.service.task_convergence.converge()

    expected = asked("converge-tasks", "1.N.1", name="CreateTaskAuctions")
    if not accepted:
        failed = "error converge-tasks.failed-to-request-auctions-for-pending-tasks"
        expected.append(said(failed, "1", task_guids=["t", "u"]))
    assert [(what, unnumbered(session), data) for what, session, data in bbs.said()] == expected
    assert bbs.auctioneer.sent[0].header("X-Vcap-Request-Id") == ""


async def test_a_pass_that_cannot_learn_of_the_cells(bbs: BBS) -> None:
    bbs.locket.unreachable = True

    await bbs.service.lrp_convergence.converge()

    assert bbs.said() == [
        said("error converge-lrps.cells.failed-to-fetch-cells-from-locket", "1.1"),
        said("error converge-lrps.failed-listing-cells", "1"),
    ]


@pytest.fixture
def no_room_for_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbs.acts.effects.QUEUE_MAX", 0)


@pytest.mark.usefixtures("no_room_for_calls")
async def test_what_is_dropped_is_told_to_the_request_that_wanted_it(bbs: BBS) -> None:
    await bbs.there_is(desired_lrp(instances=2), RUNNING, replace(RUNNING, index=1))

    await bbs.ask("RemoveDesiredLRP", REMOVE, effects=0)

    assert bbs.said() == [said(f"error {REMOVING}.dropped-rep-call", "7.1.3", REMOVED, INSTANCE, count=2)]


async def test_above_info_nothing_is_said_of_calls_that_go_well(bbs: BBS) -> None:
    bbs.sink.min_level = Level.ERROR

    await bbs.ask("DesireDesiredLRP", pb.DesireLRPRequest(desired_lrp=desired_message()), effects=1)

    assert len(bbs.auctioneer.sent) == 1
    assert not bbs.lines.lines


@pytest.mark.parametrize("accepted", [True, False])
async def test_what_is_said_of_a_call_that_several_requests_share(bbs: BBS, accepted: bool) -> None:
    """Each is told of in its own session, and the call in that of the first; that is also whose trace the peer gets."""
    if not accepted:
        bbs.auctioneer.otherwise = OH
    await bbs.there_is(desired_lrp(), RUNNING)
    desire = pb.DesireLRPRequest(desired_lrp=desired_message("q", instances=2))
    requests: dict[str, tuple[str, Message, int]] = {
        "q": ("DesireDesiredLRP", desire, 7),
        "p": ("CrashActualLRP", CRASH, 8),
    }

    async with trio.open_nursery() as nursery:
        for name, request, number in requests.values():
            nursery.start_soon(bbs.handle, name, request, number)

    [sent] = bbs.auctioneer.sent
    order = [start["process_guid"] for start in json.loads(sent.body)]
    assert sorted(order) == ["p", "q"]
    traces = {"q": TRACE, "p": ""}
    assert sent.header("X-Vcap-Request-Id") == traces[order[0]]
    told: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], str]] = {
        "q": (DESIRING, "7.1.3", DESIRED, {"app_guid": "q", "indices": [0, 1]}, "failed-to-request-auction"),
        "p": (CRASHING, "8.1", {}, CRASHED, "failed-requesting-auction"),
    }
    for guid, (session, numbers, data, about, failed) in told.items():
        of_call = [
            said(
                f"debug {session}.gathered-auctions",
                numbers,
                data,
                trace_ids=[traces[each] for each in order],
                process_guids=order,
            ),
            *asked(session, f"{numbers}.2.1", data),
        ]
        assert [line for line in bbs.said() if line[1].startswith(numbers)] == [
            said(f"info {session}.start-lrp-auction-request", numbers, data, about),
            *(of_call if guid == order[0] else []),
            said(f"info {session}.finished-lrp-auction-request", numbers, data, about),
            *([] if accepted else [said(f"error {session}.{failed}", numbers, data, process_guid=guid)]),
        ]


async def test_a_call_that_several_desires_of_tasks_share(bbs: BBS) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(3):
            request = pb.DesireTaskRequest(
                task_guid=f"t-{number}", domain="d", task_definition=task_definition()
            )
            nursery.start_soon(bbs.handle, "DesireTask", request, number)

    [sent] = bbs.auctioneer.sent
    assert sent.line == "POST /v1/tasks HTTP/1.1"
    order = [start["TaskGuid"] for start in json.loads(sent.body)]
    assert sorted(order) == ["t-0", "t-1", "t-2"]
    assert sent.header("X-Vcap-Request-Id") == ""
    [gathered] = [data for what, _, data in bbs.said() if what.endswith("gathered-auctions")]
    assert gathered["task_guids"] == order
    assert gathered["trace_ids"] == ["", "", ""]
    succeeded = [line for line in bbs.said() if "succeeded-requesting-task-auction" in line[0]]
    assert len(succeeded) == 3


async def test_under_load_the_auctioneer_gets_few_calls_and_every_auction(bbs: BBS) -> None:
    bbs.sink.min_level = Level.ERROR
    clients, each = 24, 10

    async def client(number: int) -> None:
        for n in range(each):
            desired = desired_message(f"p-{number}-{n}")
            await bbs.handle("DesireDesiredLRP", pb.DesireLRPRequest(desired_lrp=desired), number)
            guid = f"t-{number}-{n}"
            await bbs.handle(
                "DesireTask",
                pb.DesireTaskRequest(task_guid=guid, domain="d", task_definition=task_definition()),
                number,
            )

    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(client, number)

    got: dict[str, list[str]] = {"/v1/lrps": [], "/v1/tasks": []}
    for sent in bbs.auctioneer.sent:
        _, path, _ = sent.line.split()
        key = "process_guid" if path == "/v1/lrps" else "TaskGuid"
        got[path] += [start[key] for start in json.loads(sent.body)]
    names = [f"{number}-{n}" for number in range(clients) for n in range(each)]
    assert sorted(got["/v1/lrps"]) == sorted(f"p-{name}" for name in names)
    assert sorted(got["/v1/tasks"]) == sorted(f"t-{name}" for name in names)
    assert len(bbs.auctioneer.sent) <= 2 * clients * each / 5
    assert bbs.effects_done() == clients * each
