"""What it costs to ask an auctioneer that answers at once: desires and crashes of LRPs, and desires of tasks.

Every one of these requests causes an auction. Beside their rate and CPU stands how many calls the auctioneer got for them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from perf.auctioneer import Counts, counting_auctioneer
from perf.figures import JSON, Sample, number, per_request_us, table
from perf.load import LoadGenerator
from perf.server import CPU, running_server
from perf.tasks import TaskStorm
from perf.workloads import Fleet

SETTLING: Final = ("start",)
"""Operations between those that cause auctions: not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    operation: str
    sample: Sample
    cpu: CPU
    counts: Counts


@dataclass(slots=True, kw_only=True)
class AuctionAccount:
    lrps: int
    connections: int
    rows: list[Row] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def report(self) -> str:
        header = ["operation", "req/s", "p50 ms", "p99 ms", "server µs", "auctions", "calls", "connections"]
        return "\n".join(
            [
                f"{self.lrps:,} LRPs and tasks, {self.connections} connections; µs: CPU per request",
                "",
                table(header, [self._cells(row) for row in self.rows]),
                *(f"TROUBLE: {trouble}" for trouble in self.troubles),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "connections": self.connections,
            "operations": [
                {
                    "operation": row.operation,
                    **row.sample.as_json(),
                    "server_cpu_s": row.cpu.server_s,
                    **asdict(row.counts),
                }
                for row in self.rows
            ],
            "troubles": list(self.troubles),
        }

    @staticmethod
    def _cells(row: Row) -> list[str]:
        at, counts = row.sample.percentiles_ms(), row.counts
        return [
            row.operation,
            number(row.sample.per_s),
            number(at.p50_ms, digits=1),
            number(at.p99_ms, digits=1),
            number(per_request_us(row.cpu.server_s, row.sample.answers)),
            *(number(count) for count in (counts.auctions, counts.calls, counts.connections)),
        ]


def measure_auctions(
    *, lrps: int, connections: int, operation_max_s: float, say: Callable[[str], None]
) -> AuctionAccount:
    """
    Raises:
      ServerFailed, OSError: there was no server to ask, or no auctioneer.
    """
    account = AuctionAccount(lrps=lrps, connections=connections)
    with (
        counting_auctioneer() as auctioneer,
        running_server("--auctioneer-address", auctioneer.address) as server,
        LoadGenerator(server.target, connections=min(connections, lrps)) as generator,
    ):
        fleet, storm = Fleet(target=server.target, lrps=lrps), TaskStorm(target=server.target, tasks=lrps)
        operations = {
            "desire": fleet.desires,
            "start": fleet.starts,
            "crash": fleet.crashes,
            "desire task": storm.desires,
        }
        for name, requests in operations.items():
            ready = requests()
            generator.connect()
            cpu_before, counts_before = server.cpu(), auctioneer.counts()
            sample = generator.run(ready, max_s=operation_max_s)
            counts = auctioneer.counts() - counts_before
            say(f"{name}: {number(sample.per_s)}/s{'' if sample.good else ' TROUBLE: ' + sample.trouble()}")
            if not sample.good:
                account.troubles.append(f"{name}: {sample.trouble()}")
            if name in SETTLING:
                continue
            if sample.good and counts.auctions != lrps:
                account.troubles.append(f"{name}: {counts.auctions} auctions instead of {lrps}")
            account.rows.append(
                Row(operation=name, sample=sample, cpu=server.cpu() - cpu_before, counts=counts)
            )
    return account
