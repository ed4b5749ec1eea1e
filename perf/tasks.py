"""A storm of tasks: all are desired, started, completed, resolved and deleted, one operation after the other.

Every request is a write of one row. The tasks have no callback URL, so nothing but the load generator calls anybody; a
BBS that is not ours still asks its auctioneer for each task's auction, inside the request. It is left as it was found.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from bbs.models import pb
from perf.figures import JSON, Sample, number, per_request_us, table
from perf.load import LoadGenerator, Target
from perf.server import CPU, Server
from perf.workloads import DOMAIN

TASKS_PER_CELL: Final = 100
LIST_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStorm:
    """``tasks`` tasks, to be sent to ``target``; task ``i`` runs on cell ``i % cells``."""

    target: Target
    tasks: int
    prefix: str = "BENCHMARK-BBS-TASK-"

    @property
    def cells(self) -> int:
        return max(self.tasks // TASKS_PER_CELL, 1)

    def task_guid(self, number: int) -> str:
        return f"{self.prefix}{number:06d}"

    def cell_id(self, number: int) -> str:
        return f"cell-{number % self.cells}"

    def operations(self) -> dict[str, Callable[[], Iterable[bytes]]]:
        """By name, in the order of a task's life."""
        return {
            "desire": self.desires,
            "start": self.starts,
            "complete": self.completes,
            "resolve": lambda: self._by_guid("resolving"),
            "delete": lambda: self._by_guid("delete"),
        }

    def desires(self) -> list[bytes]:
        definition = seed_definition()
        return [
            self._post(
                "desire.r2",
                pb.DesireTaskRequest(task_guid=self.task_guid(i), domain=DOMAIN, task_definition=definition),
            )
            for i in range(self.tasks)
        ]

    def starts(self) -> list[bytes]:
        return [
            self._post("start", pb.StartTaskRequest(task_guid=self.task_guid(i), cell_id=self.cell_id(i)))
            for i in range(self.tasks)
        ]

    def completes(self) -> list[bytes]:
        return [
            self._post(
                "complete",
                pb.CompleteTaskRequest(
                    task_guid=self.task_guid(i), cell_id=self.cell_id(i), result="x" * 200
                ),
            )
            for i in range(self.tasks)
        ]

    def list_running_on(self, cell: int) -> bytes:
        return self._post("list.r3", pb.TasksRequest(domain=DOMAIN, cell_id=f"cell-{cell}"))

    def _by_guid(self, operation: str) -> list[bytes]:
        return [
            self._post(operation, pb.TaskGuidRequest(task_guid=self.task_guid(i))) for i in range(self.tasks)
        ]

    def _post(
        self,
        path: str,
        message: pb.DesireTaskRequest
        | pb.StartTaskRequest
        | pb.CompleteTaskRequest
        | pb.TaskGuidRequest
        | pb.TasksRequest,
    ) -> bytes:
        return self.target.post(f"/v1/tasks/{path}", message.SerializeToString())


def seed_definition() -> pb.TaskDefinition:
    """About as large as a staging task's: some 700 bytes."""
    return pb.TaskDefinition(
        root_fs="preloaded:cflinuxfs4",
        environment_variables=[
            pb.EnvironmentVariable(name=f"VARIABLE_{i}", value="some value") for i in range(10)
        ],
        action=pb.Action(
            run_action=pb.RunAction(
                path="/tmp/lifecycle/builder", args=["-buildpackOrder", "a,b,c"], user="vcap"
            )
        ),
        memory_mb=1024,
        disk_mb=2048,
        log_source="STG",
        log_guid="some-log-guid",
        result_file="/tmp/result.json",
        annotation='{"lifecycle":"buildpack"}',
        egress_rules=[pb.SecurityGroupRule(protocol="all", destinations=["0.0.0.0-9.255.255.255"])],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    operation: str
    sample: Sample
    cpu: CPU | None  # None: the server is not ours, and may be anywhere


@dataclass(slots=True, kw_only=True)
class StormAccount:
    """The results of all operations of a run."""

    url: str
    tasks: int
    connections: int
    rows: list[Row] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def report(self) -> str:
        header = ["operation", "req/s", "p50 ms", "p99 ms", "max ms", "server µs", "Postgres µs", "load µs"]
        return "\n".join(
            [
                f"{self.url}, {self.tasks:,} tasks, {self.connections} connections; µs: CPU per request",
                "",
                table(header, [self._cells(row) for row in self.rows]),
                *(f"TROUBLE: {trouble}" for trouble in self.troubles),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "url": self.url,
            "tasks": self.tasks,
            "connections": self.connections,
            "operations": [
                {
                    "operation": row.operation,
                    **row.sample.as_json(),
                    "server_cpu_s": None if row.cpu is None else row.cpu.server_s,
                    "postgres_cpu_s": None if row.cpu is None else row.cpu.postgres_s,
                }
                for row in self.rows
            ],
            "troubles": list(self.troubles),
        }

    @staticmethod
    def _cells(row: Row) -> list[str]:
        sample, at = row.sample, row.sample.percentiles_ms()
        return [
            row.operation,
            number(sample.per_s),
            *(number(ms, digits=1) for ms in (at.p50_ms, at.p99_ms, at.max_ms)),
            number(per_request_us(row.cpu.server_s, sample.answers)) if row.cpu is not None else "-",
            number(per_request_us(row.cpu.postgres_s, sample.answers)) if row.cpu is not None else "-",
            number(per_request_us(sample.generator_cpu_s, sample.answers)),
        ]


def storm(
    target: Target,
    *,
    url: str,
    tasks: int,
    connections: int,
    operation_max_s: float,
    server: Server | None,
    say: Callable[[str], None],
) -> StormAccount:
    """Run every operation on all tasks. With ``server``, the one at ``target``, its CPU is read as well.

    Raises:
      OSError: nobody answers at ``target``.
    """
    account = StormAccount(url=url, tasks=tasks, connections=connections)
    tempest = TaskStorm(target=target, tasks=tasks)
    with LoadGenerator(target, connections=min(connections, tasks)) as generator:
        for name, requests in tempest.operations().items():
            ready = list(requests())
            generator.connect()  # before the CPU is read: handshakes are no part of an operation
            before = server.cpu() if server is not None else None
            sample = generator.run(ready, max_s=operation_max_s)
            cpu = server.cpu() - before if server is not None and before is not None else None
            account.rows.append(Row(operation=name, sample=sample, cpu=cpu))
            if not sample.good:
                account.troubles.append(f"{name}: {sample.trouble()}")
            elif name == "start":
                account.troubles += _check_first_cell(generator, tempest)
            say(f"{name}: {number(sample.per_s)}/s{'' if sample.good else ' TROUBLE: ' + sample.trouble()}")
    return account


def _check_first_cell(generator: LoadGenerator, tempest: TaskStorm) -> list[str]:
    """What is wrong with the server's state: the answers said that the tasks run, so a list of one cell's tasks must, too."""
    sample = generator.run([tempest.list_running_on(0)], max_s=LIST_MAX_S)
    if not sample.good:
        return [f"list: {sample.trouble()}"]
    found = pb.TasksResponse.FromString(sample.last_body).tasks
    running = sum(task.state == pb.Task.State.Running for task in found)
    expected = len(range(0, tempest.tasks, tempest.cells))
    return [] if running == expected else [f"{running} tasks run on cell-0 instead of {expected}"]
