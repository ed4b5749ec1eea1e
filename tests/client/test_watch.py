"""A watch over streams that end, servers that are behind, and consumers that take their time. In virtual time."""

from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import h11
import pytest
import trio
from google.protobuf.message import Message
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from bbs.client import (
    Added,
    BBSClient,
    Change,
    Changed,
    ClientConfig,
    Fleet,
    Removed,
    TransportTimeout,
    WatchFailed,
)
from bbs.client._at_least import REFUSALS_MAX
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPKey, Presence

TOKEN = "X-Bbs-At-Least"


def desired(guid: str, index: int = 0, *, epoch: str = "e", **more: object) -> pb.DesiredLRP:
    lrp = pb.DesiredLRP(process_guid=guid, domain="d", instances=1, **more)  # type: ignore[arg-type]
    lrp.modification_tag.epoch, lrp.modification_tag.index = epoch, index
    return lrp


def actual(
    guid: str,
    index: int,
    *,
    state: str = "RUNNING",
    epoch: str = "e",
    presence: pb.ActualLRP.Presence = pb.ActualLRP.ORDINARY,
    cell: str = "c1",
) -> pb.ActualLRP:
    """Instance 0 of a process; ``index`` is that of the modification tag."""
    row = pb.ActualLRP(state=state, presence=presence, routable=True, availability_zone="z1")
    row.actual_lrp_key.process_guid, row.actual_lrp_key.domain = guid, "d"
    if state in ("CLAIMED", "RUNNING"):
        row.actual_lrp_instance_key.instance_guid, row.actual_lrp_instance_key.cell_id = f"{guid}-i", cell
    row.modification_tag.epoch, row.modification_tag.index = epoch, index
    row.actual_lrp_internal_routes.add(hostname="internal")
    row.metric_tags["source"] = guid
    return row


def changed(before: pb.ActualLRP, after: pb.ActualLRP) -> pb.ActualLRPInstanceChangedEvent:
    event = pb.ActualLRPInstanceChangedEvent(before=info(before), after=info(after))
    event.actual_lrp_key.CopyFrom(after.actual_lrp_key)
    holder = after if after.actual_lrp_instance_key.instance_guid else before
    event.actual_lrp_instance_key.CopyFrom(holder.actual_lrp_instance_key)
    return event


def info(row: pb.ActualLRP) -> pb.ActualLRPInfo:
    return pb.ActualLRPInfo(
        state=row.state,
        presence=row.presence,
        Routable=row.routable,
        availability_zone=row.availability_zone,
        modification_tag=row.modification_tag,
    )


NAMES = {
    pb.DesiredLRPCreatedEvent: "desired_lrp_created",
    pb.DesiredLRPChangedEvent: "desired_lrp_changed",
    pb.DesiredLRPRemovedEvent: "desired_lrp_removed",
    pb.ActualLRPCrashedEvent: "actual_lrp_crashed",
    pb.ActualLRPInstanceCreatedEvent: "actual_lrp_instance_created",
    pb.ActualLRPInstanceChangedEvent: "actual_lrp_instance_changed",
    pb.ActualLRPInstanceRemovedEvent: "actual_lrp_instance_removed",
    pb.TaskCreatedEvent: "task_created",
    pb.TaskChangedEvent: "task_changed",
    pb.TaskRemovedEvent: "task_removed",
}


@dataclass
class FakeBBS:
    """Lists what is put into it, and tells what it is told to tell. ``token`` is on all its answers, if it has one."""

    nursery: trio.Nursery
    desired: list[pb.DesiredLRP] = field(default_factory=list)
    actual: list[pb.ActualLRP] = field(default_factory=list)
    tasks: list[pb.Task] = field(default_factory=list)
    token: str = ""
    is_away: bool = False
    statuses: deque[str] = field(default_factory=deque)
    """What the next requests are answered instead."""
    refuses: str = ""
    """A token that is not known here: requests with it are answered 503."""
    asked: list[tuple[str, str, float]] = field(default_factory=list)
    """Path, token and time of each request."""
    bodies: list[bytes] = field(default_factory=list)
    streams: "list[trio.abc.Stream]" = field(default_factory=list)
    before_list: Callable[[], Awaitable[None]] | None = None

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        if self.is_away:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, ours)
        return theirs

    async def tell(self, *events: Message) -> None:
        """To all who are subscribed, and wait until it has been taken."""
        for event in events:
            payload = b64encode(event.SerializeToString()).decode()
            await self.say(f"event: {NAMES[type(event)]}\ndata: {payload}\n\n".encode())

    async def say(self, text: bytes) -> None:
        for stream in self.streams:
            await stream.send_all(b"%x\r\n%b\r\n" % (len(text), text))
        await wait_all_tasks_blocked()

    async def end_streams(self, *, cleanly: bool = True) -> None:
        for stream in self.streams:
            if cleanly:
                await stream.send_all(b"0\r\n\r\n")
            await trio.aclose_forcefully(stream)
        self.streams.clear()
        await wait_all_tasks_blocked()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        http = h11.Connection(h11.SERVER)
        with_body = b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                try:
                    http.receive_data(bytes(await stream.receive_some()))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
            elif isinstance(event, h11.Request):
                request, with_body = event, b""
            elif isinstance(event, h11.Data):
                with_body += event.data
            elif isinstance(event, h11.EndOfMessage):
                await self._answer(stream, request, with_body)
                http = h11.Connection(h11.SERVER)
            else:
                await trio.aclose_forcefully(stream)
                return

    async def _answer(self, stream: trio.abc.Stream, request: h11.Request, body: bytes) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        path, token = request.target.decode(), headers.get(TOKEN.lower(), "")
        self.asked.append((path, token, trio.current_time()))
        self.bodies.append(body)
        if self.refuses and token == self.refuses:
            await stream.send_all(head("503 Service Unavailable", "text/plain", "", 0))
        elif self.statuses:
            await stream.send_all(head(self.statuses.popleft(), "text/plain", "", 0))
        elif "/events/" in path:
            text = head("200 OK", "text/event-stream", self.token, None)
            await stream.send_all(text)
            self.streams.append(stream)
        else:
            if self.before_list is not None:
                await self.before_list()
            answer = self._list(path).SerializeToString()
            await stream.send_all(head("200 OK", "application/x-protobuf", self.token, len(answer)) + answer)

    def _list(self, path: str) -> Message:
        if "routing_infos" in path:
            return pb.DesiredLRPsResponse(desired_lrps=self.desired)
        if "actual_lrps" in path:
            return pb.ActualLRPsResponse(actual_lrps=self.actual)
        assert path == "/v1/tasks/list.r3", path
        return pb.TasksResponse(tasks=self.tasks)

    @property
    def tokens(self) -> list[str]:
        return [token for _, token, _ in self.asked]


def head(status: str, content_type: str, token: str, length: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    token_line = f"{TOKEN}: {token}\r\n" if token else ""
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{token_line}{framing}\r\n\r\n".encode()


@pytest.fixture
def server(nursery: trio.Nursery) -> FakeBBS:
    return FakeBBS(nursery)


class Lines:
    """A log that keeps its errors."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []

    def session(self, name: str, data: object = None, /) -> "Lines":
        return self

    def debug(self, action: str, data: object = None, /) -> None:
        pass

    def error(self, action: str, data: object = None, /, *, error: BaseException | str | None = None) -> None:
        self.errors.append((action, str(error)))


@pytest.fixture
async def log() -> Lines:
    return Lines()


@pytest.fixture
async def client(server: FakeBBS, log: Lines) -> AsyncIterator[BBSClient]:
    config = ClientConfig(url="http://bbs.test:8889")
    async with BBSClient.connect(config, connector=server.connect, log=log) as client:
        yield client


@asynccontextmanager
async def watching(client: BBSClient, **which: object) -> AsyncIterator[Fleet]:
    async with client.watch(random=Random(1), **which) as fleet:  # type: ignore[arg-type]
        yield fleet


async def changes(fleet: Fleet) -> list[Change]:
    """All that are there by now."""
    taken: list[Change] = []
    while True:
        with trio.move_on_after(0.001) as scope:
            taken.append(await anext(fleet))
        if scope.cancelled_caught:
            return taken


def text(change: Change) -> str:
    """A change in short: what became what."""
    match change:
        case Added(after):
            return f"+{version(after)}"
        case Changed(before, after):
            return f"{version(before)}>{version(after)}"
        case Removed(before):
            return f"-{version(before)}"


def version(record: pb.DesiredLRP | pb.ActualLRP | pb.Task) -> str:
    match record:
        case pb.Task():
            return f"{record.task_guid}:{pb.Task.State.Name(record.state)}"
        case pb.ActualLRP():
            presence = "OES"[record.presence]
            tag = record.modification_tag
            return f"{record.actual_lrp_key.process_guid}/{presence}/{tag.epoch}{tag.index}"
        case pb.DesiredLRP():
            return f"{record.process_guid}/{record.modification_tag.epoch}{record.modification_tag.index}"


async def texts(fleet: Fleet) -> list[str]:
    return [text(change) for change in await changes(fleet)]


async def test_a_snapshot_then_changes(client: BBSClient, server: FakeBBS, autojump_clock: MockClock) -> None:
    server.desired = [desired("p")]
    server.actual = [actual("p", 3, state="CLAIMED")]
    async with watching(client) as fleet:
        assert list(fleet.desired_lrps) == ["p"]
        [key] = fleet.actual_lrps
        assert key == ActualLRPKey("p", 0, Presence.ORDINARY)
        assert fleet.is_current
        claimed, running = server.actual[0], actual("p", 4)

        await server.tell(
            changed(claimed, running),
            pb.DesiredLRPCreatedEvent(desired_lrp=desired("q", annotation="not a routing info")),
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("q", 0, state="UNCLAIMED")),
        )

        assert await texts(fleet) == ["p/O/e3>p/O/e4", "+q/e0", "+q/O/e0"]
        assert fleet.actual_lrps[key].actual_lrp_instance_key == running.actual_lrp_instance_key
        assert fleet.actual_lrps[key].routable
        assert not fleet.actual_lrps[key].actual_lrp_internal_routes
        assert fleet.desired_lrps["q"] == desired("q", routes=pb.ProtoRoutes())
    assert [path for path, _, _ in server.asked] == [
        "/v1/events/lrp_instances.r1",
        "/v1/desired_lrp_routing_infos/list",
        "/v1/actual_lrps/list",
    ]


async def test_what_is_told_while_it_is_listed_comes_once(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    """One row the list already has, one it does not have yet, and one that it still has."""
    server.actual = [actual("has", 1), actual("gone", 1)]

    async def tell() -> None:
        server.before_list = None
        await server.tell(
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("has", 0, state="UNCLAIMED")),
            changed(actual("has", 0, state="UNCLAIMED"), actual("has", 1)),
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("late", 0, state="UNCLAIMED")),
            pb.ActualLRPInstanceRemovedEvent(actual_lrp=actual("gone", 1)),
        )

    server.before_list = tell
    async with watching(client) as fleet:
        assert {version(row) for row in fleet.actual_lrps.values()} == {"has/O/e1", "late/O/e0"}
        assert await texts(fleet) == []
        assert fleet.is_current


async def test_an_evacuation_never_leaves_an_instance_without_its_row(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    running = actual("p", 5)
    server.actual = [running]
    evacuating = actual("p", 0, epoch="f", presence=pb.ActualLRP.EVACUATING)
    async with watching(client) as fleet:
        await server.tell(changed(running, evacuating))
        assert await texts(fleet) == ["+p/E/f0", "-p/O/e5"]

        await server.tell(
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("p", 6, state="UNCLAIMED")),
            pb.ActualLRPCrashedEvent(actual_lrp_key=running.actual_lrp_key),
            pb.ActualLRPInstanceRemovedEvent(actual_lrp=evacuating),
        )
        assert await texts(fleet) == ["+p/O/e6", "-p/E/f0"]


@pytest.mark.parametrize("cleanly", [True, False])
async def test_after_a_reconnect_the_difference_is_told(
    client: BBSClient, server: FakeBBS, log: Lines, autojump_clock: MockClock, cleanly: bool
) -> None:
    server.actual = [actual("same", 1), actual("changes", 1), actual("goes", 1), actual("anew", 1)]
    async with watching(client) as fleet:
        server.is_away = True
        await server.end_streams(cleanly=cleanly)
        assert not fleet.is_current
        assert fleet.trouble

        await trio.sleep(100)
        server.actual = [
            actual("same", 1), actual("changes", 3), actual("anew", 0, epoch="f"), actual("comes", 0)
        ]  # fmt: skip
        server.is_away = False
        await fleet.wait_current()

        assert await texts(fleet) == [
            "changes/O/e1>changes/O/e3",
            "anew/O/e1>anew/O/f0",
            "+comes/O/e0",
            "-goes/O/e1",
        ]
        assert fleet.statistics().connections == 2
    assert log.errors[0][0] == "reconnecting"
    assert log.errors[1] == (
        "reconnecting",
        'Post "http://bbs.test:8889/v1/events/lrp_instances.r1": dial tcp bbs.test:8889: connect: connection refused',
    )
    assert len(log.errors) < 15


async def test_an_event_that_cannot_be_read_has_everything_listed_anew(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    async with watching(client) as fleet:
        server.desired = [desired("p")]
        await server.say(b"event: a_new_kind\ndata: AAAA\n\n")
        assert fleet.is_current

        await server.say(b"event: desired_lrp_created\ndata: ____\n\n")
        await fleet.wait_current()

        assert await texts(fleet) == ["+p/e0"]


async def test_tasks_are_watched_by_their_times(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    pending = pb.Task(task_guid="t", state="Pending", created_at=1, updated_at=9)
    # The server's clock went back.
    running = pb.Task(task_guid="t", state="Running", created_at=1, updated_at=5)
    server.tasks = [pending]
    async with watching(client, tasks=True) as fleet:
        assert dict(fleet.tasks) == {"t": pending}
        event = pb.TaskChangedEvent(before=pending, after=running)
        # There are two streams, and this goes to both: the second is a copy that comes late.
        await server.tell(event)
        assert await texts(fleet) == ["t:Pending>t:Running"]

        await server.tell(pb.TaskRemovedEvent(task=running), pb.TaskRemovedEvent())
        assert await texts(fleet) == ["-t:Running"]


# Followers


async def test_the_token_of_the_last_answer_is_sent_with_the_next_request(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    server.token = "one"
    async with watching(client) as fleet:
        assert server.tokens == ["", "one", "one"]
        server.token = "two"
        await server.end_streams()
        await fleet.wait_current()
        assert server.tokens[3:] == ["one", "two", "two"]


async def test_a_follower_that_is_behind_takes_nothing_back(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    server.token = "one"
    server.actual = [actual("p", 1), actual("q", 1)]
    older = list(server.actual)
    async with watching(client) as fleet:
        await server.tell(
            changed(actual("p", 1), actual("p", 2)),
            pb.ActualLRPInstanceRemovedEvent(actual_lrp=actual("q", 1)),
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("r", 0)),
        )
        assert await texts(fleet) == ["p/O/e1>p/O/e2", "-q/O/e1", "+r/O/e0"]

        server.actual = older
        await server.end_streams()
        await trio.sleep(0.6)
        assert await texts(fleet) == []
        assert not fleet.is_current

        server.actual = [actual("p", 2), actual("r", 0)]
        await fleet.wait_current()
        assert await texts(fleet) == []


async def test_lists_that_keep_contradicting_what_was_told_are_believed(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    """What was removed while nobody listened is no different from what a follower has not heard of, but for lasting."""
    server.token = "one"
    async with watching(client) as fleet:
        await server.tell(pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("p", 0)))
        assert await texts(fleet) == ["+p/O/e0"]

        await server.end_streams()
        await fleet.wait_current()

        assert await texts(fleet) == ["-p/O/e0"]
        assert fleet.statistics().connections == 2


async def test_upstreams_server_is_believed_at_once(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    server.desired = [desired("back", 5)]
    async with watching(client) as fleet:
        await server.tell(pb.DesiredLRPCreatedEvent(desired_lrp=desired("p", 7)))
        assert await texts(fleet) == ["+p/e7"]

        server.desired = [desired("back", 4)]
        await server.end_streams()
        await fleet.wait_current()

        assert await texts(fleet) == ["back/e5>back/e4", "-p/e7"]
        assert trio.current_time() < 1


async def test_a_token_that_no_server_comes_to_is_given_up(
    client: BBSClient, server: FakeBBS, log: Lines, autojump_clock: MockClock
) -> None:
    """The database was put back to a backup."""
    server.token = "after"
    server.desired = [desired("p", 9), desired("q")]
    async with watching(client) as fleet:
        server.token, server.refuses = "before", "after"
        server.desired = [desired("p", 8)]
        await server.end_streams()
        await fleet.wait_current()

        assert await texts(fleet) == ["p/e9>p/e8", "-q/e0"]
    assert server.tokens[3:] == ["after"] * REFUSALS_MAX + ["", "before", "before"]
    assert "token-given-up" in dict(log.errors)


async def test_a_refusal_now_and_then_gives_up_no_token(
    client: BBSClient, server: FakeBBS, log: Lines, autojump_clock: MockClock
) -> None:
    server.token = "one"
    async with watching(client) as fleet:
        for _ in range(2 * REFUSALS_MAX):
            server.statuses.append("503 Service Unavailable")
            await server.end_streams()
            await fleet.wait_current()
    assert "token-given-up" not in dict(log.errors)


async def test_a_row_that_another_cell_took_over_is_found_by_listing_now_and_then(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    """The stream's filter leaves that change out."""
    server.actual = [actual("p", 1, state="CLAIMED")]
    async with watching(client, cell_id="c1") as fleet:
        assert [pb.EventsByCellId.FromString(server.bodies[0]).cell_id] == ["c1"]
        assert pb.ActualLRPsRequest.FromString(server.bodies[2]).cell_id == "c1"
        server.actual = []
        assert text(await anext(fleet)) == "-p/O/e1"
    assert trio.current_time() == 60


# What can't heal


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden"])
async def test_a_server_without_the_stream_is_told_on_entering(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock, status: str
) -> None:
    server.statuses.append(status)
    with pytest.raises(WatchFailed) as caught:
        async with watching(client):
            raise AssertionError("it was entered")
    assert str(caught.value) == f"watching http://bbs.test:8889: bad response from event source: {status}"


async def test_a_server_without_the_list_is_told_to_the_consumer_after_what_is_left(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    async with watching(client) as fleet:
        await server.tell(pb.DesiredLRPCreatedEvent(desired_lrp=desired("p")))
        server.statuses.append("404 Not Found")
        await server.end_streams()
        await trio.sleep(5)

        assert text(await anext(fleet)) == "+p/e0"
        for _ in range(2):
            with pytest.raises(WatchFailed):
                await anext(fleet)
        with pytest.raises(WatchFailed):
            await fleet.wait_current()


async def test_whoever_cannot_wait_for_the_first_snapshot_says_so(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    server.is_away = True
    with pytest.raises(TransportTimeout, match=r"no snapshot within 90 s.*connection refused"):
        async with watching(client, start_within_s=90.0):
            raise AssertionError("it was entered")
    assert trio.current_time() == 90


@pytest.mark.parametrize(("request_timeout_s", "bound_s"), [(7.0, 7), (600.0, 600), (None, 60)])
async def test_no_list_is_waited_for_without_a_bound(
    server: FakeBBS, log: Lines, autojump_clock: MockClock, request_timeout_s: float | None, bound_s: float
) -> None:
    server.before_list = trio.sleep_forever
    async with BBSClient.connect(
        "http://bbs.test:8889", connector=server.connect, log=log, request_timeout_s=request_timeout_s
    ) as client:
        with pytest.raises(
            TransportTimeout, match=r"no snapshot within 1000 s; last: .*(list|awaiting headers)"
        ):
            async with watching(client, start_within_s=1000.0):
                raise AssertionError("it was entered")

    subscribed, listed, subscribed_again = [when for _, _, when in server.asked][:3]
    assert (subscribed, listed) == (0, 0)
    assert bound_s + 0.25 <= subscribed_again <= bound_s + 0.5


async def test_what_the_block_raises_comes_out_as_it_is(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    with pytest.raises(KeyError):
        async with watching(client):
            raise KeyError
    assert await closed(server)


async def test_a_block_that_is_cancelled_leaves_nothing_open(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(5) as scope:
        async with watching(client) as fleet:
            await anext(fleet)
    assert scope.cancelled_caught
    assert await closed(server)
    with pytest.raises(trio.ClosedResourceError):
        await anext(fleet)


async def closed(server: FakeBBS) -> bool:
    await wait_all_tasks_blocked()
    with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
        await server.streams[0].send_all(b"x")
    return True


# Consumers


async def test_what_is_not_taken_in_time_is_merged(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    """A thousand changes of a row: the newest waits, whatever came between."""
    server.actual = [actual("p", 0), actual("gone", 0)]
    async with watching(client) as fleet:
        for index in range(0, 1000, 100):
            await server.tell(
                *(changed(actual("p", at), actual("p", at + 1)) for at in range(index, index + 100))
            )
        await server.tell(
            pb.ActualLRPInstanceRemovedEvent(actual_lrp=actual("gone", 0)),
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("brief", 0)),
            pb.ActualLRPInstanceRemovedEvent(actual_lrp=actual("brief", 0)),
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("new", 0)),
        )
        assert fleet.statistics().pending == 4
        assert fleet.actual_lrps[ActualLRPKey("p", 0, Presence.ORDINARY)].modification_tag.index == 0

        assert await texts(fleet) == ["p/O/e0>p/O/e1000", "-gone/O/e0", "+new/O/e0"]


async def test_a_change_is_not_lost_to_a_deadline(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    async with watching(client) as fleet:
        for number in range(5):
            with trio.move_on_after(1):
                await anext(fleet)
            await server.tell(pb.DesiredLRPCreatedEvent(desired_lrp=desired(f"p{number}")))
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(fleet)
            assert text(await anext(fleet)) == f"+p{number}/e0"


async def test_there_is_one_consumer(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with watching(client) as fleet, trio.open_nursery() as consumers:
        consumers.start_soon(anext, fleet)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await anext(fleet)
        consumers.cancel_scope.cancel()


async def test_pauses_grow_while_a_server_cuts_it_off_again_and_again(
    client: BBSClient, server: FakeBBS, autojump_clock: MockClock
) -> None:
    async with watching(client) as fleet:
        for _ in range(12):
            await server.end_streams()
            await fleet.wait_current()
        times = [at for path, _, at in server.asked if "events" in path]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert 0.25 <= pauses[0] <= 0.5
        assert all(15 <= pause <= 30 for pause in pauses[-4:])

        await trio.sleep(100)
        await server.end_streams()
        began = trio.current_time()
        await fleet.wait_current()
        assert trio.current_time() - began <= 0.5
