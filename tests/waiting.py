"""Waiting for what has no event of its own: another process, Postgres, the kernel, somebody else's threads.

This is the one place of the tests that sleeps on the real clock; `tests/test_tidy.py` sees to it. Where there is an event
(of Trio, of a log that is read as it comes), wait for that.
"""

import inspect
import time
from collections.abc import Awaitable, Callable

import trio

POLL_S = 0.01


async def wait_until(
    condition: Callable[[], object | Awaitable[object]],
    *,
    within_s: float,
    what: str,
    every_s: float = POLL_S,
) -> None:
    """Ask ``condition`` again and again, ``every_s`` apart, until what it returns (or what that awaits) is true.

    Raises:
      AssertionError: it was not within ``within_s``; ``what`` says what was waited for.
    """
    with trio.move_on_after(within_s):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return
            await trio.sleep(every_s)
    raise AssertionError(f"waited {within_s} s in vain: {what}")


def wait_until_blocking(
    condition: Callable[[], object], *, within_s: float, what: str, every_s: float = POLL_S
) -> None:
    """`wait_until` for tests without Trio."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {within_s} s in vain: {what}"
        time.sleep(every_s)
