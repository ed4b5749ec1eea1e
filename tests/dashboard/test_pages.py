"""The pages over HTTP, at the debug port: what is served, how, and that nothing in it comes from elsewhere."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import httpx
import pytest
import trio

from bbs.dashboard.commands import COMMANDS
from bbs.dashboard.dashboard import Dashboard
from bbs.dashboard.page_stream import VIEWERS_MAX, WATCHERS_MAX
from bbs.log import null_logger
from bbs.models.events import ActualLRPInstanceCreated, Hub
from bbs.models.outcome import Told
from bbs.models.wire import encode
from bbs.ports import descriptors
from bbs.ports.debug import serve_debug
from tests.dashboard.watched import Watched, presence
from tests.log_lines import Lines
from tests.records import actual_lrp, desired_lrp, task, task_definition

PATIENCE_S = 60
ASSETS = [
    "style.css",
    "icon.svg",
    "main.js",
    "dom.js",
    "format.js",
    "commands.js",
    "parts.js",
    "plot.js",
    "cells.js",
    "pages.js",
]


@dataclass
class Shown:
    watched: Watched
    dashboard: Dashboard
    client: httpx.AsyncClient
    port: int


@pytest.fixture
async def shown(lines: Lines, nursery: trio.Nursery) -> AsyncIterator[Shown]:
    watched = Watched()
    watched.put(desired_lrp(instances=2))
    watched.announce([presence("c1")])
    dashboard = Dashboard(watched.sources, log=lines.logger())
    await nursery.start(dashboard.run)

    async def run(*, task_status: trio.TaskStatus[int]) -> None:
        await serve_debug(
            "127.0.0.1:0",
            sink=None,  # type: ignore[arg-type]  # no page of these tests has the log's level changed
            metrics=None,
            log=null_logger(),
            dashboard=dashboard.mount,
            task_status=task_status,
        )

    port = await nursery.start(run)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
        yield Shown(watched, dashboard, client, port)
    nursery.cancel_scope.cancel()


class Stream:
    """The events of one stream, one after another: each its name, and what its JSON says."""

    def __init__(self, transport: trio.SocketStream, connection: h11.Connection) -> None:
        self._transport = transport
        self._connection = connection
        self._text = b""

    async def next(self) -> tuple[str, Any]:
        while True:
            frame, end, rest = self._text.partition(b"\n\n")
            if not end:
                self._text += await self._more()
                continue
            self._text = rest
            if frame.startswith(b"event: "):
                name, data = frame.decode().split("\n")
                return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def until(self, wanted: str) -> Any:
        while True:
            name, value = await self.next()
            if name == wanted:
                return value

    async def _more(self) -> bytes:
        while True:
            match self._connection.next_event():
                case h11.NEED_DATA:
                    self._connection.receive_data(await self._transport.receive_some())
                case h11.Data(data):
                    return bytes(data)
                case h11.Response() as response:
                    assert response.status_code == 200
                case other:
                    raise AssertionError(f"the stream has ended: {other!r}")


@asynccontextmanager
async def stream(shown: Shown, path: str) -> AsyncIterator[Stream]:
    connection = h11.Connection(h11.CLIENT)
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", shown.port) as transport:
            request = h11.Request(method="GET", target=path, headers=[("Host", "localhost")])
            await transport.send_all(connection.send(request) or b"")
            connection.send(h11.EndOfMessage())
            yield Stream(transport, connection)


async def test_the_document_has_nothing_from_elsewhere_and_nothing_inline(shown: Shown) -> None:
    answer = await shown.client.get("/dashboard/")

    assert answer.status_code == 200
    text = answer.text
    assert re.findall(r'(?:src|href)="((?!/dashboard/static/|#)[^"]*)"', text) == []
    assert re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text) is None
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ASSETS)
async def test_assets_are_asked_for_anew_and_sent_once(shown: Shown, name: str) -> None:
    first = await shown.client.get(f"/dashboard/static/{name}")
    again = await shown.client.get(
        f"/dashboard/static/{name}", headers={"If-None-Match": first.headers["ETag"]}
    )

    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    # A browser takes headers of either for the one that it keeps.
    assert first.headers["Content-Type"] == again.headers["Content-Type"]
    assert first.headers["Cache-Control"] == "no-cache"
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", first.text) == []
    assert re.search(r"\beval\(|innerHTML|document\.write|setAttribute\(.style", first.text) is None


async def test_every_asset_is_tried(shown: Shown) -> None:
    document = (await shown.client.get("/dashboard/")).text
    named = set(re.findall(r"/dashboard/static/([\w.]+)", document))
    for name in ASSETS:
        named |= set(
            re.findall(r'from "\./([\w.]+)"', (await shown.client.get(f"/dashboard/static/{name}")).text)
        )

    assert named == set(ASSETS)


async def test_every_command_that_a_script_names_is_known(shown: Shown) -> None:
    scripts = [
        (await shown.client.get(f"/dashboard/static/{name}")).text for name in ASSETS if name.endswith(".js")
    ]
    named = set(re.findall(r'figure\([^"]*?, "([\w-]+)"', "".join(scripts))) | set(
        re.findall(r'command: "([\w-]+)"', "".join(scripts))
    )
    known = (await shown.client.get("/dashboard/commands.json")).json()

    assert named
    assert named <= set(known)
    assert set(known) == set(COMMANDS)


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/nothing",
        "/dashboard/static/",
        "/dashboard/static/..%2fpages.py",
        "/dashboard/static/nothing.js",
    ],
)
async def test_what_is_not_there_is_not_found(shown: Shown, path: str) -> None:
    assert (await shown.client.get(path)).status_code == 404


async def test_a_view_that_is_not_there_says_which_there_are(shown: Shown) -> None:
    answer = await shown.client.get("/dashboard/live/nothing")

    assert (answer.status_code, answer.text) == (
        404,
        "there is no view nothing; there are fleet, apps, app, cells, cell, tasks, task, server\n",
    )


@pytest.mark.parametrize(
    "path",
    [
        "fleet", "apps", "apps?wrong=missing", "apps?wrong=nonsense&after=%00&prefix=%F0%9F%98%80", "app?guid=p", "app", "app?guid=p&start=-5",
        "app?guid=p&start=99999999999999999999", "cells", "cell?cell=c1", "cell?cell=nothing", "tasks", "tasks?state=Running", "tasks?state=bad&after=x",
        "task?task=nothing", "server", "fleet?unknown=word", "apps?prefix=" + "x" * 5000,
    ],
)  # fmt: skip
async def test_every_view_is_made_whatever_is_asked_of_it(shown: Shown, path: str) -> None:
    seen: dict[str, Any] = {}
    async with stream(shown, f"/dashboard/live/{path}") as events:
        while "failed" not in seen:
            name, seen[name] = await events.next()

    assert seen["failed"] is None
    assert {"clock", "header"} < seen.keys()


async def test_every_section_of_a_view_is_listened_for(shown: Shown) -> None:
    script = (await shown.client.get("/dashboard/static/main.js")).text
    listed = re.search(r"const SECTIONS = (\[.*?\]);", script)
    assert listed is not None

    made = [set(await view({})) for view in shown.dashboard.live.views.values()]
    assert set(json.loads(listed[1])) == {"header", "failed"}.union(*made)


async def test_what_changes_reaches_a_page_that_is_open(shown: Shown) -> None:
    async with stream(shown, "/dashboard/live/fleet") as events:
        assert (await events.until("instances"))["desired"] == 2

        shown.watched.put(desired_lrp(instances=5))

        assert (await events.until("instances"))["desired"] == 5


async def test_events_reach_a_page_that_is_open(shown: Shown) -> None:
    async with stream(shown, "/dashboard/events?kind=instance&guid=p") as events:
        await events.until("header")

        shown.dashboard.published([Told(Hub.INSTANCE, ActualLRPInstanceCreated(actual_lrp(), ""))])

        assert [each["text"] for each in (await events.until("events"))["events"]] == ["p/0 new: unclaimed"]


def test_streams_leave_connections_to_others() -> None:
    assert VIEWERS_MAX + WATCHERS_MAX <= descriptors.DEBUG - 4


async def test_a_stream_too_many_is_refused_with_what_to_do(shown: Shown) -> None:
    viewers = [shown.dashboard.live.look("fleet", {}) for _ in range(VIEWERS_MAX)]

    answer = await shown.client.get("/dashboard/live/fleet")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "close some" in answer.text
    for viewer in viewers:
        viewer.close()
    async with stream(shown, "/dashboard/live/fleet") as events:
        await events.until("header")


@pytest.mark.parametrize("path", ["/dashboard/live/fleet", "/dashboard/events"])
async def test_who_asks_for_the_head_of_a_stream_gets_that_and_opens_none(shown: Shown, path: str) -> None:
    with trio.fail_after(PATIENCE_S):
        for _ in range(VIEWERS_MAX + 1):
            answer = await shown.client.head(path)
            assert (answer.status_code, answer.headers["Content-Type"]) == (
                200,
                "text/event-stream; charset=utf-8",
            )


async def test_a_page_that_is_left_is_looked_at_no_more(shown: Shown) -> None:
    async with stream(shown, "/dashboard/live/fleet") as events:
        await events.until("header")
        assert shown.dashboard.live._topics

    with trio.fail_after(PATIENCE_S):
        while shown.dashboard.live._topics:
            await trio.lowlevel.checkpoint()


async def test_a_secret_of_an_app_or_a_task_is_on_no_page(shown: Shown) -> None:
    definition = task_definition(annotation="hidden-annotation", result_file="hidden-file")
    definition.environment_variables.add(name="hidden-name", value="hidden-value")
    shown.watched.put(task(definition=encode(definition), result="hidden-result"))
    lrp = desired_lrp(annotation="hidden-annotation")
    shown.watched.put(lrp)
    for path in ("app?guid=p", "task?task=t", "tasks", "apps"):
        async with stream(shown, f"/dashboard/live/{path}") as events:
            seen: dict[str, Any] = {}
            while "failed" not in seen:
                name, seen[name] = await events.next()
        assert seen["failed"] is None
        assert "hidden" not in json.dumps(seen), path
