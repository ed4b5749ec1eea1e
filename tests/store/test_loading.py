"""While the rows of one page are decoded, Postgres works on the next; what else happens meanwhile finds its turn."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import pytest

from bbs.models.outcome import Row, delete, put
from bbs.store import unseen
from bbs.store.backend import BackendUnavailable, Seen, WriterLockLost
from tests.records import desired_lrp
from tests.store.worlds import PostgresWorld, SQLWorld, load
from tests.waiting import wait_until

GUIDS = ["a", "b", "c", "d"]


@pytest.fixture(autouse=True)
def one_row_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "PAGE_ROWS", 1)


async def writer_of_four(sql: SQLWorld) -> Any:
    writer = await sql.open_writer()
    await writer.write([put(desired_lrp(guid)) for guid in GUIDS])
    return writer


async def first_row(slices: AsyncGenerator[list[Row], None]) -> Any:
    async for rows in slices:
        if rows:
            return rows[0].key.key
    return None


@pytest.mark.postgres
async def test_the_next_page_is_asked_for_before_the_last_one_is_handed_out(postgres: PostgresWorld) -> None:
    writer = await writer_of_four(postgres)

    async def is_at_next_page() -> bool:
        statements = await postgres.fetchval(
            "SELECT array_agg(query) FROM pg_stat_activity WHERE datname = current_database()"
        )
        return any("FROM desired_lrps WHERE (process_guid) >" in statement for statement in statements)

    async with aclosing(writer.load(Seen())) as slices:
        assert await first_row(slices) == "a"
        await wait_until(is_at_next_page, within_s=10, what="the next page's statement has been sent")


async def test_a_load_that_is_left_early_is_in_nobodys_way(sql: SQLWorld) -> None:
    writer = await writer_of_four(sql)

    async with aclosing(writer.load(Seen())) as slices:
        assert await first_row(slices) == "a"
    await writer.write([delete(desired_lrp("b"))])

    assert [record.key for record in await load(writer)] == ["a", "c", "d"]
    assert writer.connects == 1


async def test_rows_that_cannot_be_read_are_deleted_while_the_next_page_comes(
    sql: SQLWorld,
) -> None:
    writer = await writer_of_four(sql)
    for guid in ("a", "c", "d"):
        await sql.spoil(desired_lrp(guid), run_info="02AAAA")

    assert [record.key for record in await load(writer)] == ["b"]
    assert [(row.key, row.deleted) for row in sql.dropped] == [((guid,), True) for guid in "acd"]
    assert await sql.fetchval("SELECT count(*) FROM desired_lrps") == 1
    assert writer.connects == 1


async def test_a_fence_breaks_off_what_is_coming(sql: SQLWorld) -> None:
    writer = await writer_of_four(sql)

    async with aclosing(writer.load(Seen())) as slices:
        assert await first_row(slices) == "a"
        writer.fence("this process is not master")
        with pytest.raises(WriterLockLost, match="not master"):
            await first_row(slices)

    assert writer.query_statistics().open_connections == 0


async def test_a_session_that_ends_while_a_page_comes_loses_no_row(sql: SQLWorld) -> None:
    writer = await writer_of_four(sql)
    seen = Seen()
    read = []

    # The page may have come before the session ends, and the next is then read in a new one. So a load fails, or does not.
    async with aclosing(writer.load(seen)) as slices:
        read.append(await first_row(slices))
        await sql.break_connection(writer)
        with suppress(BackendUnavailable):
            async for rows in slices:
                read.extend(row.key.key for row in rows)
    async with aclosing(writer.load(seen)) as slices:
        read += [row.key.key async for rows in slices for row in rows]

    assert read == GUIDS
