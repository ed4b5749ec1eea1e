"""The lock that makes one of several servers the master (spec: locking-and-presence.md §3).

It is taken in Locket and renewed for as long as this server runs. A standby keeps asking. A master whose renewal fails,
even once and for whatever reason, stops being master at once, although the lock is good for some seconds more. When that
time is over another server may take it, and by then this one must have stopped; to try again would use up the time that
stopping takes.
"""

import signal
from collections.abc import Callable
from math import inf
from typing import Final, NoReturn
from uuid import uuid4

import trio

from bbs.log import Logger
from bbs.sync.locket.client import Code, Locket, LocketError, Resource

KEY: Final = "bbs"


class LockLost(Exception):
    """The lock was ours, and a renewal failed: this process must not act as master any more."""

    @classmethod
    def because(cls, error: LocketError, request_uuid: str) -> "LockLost":
        how = "timed out" if error.code == Code.DEADLINE_EXCEEDED else "failed"
        return cls(f"lost lock (request {how}), request-uuid {request_uuid}: {error}")


class Lock:
    """``owner`` is this server's uuid, which no other's may be, and ``value`` what others read there: its URL. ``ttl_s`` is in
    whole seconds, as Locket takes it.

    ``stop_signal`` tells which signal the process is stopping by; it only appears in the log. ``now_s`` is a clock that
    goes on while the process is stopped.
    """

    def __init__(
        self,
        locket: Locket,
        *,
        owner: str,
        value: str = "",
        ttl_s: int,
        retry_interval_s: float,
        log: Logger,
        stop_signal: Callable[[], int] = lambda: signal.SIGINT,
        now_s: Callable[[], float] = trio.current_time,
    ) -> None:
        self._locket = locket
        self._resource = Resource.lock(KEY, owner=owner, value=value)
        self._ttl_s = ttl_s
        self._retry_interval_s = retry_interval_s
        self._log = log.session("locket-lock", lock=_described(self._resource), ttl_in_seconds=ttl_s)
        self._stop_signal = stop_signal
        self._now_s = now_s
        self._is_held = False
        self._granted_until_s = -inf
        self._lapses = 0
        self._lapsed = trio.Event()

    @property
    def owner(self) -> str:
        return self._resource.owner

    @property
    def value(self) -> str:
        return self._resource.value

    @property
    def is_held(self) -> bool:
        """Whether it was granted to us, and has neither been lost nor given back."""
        return self._is_held

    @property
    def may_have_run_out(self) -> bool:
        """Whether somebody else may have the lock by now: its time, counted from when it was last asked for, is over.

        A process that was not let run (stopped, swapped out, its machine paused) finds this out as soon as it runs again,
        before its next renewal can fail.
        """
        return self._now_s() >= self._granted_until_s

    @property
    def lapses(self) -> int:
        """How often a renewal was granted so late that somebody else may have had the lock in between, and let go of it.

        Locket says nothing of that: a lock that nobody has is granted to whoever asks. So each of them says that what this
        server knows may be old, although the lock is its own now.
        """
        return self._lapses

    async def wait_lapse(self, *, after: int) -> int:
        """Wait until there have been more `lapses` than ``after``; how many there have been."""
        while self._lapses <= after:
            await self._lapsed.wait()
        return self._lapses

    async def run(self, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED) -> None:
        """Take the lock and keep it. Started once it is ours, with a scope: when that is cancelled, release it.

        A call under way is never broken off, so that we know what Locket has made of it. The first one has no deadline,
        nor have those that end it all, as upstream's: they fail at once if Locket is away, and keep-alive ends them if it
        is hung.

        Raises:
          LockLost: a renewal failed, for whatever reason.
        Cancellation:
          Before it is started: releases the lock too, ours or not. After that: leaves it to expire, or to `give_back`.
        """
        until_stopped = trio.CancelScope()
        try:
            try:
                await self._acquire()
                task_status.started(until_stopped)
                # The stop may have come during the call that has brought us the lock.
                await trio.lowlevel.checkpoint_if_cancelled()
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await self._release()
                raise
            with until_stopped:
                await self._keep()
            await self._release()
        finally:
            self._log.info("completed")

    async def give_back(self) -> None:
        """Release the lock after `run` was cancelled. For whoever has made sure that nothing more is written."""
        self._is_held = False
        try:
            await self._locket.release(self._resource)
        except LocketError as error:
            self._log.error("failed-to-release-lock", error=error)
        else:
            self._log.info("released-lock")

    async def _acquire(self) -> None:
        """Ask until it is ours."""
        self._log.info("started")
        with trio.CancelScope(shield=True):
            await self._ask_or_explain()
        while not self._is_held:
            await self._ask_after_a_pause()

    async def _keep(self) -> NoReturn:
        while True:
            await self._ask_after_a_pause()

    async def _ask_after_a_pause(self) -> None:
        await trio.sleep(max(0.0, self._retry_interval_s))  # a negative one is over at once, as in Go
        with trio.CancelScope(shield=True):
            await self._renew_or_retry()

    async def _ask_or_explain(self) -> None:
        request_uuid = str(uuid4())
        try:
            await self._ask(request_uuid, deadline_s=None, wait_for_ready=False)
        except LocketError as error:
            about = {"request-uuid": request_uuid}
            try:
                about["lock-owner"] = (await self._locket.fetch(KEY, deadline_s=None)).owner
            except LocketError as unknown:
                self._log.error("failed-fetching-lock-owner", error=unknown)
            self._log.error("failed-to-acquire-lock", about, error=error)
        else:
            self._acquired()

    async def _renew_or_retry(self) -> None:
        request_uuid = str(uuid4())
        began_s = trio.current_time()
        try:
            await self._ask(request_uuid, deadline_s=self._retry_interval_s, wait_for_ready=True)
        except LocketError as error:
            about = {"request-uuid": request_uuid, "duration": int((trio.current_time() - began_s) * 1e9)}
            if self._is_held:
                self._is_held = False
                self._log.error("lost-lock", about, error=error)
                raise LockLost.because(error, request_uuid) from error
            # That somebody else has it is a standby's everyday life.
            if error.code != Code.ALREADY_EXISTS:
                self._log.error("failed-to-acquire-lock", about, error=error)
        else:
            if not self._is_held:
                self._acquired()

    async def _release(self) -> None:
        self._log.info("signalled", signal=int(self._stop_signal()))
        await self.give_back()

    async def _ask(self, request_uuid: str, *, deadline_s: float | None, wait_for_ready: bool) -> None:
        # Counted from before the call: Locket's count begins when the call arrives there, so ours is over first. Counted
        # from the answer, ours would be longer by the way back, and two servers could take themselves for the master.
        asked_s = self._now_s()
        await self._locket.lock(
            self._resource,
            ttl_s=self._ttl_s,
            request_uuid=request_uuid,
            deadline_s=deadline_s,
            wait_for_ready=wait_for_ready,
        )
        if self._is_held and self.may_have_run_out:
            self._lapses += 1
            self._log.info("renewed-late", {"request-uuid": request_uuid})
            self._lapsed.set()
            self._lapsed = trio.Event()
        self._granted_until_s = asked_s + self._ttl_s

    def _acquired(self) -> None:
        self._is_held = True
        self._log.info("acquired-lock")


def _described(resource: Resource) -> dict[str, object]:
    fields = {
        "key": resource.key,
        "owner": resource.owner,
        "value": resource.value,
        "type": resource.type,
        "type_code": int(resource.type_code),
    }
    return {name: value for name, value in fields.items() if value}
