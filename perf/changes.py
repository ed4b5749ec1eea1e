"""What it costs to follow the changes of a database, and how soon they are there: in this process, and in Postgres' sender.

First all that is written while nobody reads is read at once, decoded, and applied to tables in memory. Then one batch at a time
is written, and waited for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final

import trio

from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.log import null_logger
from bbs.models.actual_lrp import ActualLRP
from bbs.models.outcome import put
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.changes import ChangeStream, decode_changes, follow_changes
from bbs.store.crypto import Keyring
from bbs.store.dsn import parse_dsn
from bbs.store.postgres import PostgresBackend
from bbs.store.store import BATCH_ROWS_MAX
from bbs.store.tables import Tables
from perf.audit import postgres_cpu_s
from perf.convergence import ConvergedFleet
from perf.figures import JSON, number, table
from perf.server import fresh_home

BATCHES: Final = 200
"""Written and waited for one by one, of `BATCH_ROWS` rows each."""

BATCH_ROWS: Final = 10

PATIENCE_S: Final = 3600.0


@dataclass(slots=True, kw_only=True)
class ChangesAccount:
    """``read_s`` is the own CPU that reading took, of which ``applied_s`` went into decoding the columns and applying rows;
    ``postgres_s`` is Postgres' CPU meanwhile, and ``took_s`` the time. ``delays_s`` is from a commit's answer to its rows in
    memory.
    """

    rows: int
    read_s: float = 0.0
    applied_s: float = 0.0
    postgres_s: float = 0.0
    took_s: float = 0.0
    delays_s: list[float] = field(default_factory=list)

    def report(self) -> str:
        each = [number(1e6 * s / self.rows, digits=0) for s in (self.read_s, self.applied_s, self.postgres_s)]
        delays = [number(1e3 * s, digits=1) for s in (median(self.delays_s), max(self.delays_s))]
        heads = [
            "own CPU us per row",
            "of it rows",
            "Postgres CPU us per row",
            "rows/s",
            "delay ms",
            "longest",
        ]
        return "\n".join(
            [
                f"{self.rows:,} ActualLRPs read at once, then {len(self.delays_s)} batches of {BATCH_ROWS} one by one",
                "",
                table(heads, [[*each, number(self.rows / self.took_s, digits=0), *delays]]),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "rows": self.rows,
            "read_s": self.read_s,
            "applied_s": self.applied_s,
            "postgres_s": self.postgres_s,
            "took_s": self.took_s,
            "delays_s": list[JSON](self.delays_s),
        }


def measure_changes(*, lrps: int, say: Callable[[str], None]) -> ChangesAccount:
    """Follow a Postgres in which ``lrps`` ActualLRPs are written."""
    with fresh_home() as home, embedded_postgres_blocking(home / "postgres") as postgres:
        return trio.run(_measure, postgres.dsn, lrps, say)


async def _measure(url: str, lrps: int, say: Callable[[str], None]) -> ChangesAccount:
    dsn, keyring, tables = parse_dsn(url, {}), Keyring({"label": "key"}, "label"), Tables()
    account = ChangesAccount(rows=lrps)
    fleet = ConvergedFleet(lrps=lrps, instances_per_process=1).records()
    records = [record for record in fleet if isinstance(record, ActualLRP)]
    async with open_asyncio_loop(null_logger()):
        backend = PostgresBackend(dsn, keyring, on_dropped=lambda row: None)
        await backend.acquire_writer_lock()
        async with follow_changes(dsn, load_max_s=PATIENCE_S, busy_max_s=PATIENCE_S) as stream:
            say(f"writing {lrps:,} ActualLRPs")
            for first in range(0, lrps, BATCH_ROWS_MAX):
                await backend.write([put(record) for record in records[first : first + BATCH_ROWS_MAX]])
            say("reading")
            own, postgres, began = time.process_time(), postgres_cpu_s(), time.perf_counter()
            read = 0
            while read < lrps:
                rows, applied_s = await _apply_next(stream, tables, keyring)
                read += rows
                account.applied_s += applied_s
            account.read_s = time.process_time() - own
            account.postgres_s = postgres_cpu_s() - postgres
            account.took_s = time.perf_counter() - began
            say("waiting for one batch after another")
            for number_ in range(BATCHES):
                some = [replace(record, since_ns=number_) for record in records[:BATCH_ROWS]]
                await backend.write([put(record) for record in some])
                began = time.perf_counter()
                await _apply_next(stream, tables, keyring)
                account.delays_s.append(time.perf_counter() - began)
        await backend.aclose()
    return account


async def _apply_next(stream: ChangeStream, tables: Tables, keyring: Keyring) -> tuple[int, float]:
    """How many rows there were, and the CPU seconds that it took to decode and apply them."""
    transaction = await anext(stream)
    own = time.process_time()
    decoded = await decode_changes(transaction.changes, tables, keyring)
    tables.apply(decoded.rows)
    return len(decoded.rows), time.process_time() - own
