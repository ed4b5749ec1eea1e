"""Streams that break, end and are closed (spec: events.md §10)."""

from base64 import b64encode
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.client import (
    BadEventSourceResponse,
    BBSClient,
    EndOfStream,
    EventSource,
    InvalidEventPayload,
    RawSourceError,
    SourceClosed,
    TransportError,
    TransportTimeout,
    UnrecognizedEventType,
)
from bbs.models import pb
from tests.client.scripted_server import (
    REFUSE_CONNECTION,
    Asked,
    Say,
    ScriptedServer,
    Step,
    Then,
    answer,
    broken_stream,
    open_stream,
    stream,
)


def text(task_guid: str, *, id_: int | None = None, name: str = "task_created", more: str = "") -> bytes:
    payload = b64encode(pb.TaskCreatedEvent(task=pb.Task(task_guid=task_guid)).SerializeToString()).decode()
    id_line = "" if id_ is None else f"id: {id_}\n"
    return f"{id_line}event: {name}\ndata: {payload}\n{more}\n".encode()


async def keys(source: EventSource) -> list[str]:
    return [event.key async for event in source]


BUSY = answer(status="503 Service Unavailable", content_type="text/plain")


Subscribe = Callable[[BBSClient], Awaitable[EventSource]]


@pytest.mark.parametrize(
    ("subscribe", "method", "path", "body", "content_length"),
    [
        pytest.param(lambda c: c.subscribe_to_events(), "GET", "/v1/events.r1", b"", None, id="groups"),
        pytest.param(
            lambda c: c.subscribe_to_events(cell_id="c1"),
            "GET",
            "/v1/events.r1",
            b"\x0a\x02c1",
            "4",
            id="groups, cell",
        ),
        pytest.param(
            lambda c: c.subscribe_to_instance_events(),
            "POST",
            "/v1/events/lrp_instances.r1",
            b"",
            "0",
            id="instances",
        ),
        pytest.param(
            lambda c: c.subscribe_to_instance_events(cell_id="c1"),
            "POST",
            "/v1/events/lrp_instances.r1",
            b"\x0a\x02c1",
            "4",
            id="instances, cell",
        ),
        pytest.param(
            lambda c: c.subscribe_to_task_events(), "POST", "/v1/events/tasks.r1", b"", "0", id="tasks"
        ),
    ],
)
async def test_what_a_subscription_asks_for(
    client: BBSClient,
    server: ScriptedServer,
    autojump_clock: MockClock,
    subscribe: Subscribe,
    method: str,
    path: str,
    body: bytes,
    content_length: str | None,
) -> None:
    server.plays(stream(text("t")))
    async with await subscribe(client) as source:
        assert await keys(source) == ["t"]

    headers = {"host": "bbs.test:8889", "user-agent": "bbs-client", "accept-encoding": "gzip"}
    if content_length is not None:
        headers["content-length"] = content_length
    assert server.asked == [Asked(method, path, headers, body, 0.0)]


# Connecting


async def test_a_busy_server_is_asked_again_without_limit(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    statuses = [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
    ] * 5
    server.plays(*(answer(status=status) for status in statuses), stream(text("t")))

    source = await client.subscribe_to_task_events()

    assert await keys(source) == ["t"]
    assert server.times == [float(second) for second in range(21)]


@pytest.mark.parametrize(
    "status", ["404 Not Found", "401 Unauthorized", "204 No Content", "501 Not Implemented"]
)
async def test_a_server_that_does_not_offer_the_stream_is_not_asked_again(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock, status: str
) -> None:
    server.plays(answer(status=status))

    with pytest.raises(BadEventSourceResponse, match=f"^bad response from event source: {status}$"):
        await client.subscribe_to_task_events()

    assert server.times == [0.0]


async def test_a_server_that_cannot_be_reached_is_tried_once_and_three_times_more(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(*[REFUSE_CONNECTION] * 4)

    with pytest.raises(TransportError, match=r"(?m)connection refused$"):
        await client.subscribe_to_task_events()

    assert server.dialled == [0.0, 1.0, 2.0, 3.0]


async def test_being_busy_does_not_use_up_retries(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    before: list[Step] = [REFUSE_CONNECTION, BUSY] * 3
    server.plays(*before, stream(text("t")))

    assert await keys(await client.subscribe_to_task_events()) == ["t"]


# Breaking


async def test_a_broken_stream_is_opened_again_from_where_it_was(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(
        broken_stream(text("a", id_=6), text("b", id_=7), b"id: 8\nevent: task_cre"), stream(text("d", id_=0))
    )

    assert await keys(await client.subscribe_to_task_events()) == ["a", "b", "d"]

    assert server.times == [0.0, 1.0]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "7"]


async def test_every_break_has_retries_of_its_own(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    breaking: list[Step] = [broken_stream(text("x")), *[REFUSE_CONNECTION] * 3]
    server.plays(*breaking * 3, stream())

    assert await keys(await client.subscribe_to_task_events()) == ["x"] * 3


async def test_a_stream_that_cannot_be_opened_again_is_an_error_and_the_next_read_tries_anew(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(broken_stream(), *[REFUSE_CONNECTION] * 4, answer(status="404 Not Found"), stream(text("t")))
    source = await client.subscribe_to_task_events()

    with pytest.raises(RawSourceError, match=r"^raw event source error: Post .* connection refused$"):
        await source.next()
    with pytest.raises(
        RawSourceError, match=r"^raw event source error: bad response from event source: 404 Not Found$"
    ):
        await source.next()
    assert (await source.next()).key == "t"


async def test_the_server_may_set_the_interval(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(broken_stream(text("a", more="retry: 7500\n")), stream())

    assert await keys(await client.subscribe_to_task_events()) == ["a"]
    assert server.times == [0.0, 7.5]


# Ending and closing


async def test_a_clean_end_is_final(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(stream(text("a")))
    source = await client.subscribe_to_task_events()
    await source.next()

    for _ in range(2):
        with pytest.raises(EndOfStream):
            await source.next()

    assert len(server.dialled) == 1


async def test_closing_ends_a_read_and_all_later_ones(
    client: BBSClient, server: ScriptedServer, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server.plays(open_stream(text("a"), text("b")))
    source = await client.subscribe_to_task_events()
    assert [(await source.next()).key for _ in "ab"] == ["a", "b"]
    ended = trio.Event()

    async def read() -> None:
        with pytest.raises(SourceClosed, match=r"^source closed$"):
            await source.next()
        ended.set()

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    await source.aclose()
    await source.aclose()
    await wait_all_tasks_blocked()

    assert ended.is_set()
    assert server.closed_connections == 1
    with pytest.raises(SourceClosed):
        await source.next()


async def test_closing_ends_the_wait_for_another_attempt(
    client: BBSClient, server: ScriptedServer, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server.plays(broken_stream(), *[BUSY] * 1000)
    source = await client.subscribe_to_task_events()

    async def close_later() -> None:
        await trio.sleep(100.5)
        await source.aclose()

    nursery.start_soon(close_later)
    with pytest.raises(SourceClosed):
        await source.next()

    assert trio.current_time() == 100.5


async def test_a_cancelled_read_loses_nothing(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(open_stream(text("a"), text("b")))
    source = await client.subscribe_to_task_events()
    with trio.CancelScope() as scope:
        scope.cancel()
        await source.next()
    received = []
    for _ in range(2):
        with trio.move_on_after(60):
            while True:
                received.append((await source.next()).key)

    assert received == ["a", "b"]
    assert len(server.dialled) == 1


# Single events


async def test_an_unreadable_event_does_not_end_the_source(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(stream(b"event: task_created\ndata\n\n", text("x", name="task_moved"), text("b")))
    source = await client.subscribe_to_task_events()

    with pytest.raises(InvalidEventPayload):
        await source.next()
    with pytest.raises(UnrecognizedEventType):
        await source.next()
    assert (await source.next()).key == "b"


async def test_iterating_skips_kinds_to_come_but_not_damage(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(stream(text("x", name="task_moved"), text("a"), b"event: task_created\ndata\n\n", text("b")))
    source = await client.subscribe_to_task_events()

    with pytest.raises(InvalidEventPayload):
        await keys(source)
    assert await keys(source) == ["b"]


# Time-outs


async def test_a_stream_may_be_quiet_for_as_long_as_it_likes(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(open_stream(text("a")))
    async with await client.subscribe_to_task_events() as events:
        assert (await events.next()).key == "a"
        with trio.move_on_after(24 * 3600) as scope:
            await events.next()

    assert scope.cancelled_caught
    assert len(server.asked) == 1


async def test_a_stream_that_is_quiet_for_longer_than_was_said_is_opened_again(
    server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(open_stream(text("a")), stream(text("b")))
    async with (
        BBSClient.connect("http://bbs.test", connector=server.connect, stream_idle_timeout_s=40) as client,
        await client.subscribe_to_task_events() as events,
    ):
        assert await keys(events) == ["a", "b"]

    assert server.times == [0, 40 + 1]


async def test_a_single_stream_that_is_quiet_for_longer_than_was_said_breaks(
    server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(open_stream(text("a")))
    async with (
        BBSClient.connect("http://bbs.test", connector=server.connect, stream_idle_timeout_s=40) as client,
        await client.subscribe_to_task_events(once=True) as events,
    ):
        assert (await events.next()).key == "a"
        with pytest.raises(RawSourceError, match=r"nothing came for 40 s$"):
            await events.next()

    assert trio.current_time() == 40


@pytest.mark.parametrize("once", [False, True])
async def test_the_head_of_a_stream_has_to_come_in_time(
    server: ScriptedServer, autojump_clock: MockClock, once: bool
) -> None:
    server.plays(Say(b"", Then.HANG))
    async with BBSClient.connect(
        "http://bbs.test", connector=server.connect, request_timeout_s=7, stream_reconnects=0
    ) as client:
        with pytest.raises(TransportTimeout, match="while awaiting headers"):
            await client.subscribe_to_task_events(once=once)

    assert trio.current_time() == 7
