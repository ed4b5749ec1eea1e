"""The lock that makes one of several servers the master (spec: locking-and-presence.md §3).

It is taken in Locket and renewed for as long as this server runs. A standby keeps asking. A master whose renewal fails,
even once and for whatever reason, stops being master at once, although the lock is good for some seconds more. When that
time is over another server may take it, and by then this one must have stopped; to try again would use up the time that
stopping takes.
"""

import signal
from collections.abc import Callable
from math import inf
from typing import Final
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
    """``owner`` is this server's uuid, which no other's may be. ``ttl_s`` is in whole seconds, as Locket takes it.

    ``stop_signal`` tells which signal the process is stopping by; it only appears in the log. ``now_s`` is a clock that
    goes on while the process is stopped.
    """

    def __init__(
        self,
        locket: Locket,
        *,
        owner: str,
        ttl_s: int,
        retry_interval_s: float,
        log: Logger,
        stop_signal: Callable[[], int] = lambda: signal.SIGINT,
        now_s: Callable[[], float] = trio.current_time,
    ) -> None:
        self._locket = locket
        self._resource = Resource.lock(KEY, owner=owner)
        self._ttl_s = ttl_s
        self._retry_interval_s = retry_interval_s
        self._log = log.session("locket-lock", lock=_described(self._resource), ttl_in_seconds=ttl_s)
        self._stop_signal = stop_signal
        self._now_s = now_s
        self._is_held = False
        self._granted_until_s = -inf

    @property
    def is_held(self) -> bool:
        return self._is_held

    @property
    def may_have_run_out(self) -> bool:
        """Whether somebody else may have the lock by now: its time, counted from when it was last asked for, is over.

        A process that was not let run (stopped, swapped out, its machine paused) finds this out as soon as it runs again,
        before its next renewal can fail.
        """
        return self._now_s() >= self._granted_until_s

    async def run(self, stop: trio.Event, ready: Callable[[], None]) -> None:
        """Take the lock, call ``ready``, keep the lock until ``stop`` is set, and release it; also if it is not ours.

        A call under way is not broken off by ``stop``. The first one has no deadline, nor have those that end it all,
        as upstream's: they fail at once if Locket is away, and keep-alive ends them if it is hung.

        Raises:
          LockLost: a renewal failed, for whatever reason.
        Cancellation:
          Leaves the lock to expire, or to `give_back`.
        """
        try:
            await self._acquire_or_explain(ready)
            while not await self._stopped_within(self._retry_interval_s, stop):
                await self._renew_or_retry(ready)
            await self._release()
        finally:
            self._is_held = False
            self._log.info("completed")

    async def give_back(self) -> None:
        """Release the lock after `run` was cancelled. For whoever has made sure that nothing more is written."""
        try:
            await self._locket.release(self._resource)
        except LocketError as error:
            self._log.error("failed-to-release-lock", error=error)
        else:
            self._log.info("released-lock")

    async def _acquire_or_explain(self, ready: Callable[[], None]) -> None:
        self._log.info("started")
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
            self._acquired(ready)

    async def _renew_or_retry(self, ready: Callable[[], None]) -> None:
        request_uuid = str(uuid4())
        began_s = trio.current_time()
        try:
            await self._ask(request_uuid, deadline_s=self._retry_interval_s, wait_for_ready=True)
        except LocketError as error:
            about = {"request-uuid": request_uuid, "duration": int((trio.current_time() - began_s) * 1e9)}
            if self._is_held:
                self._log.error("lost-lock", about, error=error)
                raise LockLost.because(error, request_uuid) from error
            # That somebody else has it is a standby's everyday life.
            if error.code != Code.ALREADY_EXISTS:
                self._log.error("failed-to-acquire-lock", about, error=error)
        else:
            if not self._is_held:
                self._acquired(ready)

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
        self._granted_until_s = asked_s + self._ttl_s

    def _acquired(self, ready: Callable[[], None]) -> None:
        self._is_held = True
        self._log.info("acquired-lock")
        ready()

    @staticmethod
    async def _stopped_within(seconds: float, stop: trio.Event) -> bool:
        with trio.move_on_after(max(0.0, seconds)):  # a negative one is over at once, as in Go
            await stop.wait()
        return stop.is_set()


def _described(resource: Resource) -> dict[str, object]:
    fields = {
        "key": resource.key,
        "owner": resource.owner,
        "value": resource.value,
        "type": resource.type,
        "type_code": int(resource.type_code),
    }
    return {name: value for name, value in fields.items() if value}
