"""The gRPC client of Locket against servers of plain grpcio: deadlines, metadata, codes, TLS, and what it leaves behind."""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import trio

from bbs.log import Logger, null_logger
from bbs.models.pb import locket_pb2
from bbs.sync.locket.client import Code, GRPCLocket, LocketError, LocketSettings, Resource, open_locket
from bbs.tls.contexts import TLSFiles, TLSFilesInvalid
from bbs.tls.development import DevelopmentCerts
from bbs.tls.grpc_credentials import channel_credentials, grpc

REPOSITORY = Path(__file__).parents[2]
LOCK = Resource.lock("bbs", owner="me")
WAIT_S = 20


@dataclass
class Script:
    """What the server's one method, Lock, does; and what it was sent."""

    act: Callable[[grpc.ServicerContext], None] = lambda context: None
    requests: list[locket_pb2.LockRequest] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    deadlines_s: list[float | None] = field(default_factory=list)

    def lock(self, request: locket_pb2.LockRequest, context: grpc.ServicerContext) -> locket_pb2.LockResponse:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.deadlines_s.append(context.time_remaining())
        self.act(context)
        return locket_pb2.LockResponse()


@dataclass
class Scripted:
    script: Script
    settings: LocketSettings
    locket: GRPCLocket

    async def lock(self, *, deadline_s: float | None = WAIT_S, request_uuid: str = "") -> None:
        await self.locket.lock(
            LOCK, ttl_s=15, request_uuid=request_uuid, deadline_s=deadline_s, wait_for_ready=False
        )


@pytest.fixture
async def scripted(log: Logger) -> AsyncIterator[Scripted]:
    script = Script()
    threads = ThreadPoolExecutor(1)
    server = grpc.server(threads)
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
        script.lock,
        request_deserializer=locket_pb2.LockRequest.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("models.Locket", {"Lock": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        settings = LocketSettings(address=f"127.0.0.1:{port}", tls=None)
        async with open_locket(settings, log=log) as locket:
            yield Scripted(script, settings, locket)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(server.stop(0).wait)
            await trio.to_thread.run_sync(threads.shutdown)


async def test_what_locket_is_sent(scripted: Scripted) -> None:
    await scripted.lock(deadline_s=None, request_uuid="u")
    await scripted.lock(deadline_s=7)

    [first, second] = scripted.script.requests
    assert first == second
    assert first == locket_pb2.LockRequest(
        resource=locket_pb2.Resource(key="bbs", owner="me", type="lock", type_code=locket_pb2.LOCK),
        ttl_in_seconds=15,
    )
    assert scripted.script.metadata[0]["uuid"] == "u"
    assert "uuid" not in scripted.script.metadata[1]
    without, with_deadline = scripted.script.deadlines_s
    assert without is None or without > 1e6
    assert with_deadline is not None
    assert 6 < with_deadline < 8  # gRPC rounds up


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (status, "".join(word.capitalize() for word in status.name.split("_")).replace("Cancelled", "Canceled"))
        for status in grpc.StatusCode
        if status not in (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED)
    ],
)  # fmt: skip
async def test_codes_are_spelt_as_go_does(scripted: Scripted, status: grpc.StatusCode, name: str) -> None:
    scripted.script.act = lambda context: context.abort(status, "what was wrong")

    with pytest.raises(LocketError) as refused:
        await scripted.lock()

    assert refused.value.code == name
    assert str(refused.value) == f"rpc error: code = {name} desc = what was wrong"


async def test_a_locket_that_hangs_is_given_up_at_the_deadline(scripted: Scripted) -> None:
    let_go = Event()
    scripted.script.act = lambda context: scripted_wait(let_go)
    try:
        with trio.fail_after(WAIT_S), pytest.raises(LocketError) as refused:
            await scripted.lock(deadline_s=0.2)
    finally:
        let_go.set()

    assert str(refused.value) == "rpc error: code = DeadlineExceeded desc = context deadline exceeded"


async def test_a_cancelled_wait_cancels_the_call(scripted: Scripted) -> None:
    asked, called_off = trio.Event(), Event()
    token = trio.lowlevel.current_trio_token()

    def hang(context: grpc.ServicerContext) -> None:
        assert context.add_callback(called_off.set)
        token.run_sync_soon(asked.set)
        scripted_wait(called_off)

    scripted.script.act = hang
    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scripted.lock)
            await asked.wait()
            nursery.cancel_scope.cancel()
        assert await trio.to_thread.run_sync(called_off.wait, WAIT_S)


def scripted_wait(event: Event) -> None:
    assert event.wait(WAIT_S)


async def test_no_time_at_all_is_no_call(scripted: Scripted) -> None:
    for deadline_s in (0, -1):
        with pytest.raises(LocketError) as refused:
            await scripted.lock(deadline_s=deadline_s)
        assert refused.value.code == Code.DEADLINE_EXCEEDED

    assert scripted.script.requests == []


@pytest.mark.parametrize("which", ["ca_file", "cert_file", "key_file"])
def test_files_are_as_strictly_read_as_the_servers(
    certs: DevelopmentCerts, tmp_path: Path, which: str
) -> None:
    files = {"ca_file": certs.ca_cert, "cert_file": certs.client_cert, "key_file": certs.client_key}
    channel_credentials(TLSFiles(**files))
    unfit = tmp_path / "unfit.pem"
    unfit.write_text("not PEM")

    with pytest.raises(TLSFilesInvalid):
        channel_credentials(TLSFiles(**{**files, which: unfit}))


# What concerns the whole process is seen in one that does nothing else. Garbage is not collected there, as in a server
# between two collections: what is gone must have gone by itself.

PROGRAM = """
import gc, json, os, sys, threading
import trio
from bbs.log import null_logger
from bbs.sync.locket.client import LocketError, LocketSettings, Resource, TypeCode, open_locket
from bbs.sync.locket.server import embedded_locket
from bbs.sync.locket.table import LocketTable
from tests.waiting import wait_until

gc.disable()

def held():
    # Trio keeps a thread for its next use; it is not gRPC's.
    idle = sum(thread.name.startswith("Trio thread") for thread in threading.enumerate())
    return len(os.listdir("/proc/self/task")) - idle, len(os.listdir("/proc/self/fd"))

async def use():
    async with (
        embedded_locket(LocketTable(trio.current_time), log=null_logger()) as address,
        open_locket(LocketSettings(address=address, tls=None), log=null_logger()) as locket,
    ):
        held_meanwhile = held()
        await locket.lock(Resource.lock("k", owner="o"), ttl_s=5, deadline_s=5, wait_for_ready=False)
        for failing in (lambda: locket.fetch("nobody's", deadline_s=5), lambda: locket.fetch_all(0, deadline_s=5)):
            try:
                await failing()
            except LocketError:
                pass
        return held_meanwhile

async def main():
    await use()  # what is loaded once stays
    before = await settled()
    meanwhile = await use()
    after = await settled(before)
    print(json.dumps([before, meanwhile, after]))

async def settled(at_most=(1, 1000)):
    await wait_until(
        lambda: all(now <= then for now, then in zip(held(), at_most)), within_s=10, what=f"at most {at_most} held"
    )
    return held()

trio.run(main)
"""


def test_no_thread_and_no_file_outlasts_client_and_server() -> None:
    before, meanwhile, after = json.loads(run(PROGRAM))

    assert meanwhile[0] > before[0]
    assert after == before
    assert before[0] == 1


def jumping(monkeypatch: pytest.MonkeyPatch, *, by_s: float) -> list[float]:
    """The wall clock jumps while the next call begins. What is returned has one entry until then."""
    jumps = [by_s]

    def deadline(timeout: float | None) -> float | None:
        return None if timeout is None else time.time() + timeout - (jumps.pop() if jumps else 0)

    monkeypatch.setattr("grpc._channel._deadline", deadline)
    return jumps


async def test_a_clock_that_jumps_forward_ends_no_call(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = jumping(monkeypatch, by_s=3600)

    await scripted.lock()

    assert jumps == []
    assert len(scripted.script.requests) == 1


async def test_a_clock_that_jumps_back_makes_no_deadline_longer(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = Event()

    def wait(context: grpc.ServicerContext) -> None:
        released.wait(WAIT_S)

    scripted.script.act = wait
    jumping(monkeypatch, by_s=-3600)

    try:
        with trio.fail_after(WAIT_S), pytest.raises(LocketError) as failed:
            await scripted.lock(deadline_s=0.3)
    finally:
        released.set()

    assert failed.value.code == Code.DEADLINE_EXCEEDED


async def test_nothing_watches_a_connection_that_is_closed(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends while a thread which watches holds the channel's lock hangs."""
    watched: list[bool] = []
    channel_class = type(grpc.insecure_channel("nobody"))
    close = channel_class.close

    def closing(channel: Any) -> None:
        watched.append(channel._connectivity_state.polling)
        close(channel)

    monkeypatch.setattr(channel_class, "close", closing)
    for _ in range(5):
        async with open_locket(scripted.settings, log=null_logger()):
            pass

    assert watched == [False] * 5


SUITES_PROGRAM = """
import json, socket, sys
from pathlib import Path
from bbs.tls.grpc_credentials import channel_credentials, grpc
from bbs.tls.contexts import TLSFiles

listener = socket.create_server(("127.0.0.1", 0))
files = TLSFiles(ca_file=sys.argv[1], cert_file=sys.argv[2], key_file=sys.argv[3])
channel = grpc.secure_channel(f"127.0.0.1:{listener.getsockname()[1]}", channel_credentials(files))
listener.settimeout(20)
call = channel.unary_unary("/models.Locket/Fetch").future(b"", timeout=40)  # for a call it connects
peer, _ = listener.accept()
peer.settimeout(20)
hello = peer.recv(16384)
at = 43 + 1 + hello[43]  # past record and message headers, version, random, session id
size = int.from_bytes(hello[at:at + 2], "big")
suites = [hello[at + 2 + i:at + 4 + i].hex() for i in range(0, size, 2)]
print(json.dumps([suites, b"\\x02h2" in hello]))
call.cancel()
channel.close()
"""


def test_the_suites_offered_are_those_of_the_profile(certs: DevelopmentCerts) -> None:
    suites, offers_h2 = json.loads(
        run(SUITES_PROGRAM, str(certs.ca_cert), str(certs.client_cert), str(certs.client_key))
    )

    assert set(suites) == {
        "1301",
        "1302",
        "1303",
        "c030",
        "c02f",
    }  # TLS 1.3's three, and the two of security.md §1
    assert offers_h2


def run(program: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def test_grpc_is_imported_where_its_suites_are_set() -> None:
    for path in (REPOSITORY / "bbs").rglob("*.py"):
        assert "import grpc\n" not in path.read_text() or path.name == "grpc_tls.py", path
