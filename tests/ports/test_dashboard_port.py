"""The debug port with a dashboard, over sockets: plain and TLS on one port, who gets in, and how streams begin and end."""

import io
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trustme
from quart.wrappers import Response
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.log import LagerSink, null_logger
from bbs.ports.dashboard_guard import HEADERS
from bbs.ports.debug import LIMITS, serve_debug
from tests.http.serving import Contexts, Wire, tls_contexts

PATIENCE_S = 60
EVERY_S = 10.0
SECURE = dict(HEADERS)


@dataclass
class StandIn:
    """Pages in place of the dashboard's: one, one that says how it may be kept, and a stream that tells when it ends."""

    streams: int = 0
    stream_ended: trio.Event = field(default_factory=trio.Event)
    end_streams: trio.Event = field(default_factory=trio.Event)

    def mount(self, app: QuartTrio) -> None:
        app.get("/dashboard/")(self._page)
        app.get("/dashboard/kept")(self._kept)
        app.get("/dashboard/failing")(self._fail)
        app.get("/dashboard/stream")(self._stream)

    async def _page(self) -> Response:
        return Response("the dashboard", content_type="text/plain")

    async def _kept(self) -> Response:
        return Response("kept", headers={"Cache-Control": "no-cache"})

    async def _fail(self) -> Response:
        raise ValueError("a bug")

    async def _stream(self) -> Response:
        response = Response(self._frames(), content_type="text/event-stream")
        response.timeout = None
        return response

    async def _frames(self) -> AsyncIterator[bytes]:
        self.streams += 1
        try:
            while not self.end_streams.is_set():
                yield b"data: x\n\n"
                with trio.move_on_after(EVERY_S):
                    await self.end_streams.wait()
        finally:
            self.streams -= 1
            self.stream_ended.set()


@dataclass
class Port:
    number: int
    pages: StandIn
    client_tls: ssl.SSLContext
    until_stopped: trio.CancelScope
    streams: list[trio.SocketStream] = field(default_factory=list)

    async def plain(self, host: str = "127.0.0.1") -> Wire:
        self.streams.append(await trio.open_tcp_stream(host, self.number))
        return Wire(self.streams[-1])

    async def tls(self, client: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Wire:
        transport = (await self.plain(host)).stream
        secured = trio.SSLStream(
            transport, client or self.client_tls, server_hostname="localhost", https_compatible=True
        )
        await secured.do_handshake()
        return Wire(secured)


def get(path: str = "/dashboard/", *fields: str, host: str = "localhost:1", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    return tls_contexts()


@asynccontextmanager
async def serving(
    contexts: Contexts, address: str = "127.0.0.1:0", *, with_tls: bool = True
) -> AsyncIterator[Port]:
    pages, (server_tls, client_tls) = StandIn(), contexts
    async with trio.open_nursery() as nursery:
        number: int = await nursery.start(
            partial(
                serve_debug,
                address,
                sink=LagerSink(io.BytesIO()),
                metrics=lambda: ("text/plain", b"up 1\n"),
                dashboard=pages.mount,
                # As with certificates that are read again: asked for at each connection.
                tls=(lambda: server_tls) if with_tls else None,
                log=null_logger(),
            )
        )
        port = Port(number, pages, client_tls, until_stopped=nursery.cancel_scope)
        try:
            yield port
        finally:
            for stream in port.streams:
                await trio.aclose_forcefully(stream)
            port.until_stopped.cancel()


@pytest.fixture
async def port(contexts: Contexts) -> AsyncIterator[Port]:
    async with serving(contexts) as it:
        yield it


@pytest.mark.parametrize(
    ("path", "method", "status", "excerpt"),
    [
        ("/dashboard/", "GET", 200, b"the dashboard"),
        ("/dashboard/", "HEAD", 200, b""),
        ("/dashboard/nothing", "GET", 404, b"404 page not found\n"),
        ("/dashboard/failing", "GET", 500, b""),
        ("/dashboard/", "POST", 405, b"GET or HEAD"),
        ("/dashboard/nothing", "BREW", 405, b"GET or HEAD"),
        ("/%64ashboard/", "POST", 405, b"GET or HEAD"),
        ("http://localhost/dashboard/", "POST", 405, b"GET or HEAD"),
    ],
)
async def test_every_answer_has_the_headers_that_browsers_go_by(
    port: Port, path: str, method: str, status: int, excerpt: bytes
) -> None:
    wire = await port.plain()
    await wire.send(get(path, method=method))
    answer = await wire.read_response(head_only=method == "HEAD")

    assert answer.status == status
    assert excerpt in answer.body
    assert answer.headers.items() >= {**SECURE, "Cache-Control": "no-store"}.items()
    assert answer.headers.get("Allow") == ("GET, HEAD" if status == 405 else None)


async def test_a_page_may_say_itself_how_it_is_kept(port: Port) -> None:
    wire = await port.plain()
    await wire.send(get("/dashboard/kept"))

    assert (await wire.read_response()).headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/metrics", "/log-level", "/debug/pprof/"])
async def test_other_pages_are_as_they_were(port: Port, path: str) -> None:
    """Upstream's tools and Prometheus ask for them by any name, and over a plain connection."""
    wire = await port.plain()
    await wire.send(get(path, "X-Forwarded-For: 10.1.2.3", host="bbs.example"))
    answer = await wire.read_response()

    assert answer.status == 200
    assert not answer.headers.keys() & (SECURE.keys() - {"X-Content-Type-Options"})


@pytest.mark.parametrize(
    ("target", "fields", "host"),
    [
        ("/dashboard/", (), "evil.example"),
        ("/dashboard", (), "evil.example"),
        ("/dashboard/nothing", (), "evil.example"),
        ("/%64ashboard/", (), "evil.example"),
        ("/dashboard%2F", (), "evil.example"),
        ("http://localhost/dashboard/", (), "evil.example"),
        ("/dashboard/?x=/metrics", (), "evil.example"),
        ("/dashboard/", ("X-Forwarded-For: 10.1.2.3",), "localhost"),
        ("/dashboard/", ("Sec-Fetch-Site: cross-site",), "localhost"),
        ("/dashboard/", ("Origin: http://evil.example",), "localhost"),
    ],
)
async def test_who_is_refused_sees_no_page_however_it_is_spelt(
    port: Port, target: str, fields: tuple[str, ...], host: str
) -> None:
    wire = await port.plain()
    await wire.send(get(target, *fields, host=host))
    answer = await wire.read_response()

    assert (answer.status, b"ssh -L" in answer.body) == (403, True)
    assert answer.headers.items() >= SECURE.items()
    assert await wire.read_to_end() == b""


async def test_a_body_that_comes_with_a_refused_request_is_not_waited_for(port: Port) -> None:
    wire = await port.plain()
    await wire.send(get("/dashboard/", "Content-Length: 60000", method="POST") + b"x" * 1000)

    assert (await wire.read_response()).status == 405


async def test_without_a_dashboard_there_is_no_page(nursery: trio.Nursery) -> None:
    serve_it = partial(
        serve_debug, "127.0.0.1:0", sink=LagerSink(io.BytesIO()), metrics=None, log=null_logger()
    )
    number: int = await nursery.start(serve_it)
    async with await trio.open_tcp_stream("127.0.0.1", number) as stream:
        wire = Wire(stream)
        await wire.send(get("/dashboard/", method="POST"))
        answer = await wire.read_response()

    assert (answer.status, answer.headers.get("Content-Security-Policy")) == (404, None)


async def test_a_client_certificate_lets_in_over_tls_by_any_name(port: Port) -> None:
    wire = await port.tls()
    for _ in range(2):
        await wire.send(get(host="bbs.example"))
        answer = await wire.read_response()

        assert (answer.status, answer.body) == (200, b"the dashboard")


def nobody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def stranger() -> ssl.SSLContext:
    context = nobody()
    trustme.CA().issue_cert("cell").configure_cert(context)
    return context


@pytest.mark.parametrize("client", [stranger, nobody])
async def test_without_a_certificate_of_the_ca_the_handshake_fails(
    port: Port, client: Callable[[], ssl.SSLContext], capfd: pytest.CaptureFixture[str]
) -> None:
    answer = b""
    # TLS 1.3's client is done before the server has judged its certificate.
    with suppress(trio.BrokenResourceError):
        wire = await port.tls(client())
        await wire.send(get())
        answer = await wire.read_to_end()

    assert answer == b""
    with trio.fail_after(PATIENCE_S):
        while "TLS handshake error from 127.0.0.1:" not in (told := capfd.readouterr().err):
            assert not told
            await trio.lowlevel.checkpoint()


def own_address() -> str:
    """An address of this machine besides loopback: nothing is sent to find out which it would send from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


async def test_from_another_address_only_tls_lets_in(contexts: Contexts) -> None:
    address = own_address()
    async with serving(contexts, "0.0.0.0:0") as port:
        plain = await port.plain(address)
        await plain.send(get(host="localhost"))
        refused = await plain.read_response()
        assert (refused.status, f"plain connection from {address}" in refused.body.decode()) == (403, True)

        secured = await port.tls(host=address)
        await secured.send(get(host=address))
        assert (await secured.read_response()).status == 200


@pytest.mark.parametrize("with_tls", [True, False])
@pytest.mark.parametrize(
    ("first", "answer"),
    [
        (b"\r\n" + get("/metrics"), b"HTTP/1.1 "),
        (b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 400 "),
        (b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n", b"HTTP/1.1 400 "),
    ],
    ids=["empty line", "garbage", "a TLS alert"],
)
async def test_any_other_first_byte_is_taken_for_http(
    contexts: Contexts, with_tls: bool, first: bytes, answer: bytes
) -> None:
    async with serving(contexts, with_tls=with_tls) as port:
        wire = await port.plain()
        await wire.send(first)

        assert (await wire.read_until(b"\r\n")).startswith(answer)


async def test_garbage_after_the_first_byte_of_tls_ends_the_connection(port: Port) -> None:
    wire = await port.plain()
    await wire.send(b"\x16garbage that is no handshake\r\n\r\n")

    assert not (await wire.read_to_end()).startswith(b"HTTP")


async def test_a_first_byte_that_comes_late_is_waited_for(port: Port) -> None:
    wire = await port.plain()
    await wait_all_tasks_blocked(0.01)  # the server waits for it
    for byte in get("/metrics"):
        await wire.send(bytes([byte]))

    assert (await wire.read_response()).body == b"up 1\n"


@pytest.fixture
def virtual_clock() -> MockClock:
    # It jumps once the kernel has had time to bring what was sent over loopback.
    return MockClock(autojump_threshold=0.02)


@pytest.mark.parametrize(
    ("first", "ends_after_s"), [(b"", LIMITS.idle_timeout_s), (b"\x16\x03", LIMITS.handshake_timeout_s)]
)
async def test_who_sends_nothing_more_is_disconnected(
    virtual_clock: MockClock, contexts: Contexts, first: bytes, ends_after_s: float
) -> None:
    async with serving(contexts) as port:
        began_at = trio.current_time()
        stream = (await port.plain()).stream
        await stream.send_all(first)

        with trio.fail_after(2 * ends_after_s):
            assert await stream.receive_some() == b""
        assert trio.current_time() - began_at == pytest.approx(ends_after_s)


async def test_a_stream_that_says_something_now_and_then_goes_on(
    virtual_clock: MockClock, contexts: Contexts
) -> None:
    async with serving(contexts) as port:
        stream = (await port.plain()).stream
        await stream.send_all(get("/dashboard/stream"))
        received = b""
        with trio.fail_after(4 * LIMITS.idle_timeout_s):
            while received.count(b"data:") * EVERY_S < 2 * LIMITS.idle_timeout_s:
                received += bytes(data := await stream.receive_some())
                assert data

        assert port.pages.streams == 1


async def streaming(port: Port, wire: Wire) -> Wire:
    await wire.send(get("/dashboard/stream"))
    await wire.read_until(b"data: x\n\n")
    assert port.pages.streams == 1
    return wire


@pytest.mark.parametrize("connect", [Port.plain, Port.tls])
async def test_a_stream_ends_with_its_client(port: Port, connect: Callable[[Port], Awaitable[Wire]]) -> None:
    wire = await streaming(port, await connect(port))
    await trio.aclose_forcefully(wire.stream)

    with trio.fail_after(EVERY_S / 2):  # and not when it would have said something
        await port.pages.stream_ended.wait()


@pytest.mark.parametrize("ends_by_itself", [True, False])
async def test_a_stop_ends_streams(contexts: Contexts, ends_by_itself: bool) -> None:
    with trio.fail_after(PATIENCE_S):
        async with serving(contexts) as port:
            wire = await streaming(port, await port.plain())
            if ends_by_itself:
                port.pages.end_streams.set()
            port.until_stopped.cancel()
            with trio.CancelScope(shield=True):
                rest = await wire.read_to_end()
                await port.pages.stream_ended.wait()

    assert rest.endswith(b"0\r\n\r\n") is ends_by_itself


@pytest.mark.parametrize("first", [b"", b"\x16\x03"])
async def test_a_stop_does_not_wait_for_who_has_not_asked_for_anything(
    virtual_clock: MockClock, contexts: Contexts, first: bytes
) -> None:
    async with serving(contexts) as port:
        stream = (await port.plain()).stream
        await stream.send_all(first)
        await wait_all_tasks_blocked(0.01)
        stopped_at = trio.current_time()
        port.until_stopped.cancel()
        with trio.CancelScope(shield=True):
            assert await stream.receive_some() == b""

    assert trio.current_time() - stopped_at < LIMITS.stop_grace_s


async def test_a_full_port_makes_room_for_a_viewer(port: Port) -> None:
    """Whoever opens connections and says nothing, or only that TLS is to come, keeps nobody out."""
    await streaming(port, await port.plain())
    silent = [await port.plain() for _ in range(LIMITS.connections_max)]
    for wire in silent[::2]:
        with suppress(trio.BrokenResourceError):  # of the first ones some have had to go
            await wire.send(b"\x16\x03")
    await wait_all_tasks_blocked(0.01)
    for connect in (port.plain, port.tls):
        wire = await connect()
        await wire.send(get())
        assert (await wire.read_response()).status == 200

    assert port.pages.streams == 1
