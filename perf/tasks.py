"""Which requests a run about tasks is made of; as `perf.workloads` for LRPs.

The tasks have no callback URL, so nobody is called when one is completed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from bbs.models import pb
from perf.load import Target
from perf.workloads import DOMAIN

TASKS_PER_CELL: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
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

    def tasks_of_cell(self, cell: int) -> int:
        return len(range(cell, self.tasks, self.cells))

    def list_of_cell(self, cell: int) -> bytes:
        """Its tasks that run, or that it has completed."""
        return self._post("list.r3", pb.TasksRequest(domain=DOMAIN, cell_id=f"cell-{cell}"))

    def list_of_domain(self) -> bytes:
        return self._post("list.r3", pb.TasksRequest(domain=DOMAIN))

    def ends(self) -> "list[list[bytes]]":
        """What becomes of tasks that are completed: all are resolved, then all deleted."""
        return [self._by_guid("resolving"), self._by_guid("delete")]

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
