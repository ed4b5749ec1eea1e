"""Cloud Controller's sync, byte for byte: mutual TLS, connections kept open, an empty request id, old revisions."""

import ssl
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence
from bbs.models.errors import Unrecoverable
from bbs.models.outcome import Outcome, put
from bbs.peers.interfaces import Cell
from bbs.peers.stub import AuctionRequested, StopRequested, TaskAuctionRequested, UpdateRequested
from bbs.store.memory_backend import Disk, Fault, MemoryBackend
from tests.http.serving import tls_contexts
from tests.records import AnyScope, actual_lrp
from tests.routes import cloud_controller as cc
from tests.routes.cloud_controller import CloudController, error, number, piece
from tests.routes.conftest import KEYRING, NOW_NS, Server, fail_on_dropped_row, serving_lrps

CONNECTIONS = 50
CELLS = ("c1",)

SSH = (
    r'{"container_port":2222,"host_fingerprint":"5a:b6:1f","private_key":"-----BEGIN RSA PRIVATE KEY-----\nMIIC+w/='
    r'=\n-----END RSA PRIVATE KEY-----\n"}'
)
CF_ROUTER = '[{"hostnames":["a.example.com"],"port":8080,"route_service_url":null,"isolation_segment":null}]'
INTERNAL = '[{"hostname":"a.apps.internal"}]'
ROOTFS = "preloaded:cflinuxfs4"


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return tls_contexts()


@pytest.fixture
async def backend() -> MemoryBackend:
    return MemoryBackend(Disk(), KEYRING, on_dropped=fail_on_dropped_row)


@pytest.fixture(params=["fast lane", "quart"])
async def tls_server(
    request: pytest.FixtureRequest,
    nursery: trio.Nursery,
    backend: MemoryBackend,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> AsyncIterator[Server]:
    fast_lane = request.param == "fast lane"
    async with serving_lrps(
        backend, nursery, fast_lane=fast_lane, tls=contexts[0], new_guid=lambda: "epoch"
    ) as running:
        for cell_id in CELLS:
            running.peers.cells[cell_id] = Cell(cell_id=cell_id, rep_url=f"https://{cell_id}")
        yield running


@pytest.fixture
async def controller(
    tls_server: Server, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncIterator[CloudController]:
    controller = await CloudController.connect(tls_server, contexts[1])
    yield controller
    await controller.disconnect()


# Messages. Each takes what its case is about, and is otherwise as Cloud Controller makes it.


def routes(given: dict[str, str]) -> bytes:
    """The content of ProtoRoutes: a map, by name."""
    return b"".join(piece(1, piece(1, name), piece(2, given[name])) for name in sorted(given))


def run(command: str) -> bytes:
    """An Action."""
    return piece(3, piece(1, "/tmp/lifecycle/launcher"), piece(2, "app"), piece(2, command), piece(6, "vcap"))


SHARED_LAYER = (
    piece(1, "buildpack") + piece(2, "http://blobs/bp.tgz") + piece(3, "/tmp/lifecycle")
    + number(4, 1) + number(5, 1)
)  # fmt: skip
DROPLET_LAYER = (
    piece(1, "droplet") + piece(2, "http://blobs/droplet") + piece(3, "/home/vcap")
    + number(4, 2) + number(5, 1) + number(6, 1) + piece(7, "c0ffee")
)  # fmt: skip
SHARED_AS_DEPENDENCY = (
    piece(1, "buildpack") + piece(2, "http://blobs/bp.tgz") + piece(3, "/tmp/lifecycle")
    + piece(4, "http://blobs/bp.tgz")
)  # fmt: skip
DROPLET_AS_DOWNLOAD = (
    piece(1, "droplet") + piece(2, "http://blobs/droplet") + piece(3, "/home/vcap")
    + piece(4, "sha256:c0ffee") + piece(6, "vcap") + piece(7, "sha256") + piece(8, "c0ffee")
)  # fmt: skip
SETUP_OF_DOWNLOADS = piece(7, piece(1, piece(1, DROPLET_AS_DOWNLOAD)))
SOURCE_ID = piece(1, "source_id") + piece(2, piece(1, "app"))
ENV = piece(1, "VCAP_APPLICATION") + piece(2, "{}")
EGRESS = piece(1, "all") + piece(2, "0.0.0.0/0") + number(6, 1)


def desired(guid: str, *, instances: int = 1, routes_content: bytes = b"", layers: bool = False) -> bytes:
    """A DesiredLRP to be desired."""
    parts = [piece(1, guid), piece(2, "cf-apps"), piece(3, ROOTFS), number(4, instances), piece(5, ENV)]
    parts += [piece(7, run("./start")), number(10, 1024), number(11, 256), number(14, 8080), number(14, 2222)]
    parts += [piece(15, routes_content), piece(17, "log"), piece(19, "1700000000.0"), piece(20, EGRESS)]
    if layers:
        parts.append(piece(23, "vcap"))
    parts.append(number(27, 60_000))
    if layers:
        parts += [piece(34, SHARED_LAYER), piece(34, DROPLET_LAYER)]
    return b"".join([*parts, piece(35, SOURCE_ID)])


def desired_r2(guid: str, *, routes_content: bytes, tag: bytes) -> bytes:
    """The same with layers, as revision 2 shows it."""
    parts = [piece(1, guid), piece(2, "cf-apps"), piece(3, ROOTFS), number(4, 1), piece(5, ENV)]
    parts += [piece(6, SETUP_OF_DOWNLOADS), piece(7, run("./start")), number(10, 1024), number(11, 256)]
    parts += [
        number(14, 8080),
        number(14, 2222),
        piece(15, routes_content),
        piece(17, "log"),
        piece(18, "app"),
    ]
    parts += [piece(19, "1700000000.0"), piece(20, EGRESS), piece(21, tag), piece(22, SHARED_AS_DEPENDENCY)]
    return b"".join([*parts, piece(23, "vcap"), number(27, 60_000), piece(35, SOURCE_ID)])


def tag(index: int = 0) -> bytes:
    return piece(1, "epoch") + (number(2, index) if index else b"")


def scheduling_info(
    guid: str, *, annotation: str = "1700000000.0", instances: int = 1, routes_content: bytes, index: int = 0
) -> bytes:
    """A list element. Routes and volume placement are there even when they are empty."""
    return piece(
        2,
        piece(1, piece(1, guid), piece(2, "cf-apps"), piece(3, "log")),
        piece(2, annotation),
        number(3, instances),
        piece(4, number(1, 256), number(2, 1024), piece(3, ROOTFS)),
        piece(5, routes_content),
        piece(6, tag(index)),
        piece(7),
    )


def update(guid: str, *parts: bytes) -> bytes:
    return piece(1, guid) + piece(2, *parts)


def unclaimed(guid: str, index: int = 0) -> bytes:
    """A list element: an instance key and an address that are empty and there, and ``routable`` false and there."""
    key = piece(1, guid) + (number(2, index) if index else b"") + piece(3, "cf-apps")
    parts = [
        piece(1, key),
        piece(2),
        piece(3),
        piece(6, "UNCLAIMED"),
        number(8, NOW_NS),
        piece(9, tag()),
        number(13, 0),
    ]
    return piece(2, *parts)


def retire(guid: str, index: int) -> bytes:
    return piece(1, piece(1, guid), number(2, index) if index else b"", piece(3, "cf-apps"))


TASK_DEFINITION = (
    piece(1, ROOTFS) + piece(2, ENV) + piece(3, run("rake")) + number(4, 1024) + number(5, 256)
    + piece(8, "APP/TASK/rake") + piece(9, "log") + piece(13, "{}") + piece(14, EGRESS)
)  # fmt: skip


def desire_task(guid: str) -> bytes:
    return piece(1, TASK_DEFINITION) + piece(2, guid) + piece(3, "cf-tasks")


def task(guid: str) -> bytes:
    """An element of a list, and the payload of a single answer: pending."""
    times = number(4, NOW_NS) + number(5, NOW_NS)
    return piece(2, piece(1, TASK_DEFINITION), piece(2, guid), piece(3, "cf-tasks"), times, number(7, 1))


def cancelled_task(guid: str) -> bytes:
    times = number(4, NOW_NS) + number(5, NOW_NS) + number(6, NOW_NS)
    ended = number(7, 3) + number(10, 1) + piece(11, "task was cancelled")
    return piece(2, piece(1, TASK_DEFINITION), piece(2, guid), piece(3, "cf-tasks"), times, ended)


async def test_processes_to_the_byte(tls_server: Server, controller: CloudController) -> None:
    both = routes({"cf-router": CF_ROUTER, "diego-ssh": SSH})
    new = routes({"cf-router": "[]", "diego-ssh": SSH})
    of_cf_apps, p = piece(1, "cf-apps"), piece(1, "p")
    for path, body, answer in (
        (cc.PING, b"", number(1, 1)),
        (cc.SCHEDULING_INFOS, of_cf_apps, b""),
        (cc.LRP_BY_GUID, p, cc.NOT_FOUND),
        (cc.UPDATE_LRP, update("p", number(1, 2)), cc.NOT_FOUND),
        (cc.DESIRE_LRP, piece(1, desired("p", routes_content=both, layers=True)), cc.SUCCESS),
        (cc.DESIRE_LRP, piece(1, desired("p", routes_content=both)), cc.EXISTS),
        (cc.DESIRE_LRP, piece(1, desired("bare", instances=2)), cc.SUCCESS),
        (
            cc.SCHEDULING_INFOS,
            of_cf_apps,
            scheduling_info("p", routes_content=both)
            + scheduling_info("bare", instances=2, routes_content=b""),
        ),
        (cc.LRP_BY_GUID, p, piece(2, desired_r2("p", routes_content=both, tag=tag()))),
        (cc.ACTUAL_LRPS, piece(3, "p"), unclaimed("p")),
        (cc.ACTUAL_LRPS, piece(3, "bare"), unclaimed("bare") + unclaimed("bare", 1)),
        (cc.UPDATE_LRP, update("p", number(1, 2), piece(2, new), piece(3, "1700000001.0")), cc.SUCCESS),
        (cc.UPDATE_LRP, update("bare"), cc.SUCCESS),
        (
            cc.SCHEDULING_INFOS,
            of_cf_apps,
            scheduling_info("p", annotation="1700000001.0", instances=2, routes_content=new, index=1)
            + scheduling_info("bare", instances=2, routes_content=b"", index=1),
        ),
        (cc.ACTUAL_LRPS, piece(3, "p"), unclaimed("p") + unclaimed("p", 1)),
        (cc.RETIRE, retire("p", 1), cc.SUCCESS),
        (cc.RETIRE, retire("p", 1), cc.NOT_FOUND),
        (cc.REMOVE_LRP, p, cc.SUCCESS),
        (cc.REMOVE_LRP, p, cc.NOT_FOUND),
        (cc.ACTUAL_LRPS, piece(3, "p"), b""),
        (cc.UPSERT_DOMAIN, piece(1, "cf-apps") + number(2, 120), cc.SUCCESS),
        (cc.DOMAINS, b"", piece(2, "cf-apps")),
    ):
        assert await controller.ask(path, body) == answer, path

    auctions = [each for each in tls_server.peers.requests if isinstance(each, AuctionRequested)]
    assert [auction.starts[0].indices for auction in auctions] == [(0,), (0, 1), (1,)]
    assert {auction.trace_id for auction in auctions} == {""}


async def test_tasks_to_the_byte(tls_server: Server, controller: CloudController) -> None:
    of_cf_tasks, t = piece(1, "cf-tasks"), piece(1, "t")
    for path, body, answer in (
        (cc.TASKS, of_cf_tasks, b""),
        (cc.TASK_BY_GUID, t, cc.NOT_FOUND),
        (cc.CANCEL_TASK, t, cc.NOT_FOUND),
        (cc.DESIRE_TASK, desire_task("t"), cc.SUCCESS),
        (cc.DESIRE_TASK, desire_task("t"), cc.EXISTS),
        (cc.DESIRE_TASK, desire_task("u"), cc.SUCCESS),
        (cc.TASKS, of_cf_tasks, task("t") + task("u")),
        (cc.TASK_BY_GUID, t, task("t")),
        (cc.CANCEL_TASK, t, cc.SUCCESS),
        (
            cc.CANCEL_TASK,
            t,
            error(cc.INVALID_STATE_TRANSITION, "Cannot transition from Completed to Completed"),
        ),
        (cc.TASK_BY_GUID, t, cancelled_task("t")),
        (cc.UPSERT_DOMAIN, piece(1, "cf-tasks") + number(2, 120), cc.SUCCESS),
    ):
        assert await controller.ask(path, body) == answer, path

    auctions = [each for each in tls_server.peers.requests if isinstance(each, TaskAuctionRequested)]
    assert [auction.tasks[0].task_guid for auction in auctions] == ["t", "u"]


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (cc.UPSERT_DOMAIN, b"", "Invalid field: domain"),
        (cc.DESIRE_LRP, b"", "Invalid field: desired_lrp"),
        (cc.UPDATE_LRP, b"", "Invalid field: process_guid"),
        (cc.UPDATE_LRP, update("p", number(1, -1)), "Invalid field: instances"),
        (cc.REMOVE_LRP, b"", "Invalid field: process_guid"),
        (cc.LRP_BY_GUID, b"", "Invalid field: process_guid"),
        (cc.RETIRE, b"", "Invalid field: actual_lrp_key"),
        (cc.TASK_BY_GUID, b"", "Invalid field: task_guid"),
        (cc.CANCEL_TASK, b"", "Invalid field: task_guid"),
        (cc.DESIRE_TASK, b"", "Invalid field: task_guid, Invalid field: domain, Invalid field: task_definition"),
        (cc.DESIRE_LRP, b"\xff", "the request received is invalid"),
        (cc.DESIRE_LRP, piece(1, desired("p", routes_content=routes({"cf-router": "{"}))), "the request received is invalid"),
        (
            cc.DESIRE_LRP,
            piece(1, desired("p"), piece(20, piece(1, "all"), piece(2, "1.2.3.4-"))),
            "Invalid field: egress_rules, Invalid field: destinations [ invalid IP ]",
        ),
    ],
)  # fmt: skip
async def test_what_is_invalid_says_why(
    controller: CloudController, path: str, body: bytes, text: str
) -> None:
    """Cloud Controller shows it to the developer, as the text of a RunnerInvalidRequest."""
    assert await controller.ask(path, body) == error(cc.INVALID_REQUEST, text)


async def test_a_database_without_its_tables_says_so(
    tls_server: Server, controller: CloudController, backend: MemoryBackend
) -> None:
    """Cloud Controller makes a RunnerError of it, with its text; the server is told to stop after the answer."""
    text = 'ERROR: relation "desired_lrps" does not exist (SQLSTATE 42P01)'
    backend.faults.rejection = partial(Unrecoverable.because, text)
    backend.faults.next_writes.extend([Fault.REJECTED] * 2)  # as a batch, and by itself

    answer = await controller.ask(cc.DESIRE_LRP, piece(1, desired("p")))

    assert answer == error(cc.UNRECOVERABLE, f"Unrecoverable Error: {text}")
    [told] = tls_server.bugs
    assert isinstance(told, Unrecoverable)
    tls_server.bugs.clear()


def ssh_of(infos: bytes) -> str:
    """The ssh route within a list of one scheduling info, found by its frame."""
    _, _, rest = infos.partition(piece(1, "diego-ssh") + b"\x12")
    length, shift = 0, 0
    while True:
        group, rest = rest[0], rest[1:]
        length |= (group & 0x7F) << shift
        shift += 7
        if group < 0x80:
            return rest[:length].decode()


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        pytest.param(SSH, SSH, id="as Cloud Controller writes it"),
        pytest.param('{ "container_port" : 2222 }', '{"container_port":2222}', id="with blanks"),
        pytest.param('{"k":"<a>&b\u2028"}', r'{"k":"\u003ca\u003e\u0026b\u2028"}', id="what HTML has a use for"),
        pytest.param(r'{"k":"\u003c\ud83d\ude00\/"}', r'{"k":"\u003c\ud83d\ude00\/"}', id="with escapes"),
        pytest.param('{"k":"\U0001f600 \u05d0\u202e"}', '{"k":"\U0001f600 \u05d0\u202e"}', id="emoji, right to left"),
        pytest.param('{"b":1,"a":1,"b":1e999,"a":-0.00}', '{"b":1,"a":1,"b":1e999,"a":-0.00}', id="odd numbers, keys twice"),
        pytest.param('{"k":"' + "x" * 100_000 + '"}', '{"k":"' + "x" * 100_000 + '"}', id="long"),
    ],
)  # fmt: skip
async def test_the_ssh_route_is_a_fixed_point(
    tls_server: Server, controller: CloudController, sent: str, stored: str
) -> None:
    """Every sync reads it, and sends it back among new routes."""
    given = {"cf-router": CF_ROUTER, "internal-router": INTERNAL}
    wanted = routes(given | {"diego-ssh": sent})
    assert await controller.ask(cc.DESIRE_LRP, piece(1, desired("p", routes_content=wanted))) == cc.SUCCESS
    await tls_server.store.commit(
        Outcome(rows=(put(running("p", 0, Presence.ORDINARY)),)), AnyScope(tls_server.store, "p")
    )

    for index in range(3):
        infos = await controller.ask(cc.SCHEDULING_INFOS, piece(1, "cf-apps"))
        read = routes(given | {"diego-ssh": stored})
        assert infos == scheduling_info("p", routes_content=read, index=index)
        assert ssh_of(infos) == stored
        again = routes(given | {"diego-ssh": ssh_of(infos)})
        assert await controller.ask(cc.UPDATE_LRP, update("p", piece(2, again))) == cc.SUCCESS

    assert not [each for each in tls_server.peers.requests if isinstance(each, UpdateRequested)]


def running(guid: str, index: int, presence: Presence, *, since_ns: int = NOW_NS) -> ActualLRP:
    return actual_lrp(
        guid,
        index,
        presence,
        domain="cf-apps",
        state=ActualLRPState.RUNNING,
        instance=InstanceKey(instance_guid=f"{index}-{presence.name}", cell_id="c1"),
        since_ns=since_ns,
    )


async def test_instances_of_a_process_in_order_and_stopped_one_by_one(
    tls_server: Server, controller: CloudController
) -> None:
    lrps = [
        running("p", 1, Presence.SUSPECT),
        running("p", 1, Presence.EVACUATING),
        running("p", 1, Presence.ORDINARY),
        running("p", 0, Presence.ORDINARY),
    ]
    await tls_server.store.commit(Outcome(rows=tuple(map(put, lrps))), AnyScope(tls_server.store, "p"))

    def listed(lrp: ActualLRP) -> bytes:
        key = piece(1, "p") + (number(2, lrp.index) if lrp.index else b"") + piece(3, "cf-apps")
        instance = piece(1, lrp.instance.instance_guid) + piece(2, "c1")
        presence = number(10, lrp.presence) if lrp.presence else b""
        rest = [piece(6, "RUNNING"), number(8, NOW_NS), piece(9, piece(1, "e")), presence, number(13, 0)]
        return piece(2, piece(1, key), piece(2, instance), piece(3), *rest)

    assert await controller.ask(cc.ACTUAL_LRPS, piece(3, "p")) == b"".join(map(listed, reversed(lrps)))
    assert await controller.ask(cc.ACTUAL_LRPS, piece(3, "p") + number(4, 0)) == listed(lrps[3])

    assert await controller.ask(cc.RETIRE, retire("p", 1)) == cc.SUCCESS

    [stopped] = [each for each in tls_server.peers.requests if isinstance(each, StopRequested)]
    assert (stopped.lrp, stopped.trace_id) == (lrps[2], "")


async def test_fifty_connections_at_once(
    tls_server: Server, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Each is kept open for all of its requests; together they are one sync of fifty processes."""
    with_ssh = routes({"diego-ssh": SSH})

    async def sync(controller: CloudController, guid: str) -> None:
        for path, body, answer in (
            (cc.UPSERT_DOMAIN, piece(1, "cf-apps") + number(2, 120), cc.SUCCESS),
            (cc.LRP_BY_GUID, piece(1, guid), cc.NOT_FOUND),
            (cc.DESIRE_LRP, piece(1, desired(guid, routes_content=with_ssh, layers=True)), cc.SUCCESS),
            (cc.DESIRE_LRP, piece(1, desired(guid)), cc.EXISTS),
            (cc.LRP_BY_GUID, piece(1, guid), piece(2, desired_r2(guid, routes_content=with_ssh, tag=tag()))),
            (cc.ACTUAL_LRPS, piece(3, guid), unclaimed(guid)),
            (cc.UPDATE_LRP, update(guid, number(1, 2), piece(2, with_ssh)), cc.SUCCESS),
            (cc.ACTUAL_LRPS, piece(3, guid), unclaimed(guid) + unclaimed(guid, 1)),
            (cc.RETIRE, retire(guid, 1), cc.SUCCESS),
            (cc.DESIRE_TASK, desire_task(guid), cc.SUCCESS),
            (cc.TASK_BY_GUID, piece(1, guid), task(guid)),
            (cc.CANCEL_TASK, piece(1, guid), cc.SUCCESS),
        ):
            assert await controller.ask(path, body) == answer, path

    controllers: list[CloudController] = []
    guids = [f"process-{n}" for n in range(CONNECTIONS)]
    with trio.fail_after(60):
        for _ in guids:
            controllers.append(await CloudController.connect(tls_server, contexts[1]))
        async with trio.open_nursery() as nursery:
            for controller, guid in zip(controllers, guids, strict=True):
                nursery.start_soon(sync, controller, guid)

        infos = await controllers[0].ask(cc.SCHEDULING_INFOS, piece(1, "cf-apps"))
        of_each = [scheduling_info(guid, instances=2, routes_content=with_ssh, index=1) for guid in guids]
        assert len(infos) == sum(map(len, of_each))
        assert all(info in infos for info in of_each), "in whatever order"
        for controller in controllers:
            assert await controller.ask(cc.PING) == number(1, 1)
            await controller.disconnect()
