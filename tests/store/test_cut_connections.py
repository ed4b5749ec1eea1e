"""The writer's connection, cut at every byte of a transaction and of the start of a session: closed, reset or stalled there.

A batch is one message exchange: its Bind, Execute and Sync are what elsewhere ends with COMMIT. Where it is cut, our side
cannot know whether Postgres has it. A *patient* store writes it again until it is told that it is durable; an *impatient*
one reports it as failed, and must then undo what Postgres may have done.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import trio

from bbs.embedded_postgres import EmbeddedPostgres
from bbs.embedded_postgres.postmaster import SUPERUSER
from bbs.log import null_logger
from bbs.models.domain import Domain
from bbs.models.outcome import Outcome, Row, RowKey, put
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.store import Store, StoreUnavailable
from tests.databases import ON_BOTH, ON_POSTGRES, SomeDatabase
from tests.records import AnyScope
from tests.store.cutting_proxy import Cut, CuttingProxy, Direction, How, cutting_proxy
from tests.store.worlds import KEYRING
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

DIRECTIONS: Final[tuple[Direction, ...]] = ("to server", "to client")
HOWS: Final[tuple[How, ...]] = ("close", "reset", "stall")
STALLED_EVERY: Final = 13
MYSQL_TEXT_EVERY: Final = 29
MYSQL_ANSWER_EVERY: Final = 3
STALLED_S: Final = 2.0
"""The time of a statement where connections stall. Whatever takes longer on a busy machine is only tried once more."""
TRIES: Final = 20
HANGS_S: Final = 60.0


def domain(name: str, version: int) -> Row:
    return put(Domain(name=name, expire_time_ns=version))


def gone(name: str) -> Row:
    return Row(RowKey(Domain, name), None)


@dataclass
class Wired:
    """A store on a connection that can be cut, and a connection to look past both."""

    proxy: CuttingProxy
    backend: Any
    store: Store
    fetch: Callable[[str], Awaitable[list[Any]]]
    versions: Iterator[int]

    async def commit(self, *rows: Row) -> None:
        """All of them as one outcome.

        Raises:
          StoreUnavailable: it failed.
        """
        with trio.fail_after(HANGS_S):
            await self.store.commit(Outcome(rows=rows), AnyScope(self.store))

    async def commit_until_done(self, *rows: Row) -> None:
        """For what only prepares a cut: on a busy machine a statement with little time may need more."""
        while True:
            try:
                return await self.commit(*rows)
            except StoreUnavailable:
                continue

    def in_memory(self) -> dict[str, int]:
        return {each.name: each.expire_time_ns for each in self.store.committed.domains.rows.values()}

    async def in_database(self) -> dict[str, int]:
        return dict(await self.fetch("SELECT domain, expire_time FROM domains"))

    async def agree(self) -> bool:
        return self.in_memory() == await self.in_database()

    async def commit_and_cut(self, cut: Cut | None) -> bool:
        """One row is changed and one deleted, in one transaction, over a session that has done the like before.

        Returns whether that was answered without an error. Memory has it then, and is as it was otherwise.
        """
        version = next(self.versions)
        await self.commit_until_done(domain("changed", version), domain("deleted", version))
        await self.commit_until_done(domain("another", version), gone("yet another"))
        before = await self.in_database()
        assert before == {"changed": version, "deleted": version, "another": version}
        self.proxy.arm(cut)
        try:
            await self.commit(domain("changed", version + 1), gone("deleted"))
        except StoreUnavailable:
            assert self.in_memory() == before
            return False
        assert self.in_memory() == {"changed": version + 1, "another": version}
        return True


@asynccontextmanager
async def wired(
    database: SomeDatabase,
    *,
    write_retry_s: float = HANGS_S,
    statement_s: float = HANGS_S,
    user: str = SUPERUSER,
    sslmode: str = "disable",
) -> AsyncIterator[Wired]:
    """``user`` and ``sslmode`` are for Postgres."""
    async with (
        open_asyncio_loop(null_logger()),
        cutting_proxy(database.socket) as proxy,
        database.session() as fetch,
        trio.open_nursery() as nursery,
    ):
        proxied = database.over_tcp(proxy.port)
        if database.on_postgres:
            url = proxied.url.replace(f"{SUPERUSER}@", f"{user}@", 1)
            proxied = replace(proxied, url=f"{url}?sslmode={sslmode}")
        backend = proxied.backend(KEYRING, statement_s=statement_s, connect_s=statement_s, lock_poll_s=0.01)
        await backend.acquire_writer_lock()
        store = Store(backend, publish=lambda announcements: None, write_retry_s=write_retry_s)
        await nursery.start(store.run)
        yield Wired(proxy, backend, store, fetch, count(10, 2))
        nursery.cancel_scope.cancel()
        await backend.aclose()


@dataclass(frozen=True)
class Case:
    cut: Cut
    is_patient: bool


async def share_out(
    cases: Sequence[Case],
    databases: Sequence[SomeDatabase],
    go_through: Callable[[SomeDatabase, Sequence[Case]], Awaitable[None]],
) -> None:
    """Each database its share, all at once: most of the time is spent waiting."""
    async with trio.open_nursery() as nursery:
        for number, database in enumerate(databases):
            nursery.start_soon(go_through, database, cases[number :: len(databases)])


async def transaction_bytes(database: SomeDatabase) -> dict[Direction, int]:
    """How many bytes the transaction of `Wired.commit_and_cut` takes in each direction."""
    async with wired(database) as wire:
        assert await wire.commit_and_cut(None)
        return dict(wire.proxy.passed)


async def cut_transaction(wire: Wired, case: Case) -> None:
    cut = case.cut
    is_done = False
    for _ in range(TRIES):
        is_done = await wire.commit_and_cut(cut)
        if cut.happened:
            break
        wire.proxy.arm(None)  # a busy machine took longer than a statement may
    assert cut.happened
    if case.is_patient:
        assert is_done
    elif cut.after % 4 < 2:
        # Before anything else is written.
        await wire.commit_until_done(domain("later", 1))
        assert await wire.agree(), cut
        await wire.commit_until_done(gone("later"))
    else:
        # Also if nothing else is written.
        await wait_until(wire.agree, within_s=HANGS_S, what=f"{cut} is undone")
    assert await wire.agree(), cut
    wire.proxy.forget()


@ON_BOTH
async def test_a_transaction_cut_at_any_byte_is_acknowledged_and_there_or_failed_and_undone(
    some_databases: list[SomeDatabase], cut_every: int
) -> None:
    """At every byte, in turns closed or reset, and with a patient or an impatient store; some stall. ``--cut-every 1``: at
    every byte in each way, with both. On MySQL, whose transactions are long texts, at each answer and some bytes.
    """

    async def go_through(database: SomeDatabase, cases: Sequence[Case]) -> None:
        for is_patient in (True, False):
            for stalls in (False, True):
                some = [
                    case
                    for case in cases
                    if case.is_patient == is_patient and (case.cut.how == "stall") == stalls
                ]
                if some:
                    async with wired(
                        database,
                        write_retry_s=HANGS_S if is_patient else 0,
                        statement_s=STALLED_S if stalls else HANGS_S,
                    ) as wire:
                        for case in some:
                            await cut_transaction(wire, case)

    lengths = await transaction_bytes(some_databases[0])
    strides = dict.fromkeys(DIRECTIONS, 1)
    if cut_every != 1 and not some_databases[0].on_postgres:
        strides = {"to server": MYSQL_TEXT_EVERY, "to client": MYSQL_ANSWER_EVERY}
    offsets = [
        (direction, after)
        for direction in DIRECTIONS
        for after in range(0, lengths[direction] + 1, strides[direction])
    ]
    if cut_every == 1:
        cases = [
            Case(Cut(direction, after, how), is_patient)
            for direction, after in offsets
            for how in HOWS
            for is_patient in (True, False)
        ]
    else:
        cases = [
            Case(Cut(direction, after, "reset" if after % 2 else "close"), is_patient=after // 2 % 2 == 0)
            for direction, after in offsets
        ] + [
            Case(Cut(direction, after, "stall"), is_patient=number % 2 == 0)
            for number, (direction, after) in enumerate(offsets[::STALLED_EVERY])
        ]
    await share_out(cases, some_databases, go_through)


@pytest.fixture
def scram_user(postgres_server: EmbeddedPostgres) -> str:
    """A superuser that Postgres asks for a password, as it asks ours in production; and the password."""

    async def execute(*statements: str) -> str:
        connection = await asyncpg.connect(postgres_server.dsn)
        try:
            for statement in statements:
                value: str = await connection.fetchval(statement)
            return value
        finally:
            await connection.close()

    rules = Path(asyncio.run(execute("SHOW hba_file")))
    rule = "local all scram scram-sha-256\n"
    if not rules.read_text().startswith(rule):
        rules.write_text(rule + rules.read_text())
        few_iterations = "SET scram_iterations = 1"  # as many messages, and less to compute
        role = "CREATE ROLE scram SUPERUSER LOGIN PASSWORD 'secret'"
        asyncio.run(execute(few_iterations, role, "SELECT pg_reload_conf()"))
    return "scram:secret"


async def start_session_and_write(wire: Wired, cut: Cut | None) -> None:
    """Over a session that has yet to be made."""
    wire.backend._cross.abandon()
    wire.proxy.arm(cut)
    await wire.commit(domain("changed", next(wire.versions)))


async def start_cuts(database: SomeDatabase, user: str, every: int) -> list[Case]:
    """Where and how to cut the start of a session: in the first byte of each answer and of each question, when the other
    side has done what it was asked and nobody is told; and at every so many bytes.
    """
    async with wired(database, user=user, sslmode="prefer") as wire:
        await start_session_and_write(wire, None)
        await start_session_and_write(wire, None)
        ends, paused_at = wire.proxy.passed, wire.proxy.paused_at
    afters = {
        direction: sorted(
            {paused + 1 for paused in paused_at[direction][:-1]} | {*range(0, ends[direction], every)}
        )
        for direction in DIRECTIONS
    }
    return [
        Case(Cut(direction, after, how), is_patient=True)
        for direction in DIRECTIONS
        for after in afters[direction]
        for number, how in enumerate(HOWS)
        if every == 1 or after - 1 in paused_at[direction] or after // every % len(HOWS) == number
    ]


@ON_POSTGRES
async def test_a_session_cut_anywhere_in_its_start_is_made_again(
    some_databases: list[SomeDatabase], scram_user: str, cut_every: int
) -> None:
    """From the question for TLS over the password, our own questions, the lock and the token to the first write.

    Whatever the server has done of that, it is our former session that has to go, and nobody has to end it for us.
    """

    async def go_through(database: SomeDatabase, cases: Sequence[Case]) -> None:
        for stalls in (False, True):
            async with wired(
                database,
                statement_s=STALLED_S if stalls else HANGS_S,
                user=scram_user,
                sslmode="prefer",
            ) as wire:
                for case in cases:
                    if (case.cut.how == "stall") == stalls:
                        await start_session_and_write(wire, case.cut)
                        assert await wire.agree(), case
                        wire.proxy.forget()

    cases = await start_cuts(some_databases[0], scram_user, cut_every)
    await share_out(cases, some_databases, go_through)

    # On a busy machine a start may need a poll less than the one that was measured.
    assert sum(case.cut.happened for case in cases) > 0.9 * len(cases)
