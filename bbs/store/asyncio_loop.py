"""asyncio inside Trio, for the Postgres driver, so that errors which asyncio tells nobody of do not end the program.

asyncio reports what nobody waits for (a future whose exception is never retrieved, a callback that fails) to its loop's
exception handler. trio_asyncio's own handler raises it into the loop's nursery, which ends the whole program, although
the call that left the loose end was cancelled on purpose or has told of its failure already. Here it is logged, once,
with what it was about.
"""

import reprlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import trio_asyncio

from bbs.log import Logger

_SHORT: Final = reprlib.Repr()
"""Makes short texts of objects. Never raises, whatever an object's own ``__repr__`` does."""
_SHORT.maxother = _SHORT.maxstring = 500


@asynccontextmanager
async def open_asyncio_loop(log: Logger) -> AsyncIterator[None]:
    """Run an asyncio loop, so that ``aio_as_trio`` can be used, for as long as the context is entered.

    Raises nothing of its own: errors that asyncio could tell nobody of are logged as ``asyncio-error-without-an-owner``.
    """
    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(_teller(log))
        yield


def _teller(log: Logger) -> Callable[[Any, Mapping[str, Any]], None]:
    def tell(loop: object, context: Mapping[str, Any]) -> None:
        """May be called in any thread: the garbage collector finds futures that nobody asked."""
        about = {
            name: _SHORT.repr(value)
            for name, value in context.items()
            if name not in ("message", "exception", "source_traceback")
        }
        error = context.get("exception")
        log.error(
            "asyncio-error-without-an-owner",
            {"report": str(context.get("message", "")), "about": about},
            error=None if error is None else f"{type(error).__name__}: {error}",
        )

    return tell
