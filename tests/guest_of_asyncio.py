"""What `tests/test_examples.py` runs in a process of its own: a guest on Trio whose asyncio task is cancelled, and one that fails."""

import asyncio
from functools import partial

from examples.from_asyncio import on_asyncio, on_trio


async def put_numbers(queue: "asyncio.Queue[int]") -> None:
    try:
        for number in range(3):
            await on_asyncio(queue.put(number))
    finally:
        print("ended")


async def fail() -> None:
    raise ValueError("wrong")


async def main() -> None:
    queue = asyncio.Queue[int](1)
    task = asyncio.create_task(on_trio(partial(put_numbers, queue)))
    await queue.get()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled")
    try:
        await on_trio(fail)
    except ValueError as error:
        print(error)


if __name__ == "__main__":
    asyncio.run(main())
