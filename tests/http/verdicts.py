"""What a server makes of a stream of bytes: which requests it serves, what it answers, and whether it would go on."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio
from trio.testing import wait_all_tasks_blocked

from tests.http.serving import PATIENCE_S, Served


@dataclass(frozen=True, slots=True)
class Verdict:
    served: tuple[tuple[str, bytes, str, str], ...]
    """Target, body, trace id and ``at_least`` of each request that a handler was called for."""
    statuses: tuple[int, ...]
    """Of all answers but ``100 Continue``."""
    kept: bool
    """Whether the server waits for more once it has taken everything in."""


@dataclass
class _Received:
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False


async def verdict(served: Served, pieces: Sequence[bytes]) -> Verdict:
    """Send ``pieces``, each received on its own, see whether the server would go on, then end the client's side."""
    before = len(served.world.calls)
    wire = await served.connect()
    received = _Received()

    async def read() -> None:
        try:
            while data := await wire.stream.receive_some():
                received.data += data
        except trio.BrokenResourceError:
            pass
        received.ended = True

    with trio.fail_after(PATIENCE_S * 4):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            try:
                for piece in pieces:
                    await wire.send(piece)
                    await wait_all_tasks_blocked()
            except trio.BrokenResourceError:
                await wait_all_tasks_blocked()  # refused before the end
            kept = not received.ended
            with contextlib.suppress(trio.BrokenResourceError):
                await wire.send_eof()
        await wire.stream.aclose()
        await wait_all_tasks_blocked()
    calls = tuple(
        (call.target, call.body, call.trace_id, call.at_least) for call in served.world.calls[before:]
    )
    return Verdict(calls, tuple(status for status, _ in split_answers(bytes(received.data))), kept)


def split_answers(received: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each answer but ``100 Continue``."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100 "):
            continue
        lines = head.lower().split(b"\r\n")
        length = next(int(line[16:]) for line in lines if line.startswith(b"content-length: "))
        found.append((int(head[9:12]), received[:length]))
        received = received[length:]
    return found
