"""An open page goes on by itself when its server ends and comes back, and when the standby that it shows becomes master."""

from typing import Any

import pytest
import trio

from tests.daemons import Surroundings, daemon, free_port
from tests.dashboard.browser import browser, opened, require_chromium

AWAY = (
    "ERR_CONNECTION_REFUSED",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
)
"""What a browser's console has to say of a server that is away."""

HAS = "text => document.getElementById('server').textContent.startsWith(text)"
IS_LOST = "lost => document.getElementById('connection').classList.contains('lost') === lost"


class Steps:
    """What the test does to the servers when the browser's thread says so."""

    def __init__(self) -> None:
        self.kill, self.killed, self.restart, self.restarted, self.done = (trio.Event() for _ in range(5))

    def now(self, say: trio.Event, wait: trio.Event) -> None:
        """In the browser's thread: have a step done."""
        trio.from_thread.run_sync(say.set)
        trio.from_thread.run(wait.wait)


@pytest.mark.slow
async def test_a_page_survives_a_failover_and_a_restart(around: Surroundings, nursery: trio.Nursery) -> None:
    executable, steps = require_chromium(), Steps()
    first_config, second_config = (with_dashboard(around, uuid) for uuid in ("a", "b"))

    async with daemon(around, first_config) as first:
        await first.logs("started")
        async with daemon(around, second_config):
            nursery.start_soon(
                trio.to_thread.run_sync, look, executable, url_of(first_config), url_of(second_config), steps
            )
            await steps.kill.wait()
            first.process.kill()
            await first.exit_code()
            steps.killed.set()

            await steps.restart.wait()
            async with daemon(around, first_config):
                steps.restarted.set()
                await steps.done.wait()


def with_dashboard(around: Surroundings, uuid: str) -> dict[str, Any]:
    return around.config(uuid, debug_address=f"127.0.0.1:{free_port()}", enable_dashboard=True)


def url_of(config: dict[str, Any]) -> str:
    return f"http://{config['debug_address']}/dashboard/"


def look(executable: str, first: str, second: str, steps: Steps) -> None:
    try:
        with (
            browser(executable) as chromium,
            opened(chromium, first) as at_first,
            opened(chromium, second) as at_second,
        ):
            at_first.until_drawn("Fleet")
            at_first.wait(HAS, "master")
            at_second.wait(HAS, "standby")

            steps.now(steps.kill, steps.killed)
            at_first.wait(IS_LOST, True)
            at_second.wait(HAS, "master")
            at_second.wait(IS_LOST, False)

            steps.now(steps.restart, steps.restarted)
            at_first.wait(IS_LOST, False)
            at_first.wait(HAS, "standby")

            said = [text for text in at_first.complaints if not any(word in text for word in AWAY)]
            assert said + at_second.complaints == []
    finally:
        trio.from_thread.run_sync(steps.done.set)
        for each in (steps.kill, steps.restart):
            trio.from_thread.run_sync(each.set)
