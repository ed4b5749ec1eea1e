"""Accepting, refusing, handshakes, handing over, and the graceful stop."""

import errno
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bbs.http.limits import Limits
from bbs.http.listener import HTTPServer
from bbs.http.sockets import open_listeners
from tests.http.serving import PATIENCE_S, Served, Wire, World, post, serving, tls_contexts
from tests.waiting import wait_until

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(params=["fast", "slow"])
async def served(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Served]:
    limits = Limits(
        connections_max=2, linger_s=0.2, header_timeout_s=0.2, body_timeout_s=0.2, idle_timeout_s=5
    )
    async with serving(world, fast_lane=request.param == "fast", limits=limits) as it:
        yield it


async def until_there_are(served: Served, *, connections: int) -> None:
    await wait_until(
        lambda: served.server.statistics().connections == connections,
        within_s=PATIENCE_S,
        what=f"there are {connections} connections",
    )


async def test_connections_beyond_the_limit_are_turned_away(served: Served) -> None:
    first, second = await served.connect(), await served.connect()
    await until_there_are(served, connections=2)
    third = await served.connect()

    answer = await third.read_to_end()

    assert answer.startswith(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n"
    )
    assert served.server.statistics().turned_away == 1

    await first.stream.aclose()
    await until_there_are(served, connections=1)
    fourth = await served.connect()
    for wire in (second, fourth):
        await wire.send(post("/v1/echo", b"welcome"))

        assert (await wire.read_response()).body == b"welcome"


async def test_an_incomplete_head_does_not_hold_a_connection(served: Served) -> None:
    wire = await served.connect()
    await wire.send(b"POST /nope HTTP/1.1\r\n")

    assert (await wire.read_to_end()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_an_incomplete_body_does_not_hold_a_connection(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/echo", b"three")[:-1])

    assert (await wire.read_to_end()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_accepted_sockets_are_kept_alive(world: World) -> None:
    # The options are the server's side's, so they are read there.
    [listener] = await open_listeners("127.0.0.1:0")
    seen: list[trio.SocketStream] = []
    accept = listener.accept

    async def accept_and_note() -> trio.SocketStream:
        seen.append(await accept())
        return seen[-1]

    listener.accept = accept_and_note  # type: ignore[method-assign]  # the class is final
    until_stopped = trio.CancelScope()
    server = HTTPServer(world.table(), tls=None, gate=lambda: True, hooks=world.hooks())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, server, listener, until_stopped)
        wire = Wire(await trio.open_tcp_stream(*listener.socket.getsockname()))
        await wire.send(post("/v1/echo"))
        await wire.read_response()

        [stream] = seen
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 180
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 180

        until_stopped.cancel()
        await wire.stream.aclose()


async def _serve(server: HTTPServer, listener: trio.SocketListener, until_stopped: trio.CancelScope) -> None:
    with until_stopped:
        await server.serve([listener])


async def test_a_lack_of_descriptors_is_survived(world: World) -> None:
    [listener] = await open_listeners("127.0.0.1:0")
    accept = listener.accept
    failures = [OSError(errno.EMFILE, "too many open files"), OSError(errno.ENOMEM, "no memory")]

    async def accept_at_last() -> trio.SocketStream:
        if failures:
            await trio.lowlevel.checkpoint()
            raise failures.pop(0)
        return await accept()

    listener.accept = accept_at_last  # type: ignore[method-assign]  # the class is final
    until_stopped = trio.CancelScope()
    limits = Limits(accept_backoff_s=0.001)
    server = HTTPServer(world.table(), tls=None, gate=lambda: True, hooks=world.hooks(), limits=limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, server, listener, until_stopped)
        wire = Wire(await trio.open_tcp_stream(*listener.socket.getsockname()))
        await wire.send(post("/v1/echo", b"ok"))

        assert (await wire.read_response()).body == b"ok"
        assert [failure.errno for failure in world.accept_failures] == [errno.EMFILE, errno.ENOMEM]

        until_stopped.cancel()
        await wire.stream.aclose()


# -- lanes


async def test_connections_that_leave_the_fast_lane_are_counted_and_come_back(world: World) -> None:
    limits = Limits(slow_lane_requests_max=3, linger_s=0.2)
    async with serving(world, fast_lane=True, limits=limits) as served:
        wire = await served.connect()
        await wire.send(post("/v1/echo"))
        await wire.read_response()

        assert served.server.statistics().handed_over == 0

        closing = False
        answered = 0
        while not closing:
            await wire.send(post("/v1/nope"))
            response = await wire.read_response()
            assert response.status == 404
            answered += 1
            closing = response.headers.get("Connection", response.headers.get("connection")) == "close"

        assert await wire.read_to_end() == b""
        assert limits.slow_lane_requests_max <= answered <= limits.slow_lane_requests_max + 1
        assert served.server.statistics().handed_over == 1


async def test_requests_are_counted_through_both_lanes(served: Served) -> None:
    wire = await served.connect()
    for path in ("/v1/echo", "/v1/nope", "/v1/echo?"):
        await wire.send(post(path))
        await wire.read_response()

    assert served.server.statistics().requests == 2


async def test_the_application_may_have_pages_beside_the_table(served: Served) -> None:
    @served.server.app.route("/dashboard/<name>")
    async def page(name: str) -> str:
        return f"<p>{name}"

    wire = await served.connect()
    await wire.send(b"GET /dashboard/cells HTTP/1.1\r\nHost: a\r\n\r\n")
    response = await wire.read_response()

    assert (response.status, response.body) == (200, b"<p>cells")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_an_idle_connection_is_closed_in_either_lane(world: World) -> None:
    limits = Limits(idle_timeout_s=0.2, linger_s=0.1)
    for fast_lane in (True, False):
        async with serving(world, fast_lane=fast_lane, limits=limits) as served:
            wire = await served.connect()
            await wire.send(post("/v1/echo"))
            await wire.read_response()

            assert await wire.read_to_end() == b""


async def test_a_page_hears_of_its_clients_end(world: World) -> None:
    gone = trio.Event()
    entered = trio.Event()
    async with serving(world, fast_lane=True) as served:

        @served.server.app.route("/waiting")
        async def page() -> str:
            entered.set()
            try:
                await trio.Event().wait()
            finally:
                gone.set()
            return "too late"

        wire = await served.connect()
        await wire.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n")
        await entered.wait()
        await wire.stream.aclose()
        with trio.fail_after(5):
            await gone.wait()


# -- TLS


async def test_plain_http_on_the_tls_port_is_told_so(world: World, contexts: Contexts) -> None:
    async with serving(world, fast_lane=True, server_tls=contexts[0]) as served:
        wire = await served.connect_plain()
        await wire.send(post("/v1/echo", b"x" * 10_000))

        assert await wire.read_to_end() == (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        )
        assert world.calls == []


@pytest.mark.parametrize("garbage", [b"\x16garbage that is no handshake", b"\x00" * 20])
async def test_a_failed_handshake_hurts_nobody_else(world: World, contexts: Contexts, garbage: bytes) -> None:
    async with serving(world, fast_lane=True, server_tls=contexts[0], client_tls=contexts[1]) as served:
        wire = await served.connect_plain()
        await wire.send(garbage)
        await wire.read_to_end()

        good = await served.connect()
        await good.send(post("/v1/echo", b"fine"))

        assert (await good.read_response()).body == b"fine"


async def test_a_handshake_has_a_deadline(world: World, contexts: Contexts) -> None:
    limits = Limits(handshake_timeout_s=0.05)
    async with serving(world, fast_lane=True, server_tls=contexts[0], limits=limits) as served:
        silent, started = await served.connect_plain(), await served.connect_plain()
        await started.send(b"\x16\x03\x01")

        assert await silent.read_to_end() == b""
        assert await started.read_to_end() == b""


async def test_no_protocol_is_negotiated(world: World) -> None:
    server, client = tls_contexts()
    client.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(world, fast_lane=True, server_tls=server, client_tls=client) as served:
        wire = await served.connect()

        assert isinstance(wire.stream, trio.SSLStream)
        assert wire.stream.selected_alpn_protocol() is None


# -- stop


async def test_a_stop_closes_the_listener_and_idle_connections_at_once(served: Served) -> None:
    new, used = await served.connect(), await served.connect()
    await used.send(post("/v1/echo"))
    await used.read_response()
    await until_there_are(served, connections=2)
    served.until_stopped.cancel()

    assert await new.read_to_end() == b""
    assert await used.read_to_end() == b""
    with pytest.raises(OSError, match="all attempts to connect"):
        await served.connect()


async def test_a_stop_waits_for_requests_in_flight(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/slow"))
    await served.world.handler_entered.wait()
    served.until_stopped.cancel()
    await wait_all_tasks_blocked()
    served.world.handler_may_go_on.set()

    response = await wire.read_response()

    assert response.body == b"at last"
    assert {name.lower(): value for name, value in response.headers.items()}["connection"] == "close"
    assert await wire.read_to_end() == b""


async def test_a_stop_ends_event_streams_cleanly(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/events.r1"))
    await wire.read_until(b"\r\n\r\n")
    served.world.sources[0].push(b"id: 0\n\n")
    served.until_stopped.cancel()

    assert await wire.read_to_end() == b"7\r\nid: 0\n\n\r\n0\r\n\r\n"
    assert served.world.sources[0].closed


@pytest.mark.parametrize("fast_lane", [True, False], ids=["fast", "slow"])
@pytest.mark.parametrize("by", ["its scope", "cancellation"])
async def test_after_the_grace_requests_are_cancelled(world: World, fast_lane: bool, by: str) -> None:
    [listener] = await open_listeners("127.0.0.1:0")
    limits = Limits(stop_grace_s=0.1)
    server = HTTPServer(
        world.table(), tls=None, gate=lambda: True, hooks=world.hooks(), limits=limits, fast_lane=fast_lane
    )
    until_stopped = trio.CancelScope()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, server, listener, until_stopped)
            wire = Wire(await trio.open_tcp_stream(*listener.socket.getsockname()))
            await wire.send(post("/v1/slow"))
            await world.handler_entered.wait()
            if by == "its scope":
                until_stopped.cancel()
            else:
                nursery.cancel_scope.cancel()

    assert await wire.read_to_end() == b""
    await wire.stream.aclose()
    assert server.statistics().connections == 0


async def test_a_request_in_flight_outlives_the_cancellation_of_serve(world: World) -> None:
    [listener] = await open_listeners("127.0.0.1:0")
    server = HTTPServer(world.table(), tls=None, gate=lambda: True, hooks=world.hooks())
    wire = Wire(await trio.open_tcp_stream(*listener.socket.getsockname()))
    await wire.send(post("/v1/slow"))
    async with trio.open_nursery() as nursery:

        async def serve_until_cancelled(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope() as scope:
                task_status.started(scope)
                await server.serve([listener])

        scope = await nursery.start(serve_until_cancelled)
        await world.handler_entered.wait()
        scope.cancel()
        world.handler_may_go_on.set()

        assert (await wire.read_response()).body == b"at last"
    await wire.stream.aclose()


async def test_the_process_may_be_a_client_of_its_own_without_port_and_tls(world: World) -> None:
    server_tls, _ = tls_contexts()
    for fast_lane in (True, False):
        async with serving(world, fast_lane=fast_lane, server_tls=server_tls) as served:
            wire = Wire(served.server.connect("this process"))
            await wire.send(post("/v1/echo", b"hello"))

            assert (await wire.read_response()).body == b"hello"
            assert world.calls[-1].remote_addr == "this process"
            assert served.server.statistics().connections == 1

            await wire.stream.aclose()
            await until_there_are(served, connections=0)

        with pytest.raises(ConnectionRefusedError):
            served.server.connect("this process")
