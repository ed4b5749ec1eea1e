"""The first page of what may be many, without putting all of it in order and without holding the event loop."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from bbs.concurrency.turns import in_turns

T = TypeVar("T")

SOME: Final = 500
"""Items of a turn: less than half a millisecond."""


async def smallest(
    count: int, items: Sequence[T], texts_of: Callable[[Sequence[T]], Iterable[str]]
) -> list[str]:
    """The first ``count`` of all the texts that ``texts_of`` finds in ``items``, in order, each once. It is given some of them at a
    time. Nobody may change ``items`` meanwhile.
    """
    found: list[str] = []
    async for some in in_turns(items, SOME):
        texts = set(texts_of(some))
        if len(found) == count:
            last = found[-1]
            texts = {text for text in texts if text < last}
        if texts:
            found = sorted(texts.union(found))[:count]
    return found
