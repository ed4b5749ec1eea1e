"""What it costs to find out that nobody else has written: audits of a large fleet, in this process and in Postgres.

The budget is a share of one core at the default convergence interval, this process and Postgres together.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import trio

from bbs.convergence.audit import Audit
from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.log import null_logger
from bbs.models.errors import BBSError
from bbs.models.outcome import Row, put
from bbs.peers.stub import StubPeers
from bbs.process import garbage
from bbs.service import Service
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.crypto import Keyring
from bbs.store.dsn import parse_dsn
from bbs.store.postgres import PostgresBackend
from bbs.store.postgres_audit import PostgresAudit
from bbs.store.primaries import Primaries
from bbs.store.store import BATCH_ROWS_MAX
from perf.convergence import ConvergedFleet
from perf.figures import JSON, number, table
from perf.server import fresh_home
from perf.stalls import Stalls, stalls_beside

INTERVAL_S: Final = 30.0
"""The default pause between convergence passes."""

AUDITS: Final = 10
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, kw_only=True)
class AuditAccount:
    """For each audit the CPU seconds used here and in Postgres and the seconds it took; and the longest stalls."""

    lrps: int
    own_s: list[float] = field(default_factory=list)
    postgres_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    stalls: Stalls = field(default_factory=Stalls)
    taken_over: int = 0

    def report(self) -> str:
        own, postgres = median(self.own_s), median(self.postgres_s)
        share = 100 * (own + postgres) / INTERVAL_S
        row = [number(1e3 * each, digits=0) for each in (own, postgres, median(self.took_s))]
        return "\n".join(
            [
                f"{self.lrps:,} DesiredLRPs and {self.lrps:,} ActualLRPs, {len(self.own_s)} audits, medians",
                "",
                table(
                    [
                        "own CPU ms",
                        "Postgres CPU ms",
                        "took ms",
                        "longest stall ms",
                        "longest GC ms",
                        "% of a core",
                    ],
                    [[*row, *self.stalls.cells(), number(share, digits=2)]],
                ),
                *([f"TROUBLE: {self.taken_over} rows were taken over"] if self.taken_over else []),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "own_s": list[JSON](self.own_s),
            "postgres_s": list[JSON](self.postgres_s),
            "took_s": list[JSON](self.took_s),
            "stalls": self.stalls.as_json(),
            "taken_over": self.taken_over,
        }


def measure_audits(*, lrps: int, say: Callable[[str], None]) -> AuditAccount:
    """Write a fleet of one-instance processes, then audit it again and again while nobody writes."""
    with fresh_home() as home, embedded_postgres_blocking(home / "postgres") as postgres:
        return trio.run(_measure, postgres.dsn, lrps, say)


async def _measure(url: str, lrps: int, say: Callable[[str], None]) -> AuditAccount:
    dsn, keyring = parse_dsn(url, {}), Keyring({"label": "key"}, "label")
    account = AuditAccount(lrps=lrps)
    async with open_asyncio_loop(null_logger()):
        backend = PostgresBackend(dsn, keyring, on_dropped=lambda row: None)
        await backend.acquire_writer_lock()
        say(f"writing {lrps:,} processes")
        await _seed(backend, lrps)
        service = Service(backend, peers=StubPeers().as_peers(), log=null_logger(), on_unrecoverable=_fail)
        store = service.store
        database = PostgresAudit(dsn, Primaries(dsn))
        audit = Audit(
            store,
            database,
            keyring,
            sessions=lambda: backend.statistics().connects,
            log=null_logger(),
        )
        await audit.begin()
        say("loading")
        with garbage.loading():
            await store.load()
        async with trio.open_nursery() as nursery:
            await nursery.start(service.write)
            await audit.run()  # connects, and looks at what was written before it began
            for _ in range(AUDITS):
                await _audit_once(audit, account)
            nursery.cancel_scope.cancel()
        account.taken_over = audit.statistics().taken_over
        await database.aclose()
        await backend.aclose()
    return account


def _fail(error: BBSError) -> None:
    raise error


async def _seed(backend: PostgresBackend, lrps: int) -> None:
    rows: list[Row] = []
    for record in ConvergedFleet(lrps=lrps, instances_per_process=1).records():
        rows.append(put(record))
        if len(rows) == BATCH_ROWS_MAX:
            await backend.write(rows)
            rows.clear()
    await backend.write(rows)


async def _audit_once(audit: Audit, account: AuditAccount) -> None:
    own, postgres, began = time.process_time(), postgres_cpu_s(), time.perf_counter()
    await audit.run()
    account.own_s.append(time.process_time() - own)
    account.postgres_s.append(postgres_cpu_s() - postgres)
    account.took_s.append(time.perf_counter() - began)
    # Once more, to measure the stalls: what measures them uses all the CPU there is, so it must not run beside the other.
    account.stalls.add(await stalls_beside(audit.run))


def postgres_cpu_s() -> float:
    """CPU seconds used so far by the processes called ``postgres`` among this process' descendants."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue  # ended meanwhile
        if name.endswith("(postgres"):
            fields = rest.split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S
