"""spec: metrics-and-logs.md, section 6"""

import errno
import socket
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bbs.log import null_logger
from bbs.ports.health import CONNECTIONS_MAX, ProbeAnswer, serve_health
from bbs.ports.listen import AddressInvalid, ListenFailed, PortUnknown, listen, port_of, split_address

PATIENCE_S = 5
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def port(nursery: trio.Nursery) -> int:
    # The nursery fixture is cancelled in the end.
    port: int = await nursery.start(partial(serve_health, "127.0.0.1:0", log=null_logger()))
    return port


async def exchange(port: int, *sends: bytes, answer_bytes: int) -> bytes:
    """Send piece by piece, then read that many bytes, or less if the connection ends."""
    received = b""
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for data in sends:
                await stream.send_all(data)
            while len(received) < answer_bytes:
                data = await stream.receive_some()
                if not data:
                    break
                received += data
    return received


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /ping?x=y HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
        b"HEAD /%00 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"BREW //metrics HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["get", "path", "head", "options", "unknown method", "body", "chunks"],
)
async def test_every_method_and_path_is_healthy_again_and_again(port: int, head: bytes) -> None:
    assert await exchange(port, head, head, answer_bytes=2 * len(OK)) == 2 * OK


YES = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: 10\r\n\r\n"
NO = YES.replace(b"200 OK", b"503 Service Unavailable")


@pytest.fixture
async def probed(nursery: trio.Nursery) -> int:
    async def yes() -> ProbeAnswer:
        return ProbeAnswer(True, {"a": 10})

    async def no() -> ProbeAnswer:
        return ProbeAnswer(False, {"a": 10})

    async def broken() -> ProbeAnswer:
        raise ValueError("a bug")

    probes = {"/yes": yes, "/no": no, "/broken": broken}
    port: int = await nursery.start(partial(serve_health, "127.0.0.1:0", probes, log=null_logger()))
    return port


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"GET /yes", YES + b'{"a": 10}\n'),
        (b"GET /no?verbose", NO + b'{"a": 10}\n'),
        (b"HEAD /no", NO),
        (b"POST /no", OK),
        (b"GET /no/", OK),
        (b"GET //no", OK),
        (b"GET /ping", OK),
        (b"GET /", OK),
    ],
)
async def test_a_probe_answers_its_path_and_nothing_else(probed: int, line: bytes, answer: bytes) -> None:
    """Twice on one connection, so that what the first answer leaves behind would be seen."""
    head = line + b" HTTP/1.1\r\nHost: h\r\n\r\n"

    assert await exchange(probed, head, head, answer_bytes=2 * len(answer)) == 2 * answer


async def test_a_probe_with_a_bug_ends_its_connection_and_no_other(probed: int) -> None:
    assert await exchange(probed, b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n", answer_bytes=1) == b""
    assert await exchange(probed, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer_bytes=len(OK)) == OK


async def test_a_client_that_asks_whether_to_go_on_is_told_so(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(head)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")

            await stream.send_all(b"abc")

            assert await stream.receive_some() == OK


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"],
    ids=["1.0", "close"],
)
async def test_a_connection_ends_when_the_client_wants_it_to(port: int, head: bytes) -> None:
    answer = await exchange(port, head, answer_bytes=1 << 20)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HTTP/1.1 400 "),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * (70 << 10), b"HTTP/1.1 400 "),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"", b""),
    ],
    ids=["TLS", "nonsense", "endless head", "tunnel", "nothing"],
)
async def test_nothing_a_client_sends_ends_more_than_its_connection(
    port: int, sent: bytes, answer: bytes
) -> None:
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(sent)
            if answer:
                assert (await stream.receive_some()).startswith(answer)

    assert await exchange(port, b"GET / HTTP/1.0\r\n\r\n", answer_bytes=15) != b""


async def test_a_port_in_use_is_told_as_go_tells_it(port: int) -> None:
    with pytest.raises(ListenFailed) as caught:
        await serve_health(f"127.0.0.1:{port}", log=null_logger())

    assert str(caught.value) == f"listen tcp 127.0.0.1:{port}: bind: address already in use"


async def test_a_stopped_port_can_be_bound_again_at_once() -> None:
    async with trio.open_nursery() as first:
        port: int = await first.start(partial(serve_health, "127.0.0.1:0", log=null_logger()))
        assert await exchange(port, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer_bytes=len(OK)) == OK
        first.cancel_scope.cancel()

    async with trio.open_nursery() as second:
        assert port == await second.start(partial(serve_health, f"127.0.0.1:{port}", log=null_logger()))
        second.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:8890", ("127.0.0.1", 8890)),
        ("127.0.0.1:http", ("127.0.0.1", 80)),
        (":8890", ("", 8890)),
        ("[::1]:https", ("::1", 443)),
        ("localhost:", ("localhost", 0)),
    ],
)
def test_addresses_are_read_as_go_reads_them(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    ("address", "error", "text"),
    [
        ("", AddressInvalid, "address : missing port in address"),
        ("127.0.0.1", AddressInvalid, "address 127.0.0.1: missing port in address"),
        ("[::1]", AddressInvalid, "address [::1]: missing port in address"),
        ("::1:80", AddressInvalid, "address ::1:80: too many colons in address"),
        ("127.0.0.1:no-such", PortUnknown, "lookup tcp/no-such: unknown port"),
        ("127.0.0.1:65536", PortUnknown, "address 65536: invalid port"),
    ],
)
def test_bad_addresses_are_told_as_go_tells_them(address: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        split_address(address)

    assert str(caught.value) == text


async def test_what_cannot_be_listened_on_is_told_as_go_tells_it() -> None:
    with pytest.raises(ListenFailed) as caught:
        await listen("192.0.2.1:0")

    assert str(caught.value) == "listen tcp 192.0.2.1:0: bind: cannot assign requested address"


async def test_listeners_reuse_addresses() -> None:
    listeners = await listen("127.0.0.1:0")

    assert listeners[0].socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert port_of(listeners) > 0
    listeners[0].socket.close()


async def test_a_full_port_closes_who_was_silent_longest_and_answers_the_next(port: int) -> None:
    streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(CONNECTIONS_MAX)]
    await streams[0].send_all(
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    )  # the first to come is the last to have spoken
    with trio.fail_after(PATIENCE_S):
        assert await streams[0].receive_some() == OK

        for _ in range(3):
            assert await exchange(port, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer_bytes=len(OK)) == OK

        assert await streams[1].receive_some() == b""
        await streams[0].send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await streams[0].receive_some() == OK
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def test_without_a_descriptor_one_is_taken_from_who_was_silent_longest(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    [listener] = await listen("127.0.0.1:0")
    accept = listener.accept
    failures = [OSError(errno.EMFILE, "too many open files"), OSError(errno.ECONNABORTED, "gone again")]

    async def accept_at_last() -> trio.SocketStream:
        stream = await accept()
        if failures and silent:
            await trio.aclose_forcefully(stream)
            raise failures.pop(0)
        return stream

    async def the_listener(address: str) -> list[trio.SocketListener]:
        return [listener]

    silent: list[trio.SocketStream] = []
    listener.accept = accept_at_last  # type: ignore[method-assign]  # the class is final
    monkeypatch.setattr("bbs.ports.health.listen", the_listener)
    port: int = await nursery.start(partial(serve_health, "127.0.0.1:0", log=null_logger()))
    silent.append(await trio.open_tcp_stream("127.0.0.1", port))
    await wait_all_tasks_blocked(0.01)
    for _ in range(2):
        assert await exchange(port, answer_bytes=1) == b""

    assert await exchange(port, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer_bytes=len(OK)) == OK
    with trio.fail_after(PATIENCE_S):
        assert await silent[0].receive_some() == b""
    await silent[0].aclose()
