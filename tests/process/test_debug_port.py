"""Where the debug port is, whether it has a dashboard, and what is said of both."""

import socket
import ssl
from dataclasses import dataclass, field

import httpx
import pytest
import trio
from quart_trio import QuartTrio

from bbs.concurrency.causes import root_cause
from bbs.log import LagerSink
from bbs.ports.listen import ListenFailed
from bbs.process.debug_port import DebugPort, dashboard_url
from bbs.process.settings import Settings
from tests.http.serving import tls_contexts
from tests.log_lines import Lines

PATIENCE_S = 60


@dataclass
class Started:
    """A debug port, as a process has it, and what it has logged."""

    settings: Settings
    tls: ssl.SSLContext | None = None
    lines: Lines = field(default_factory=Lines)

    def __post_init__(self) -> None:
        self.debug = DebugPort(
            self.settings,
            tls=self.tls,
            sink=LagerSink(self.lines),
            metrics=lambda: ("text/plain", b"up 1\n"),
            dashboard=self._mount,
            log=self.lines.logger(),
        )

    def _mount(self, app: QuartTrio) -> None:
        @app.get("/dashboard/")
        async def page() -> str:
            return "the dashboard"

    async def start(self, nursery: trio.Nursery) -> None:
        [member] = self.debug.members()
        with trio.fail_after(PATIENCE_S):
            await nursery.start(lambda task_status: member.run(task_status=task_status))


def settings(address: str | None, *, dashboard: bool = True, any_port: bool = False) -> Settings:
    return Settings(
        listen_address="127.0.0.1:0", debug_address=address, dashboard=dashboard, debug_any_port=any_port
    )


async def test_the_dashboard_is_where_it_is_said_to_be(nursery: trio.Nursery) -> None:
    started = Started(settings("127.0.0.1:0"))
    await started.start(nursery)

    url = started.debug.dashboard_url
    assert url.startswith("http://127.0.0.1:")
    assert started.lines.data_of("bbs.dashboard") == {"url": url}
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(url)).text == "the dashboard"


async def test_without_it_there_is_no_page_and_nothing_is_said(nursery: trio.Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    started = Started(settings(address, dashboard=False))
    await started.start(nursery)

    assert (started.debug.dashboard_url, started.lines.messages) == ("", [])
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://{address}/dashboard/")).status_code == 404
        assert (await http.get(f"http://{address}/metrics")).text == "up 1\n"


def test_without_an_address_there_is_no_port() -> None:
    assert Started(settings(None)).debug.members() == []


async def test_a_port_that_nobody_asked_for_may_be_another_one(nursery: trio.Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = f"127.0.0.1:{taken.getsockname()[1]}"
        started = Started(settings(wanted, any_port=True))
        await started.start(nursery)

    moved = started.lines.data_of("bbs.debug-port-moved")
    assert moved["wanted"] == wanted != moved["address"]
    assert "address already in use" in moved["error"]
    assert started.debug.dashboard_url == f"http://{moved['address']}/dashboard/"
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(started.debug.dashboard_url)).status_code == 200


async def test_a_port_that_was_asked_for_may_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        started = Started(settings(f"127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                await started.start(nursery)

    assert isinstance(root_cause(caught.value), ListenFailed)


async def test_tls_is_spoken_with_the_apis_certificates(nursery: trio.Nursery) -> None:
    server_tls, client_tls = tls_contexts()
    started = Started(settings("127.0.0.1:0"), tls=server_tls)
    await started.start(nursery)

    url = started.debug.dashboard_url.replace("http://127.0.0.1", "https://localhost")
    async with httpx.AsyncClient(trust_env=False, verify=client_tls) as http:
        assert (await http.get(url)).text == "the dashboard"


@pytest.mark.parametrize(
    ("address", "is_tls", "expected"),
    [
        ("127.0.0.1:17017", False, "http://127.0.0.1:7/dashboard/"),
        ("127.0.0.1:17017", True, "http://127.0.0.1:7/dashboard/"),
        ("localhost:17017", False, "http://localhost:7/dashboard/"),
        ("[::1]:17017", False, "http://[::1]:7/dashboard/"),
        (":17017", False, "http://127.0.0.1:7/dashboard/"),
        ("0.0.0.0:17017", True, "http://127.0.0.1:7/dashboard/"),
        ("[::]:0", False, "http://127.0.0.1:7/dashboard/"),
        ("10.1.2.3:17017", True, "https://10.1.2.3:7/dashboard/"),
        ("bbs.example:17017", True, "https://bbs.example:7/dashboard/"),
        ("[fd00::1]:17017", True, "https://[fd00::1]:7/dashboard/"),
        ("10.1.2.3:17017", False, ""),
        ("bbs.example:17017", False, ""),
    ],
)
def test_where_it_is_to_be_seen(address: str, is_tls: bool, expected: str) -> None:
    assert dashboard_url(address, 7, is_tls=is_tls) == expected
