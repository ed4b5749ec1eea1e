"""Every operation a fleet needs, against any BBS, beside what the Go server did with the same.

Works through a whole life: desire, claim, start, heartbeat, read, crash, remove; so it leaves a BBS as it found it, apart
from the domain's name. Drive a BBS that is not ours only with cells `cell-0` … registered in Locket, or with a
``converge_repeat_interval`` longer than the run: convergence takes LRPs away from cells it can't find.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message

from bbs.models import pb
from perf.figures import JSON, Sample, number, per_request_us, table
from perf.load import LoadGenerator, Target
from perf.server import CPU, Server
from perf.workloads import Fleet

PINGS: Final = 20_000
LISTS: Final = 10
CELL_LISTS: Final = 1_000
CONNECTIONS_OF_FEW: Final = 32  # what the Go figures of ping, crash and remove were measured with


@dataclass(frozen=True, slots=True)
class GoFigure:
    """What the Go server did on two cores shared with Postgres 18 (fsync on) and load, upstream's client included.

    Carried over from an earlier measurement, not measured in this run: a scale, not a race.
    """

    rate: str
    latency_ms: str


GO_FIGURES: Final[dict[str, GoFigure]] = {
    "ping": GoFigure("6,330", "2.7 / 30"),
    "desire": GoFigure("600", "101 / 237"),
    "claim": GoFigure("1,457", "40 / 108"),
    "start": GoFigure("1,320", "44 / 122"),
    "crash": GoFigure("560", "51 / 146"),
    "remove desired": GoFigure("1,027", "29 / 79"),
    "desired by guid": GoFigure("2,887", "18 / 85"),
    "ActualLRPs of one cell": GoFigure("152", "350 / 806"),
}

# The time of a list grows with its rows, so it is only said for the sizes that were measured.
GO_LIST_FIGURES: Final[dict[tuple[str, int], GoFigure]] = {
    ("list ActualLRPs", 10_000): GoFigure("", "152"),
    ("list scheduling infos", 10_000): GoFigure("", "95"),
    ("list DesiredLRPs", 10_000): GoFigure("", "538"),
    ("list ActualLRPs", 50_000): GoFigure("", "450-540 (server)"),
    ("list scheduling infos", 50_000): GoFigure("", "350-470 (server)"),
    ("list DesiredLRPs", 50_000): GoFigure("", "1,400-1,700 (server)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``requests`` to be sent over ``connections``; ``rows`` counts what the last answer holds, ``expected`` of them."""

    name: str
    requests: Callable[[], Iterable[bytes]]
    connections: int
    rows: Callable[[bytes], int] | None = None
    expected: int = 0


@dataclass(slots=True, kw_only=True)
class Row:
    operation: Operation
    sample: Sample
    cpu: CPU | None  # None: the server is not ours, and may be anywhere
    trouble: str


@dataclass(slots=True, kw_only=True)
class Account:
    """The results of all operations of a run."""

    url: str
    lrps: int
    rows: list[Row] = field(default_factory=list)
    resident_bytes: int | None = None

    @property
    def good(self) -> bool:
        return not any(row.trouble for row in self.rows)

    def go_figure(self, operation: str) -> GoFigure:
        nothing = GoFigure("", "")
        return GO_FIGURES.get(operation) or GO_LIST_FIGURES.get((operation, self.lrps), nothing)

    def report(self) -> str:
        header = ["operation", "conn.", "requests", "req/s", "p50 ms", "p99 ms", "max ms", "kB/answer"]
        header += ["server µs", "Postgres µs", "load µs", "Go req/s", "Go p50 / p99 ms"]
        memory = (
            ""
            if self.resident_bytes is None
            else f"; resident {self.resident_bytes / 1e6:,.0f} MB at the end"
        )
        return "\n".join(
            [
                f"{self.url}, {self.lrps:,} LRPs{memory}; µs: CPU per request; Go: carried over, not measured here",
                "",
                table(header, [self._cells(row) for row in self.rows]),
                *(f"TROUBLE: {row.operation.name}: {row.trouble}" for row in self.rows if row.trouble),
            ]
        )

    def _cells(self, row: Row) -> list[str]:
        sample, at = row.sample, row.sample.percentiles_ms()
        go = self.go_figure(row.operation.name)
        server_s = math.nan if row.cpu is None else row.cpu.server_s
        postgres_s = math.nan if row.cpu is None else row.cpu.postgres_s
        return [
            row.operation.name,
            str(row.operation.connections),
            number(sample.answers),
            number(sample.per_s, digits=1 if sample.per_s < 100 else 0),
            number(at.p50_ms, digits=1),
            number(at.p99_ms, digits=1),
            number(at.max_ms, digits=1),
            number(sample.response_bytes / sample.answers / 1e3 if sample.answers else math.nan, digits=1),
            number(per_request_us(server_s, sample.answers)),
            number(per_request_us(postgres_s, sample.answers)),
            number(per_request_us(sample.generator_cpu_s, sample.answers)),
            go.rate or "-",
            go.latency_ms or "-",
        ]

    def as_json(self) -> dict[str, JSON]:
        return {
            "url": self.url,
            "lrps": self.lrps,
            "resident_bytes": self.resident_bytes,
            "operations": [
                {
                    "operation": row.operation.name,
                    "connections": row.operation.connections,
                    **row.sample.as_json(),
                    "server_cpu_s": None if row.cpu is None else row.cpu.server_s,
                    "postgres_cpu_s": None if row.cpu is None else row.cpu.postgres_s,
                    "trouble": row.trouble,
                    "go_requests_per_s": self.go_figure(row.operation.name).rate,
                    "go_latency_ms": self.go_figure(row.operation.name).latency_ms,
                }
                for row in self.rows
            ],
        }


def work_through(
    target: Target,
    *,
    url: str,
    lrps: int,
    connections: int,
    operation_max_s: float,
    server: Server | None,
    say: Callable[[str], None],
) -> Account:
    """Run every operation once. With ``server``, the one at ``target``, its CPU and memory are read as well.

    A failed operation is in the result, and the others still run, since their figures are worth having.

    Raises:
      OSError: nobody answers at ``target``.
    """
    account = Account(url=url, lrps=lrps)
    fleet = Fleet(target=target, lrps=lrps)
    for operation in operations(
        fleet, connections=connections, already=_already_there(fleet, operation_max_s)
    ):
        requests = list(operation.requests())
        with LoadGenerator(target, connections=min(operation.connections, len(requests))) as generator:
            generator.connect()  # before the CPU is read: handshakes are no part of an operation
            before = server.cpu() if server is not None else None
            sample = generator.run(requests, max_s=operation_max_s)
            cpu = server.cpu() - before if server is not None and before is not None else None
        trouble = sample.trouble() or _miscount(operation, sample)
        account.rows.append(Row(operation=operation, sample=sample, cpu=cpu, trouble=trouble))
        say(f"{operation.name}: {number(sample.per_s)}/s{' TROUBLE: ' + trouble if trouble else ''}")
        sample.last_body = b""  # a list may be large
        if server is not None:
            account.resident_bytes = server.resident_bytes()
    return account


def operations(fleet: Fleet, *, connections: int, already: dict[str, int]) -> list[Operation]:
    """In the order of an LRP's life; ``already`` says, list by list, how many rows are not the fleet's."""
    few = min(connections, CONNECTIONS_OF_FEW)
    cell = fleet.lrps_of_cell(0)
    return [
        Operation(name="ping", requests=lambda: itertools.repeat(fleet.ping(), PINGS), connections=few),
        Operation(name="desire", requests=fleet.desires, connections=connections),
        Operation(name="claim", requests=fleet.claims, connections=connections),
        Operation(name="start", requests=fleet.starts, connections=connections),
        Operation(name="start again, no change", requests=fleet.starts, connections=connections),
        *(
            Operation(
                name=name,
                requests=lambda request=request: itertools.repeat(request, LISTS),  # type: ignore[misc]  # see below
                connections=1,
                rows=count,
                expected=fleet.lrps + already[name],
            )
            # The default binds the request of this turn of the loop, which mypy can't infer a type for.
            for name, (request, count) in _lists(fleet).items()
        ),
        Operation(
            name="ActualLRPs of one cell",
            requests=lambda: itertools.repeat(fleet.actual_lrps_of_cell(0), CELL_LISTS),
            connections=connections,
            rows=_counts("actual_lrps", pb.ActualLRPsResponse),
            expected=cell,
        ),
        Operation(name="desired by guid", requests=fleet.desired_by_guid, connections=connections),
        Operation(name="crash", requests=fleet.crashes, connections=few),
        Operation(name="remove desired", requests=fleet.removes, connections=few),
    ]


def _lists(fleet: Fleet) -> dict[str, tuple[bytes, Callable[[bytes], int]]]:
    return {
        "list ActualLRPs": (fleet.list_actual_lrps(), _counts("actual_lrps", pb.ActualLRPsResponse)),
        "list scheduling infos": (
            fleet.list_scheduling_infos(),
            _counts("desired_lrp_scheduling_infos", pb.DesiredLRPSchedulingInfosResponse),
        ),
        "list DesiredLRPs": (fleet.list_desired_lrps(), _counts("desired_lrps", pb.DesiredLRPsResponse)),
    }


def _counts(rows: str, response: type[Message]) -> Callable[[bytes], int]:
    return lambda body: len(getattr(response.FromString(body), rows))


def _already_there(fleet: Fleet, max_s: float) -> dict[str, int]:
    found = {}
    with LoadGenerator(fleet.target, connections=1) as generator:
        for name, (request, count) in _lists(fleet).items():
            sample = generator.run([request], max_s=max_s)
            found[name] = count(sample.last_body) if sample.good else 0
    return found


def _miscount(operation: Operation, sample: Sample) -> str:
    if operation.rows is None:
        return ""
    found = operation.rows(sample.last_body)
    return "" if found == operation.expected else f"{found} rows instead of {operation.expected}"
