"""How long others wait for a turn while something is done. A task beside it does nothing but give up its turn and take the
next one; the longest time between two of its turns is the stall.
"""

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

import trio

from perf.figures import JSON, number


@dataclass(slots=True)
class Stalls:
    """In milliseconds, the longest wait of others for a turn, and the longest collection by the garbage collector."""

    turn_ms: float = 0.0
    collection_ms: float = 0.0

    def add(self, other: "Stalls") -> None:
        self.turn_ms = max(self.turn_ms, other.turn_ms)
        self.collection_ms = max(self.collection_ms, other.collection_ms)

    def cells(self) -> list[str]:
        return [number(self.turn_ms, digits=1), number(self.collection_ms, digits=1)]

    def as_json(self) -> dict[str, JSON]:
        return {"turn_ms": round(self.turn_ms, 3), "collection_ms": round(self.collection_ms, 3)}


async def stalls_beside(work: Callable[[], Awaitable[object]]) -> Stalls:
    """The longest that anybody else had to wait for a turn while ``work`` was done."""
    longest = collection = began = 0.0

    def on_collection(phase: str, info: dict[str, int]) -> None:
        nonlocal collection, began
        if phase == "start":
            began = perf_counter()
        else:
            collection = max(collection, perf_counter() - began)

    async def take_turns() -> None:
        nonlocal longest
        last = perf_counter()
        while True:
            await trio.lowlevel.checkpoint()
            now = perf_counter()
            longest = max(longest, now - last)
            last = now

    gc.callbacks.append(on_collection)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            await work()
            nursery.cancel_scope.cancel()
    finally:
        gc.callbacks.remove(on_collection)
    return Stalls(1e3 * longest, 1e3 * collection)
