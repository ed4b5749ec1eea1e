"""Starts a postmaster again when it has died.

Without a pause the first time: most deaths are one process' bad luck, and writes are waiting. Each further start within a
minute waits longer, so that a Postgres that dies at once costs little; when a few starts in a row fail, nothing will help.
"""

from collections.abc import Generator
from typing import Final, NoReturn

import trio

from bbs.embedded_postgres.errors import EmbeddedPostgresFailed, EmbeddedPostgresLost
from bbs.embedded_postgres.postmaster import Postmaster
from bbs.log import Logger

ATTEMPTS_MAX: Final = 5
"""Starts in a row that may fail. With the pauses between them 7.5 s, where each fails at once."""

PAUSE_MIN_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0
STEADY_S: Final = 60.0
"""One that ran for so long before it died is started without a pause."""


async def keep_running(postmaster: Postmaster, *, log: Logger) -> NoReturn:
    """Start ``postmaster`` again whenever it ends, until cancelled.

    Raises:
      EmbeddedPostgresLost: `ATTEMPTS_MAX` starts in a row have failed.
    Cancellation:
      Leaves it as it is.
    """
    pause_s = 0.0
    while True:
        began_s = trio.current_time()
        how = await postmaster.wait_ended()
        ran_s = trio.current_time() - began_s
        log.error("embedded-postgres-died", {"pid": postmaster.pid, "how": how, "ran_s": round(ran_s, 3)})
        if ran_s > STEADY_S:
            pause_s = 0.0
        pause_s = await _start_again(postmaster, how, pause_s, log)


async def _start_again(postmaster: Postmaster, how: str, pause_s: float, log: Logger) -> float:
    """Try until it runs. The pauses begin with ``pause_s``; returns the one to begin with next time."""
    died_s = trio.current_time()
    attempt = 1
    while True:
        await trio.sleep(pause_s)
        pause_s = min(max(2 * pause_s, PAUSE_MIN_S), PAUSE_MAX_S)
        try:
            await _at_its_pace(postmaster.start_again())
        except EmbeddedPostgresFailed as error:
            log.error("embedded-postgres-start-failed", {"attempt": attempt}, error=error)
            if attempt == ATTEMPTS_MAX:
                raise EmbeddedPostgresLost(
                    f"the embedded Postgres died ({how}) and could not be started again, {ATTEMPTS_MAX} times in a"
                    f" row: {error}"
                ) from error
            attempt += 1
        else:
            away_s = round(trio.current_time() - died_s, 3)
            about = {"pid": postmaster.pid, "attempt": attempt, "away_s": away_s}
            log.info("embedded-postgres-started-again", about)
            return pause_s


async def _at_its_pace(waits: Generator[float, None, None]) -> None:
    for wait_s in waits:
        await trio.sleep(wait_s)
