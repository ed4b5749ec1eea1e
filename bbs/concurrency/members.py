"""The parts of a running server: started one after another, each when the one before is ready, and stopped backwards.

Each member is a task of one nursery. It runs until its own ``stop`` is set, or until it fails; either way the others
are then stopped, the last started first, each when the one after it has ended (spec: config.md §4, §6). So a member may
rely on all members before it for as long as it runs.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

Ready = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Member:
    """``run(stop, ready)`` calls ``ready`` once it is, and returns soon after ``stop`` is set."""

    name: str
    run: Callable[[trio.Event, Ready], Awaitable[None]]


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


def root_cause(error: BaseException) -> BaseException:
    """What went wrong first, out of the groups that nurseries wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass(eq=False, slots=True)
class _Running:
    member: Member
    stop: trio.Event = field(default_factory=trio.Event)
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)


async def run_members(
    members: Sequence[Member], *, stop: trio.Event, on_started: Callable[[], None]
) -> list[Exit]:
    """Run ``members`` until ``stop`` is set or one of them ends; returns how each ended, in that order.

    ``on_started`` is called when all are ready. If it never comes to that it is called in the end all the same: upstream
    tells of its start then, just before it tells of its end.

    Cancellation:
      Cancels all members at once.
    """
    exits: list[Exit] = []
    started: list[_Running] = []
    # Replaced each time somebody waits for it: set by `stop`, by the end of any member, and by each one's readiness.
    news = trio.Event()

    async def run(running: _Running) -> None:
        def ready() -> None:
            running.ready.set()
            news.set()

        failure: Exception | None = None
        try:
            await running.member.run(running.stop, ready)
        except Exception as error:
            failure = error
        exits.append(Exit(running.member.name, failure))
        running.ended.set()
        news.set()

    async def tell_of_stop() -> None:
        await stop.wait()
        news.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_of_stop)
        for member in members:
            if stop.is_set() or exits:
                break
            running = _Running(member)
            started.append(running)
            nursery.start_soon(run, running)
            # Without a deadline: a standby waits for the lock for as long as it takes.
            while not (running.ready.is_set() or stop.is_set() or exits):
                news = trio.Event()
                await news.wait()
        is_started = len(started) == len(members) and started[-1].ready.is_set()
        if is_started:
            on_started()
        while not (stop.is_set() or exits):
            news = trio.Event()
            await news.wait()
        for running in reversed(started):
            running.stop.set()
            await running.ended.wait()
        if not is_started:
            on_started()
        nursery.cancel_scope.cancel()
    return exits


def as_member(start: Callable[..., Awaitable[object]]) -> Callable[[trio.Event, Ready], Awaitable[None]]:
    """What ``nursery.start`` takes, as a member: cancelled to stop it."""

    async def run(stop: trio.Event, ready: Ready) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(start)
            ready()
            await stop.wait()
            nursery.cancel_scope.cancel()

    return run


def until_stopped(start: Callable[..., Awaitable[object]]) -> Callable[[trio.Event, Ready], Awaitable[None]]:
    """What ``nursery.start`` takes and what ends by itself after its ``stop`` is set, as a member."""

    async def run(stop: trio.Event, ready: Ready) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(start, stop=stop))
            ready()

    return run


async def unless(stop: trio.Event, work: Callable[[], Awaitable[None]]) -> bool:
    """Do ``work`` unless ``stop`` is set before it is done; whether it is done."""
    is_done = False

    async def do() -> None:
        nonlocal is_done
        await work()
        is_done = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(do)
        await stop.wait()
        nursery.cancel_scope.cancel()
    return is_done


async def all_started(
    *work: Callable[[], Awaitable[object]],
    task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """All of ``work`` at once, for ever; started when they are."""
    async with trio.open_nursery() as nursery:
        for each in work:
            nursery.start_soon(each)
        task_status.started()
