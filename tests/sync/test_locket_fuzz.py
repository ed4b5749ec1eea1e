"""Whatever Locket holds and whatever it answers: one presence hides its own cell at most, and a call fails as a call."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from threading import Event
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bbs.log import Level, null_logger
from bbs.models import pb
from bbs.models.errors import BBSError
from bbs.models.pb import locket_pb2
from bbs.sync.locket.client import (
    Code,
    GRPCLocket,
    LocketError,
    LocketSettings,
    Resource,
    TypeCode,
    open_locket,
)
from bbs.sync.locket.presences import Presences
from bbs.sync.locket.table import LocalLocket, LocketTable
from bbs.tls.grpc_credentials import grpc
from tests.canaries import Canary, found
from tests.fuzzing import examples
from tests.log_lines import Lines
from tests.sync.test_locket_presences import EXAMPLE

SECRET = Canary.named("in a presence")
WAIT_S = 20

# -- presences

SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 2**31, -(2**31) - 1, 2**63, 10**400, 1.5, float("nan"), float("inf"), 1e308])
    | st.sampled_from(["", "\0", "\ud800", "c1", "good", "https://x", "\u202e", "x" * 3000, SECRET.text])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PARTS: dict[str, Any] = json.loads(EXAMPLE)
INNER = {
    "capacity": list(PARTS["capacity"]),
    "annotations": ["k", ""],
}


@st.composite
def presences(draw: st.DrawFn) -> str:
    """A cell's presence with some fields of another kind, missing, in other case or beside themselves; or its text damaged."""
    presence = json.loads(EXAMPLE)
    for name in draw(st.sets(st.sampled_from(list(PARTS)), max_size=4)):
        match draw(st.sampled_from(["value", "missing", "case", "inner"])):
            case "value":
                presence[name] = draw(VALUES)
            case "missing":
                del presence[name]
            case "case":
                presence[name.upper()] = draw(VALUES)
            case _ if name in INNER:
                presence[name] |= {key: draw(VALUES) for key in INNER[name]}
            case _:
                presence[name] = [draw(VALUES), presence[name]]
    text = json.dumps(presence, ensure_ascii=draw(st.booleans()))
    match draw(st.sampled_from(["whole", "whole", "cut", "put in", "deep", "none", "long", "twice"])):
        case "cut":
            text = text[: draw(st.integers(0, len(text)))]
        case "put in":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.text(max_size=4)) + text[at + draw(st.integers(0, 4)) :]
        case "deep":
            depth = draw(st.sampled_from([10, 500, 999, 20_000]))
            text = draw(st.sampled_from(["[", '{"a":', '{"capacity":', '{"rootfs_provider_list":['])) * depth
        case "none":
            text = draw(st.text(max_size=20) | VALUES.map(json.dumps))
        case "long":
            text = text[:-1] + ',"x":' + "9" * draw(st.sampled_from([100, 5000, 20_000])) + "}"
        case "twice":
            text = text[:-1] + "," + text[1:]
    return text.encode(errors="replace").decode()  # nothing else can come over the wire


class HeldLocket(LocalLocket):
    """A Locket that holds presences with these texts, however long; their keys are numbers."""

    def __init__(self, values: Sequence[str]) -> None:
        super().__init__(LocketTable(trio.current_time))
        self._held = [Resource.presence(str(at), owner="rep", value=value) for at, value in enumerate(values)]

    async def fetch(self, key: str, *, deadline_s: float | None) -> Resource:
        return self._held[int(key)]

    async def fetch_all(self, type_code: int, *, deadline_s: float | None) -> list[Resource]:
        return self._held


@examples(60)
@given(values=st.lists(presences(), min_size=1, max_size=3))
def test_any_presence_hides_its_own_cell_at_most(values: list[str]) -> None:
    lines, refusals = Lines(), list[str]()
    log = lines.logger(Level.DEBUG)

    async def look() -> None:
        cells = Presences(HeldLocket([*values, '{"cell_id":"healthy"}']), deadline_s=1)

        present = await cells.present_cells(log=log)
        listed = pb.CellsResponse.FromString(b"".join(await cells.list_wire(log=log))).cells

        assert "healthy" in present
        assert {cell.cell_id for cell in listed} == present
        for number in range(len(values)):
            try:
                cell = await cells.cell_by_id(str(number), log=log)
            except BBSError as error:
                refusals.append(str(error))
            else:
                assert cell.cell_id in present

    trio.run(look)

    assert {line["message"] for line in lines.lines} <= {
        "bbs.cells.failed-to-unmarshal-presence",
        "bbs.cell-by-id.failed-to-unmarshal-presence",
    }
    assert found([SECRET], "\n".join([*lines.writes, *refusals]).encode()) == set()


# -- answers


class RawLocket:
    """A Locket that answers every call with ``answer``: bytes as they are, a status with its details, or, for None, never."""

    def __init__(self) -> None:
        self.answer: bytes | tuple[grpc.StatusCode, str] | None = b""

    def serve(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        answer = self.answer
        if answer is None:
            ended = Event()
            context.add_callback(ended.set)
            ended.wait(WAIT_S)
            return b""
        if isinstance(answer, tuple):
            context.abort(*answer)
        return answer


@asynccontextmanager
async def raw_locket() -> AsyncIterator[tuple[RawLocket, GRPCLocket]]:
    raw, threads = RawLocket(), ThreadPoolExecutor(4)
    server = grpc.server(threads)
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(raw.serve)
    methods = dict.fromkeys(("Lock", "Fetch", "Release", "FetchAll"), handler)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("models.Locket", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        settings = LocketSettings(address=f"127.0.0.1:{port}", tls=None)
        async with open_locket(settings, log=null_logger()) as locket:
            yield raw, locket
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(server.stop(0).wait)
            await trio.to_thread.run_sync(threads.shutdown)


LOCK = Resource.lock("bbs", owner="me")
WHOLE = locket_pb2.FetchAllResponse(
    resources=[
        locket_pb2.Resource(key="k", owner="o", value=EXAMPLE, type="presence", type_code=locket_pb2.PRESENCE)
    ]
).SerializeToString()
ANSWERS = (
    st.sampled_from(
        [
            b"",
            WHOLE,
            WHOLE[:-3],
            WHOLE[:7],
            b"\xff" * 20,
            b"\x0a\x03\x0a\x01\xff",
            b"\x0a\xff\xff\xff\xff\x0f",
            b"\x0b" * 300,
        ]
    )
    | st.binary(max_size=30)
    | st.tuples(
        st.sampled_from([code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]),
        st.sampled_from(["", "x", "é\n", "x" * 5000, "a\0b"]),
    )
    | st.none()
)


async def ask_all(locket: GRPCLocket, *, deadline_s: float) -> list[LocketError]:
    """Each call ends, with what it is for or with a `LocketError`; these are returned."""
    lines, errors = Lines(), list[LocketError]()
    cells = Presences(locket, deadline_s=deadline_s)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: locket.lock(LOCK, ttl_s=15, deadline_s=deadline_s, wait_for_ready=True),
        lambda: locket.fetch("bbs", deadline_s=deadline_s),
        lambda: locket.fetch_all(TypeCode.PRESENCE, deadline_s=deadline_s),
        lambda: cells.present_cells(log=lines.logger()),
        lambda: cells.cell_by_id("c1", log=lines.logger()),
    ]
    for call in calls:
        with trio.fail_after(WAIT_S):
            try:
                await call()
            except LocketError as error:
                errors.append(error)
            except BBSError:
                assert lines.lines  # of a presence that cannot be read
    return errors


async def test_an_answer_that_is_no_message_fails_the_call_and_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async with raw_locket() as (raw, locket):
        raw.answer = b"\xff" * 20
        errors = await ask_all(locket, deadline_s=WAIT_S)

    assert {error.code for error in errors} == {Code.INTERNAL}
    assert str(errors[0]) == (
        "rpc error: code = Internal desc = grpc: failed to unmarshal the received message: not a models.LockResponse"
    )
    assert (caplog.text, capfd.readouterr().err) == ("", "")


@pytest.mark.slow
async def test_a_call_that_is_answered_with_anything_ends(caplog: pytest.LogCaptureFixture) -> None:
    async with raw_locket() as (raw, locket):

        @examples(30)
        @given(answer=ANSWERS)
        def check(answer: bytes | tuple[grpc.StatusCode, str] | None) -> None:
            raw.answer = answer
            trio.from_thread.run(partial(ask_all, locket, deadline_s=0.05 if answer is None else WAIT_S))

        with caplog.at_level(logging.WARNING):
            await trio.to_thread.run_sync(check)
    assert caplog.text == ""
