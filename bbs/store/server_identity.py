"""Which Postgres this is, and since when: what has to be the same for a row's ``xmin`` to mean the same as before."""

from typing import Any, Final

import asyncpg

from bbs.store.log_queries import TIMELINE

_WHOLE: Final = f"""
SELECT concat_ws(' ', system_identifier, {TIMELINE}, pg_postmaster_start_time()) FROM pg_control_system()"""

_START: Final = "SELECT pg_postmaster_start_time()::text"


async def server_identity(connection: "asyncpg.Connection[Any]") -> str:
    """A text that is another one on another server, after a promotion, and after each start: whoever restores a backup has to
    start the server, and transactions may then count from where they were before. Runs under asyncio.
    """
    try:
        return str(await connection.fetchval(_WHOLE))
    except asyncpg.PostgresError:
        # Not every service that speaks Postgres has a log of this kind, or lets us ask.
        return str(await connection.fetchval(_START))
