"""The client in an asyncio program: a call now and then, and a watch for as long as the program runs.

    python -m examples.from_asyncio

Which BBS: see `examples.connect`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import trio
from outcome import Outcome

from bbs.client import Change
from examples.connect import connected

CHANGES_WAITING_MAX = 100
CHANGES_SHOWN = 3


# --8<-- [start:call]
async def cells() -> Sequence[str]:
    async with connected() as client:
        return [cell.cell_id for cell in await client.cells()]


async def call_now_and_then() -> None:
    print("cells:", *await asyncio.to_thread(trio.run, cells))


# --8<-- [end:call]


# --8<-- [start:guest]
async def on_trio(work: Callable[[], Awaitable[None]]) -> None:
    """From asyncio: run ``work`` on Trio, in this thread, beside asyncio's tasks. Cancel this, and it is cancelled.

    In a thread there can be one such run at a time.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Outcome[None]] = loop.create_future()
    scope = trio.CancelScope()

    async def guest() -> None:
        with scope:
            await work()

    trio.lowlevel.start_guest_run(
        guest,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=ended.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    token = trio.lowlevel.current_trio_token()
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        token.run_sync_soon(scope.cancel)
        await ended
        raise
    ended.result().unwrap()


async def on_asyncio(work: Coroutine[Any, Any, None]) -> None:
    """From Trio, within `on_trio`: run ``work`` on asyncio, and wait for it."""
    done, token = trio.Event(), trio.lowlevel.current_trio_token()
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda _: token.run_sync_soon(done.set))
    try:
        await done.wait()
    finally:
        task.cancel()
    task.result()  # raises what it has raised


async def follow(changes: asyncio.Queue[Change]) -> None:
    async with connected() as client, client.watch(tasks=True) as fleet:
        async for change in fleet:
            await on_asyncio(changes.put(change))  # while the queue is full, the fleet merges what comes


async def main() -> None:
    await call_now_and_then()
    changes = asyncio.Queue[Change](CHANGES_WAITING_MAX)
    watch = asyncio.create_task(on_trio(partial(follow, changes)))
    for _ in range(CHANGES_SHOWN):
        print(type(await changes.get()).__name__)
    watch.cancel()
    await asyncio.wait([watch])


# --8<-- [end:guest]

if __name__ == "__main__":
    asyncio.run(main())
