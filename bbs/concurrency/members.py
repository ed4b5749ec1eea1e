"""The parts of a running server: started one after another, each when the one before is ready, and stopped backwards.

Each member is a task of one nursery. It runs until it is stopped, or until it fails; either way the others are then
stopped, the last started first, each when the one after it has ended (spec: config.md §4, §6). So a member may rely on
all members before it for as long as it runs.

A member is what ``nursery.start`` takes: it calls ``task_status.started()`` when it is ready, and is stopped by
cancelling it. One that has to end in order hands over a cancel scope:

    with trio.CancelScope() as until_stopped:
        task_status.started(until_stopped)
        await trio.sleep_forever()
    await finish_what_is_under_way()

A stop then cancels this scope only, and what comes after it runs undisturbed, unless all members are broken off at
once. One that is not ready yet when the stop comes is cancelled like any other.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from bbs.concurrency.causes import root_cause


class Run(Protocol):
    """What a member does. ``started`` may be given a cancel scope, as above; any other value means nothing here."""

    def __call__(self, *, task_status: trio.TaskStatus[object]) -> Awaitable[object]: ...


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    run: Run


@dataclass(frozen=True, slots=True)
class Exit:
    """How one member ended: ``failure`` is ``None`` when it ended well."""

    name: str
    failure: Exception | None


def failures(exits: Sequence[Exit]) -> list[Exception]:
    """What went wrong, the first one first."""
    return [exit_.failure for exit_ in exits if exit_.failure is not None]


def trace(exits: Sequence[Exit]) -> str:
    """How all members ended, as ``exited-with-failure`` tells it."""
    lines = [
        f"{exit_.name} exited with {'nil' if exit_.failure is None else f'error: {root_cause(exit_.failure)}'}"
        for exit_ in exits
    ]
    return "\n".join(["Exit trace for group:", *lines, ""])


@dataclass(eq=False, slots=True)
class _Running:
    """A member's task, and the task status that it is given.

    ``until_stopped`` is what a stop cancels: a scope around the whole member, until the member hands over one of its own.
    """

    until_stopped: trio.CancelScope = field(default_factory=trio.CancelScope)
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)

    def started(self, value: object = None) -> None:
        if isinstance(value, trio.CancelScope):
            self.until_stopped = value
        self.ready.set()


async def run_members(
    members: Sequence[Member], *, until_stopped: trio.CancelScope, on_started: Callable[[], None]
) -> list[Exit]:
    """Run ``members`` until one of them ends or ``until_stopped`` is cancelled; returns how each ended, in that order.

    ``until_stopped`` is entered here, and may have been cancelled before: then no member starts. ``on_started`` is called
    when all are ready. If it never comes to that it is called in the end all the same: upstream tells of its start then,
    just before it tells of its end.

    Cancellation:
      Cancels all members at once.
    """
    exits: list[Exit] = []
    started: list[_Running] = []
    all_started = False

    async def run(member: Member, running: _Running) -> None:
        failure: Exception | None = None
        try:
            with running.until_stopped:
                await member.run(task_status=running)
        except Exception as error:
            # Not raised: the nursery would cancel all others at once, and they have to end one by one, in order.
            failure = error
        exits.append(Exit(member.name, failure))
        running.ended.set()
        until_stopped.cancel()

    async with trio.open_nursery() as nursery:
        with until_stopped:
            for member in members:
                # One that has ended in the moment in which it was ready lets no other start.
                await trio.lowlevel.checkpoint_if_cancelled()
                running = _Running()
                started.append(running)
                nursery.start_soon(run, member, running)
                # Without a deadline: a standby waits for the lock for as long as it takes.
                await running.ready.wait()
            all_started = True
            on_started()
            await trio.sleep_forever()
        # Without a deadline, too: each member has its own for what it still has to do. Whoever can't wait cancels them all.
        for running in reversed(started):
            running.until_stopped.cancel()
            await running.ended.wait()
        if not all_started:
            on_started()
    return exits
