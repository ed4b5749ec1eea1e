"""spec: metrics-and-logs.md, section 5"""

import gc
import io
import json
import sys
import weakref
from dataclasses import dataclass
from functools import partial

import h11
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bbs.log import LagerSink, Level, null_logger
from bbs.peers.rep_failures import RepFailures
from bbs.ports.debug import LIMITS, serve_debug, without_password
from bbs.ports.listen import ListenFailed

PATIENCE_S = 20


@dataclass
class Page:
    status: int
    content_type: str
    text: str


@dataclass
class Debug:
    port: int
    sink: LagerSink

    async def ask(self, target: str, body: bytes = b"", *, method: str = "GET") -> Page:
        connection = h11.Connection(h11.CLIENT)
        head = h11.Request(
            method=method, target=target, headers=[("Host", "h"), ("Content-Length", str(len(body)))]
        )
        page = Page(0, "", "")
        with trio.fail_after(PATIENCE_S):
            async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                for event in (head, h11.Data(body), h11.EndOfMessage()):
                    await stream.send_all(connection.send(event) or b"")
                while True:
                    match connection.next_event():
                        case h11.NEED_DATA:
                            connection.receive_data(await stream.receive_some())
                        case h11.Response() as response:
                            page.status = response.status_code
                            page.content_type = dict(response.headers).get(b"content-type", b"").decode()
                        case h11.Data(data):
                            page.text += bytes(data).decode()
                        case h11.EndOfMessage():
                            return page
                        case other:
                            raise AssertionError(other)


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("-config", "-config"),
        ("postgres://diego:secret@db:5432/diego", "postgres://diego:...@db:5432/diego"),
        ("--database-url=postgres://u:sec:ret@h/d", "--database-url=postgres://u:...@h/d"),
        ("postgres://u:secret/secret?secret@secret@h/d", "postgres://u:...@h/d"),
        ("postgres://u@h/d?sslmode=disable&password=secret&x=y", "postgres://u@h/d?sslmode=disable&password=...&x=y"),
        ("user=u password=secret host=h", "user=u password=... host=h"),
        (r"user=u password = 'it\'s secret' host=h", "user=u password = ... host=h"),
        ("user=u sslpassword='secret and no end", "user=u sslpassword=..."),
        ("--listen=127.0.0.1:8889", "--listen=127.0.0.1:8889"),
        ("https://auctioneer:9016", "https://auctioneer:9016"),
    ],
)  # fmt: skip
def test_a_password_on_the_command_line_is_not_shown(argument: str, shown: str) -> None:
    """`bbs serve` may be given one, and ``/debug/pprof/cmdline`` shows what it was started with."""
    assert without_password(argument) == shown


@pytest.fixture
async def debug(nursery: trio.Nursery) -> Debug:
    sink = LagerSink(io.BytesIO(), min_level=Level.INFO)
    serve = partial(
        serve_debug,
        "127.0.0.1:0",
        sink=sink,
        metrics=lambda: ("text/plain; version=0.0.4; charset=utf-8", b"up 1\n"),
        log=null_logger(),
    )
    port: int = await nursery.start(serve)
    return Debug(port, sink)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize(
    ("word", "level"),
    [
        *((word, Level.DEBUG) for word in ("debug", "DEBUG", "d", "0")),
        *((word, Level.INFO) for word in ("info", "INFO", "i", "1")),
        *((word, Level.ERROR) for word in ("error", "ERROR", "e", "2", "3", "warn", "W")),
        *((word, Level.FATAL) for word in ("fatal", "FATAL", "f", "4", " Fatal\n")),
    ],
)
async def test_the_level_is_set_by_the_words_of_both_generations(
    debug: Debug, method: str, word: str, level: Level
) -> None:
    page = await debug.ask("/log-level", word.encode(), method=method)

    assert (page.status, page.text) == (
        200,
        f"/log-level was invoked with Level: {level.name.lower()}\n",
    )
    assert debug.sink.min_level is level


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 200, "/log-level was invoked with Level: info\n"),
        (b"loud", 400, "Invalid log level: loud\n"),
        (b"5", 400, "Invalid log level: 5\n"),
        (b"\xff", 400, "Invalid log level: \ufffd\n"),
    ],
)
async def test_other_words_change_nothing(debug: Debug, body: bytes, status: int, text: str) -> None:
    page = await debug.ask("/log-level", body, method="POST")

    assert (page.status, page.text) == (status, text)
    assert debug.sink.min_level is Level.INFO


@pytest.mark.parametrize("path", ["/block-profile-rate", "/mutex-profile-fraction"])
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"1", 200, ""),
        (b"-1", 200, ""),
        (b"often", 400, 'strconv.Atoi: parsing "often": invalid syntax\n'),
        (b"", 400, 'strconv.Atoi: parsing "": invalid syntax\n'),
    ],
)
async def test_profile_rates_must_be_integers(
    debug: Debug, path: str, body: bytes, status: int, text: str
) -> None:
    page = await debug.ask(path, body, method="POST")

    assert (page.status, page.text) == (status, text)


@pytest.mark.parametrize(
    ("path", "is_collected"), [("heap", False), ("heap?gc=0", False), ("heap?gc=1", True)]
)
async def test_garbage_is_collected_for_whoever_asks_for_it(
    debug: Debug, path: str, is_collected: bool
) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    gc.disable()  # so that nobody else does
    try:
        cycle = weakref.ref(Cycle())
        await debug.ask(f"/debug/pprof/{path}")
        assert (cycle() is None) == is_collected
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("path", "status", "content_type", "excerpt"),
    [
        ("/debug/pprof/", 200, "text/html; charset=utf-8", "goroutine?debug=1"),
        ("/debug/pprof/goroutine?debug=1", 200, "text/plain; charset=utf-8", "tasks: total "),
        ("/debug/pprof/goroutine?debug=2", 200, "text/plain; charset=utf-8", "bbs.ports.debug.serve_debug"),
        ("/debug/pprof/heap?debug=1", 200, "text/plain; charset=utf-8", "VmRSS:"),
        ("/debug/pprof/heap?debug=1", 200, "text/plain; charset=utf-8", "gc.objects:\t"),
        ("/debug/pprof/heap?debug=1", 200, "text/plain; charset=utf-8", "allocated blocks:\t"),
        ("/debug/pprof/allocs", 200, "text/plain; charset=utf-8", "builtins.dict"),
        ("/debug/pprof/threadcreate", 200, "text/plain; charset=utf-8", "thread MainThread\n"),
        ("/debug/pprof/block", 200, "text/plain; charset=utf-8", "nothing to tell"),
        ("/debug/pprof/mutex", 200, "text/plain; charset=utf-8", "nothing to tell"),
        ("/debug/pprof/trace?seconds=1", 501, "text/plain; charset=utf-8", "nothing to tell"),
        ("/debug/pprof/symbol", 200, "text/plain; charset=utf-8", "num_symbols: "),
        ("/debug/pprof/cmdline", 200, "text/plain; charset=utf-8", "\x00".join(sys.orig_argv)),
        ("/debug/pprof/profile?seconds=0.05", 200, "text/plain; charset=utf-8", "MainThread;"),
        ("/debug/pprof/profile?seconds=0", 400, "text/plain; charset=utf-8", "more than 0"),
        ("/debug/pprof/profile?seconds=nan", 400, "text/plain; charset=utf-8", "more than 0"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "up 1\n"),
        ("/", 404, "text/plain; charset=utf-8", "404 page not found\n"),
        ("/debug/pprof/nothing", 404, "text/plain; charset=utf-8", "404 page not found\n"),
    ],
)
async def test_pages(debug: Debug, path: str, status: int, content_type: str, excerpt: str) -> None:
    page = await debug.ask(path)

    assert (page.status, page.content_type) == (status, content_type)
    assert excerpt in page.text


async def _here_many_wait(event: trio.Event) -> None:
    await event.wait()


async def test_tasks_that_wait_at_one_place_are_counted_together(debug: Debug) -> None:
    event = trio.Event()
    async with trio.open_nursery() as waiting:
        for _ in range(17):
            waiting.start_soon(_here_many_wait, event)

        page = await debug.ask("/debug/pprof/goroutine?debug=1")

        event.set()
    stacks = [block.splitlines() for block in page.text.split("\n\n") if "_here_many_wait" in block]
    assert [stack[0] for stack in stacks] == ["17 @"]


async def test_one_profile_at_a_time(debug: Debug) -> None:
    statuses = []

    async def take() -> None:
        statuses.append((await debug.ask("/debug/pprof/profile?seconds=0.2")).status)

    async with trio.open_nursery() as both:
        both.start_soon(take)
        both.start_soon(take)

    assert sorted(statuses) == [200, 503]


async def test_a_profile_does_not_hold_up_the_end() -> None:
    sink = LagerSink(io.BytesIO())
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_debug, "127.0.0.1:0", sink=sink, metrics=None, log=null_logger())
            debug = Debug(await nursery.start(serve), sink)
            async with await trio.open_tcp_stream("127.0.0.1", debug.port) as stream:
                await stream.send_all(b"GET /debug/pprof/profile?seconds=600 HTTP/1.1\r\nHost: h\r\n\r\n")
                while (await debug.ask("/debug/pprof/profile?seconds=0.01")).status != 503:
                    pass  # until the first one is under way
                nursery.cancel_scope.cancel()


async def test_without_metrics_there_is_no_page(nursery: trio.Nursery) -> None:
    sink = LagerSink(io.BytesIO())
    serve = partial(serve_debug, "127.0.0.1:0", sink=sink, metrics=None, log=null_logger())
    debug = Debug(await nursery.start(serve), sink)

    assert (await debug.ask("/metrics")).status == 404


async def test_calls_of_reps_that_failed_are_a_page_of_json(nursery: trio.Nursery, debug: Debug) -> None:
    assert (await debug.ask("/rep-failures")).status == 404

    failures, sink = RepFailures(now_ns=lambda: 7), LagerSink(io.BytesIO())
    serve = partial(
        serve_debug, "127.0.0.1:0", sink=sink, metrics=None, rep_failures=failures.json, log=null_logger()
    )
    with_page = Debug(await nursery.start(serve), sink)
    assert (await with_page.ask("/rep-failures")).text == "{}"
    failures.note("c1", call="stop-lrp", reason="refused")
    page = await with_page.ask("/rep-failures")
    assert (page.status, page.content_type) == (200, "application/json")
    assert json.loads(page.text) == {
        "c1": {"call": "stop-lrp", "at_ns": 7, "reason": "refused", "failures": 1}
    }


async def test_a_port_in_use_is_told_as_go_tells_it(debug: Debug) -> None:
    address = f"127.0.0.1:{debug.port}"
    with pytest.raises(ListenFailed) as caught:
        await serve_debug(address, sink=debug.sink, metrics=None, log=null_logger())

    assert str(caught.value) == f"listen tcp {address}: bind: address already in use"


async def test_a_full_port_closes_who_was_idle_longest_and_answers_the_next(debug: Debug) -> None:
    streams = [await trio.open_tcp_stream("127.0.0.1", debug.port) for _ in range(3 * LIMITS.connections_max)]
    await wait_all_tasks_blocked(0.01)
    for _ in range(3):
        assert (await debug.ask("/log-level")).status == 200

    with trio.fail_after(PATIENCE_S):
        for stream in streams[: 2 * LIMITS.connections_max]:
            assert await stream.receive_some() == b""
    for stream in streams:
        await trio.aclose_forcefully(stream)
