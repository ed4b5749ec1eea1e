"""Which of several servers to connect to: the first that lets us, without waiting for those that say nothing.

A connection string may name all servers of a cluster, and ask for the one that can be written to. When that one's machine
is gone or hangs, nobody refuses us there: an attempt simply lasts until its time is up, and another server may become the
primary meanwhile. So the servers are asked a moment apart and not one after the other, and as long as one of them owes us
an answer, those that have refused (a standby does) are asked again and again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

NEXT_S: Final = 0.25
"""How long a server may take to answer before the next one is asked as well. It is enough for one that is well, so that
nearly always one server is asked, in the order of the connection string."""

AGAIN_S: Final = 0.5
"""After how long a server that has refused us is asked again, while another one has not answered at all."""

Server = TypeVar("Server")
Connection = TypeVar("Connection")


async def first_to_let_us_in(
    servers: Sequence[Server],
    connect: Callable[[Server], Awaitable[Connection]],
    *,
    abandon: Callable[[Connection], None],
    is_final: Callable[[BaseException], bool],
) -> Connection:
    """Connect to one of ``servers``, with ``connect``, whose every call has to end. Runs under asyncio.

    ``abandon`` closes a connection that came too late, at once. After a failure that ``is_final`` nobody else is asked.

    Raises:
      Exception: what the last of the servers failed with, when each has failed at least once; or what is final.
    Cancellation:
      Breaks all attempts off.
    """
    if len(servers) == 1:
        return await connect(servers[0])
    now = asyncio.get_running_loop().time
    due = {number: now() + number * NEXT_S for number in range(len(servers))}
    owing = set(due)  # those that have not answered once
    asked: dict[asyncio.Future[Connection], int] = {}
    try:
        while True:
            for number in [number for number, at in due.items() if at <= now()]:
                del due[number]
                asked[asyncio.ensure_future(connect(servers[number]))] = number
            pause_s = max(0.0, min(due.values()) - now()) if due else None
            done, _ = await asyncio.wait(asked, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                number = asked.pop(attempt)
                failure = attempt.exception()
                if failure is None:
                    return attempt.result()
                owing.discard(number)
                if is_final(failure) or not owing:
                    raise failure
                due[number] = now() + AGAIN_S
                unasked = sorted(owing & set(due))
                if unasked:
                    due[unasked[0]] = now()  # need not wait for this one any longer
    finally:
        await _give_up(list(asked), abandon)


async def _give_up(
    attempts: Sequence["asyncio.Future[Connection]"], abandon: Callable[[Connection], None]
) -> None:
    def ended(attempt: "asyncio.Future[Connection]") -> None:
        if not attempt.cancelled() and attempt.exception() is None:
            abandon(attempt.result())

    for attempt in attempts:
        # Not after the wait, which may be broken off itself.
        attempt.add_done_callback(ended)
        attempt.cancel()
    if attempts:
        await asyncio.wait(attempts)
