"""Every operation's lines in the log, in order, with level, session number and data keys (spec: metrics-and-logs.md §3).

`request_lines.txt` is the table: a case's name, then its lines at debug. What is written is compared as it stands there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from google.protobuf.message import Message

from bbs.http.endpoints import Unary
from bbs.log import Level
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState, InstanceKey, Presence
from bbs.models.desired_lrp import RECREATE
from bbs.models.outcome import Record
from bbs.models.task import TaskState
from tests.log_lines import level_of
from tests.records import actual_lrp, desired_lrp, desired_message, net_info, task, task_definition
from tests.routes.log_bench import open_bbs

TABLE = Path(__file__).with_name("request_lines.txt")

KEY = pb.ActualLRPKey(process_guid="p", index=0, domain="d")
A = pb.ActualLRPInstanceKey(instance_guid="a", cell_id="c1")
B = pb.ActualLRPInstanceKey(instance_guid="b", cell_id="c2")
NET_INFO = pb.ActualLRPNetInfo(address="10.0.0.1")
AT_C1 = InstanceKey(instance_guid="a", cell_id="c1")
AT_C2 = InstanceKey(instance_guid="b", cell_id="c2")

UNCLAIMED = actual_lrp()
CLAIMED = actual_lrp(state=ActualLRPState.CLAIMED, instance=AT_C1)
RUNNING = actual_lrp(state=ActualLRPState.RUNNING, instance=AT_C1, net_info=net_info())
ELSEWHERE = actual_lrp(state=ActualLRPState.RUNNING, instance=AT_C2, net_info=net_info())
CRASHED = actual_lrp(state=ActualLRPState.CRASHED, crash_count=3)
SUSPECT = replace(RUNNING, presence=Presence.SUSPECT)
EVACUATING = replace(RUNNING, presence=Presence.EVACUATING)
DESIRED = desired_lrp()
RECREATED = desired_lrp(update_strategy=RECREATE)

CLAIM = pb.ClaimActualLRPRequest(process_guid="p", index=0, actual_lrp_instance_key=A)
START = pb.StartActualLRPRequest(
    actual_lrp_key=KEY, actual_lrp_instance_key=A, actual_lrp_net_info=NET_INFO, availability_zone="z1"
)
CRASH = pb.CrashActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A, error_message="oops")
FAIL = pb.FailActualLRPRequest(actual_lrp_key=KEY, error_message="full")
REMOVE = pb.RemoveActualLRPRequest(process_guid="p", index=0)
RETIRE = pb.RetireActualLRPRequest(actual_lrp_key=KEY)
GONE = pb.RemoveEvacuatingActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A)
CLAIMED_AWAY = pb.EvacuateClaimedActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A)
CRASHED_AWAY = pb.EvacuateCrashedActualLRPRequest(
    actual_lrp_key=KEY, actual_lrp_instance_key=A, error_message="oops"
)
STOPPED_AWAY = pb.EvacuateStoppedActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A)
RUNNING_AWAY = pb.EvacuateRunningActualLRPRequest(
    actual_lrp_key=KEY, actual_lrp_instance_key=A, actual_lrp_net_info=NET_INFO, availability_zone="z1"
)
BY_GUID = pb.DesiredLRPByProcessGuidRequest(process_guid="p")
TASK = pb.TaskGuidRequest(task_guid="t")
START_TASK = pb.StartTaskRequest(task_guid="t", cell_id="c1")
COMPLETE_TASK = pb.CompleteTaskRequest(task_guid="t", cell_id="c1")
REJECT_TASK = pb.RejectTaskRequest(task_guid="t", rejection_reason="full")
RAN = task(state=TaskState.Running, cell_id="c1")


@dataclass(frozen=True)
class Case:
    name: str
    route: str
    request: Message | bytes = b""
    rows: Sequence[Record] = ()


def desire(instances: int = 1) -> pb.DesireLRPRequest:
    message = desired_message()
    message.instances = instances
    return pb.DesireLRPRequest(desired_lrp=message)


def update(instances: int) -> pb.UpdateDesiredLRPRequest:
    return pb.UpdateDesiredLRPRequest(process_guid="p", update=pb.DesiredLRPUpdate(instances=instances))


CASES = [
    Case("domains", "Domains"),
    Case("a new domain", "UpsertDomain", pb.UpsertDomainRequest(domain="d", ttl=9)),
    Case("a domain without a name", "UpsertDomain"),
    Case("ActualLRPs", "ActualLRPs"),
    Case("ActualLRPs by guids", "ActualLRPsByProcessGuids", pb.ActualLRPsByProcessGuidsRequest(process_guids=["p"])),
    Case("groups", "ActualLRPGroups"),
    Case("groups of a process", "ActualLRPGroupsByProcessGuid", pb.ActualLRPGroupsByProcessGuidRequest(process_guid="p")),
    Case("a group that is not there", "ActualLRPGroupsByProcessGuidAndIndex", pb.ActualLRPGroupByProcessGuidAndIndexRequest(process_guid="p")),
    Case("claim", "ClaimActualLRP", CLAIM, [UNCLAIMED]),
    Case("claim nothing", "ClaimActualLRP", CLAIM),
    Case("claim another's", "ClaimActualLRP", CLAIM, [ELSEWHERE]),
    Case("claim of a suspect", "ClaimActualLRP", CLAIM, [SUSPECT]),
    Case("claim that cannot be read", "ClaimActualLRP", b"abc"),
    Case("claim that is not valid", "ClaimActualLRP"),
    Case("start", "StartActualLRP", START),
    Case("start of what was kept up meanwhile", "StartActualLRP", START, [CLAIMED, replace(EVACUATING, instance=AT_C2), replace(SUSPECT, instance=AT_C2)]),
    Case("start of a suspect", "StartActualLRP", START, [SUSPECT]),
    Case("start another's", "StartActualLRP", START, [ELSEWHERE]),
    Case("start, r0", "StartActualLRP_r0", START),
    Case("crash", "CrashActualLRP", CRASH, [RUNNING, DESIRED]),
    Case("crash of what nobody desires", "CrashActualLRP", CRASH, [RUNNING]),
    Case("crash of a suspect", "CrashActualLRP", CRASH, [SUSPECT]),
    Case("crash of nothing", "CrashActualLRP", CRASH),
    Case("crash another's", "CrashActualLRP", CRASH, [ELSEWHERE]),
    Case("fail", "FailActualLRP", FAIL, [UNCLAIMED]),
    Case("fail nothing", "FailActualLRP", FAIL),
    Case("fail what runs", "FailActualLRP", FAIL, [RUNNING]),
    Case("remove", "RemoveActualLRP", REMOVE, [RUNNING]),
    Case("remove nothing", "RemoveActualLRP", REMOVE),
    Case("remove another's", "RemoveActualLRP", pb.RemoveActualLRPRequest(process_guid="p", actual_lrp_instance_key=B), [RUNNING]),
    Case("retire", "RetireActualLRP", RETIRE, [UNCLAIMED]),
    Case("retire nothing", "RetireActualLRP", RETIRE),
    Case("retire where the cell is gone", "RetireActualLRP", RETIRE, [RUNNING]),
    Case("an evacuating row's container is gone", "RemoveEvacuatingActualLRP", GONE, [EVACUATING, UNCLAIMED]),
    Case("an evacuating row that is not there", "RemoveEvacuatingActualLRP", GONE),
    Case("an evacuating row that is an ordinary one", "RemoveEvacuatingActualLRP", GONE, [RUNNING]),
    Case("an evacuating row nobody can name", "RemoveEvacuatingActualLRP"),
    Case("evacuate a claim", "EvacuateClaimedActualLRP", CLAIMED_AWAY, [CLAIMED, DESIRED]),
    Case("evacuate a claim of what nobody desires", "EvacuateClaimedActualLRP", CLAIMED_AWAY, [CLAIMED]),
    Case("evacuate a claim of an evacuating row", "EvacuateClaimedActualLRP", CLAIMED_AWAY, [EVACUATING]),
    Case("evacuate a claim of a suspect", "EvacuateClaimedActualLRP", CLAIMED_AWAY, [SUSPECT]),
    Case("evacuate a claim of nothing", "EvacuateClaimedActualLRP", CLAIMED_AWAY),
    Case("evacuate a claim that is not valid", "EvacuateClaimedActualLRP"),
    Case("evacuate a crash", "EvacuateCrashedActualLRP", CRASHED_AWAY, [RUNNING]),
    Case("evacuate a crash of nothing", "EvacuateCrashedActualLRP", CRASHED_AWAY),
    Case("evacuate a crash that is not valid", "EvacuateCrashedActualLRP"),
    Case("evacuate a stop", "EvacuateStoppedActualLRP", STOPPED_AWAY, [RUNNING]),
    Case("evacuate a stop of nothing", "EvacuateStoppedActualLRP", STOPPED_AWAY),
    Case("evacuate a stop that is not valid", "EvacuateStoppedActualLRP"),
    Case("evacuate nothing", "EvacuateRunningActualLRP", RUNNING_AWAY),
    Case("evacuate what runs", "EvacuateRunningActualLRP", RUNNING_AWAY, [RUNNING, DESIRED]),
    Case("evacuate a suspect", "EvacuateRunningActualLRP", RUNNING_AWAY, [SUSPECT, UNCLAIMED, DESIRED]),
    Case("evacuate what nobody has heard of", "EvacuateRunningActualLRP", RUNNING_AWAY, [UNCLAIMED, DESIRED]),
    Case("evacuate again", "EvacuateRunningActualLRP", RUNNING_AWAY, [UNCLAIMED, EVACUATING, DESIRED]),
    Case("evacuate beside another", "EvacuateRunningActualLRP", RUNNING_AWAY, [UNCLAIMED, replace(EVACUATING, instance=AT_C2), DESIRED]),
    Case("evacuate what has been replaced", "EvacuateRunningActualLRP", RUNNING_AWAY, [ELSEWHERE, EVACUATING, DESIRED]),
    Case("evacuate what nobody desires", "EvacuateRunningActualLRP", RUNNING_AWAY, [RUNNING]),
    Case("evacuate one of all that run, recreate", "EvacuateRunningActualLRP", RUNNING_AWAY, [RUNNING, RECREATED]),
    Case("evacuate too early, recreate", "EvacuateRunningActualLRP", RUNNING_AWAY, [RUNNING, replace(RECREATED, instances=2)]),
    Case("evacuate a suspect, recreate", "EvacuateRunningActualLRP", RUNNING_AWAY, [SUSPECT, UNCLAIMED, RECREATED]),
    Case("evacuate what is not valid", "EvacuateRunningActualLRP"),
    Case("evacuate what runs, r0", "EvacuateRunningActualLRP_r0", RUNNING_AWAY, [RUNNING, DESIRED]),
    Case("scheduling infos", "DesiredLRPSchedulingInfos"),
    Case("a scheduling info", "DesiredLRPSchedulingInfoByProcessGuid", BY_GUID, [DESIRED]),
    Case("routing infos", "DesiredLRPRoutingInfos"),
    Case("DesiredLRPs", "DesiredLRPs"),
    Case("DesiredLRPs, r2", "DesiredLRPs_r2"),
    Case("a DesiredLRP", "DesiredLRPByProcessGuid", BY_GUID, [DESIRED]),
    Case("a DesiredLRP that is not there, r2", "DesiredLRPByProcessGuid_r2", BY_GUID),
    Case("desire", "DesireDesiredLRP", desire(instances=2)),
    Case("desire what has a row", "DesireDesiredLRP", desire(), [UNCLAIMED]),
    Case("desire twice", "DesireDesiredLRP", desire(), [DESIRED]),
    Case("desire that is not valid, of no app", "DesireDesiredLRP"),
    Case("scale up", "UpdateDesireLRP", update(instances=2), [DESIRED]),
    Case("scale down", "UpdateDesireLRP", update(instances=0), [DESIRED, UNCLAIMED]),
    Case("update nothing", "UpdateDesireLRP", update(instances=2)),
    Case("update that cannot be read", "UpdateDesireLRP", b"abc"),
    Case("remove a DesiredLRP", "RemoveDesiredLRP", pb.RemoveDesiredLRPRequest(process_guid="p"), [DESIRED, CRASHED]),
    Case("remove no DesiredLRP", "RemoveDesiredLRP", pb.RemoveDesiredLRPRequest(process_guid="p")),
    Case("tasks", "Tasks"),
    Case("tasks, r2", "Tasks_r2"),
    Case("a task that is not there", "TaskByGuid", pb.TaskByGuidRequest(task_guid="t")),
    Case("a task, r2", "TaskByGuid_r2", pb.TaskByGuidRequest(task_guid="t"), [task()]),
    Case("desire a task", "DesireTask", pb.DesireTaskRequest(task_guid="t", domain="d", task_definition=task_definition())),
    Case("desire a task twice", "DesireTask", pb.DesireTaskRequest(task_guid="t", domain="d", task_definition=task_definition()), [task()]),
    Case("desire a task that is not valid", "DesireTask"),
    Case("start a task", "StartTask", START_TASK, [task()]),
    Case("start a task again", "StartTask", START_TASK, [RAN]),
    Case("start a task that is over", "StartTask", START_TASK, [task(state=TaskState.Completed)]),
    Case("cancel a task", "CancelTask", TASK, [task()]),
    Case("cancel no task", "CancelTask", TASK),
    Case("fail a task", "FailTask", pb.FailTaskRequest(task_guid="t", failure_reason="full"), [task()]),
    Case("reject a task", "RejectTask", REJECT_TASK, [task()]),
    Case("reject a task for the last time", "RejectTask", REJECT_TASK, [task(rejection_count=3)]),
    Case("reject a task that is over", "RejectTask", REJECT_TASK, [task(state=TaskState.Completed)]),
    Case("reject no task", "RejectTask", REJECT_TASK),
    Case("complete a task", "CompleteTask", COMPLETE_TASK, [RAN]),
    Case("complete another cell's task", "CompleteTask", COMPLETE_TASK, [replace(RAN, cell_id="c2")]),
    Case("resolve a task", "ResolvingTask", TASK, [task(state=TaskState.Completed)]),
    Case("resolve a task too early", "ResolvingTask", TASK, [task()]),
    Case("delete a task", "DeleteTask", TASK, [task(state=TaskState.Resolving)]),
    Case("delete a task too early", "DeleteTask", TASK, [task()]),
    Case("delete a task that is not valid", "DeleteTask"),
    Case("cells", "Cells"),
]  # fmt: skip


def sections() -> dict[str, str]:
    """The table's lines by case."""
    parts = TABLE.read_text().strip().split("\n\n")
    return {name: "\n".join(lines) for name, *lines in (part.split("\n") for part in parts)}


def in_columns(line: dict[str, Any]) -> str:
    """Level, message, session number and data keys."""
    message, data = line["message"].removeprefix("bbs.request."), line["data"]
    keys = " ".join(key for key in data if key != "session")
    return f"{level_of(line):5} {message:75} {data.get('session', '-'):9} {keys}".rstrip()


async def told(nursery: trio.Nursery, case: Case, level: Level) -> str:
    bbs = await open_bbs(nursery)
    await bbs.there_is(*case.rows)
    bbs.sink.min_level = level
    await bbs.ask(case.route, case.request)
    return "\n".join(map(in_columns, bbs.out.lines))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_operation_says_what_the_table_says(nursery: trio.Nursery, case: Case) -> None:
    assert await told(nursery, case, Level.DEBUG) == sections()[case.name]


@pytest.mark.parametrize("level", [Level.INFO, Level.ERROR])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_at_a_higher_level_it_says_the_same_without_the_lower_ones(
    nursery: trio.Nursery, level: Level, case: Case
) -> None:
    higher = [each.name.lower() for each in (Level.INFO, Level.ERROR) if each >= level]
    lines = sections()[case.name].splitlines()

    assert (await told(nursery, case, level)).splitlines() == [
        line for line in lines if line.split()[0] in higher
    ]


async def test_the_table_has_every_operation_and_nothing_else(nursery: trio.Nursery) -> None:
    assert list(sections()) == [case.name for case in CASES]
    bbs = await open_bbs(nursery)
    unary = {route.name for route in bbs.table(False).routes if isinstance(route.endpoint, Unary)}
    assert {case.route for case in CASES} == unary - {"Ping"}
