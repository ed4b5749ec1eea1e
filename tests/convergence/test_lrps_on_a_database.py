"""A pass over LRPs in a real database, and what the next process reads of it."""

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import trio

from bbs.log import Logger, null_logger
from bbs.models.actual_lrp import ActualLRPState, Presence
from bbs.models.outcome import Outcome, Record, put
from bbs.peers.stub import AuctionRequested, StubPeers
from bbs.service import Service
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from tests.convergence.bench import fail_on_unrecoverable
from tests.convergence.lrp_bench import domain
from tests.databases import ON_BOTH, SomeDatabase
from tests.lifecycle.notation import SECOND_NS, N, read_row
from tests.records import AnyScope, desired_lrp

LOST = 100


def fail_on_dropped_row(row: DroppedRow) -> None:
    raise AssertionError(f"a row that we wrote could not be read: {row}")


class OneCell(StubPeers):
    async def present_cells(self, *, log: Logger) -> Set[str]:
        await trio.lowlevel.checkpoint()
        return {"c1"}


@asynccontextmanager
async def opened_service(database: SomeDatabase, peers: StubPeers) -> AsyncIterator[Service]:
    backend = database.backend(Keyring({"label": "key"}, "label"), on_dropped=fail_on_dropped_row)
    try:
        await backend.acquire_writer_lock()
        service = Service(
            backend,
            peers=peers.as_peers(),
            log=null_logger(),
            now_ns=lambda: N,
            new_guid=lambda: "new",
            on_unrecoverable=fail_on_unrecoverable,
        )
        await service.store.load()
        async with trio.open_nursery() as nursery:
            await nursery.start(service.write)
            yield service
            nursery.cancel_scope.cancel()
    finally:
        await backend.aclose()


@ON_BOTH
async def test_a_pass_is_durable(some_database: SomeDatabase) -> None:
    peers = OneCell()
    on_lost_cell = [replace(read_row("O RUN a@c9 e#0"), index=index) for index in range(LOST)]
    given: list[Record] = [
        *on_lost_cell,
        desired_lrp("p", instances=LOST + 1),
        domain("d"),
        domain("expired", N - SECOND_NS),
        replace(read_row("O UNC - e#0"), process_guid="orphan"),
        replace(read_row("E RUN x@c9 e#0"), process_guid="drained"),
    ]
    async with open_asyncio_loop(null_logger()):
        async with opened_service(some_database, peers) as service:
            store = service.store
            async with trio.open_nursery() as nursery:
                for record in given:
                    outcome = Outcome(rows=(put(record),))
                    nursery.start_soon(partial(store.commit, outcome, AnyScope(store, "p")))
            with trio.fail_after(20):
                await service.lrp_convergence.converge()
        async with opened_service(some_database, peers) as service:
            store = service.store
            rows, attention = store.committed.actual_lrps.rows, store.committed.attention
            assert set(store.committed.domains.rows) == {"d"}
            assert {lrp.process_guid for lrp in rows.values()} == {"p"}
            assert attention.count(Presence.SUSPECT, ActualLRPState.RUNNING) == LOST
            assert attention.count(Presence.ORDINARY, ActualLRPState.UNCLAIMED) == LOST + 1
            assert attention.surplus == {}
    [auctioned] = peers.requests
    assert isinstance(auctioned, AuctionRequested)
    assert sorted(index for start in auctioned.starts for index in start.indices) == list(range(LOST + 1))
