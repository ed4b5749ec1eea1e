"""What async work takes of the processor by itself, without what others do while it waits for its turn."""

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from time import thread_time
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class OwnTime:
    """Seconds of this thread's processor time: ``total_s`` of all turns of what was awaited with `of`, ``longest_s`` of the longest
    one, in which nobody else had theirs.
    """

    __slots__ = ("longest_s", "total_s")

    def __init__(self) -> None:
        self.total_s = 0.0
        self.longest_s = 0.0

    async def of(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``; its result. What it raises counts too, and is passed on, as is a cancellation."""
        return await self._in_steps(work)

    @coroutine
    def _in_steps(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """What `await` does, with a look at the clock before and after each turn."""
        turn: Callable[[], Any] = partial(work.send, None)
        while True:
            began_s = thread_time()
            try:
                wanted = turn()
            except StopIteration as ended:
                result: T = ended.value
                return result
            finally:
                took_s = thread_time() - began_s
                self.total_s += took_s
                self.longest_s = max(self.longest_s, took_s)
            try:
                answer = yield wanted
            except BaseException as error:  # thrown into the work, which passes it on or not
                turn = partial(work.throw, error)
            else:
                turn = partial(work.send, answer)
