"""Tells whoever desired a task that it is over (spec: tasks.md §5, peers.md §4).

A task with a callback URL waits in the queue for a worker: as many callbacks as there are workers are under way at a time, each in
a Trio task of its own. The worker makes it Resolving, which only one worker can, tells the URL, and deletes the task once
somebody answered. Where nobody did, the task stays Resolving, and convergence brings it here again later: so a call that is
dropped or lost is late, not gone.

Two ways in. Convergence waits when the queue is full, and with it everything it would do next. A request must not
wait, so what it hands over passes through a second queue, ten times as long; beyond that it is dropped and counted.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import trio

from bbs.log import Logger
from bbs.models.errors import Failure
from bbs.models.task import Task
from bbs.peers import bodies
from bbs.peers.http import JSON_CONTENT, ConnectionClosed, HTTPClient, NoResponse, TimedOut, URLInvalid
from bbs.peers.interfaces import CallbackStatistics

ATTEMPTS: Final = 3
"""How often a callback is made before the task is left to convergence."""

AGAIN: Final = (503, 504)
"""Answers of a proxy whose server is not there just now: the callback is made again. After any other answer, also a
refusal, the client knows that its task is over, and the task is deleted."""

HANDED_OVER_PER_WORKER_MAX: Final = 10
"""Tasks per worker that requests may hand over before more are dropped. Upstream starts a goroutine for each, without bound;
here a client whose receiver hangs must not fill the memory with tasks that convergence will bring again anyway."""


class HTTPTaskCallbacks:
    """The pool of ``workers``, and the queue of the same length before it. Nothing happens until `run`."""

    def __init__(self, *, http: HTTPClient, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"must provide positive maxWorkers; provided {workers}")
        self._http = http
        self._workers = workers
        self._send, self._receive = trio.open_memory_channel[Task](workers)
        self._send_over, self._receive_over = trio.open_memory_channel[Task](
            workers * HANDED_OVER_PER_WORKER_MAX
        )
        self._calling = self._told = self._untold = self._skipped = self._dropped = 0

    async def submit(self, task: Task) -> None:
        """Queue a callback, waiting for room. Without a URL: nothing.

        Cancellation:
          The task is not queued.
        """
        if task.completion_callback_url:
            await self._send.send(task)

    def submit_nowait(self, task: Task, *, log: Logger) -> None:
        """Queue a callback without waiting. Without a URL: nothing. No room: dropped, counted and logged."""
        if not task.completion_callback_url:
            return
        try:
            self._send_over.send_nowait(task)
        except trio.WouldBlock:
            self._dropped += 1
            log.error("dropped-task-callback", task_guid=task.task_guid)

    async def run(
        self,
        *,
        resolving: Callable[[str], Awaitable[object]],
        delete: Callable[[str], Awaitable[object]],
        log: Logger,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Call back until cancelled; what waits then is dropped.

        ``resolving`` and ``delete`` do what the requests of those names do, and raise `Failure`.
        """
        free = trio.Semaphore(self._workers)

        async def finish(task: Task) -> None:
            try:
                await self._finish(task, resolving, delete, log)
            finally:
                free.release()

        async with trio.open_nursery() as workers:
            workers.start_soon(self._pass_on)
            task_status.started()
            while True:
                # The next task stays in the queue until there is a worker for it. To start all thousand of them beforehand would
                # keep a new master from its first answer for ten milliseconds.
                await free.acquire()
                workers.start_soon(finish, await self._receive.receive())

    def statistics(self) -> CallbackStatistics:
        return CallbackStatistics(
            queued=_used(self._send),
            handed_over=_used(self._send_over),
            calling=self._calling,
            told=self._told,
            untold=self._untold,
            skipped=self._skipped,
            dropped=self._dropped,
        )

    async def _pass_on(self) -> None:
        while True:
            await self._send.send(await self._receive_over.receive())

    async def _finish(
        self,
        task: Task,
        resolving: Callable[[str], Awaitable[object]],
        delete: Callable[[str], Awaitable[object]],
        pool_log: Logger,
    ) -> None:
        """Make one task Resolving, tell its URL, and delete it."""
        log = pool_log.session("handle-completed-task", task_guid=task.task_guid)
        try:
            await resolving(task.task_guid)
        except Failure as error:
            # Most often another worker, or another request, is on it already.
            log.error("marking-task-as-resolving-failed", error=error)
            self._skipped += 1
            return
        self._calling += 1
        log = log.with_data(callback_url=task.completion_callback_url)
        try:
            is_told = await self._call_back(task, log)
        finally:
            self._calling -= 1
        if not is_told:
            self._untold += 1
            return
        self._told += 1
        try:
            await delete(task.task_guid)
        except Failure as error:
            log.error("delete-task-failed", error=error)

    async def _call_back(self, task: Task, log: Logger) -> bool:
        """Tell the task's URL that the task is over; whether anybody has answered, so that the task can be deleted."""
        url, body = task.completion_callback_url, bodies.completion(task)
        status = 0
        for _ in range(ATTEMPTS):
            try:
                status = await self._http.send("POST", url, headers=JSON_CONTENT, body=body)
            except (TimedOut, ConnectionClosed) as error:
                log.debug("retrying-callback", error=error)
            except URLInvalid as error:
                log.error("building-request-failed", error=error)
                return False
            except NoResponse as error:
                log.error("doing-request-failed", error=error)
                return False
            else:
                if status not in AGAIN:
                    log.info("callback-done", status_code=status)
                    return True
        log.info("callback-failed", status_code=status)
        return False


def _used(channel: "trio.MemorySendChannel[Any]") -> int:
    used = channel.statistics().current_buffer_used
    assert not math.isinf(used)
    return used
