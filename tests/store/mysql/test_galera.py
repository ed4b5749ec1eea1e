"""The fence on a real Galera cluster: masters on two nodes, of which no lock knows (spec: mysql.md)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import pytest
import trio
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.models.actual_lrp import ActualLRP
from bbs.models.outcome import Record, put
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable, WriterLockLost
from bbs.store.mysql.backend import MySQLBackend
from bbs.store.mysql.dsn import parse_mysql_dsn
from bbs.store.mysql.session import Session
from bbs.store.mysql.statements import fence
from bbs.store.schema import SchemaError
from perf.mariadb import MariaDB
from tests.records import actual_lrp
from tests.scratch import scratch_directory
from tests.store.mysql.galera import running_galera
from tests.store.worlds import KEYRING, load
from tests.waiting import wait_until

pytestmark = [pytest.mark.mariadb, pytest.mark.slow]

DATABASE: Final = "galera"
TAKEOVERS: Final = 8
WAIT_S: Final = 30.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[MariaDB]]:
    with (
        scratch_directory() as directory,
        running_galera(directory, nodes=2) as cluster,
    ):
        cluster[0].execute(f"CREATE DATABASE {DATABASE}")
        yield cluster


@pytest.fixture
async def asyncio_loop() -> AsyncIterator[None]:
    async with open_asyncio_loop(null_logger()):
        yield


@asynccontextmanager
async def backend_on(node: MariaDB) -> AsyncIterator[MySQLBackend]:
    dsn = parse_mysql_dsn(node.dsn_of(DATABASE))
    backend = MySQLBackend(dsn, KEYRING, on_dropped=lambda row: None, lock_poll_s=0.01)
    try:
        yield backend
    finally:
        with trio.CancelScope(shield=True):
            await backend.aclose()


@dataclass
class Master:
    """Writes rows of its own name as fast as it can, until another process is master."""

    backend: MySQLBackend
    name: str
    acknowledged: set[Record] = field(default_factory=set)
    refused: trio.Event = field(default_factory=trio.Event)

    async def write(self) -> None:
        index = 0
        while not self.refused.is_set():
            row = actual_lrp(self.name, index=index)
            try:
                await self.backend.write([put(row)])
            except BackendUnavailable:
                continue  # nothing is known of it: it is sent again, as the committer does
            except WriterLockLost:
                self.refused.set()
            else:
                self.acknowledged.add(row)
                index += 1

    def has_begun(self) -> bool:
        return len(self.acknowledged) > 20

    async def must_have_written_nothing_but(self, found: set[Record], nodes: list[MariaDB]) -> None:
        """``found`` is what its successor has loaded. It goes on for a while, and then knows."""
        assert self.acknowledged <= found
        with trio.fail_after(WAIT_S):
            await self.refused.wait()
        assert self.acknowledged <= found, "acknowledged after its successor had loaded"
        loaded = {row.index for row in found if isinstance(row, ActualLRP) and row.process_guid == self.name}

        def has_just_these(node: MariaDB) -> bool:
            statement = f"SELECT instance_index FROM actual_lrps WHERE process_guid = '{self.name}'"
            return set(map(int, node.execute(statement, DATABASE).split())) == loaded

        for node in nodes:
            await wait_until(partial(has_just_these, node), within_s=WAIT_S, what="what was loaded is there")


async def take_over(backend: MySQLBackend) -> None:
    """As the process does: a token that lost to a write of the former master, on another node, is written again."""
    while True:
        try:
            await backend.take_writer_lock()
            return
        except BackendUnavailable:
            await trio.lowlevel.checkpoint()


async def test_no_write_of_a_former_master_lands_after_its_successor_has_loaded(
    nodes: list[MariaDB], asyncio_loop: None
) -> None:
    """Each takeover is from one node to the other, in the middle of the writes of the former master."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        former: Master | None = None
        for number in range(TAKEOVERS):
            backend = await stack.enter_async_context(backend_on(nodes[number % 2]))
            with trio.fail_after(WAIT_S):
                await take_over(backend)
                found = set(await load(backend))
            if former is not None:
                await former.must_have_written_nothing_but(found, nodes)
            former = Master(backend, f"master-{number}")
            nursery.start_soon(former.write)
            await wait_until(former.has_begun, within_s=WAIT_S, what="it has written")
        nursery.cancel_scope.cancel()


async def test_a_transaction_that_was_under_way_on_another_node_is_refused(
    nodes: list[MariaDB], asyncio_loop: None
) -> None:
    """Its process was stopped after its last statement and before COMMIT. The new master neither sees it nor waits for it."""
    async with backend_on(nodes[0]) as former, backend_on(nodes[1]) as new:
        await former.take_writer_lock()
        session: Session = former._session  # type: ignore[assignment]  # a writer has one
        await aio_as_trio(session.run)(
            [
                *fence(former._token, 1),
                "INSERT INTO domains (domain, expire_time) VALUES ('half', 1)",
            ]
        )
        with trio.fail_after(WAIT_S):
            await new.take_writer_lock()
        before = await load(new)

        with pytest.raises(Exception, match="1213"):
            await aio_as_trio(session.run)(["COMMIT"])

        with pytest.raises(WriterLockLost):
            await former.write([put(actual_lrp("late"))])
        assert await load(new) == before
        assert nodes[0].execute("SELECT domain FROM domains", DATABASE) == ""


async def test_nobody_can_wait_for_his_turn(nodes: list[MariaDB], asyncio_loop: None) -> None:
    async with backend_on(nodes[0]) as backend:
        with pytest.raises(SchemaError, match=r"no GET_LOCK \(it is a cluster of several servers\)"):
            await backend.acquire_writer_lock()
