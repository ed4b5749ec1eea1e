"""A commit whose wait for a standby is broken off is called a success by Postgres, with a warning. It is none."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from bbs.models.outcome import put
from bbs.store.backend import BackendUnavailable
from tests.records import actual_lrp
from tests.store.worlds import PostgresWorld, load, write_until_done
from tests.waiting import wait_until

WAIT_MAX_S = 30.0
OTHER_SESSIONS = "datname = current_database() AND pid <> pg_backend_pid()"


@asynccontextmanager
async def no_standby_answers(postgres: PostgresWorld) -> AsyncIterator[None]:
    """Every commit of this server waits for a standby that is not there."""
    await postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await reload(postgres, "nobody")
    try:
        yield
    finally:
        await postgres.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await reload(postgres, "")


async def reload(postgres: PostgresWorld, expected: str) -> None:
    await postgres.execute("SELECT pg_reload_conf()")

    async def is_known() -> bool:
        return bool(await postgres.fetchval("SHOW synchronous_standby_names") == expected)

    await wait_until(is_known, within_s=WAIT_MAX_S, what="the new configuration")


async def fails_when_its_wait_is_broken_off(
    postgres: PostgresWorld, commits: Callable[[], Awaitable[object]]
) -> None:
    """Somebody cancels the statements of others, as operators do when something hangs."""
    failures: list[BackendUnavailable] = []

    async def try_it() -> None:
        with pytest.raises(BackendUnavailable) as failure:
            await commits()
        failures.append(failure.value)

    async def is_waiting() -> Any:
        return await postgres.fetchval(
            f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND {OTHER_SESSIONS})"
        )

    with trio.fail_after(WAIT_MAX_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_it)
            await wait_until(is_waiting, within_s=WAIT_MAX_S, what="a commit that waits for a standby")
            await postgres.execute(
                f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {OTHER_SESSIONS}"
            )
    assert "wait for its standby" in str(failures[0])


async def test_a_write_that_no_standby_has_is_not_acknowledged(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    async with no_standby_answers(postgres):
        await fails_when_its_wait_is_broken_off(postgres, lambda: writer.write([put(actual_lrp())]))

    await write_until_done(writer, [put(actual_lrp())])
    assert await load(writer) == [actual_lrp()]


async def test_nobody_becomes_the_writer_of_a_server_whose_standbys_do_not_follow(
    postgres: PostgresWorld,
) -> None:
    """It may be a former primary; what it has need not be what its successor has."""
    first = await postgres.open_writer()
    await first.aclose()
    second = postgres.open()
    async with no_standby_answers(postgres):
        await fails_when_its_wait_is_broken_off(postgres, second.acquire_writer_lock)
        await fails_when_its_wait_is_broken_off(postgres, second.acquire_writer_lock)
        assert not second.statistics().connected

    await second.acquire_writer_lock()
    assert await load(second) == []
