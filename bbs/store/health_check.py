"""Asks the database now and then whether it is well, for those who want a master that is not to give way to another.

Each round is some attempts, one right after the other, of which one has to succeed; a round that fails ends the process
(spec: metrics-and-logs.md §6, storage.md §1.6, config.md §2.3).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from time import time_ns
from typing import Generic, NoReturn

import trio
from trio_asyncio import aio_as_trio

from bbs.log import Logger
from bbs.store.side_connection import C, SideConnection


class AttemptFailed(Exception):
    """One attempt; the text is upstream's, with the driver's words at its end."""


class HealthCheckFailed(Exception):
    """No attempt of a round succeeded; the text has a line for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckSettings:
    """Upstream's settings, with its defaults. A negative ``failure_threshold`` is a round without attempts: all well."""

    timeout_s: float = 5.0
    failure_threshold: int = 3
    interval_s: float = 10.0


class HealthCheck:
    """Makes rounds of attempts. ``attempt`` returns if the database is well and raises `AttemptFailed` if not; it is
    cancelled after ``timeout_s``.
    """

    def __init__(
        self, attempt: Callable[[], Awaitable[None]], settings: HealthCheckSettings, *, log: Logger
    ) -> None:
        self._attempt = attempt
        self._settings = settings
        self._log = log.session("db-health-check-runner")

    async def run(
        self, may_begin: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Wait for ``may_begin`` (the database is ready for us), then check until cancelled.

        Raises:
          HealthCheckFailed: a round failed.
        """
        self._log.info("waiting-for-db-migrations")
        task_status.started()
        try:
            await may_begin.wait()
        except trio.Cancelled:
            self._log.debug("exiting-due-to-signal")
            raise
        self._log.info("starting")
        try:
            await self._repeat()
        except trio.Cancelled:
            self._log.debug("exiting-due-to-signal")
            raise
        finally:
            self._log.info("exiting")

    async def _repeat(self) -> NoReturn:
        interval_s, due = self._settings.interval_s, trio.current_time()
        while True:
            # One round at a time: ticks that pass during a long one are left out.
            due += interval_s * max(1, ceil((trio.current_time() - due) / interval_s))
            await trio.sleep_until(due)
            await self._round()

    async def _round(self) -> None:
        failures = []
        for number in range(1, self._settings.failure_threshold + 1):
            try:
                with trio.fail_after(max(0.0, self._settings.timeout_s)):  # a negative one is over, as in Go
                    await self._attempt()
            except trio.TooSlowError:
                failure = f"timed out after {self._settings.timeout_s:g}s while executing DB health check"
                self._log.error("health-check-timed-out", error=failure, attempt=number)
            except AttemptFailed as error:
                failure = str(error)
                self._log.error("failed-health-check", error=failure, attempt=number)
            else:
                self._log.debug("health-check-succeeded")
                return
            failures.append(failure)
        if not failures:
            return
        text = "\n".join(failures)
        self._log.error(
            "health-check-attempts-exceeded", {"max-attempts": self._settings.failure_threshold}, error=text
        )
        self._log.error("database-failure-detected-restarting-bbs", error=text)
        raise HealthCheckFailed(text)


class Probe(Generic[C]):
    """What an attempt does: note the time in ``bbs_health_check`` and read it back, on a connection of its own.

    ``note`` and ``read`` do so under asyncio, and ``words`` gives a driver's error as upstream words it.
    """

    def __init__(
        self,
        connection: SideConnection[C],
        *,
        note: Callable[[C, int], Awaitable[object]],
        read: Callable[[C], Awaitable[object]],
        words: Callable[[BaseException], str],
    ) -> None:
        self._connection = connection
        self._note_time = note
        self._read_time = read
        self._words = words

    async def attempt(self) -> None:
        """One attempt.

        Raises:
          AttemptFailed: the database did not do as asked.
        Cancellation:
          Breaks the statement off.
        """
        step = "upserting"
        try:
            await aio_as_trio(self._note)()
            step = "querying for"
            await aio_as_trio(self._read)()
        except (Exception, asyncio.CancelledError) as error:
            # Whatever the driver stumbled over, it is one failed attempt; only a whole round of them ends the process.
            self._connection.abandon()
            raise AttemptFailed(f"failed {step} health check time: {self._words(error)}") from error
        except BaseException:
            self._connection.abandon()
            raise

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        await self._connection.aclose()

    async def _note(self) -> None:
        await self._note_time(await self._connection.get(), time_ns())

    async def _read(self) -> None:
        if await self._read_time(await self._connection.get()) is None:
            raise OSError("sql: no rows in result set")
