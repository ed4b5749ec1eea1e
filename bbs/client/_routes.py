"""The endpoints that the client calls (spec: api.md §6). It always asks for the newest revision it knows."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from bbs.models import pb

R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Route(Generic[R]):
    """A unary endpoint: a POST of one message, answered with another."""

    name: str
    path: str
    response: type[R]


@dataclass(frozen=True, slots=True)
class StreamRoute:
    name: str
    method: str
    path: str


PING: Final = Route("Ping", "/v1/ping", pb.PingResponse)
CELLS: Final = Route("Cells", "/v1/cells/list.r1", pb.CellsResponse)
DOMAINS: Final = Route("Domains", "/v1/domains/list", pb.DomainsResponse)
UPSERT_DOMAIN: Final = Route("UpsertDomain", "/v1/domains/upsert", pb.UpsertDomainResponse)

ACTUAL_LRPS: Final = Route("ActualLRPs", "/v1/actual_lrps/list", pb.ActualLRPsResponse)
ACTUAL_LRPS_BY_PROCESS_GUIDS: Final = Route(
    "ActualLRPsByProcessGuids", "/v1/actual_lrps/list_by_process_guids", pb.ActualLRPsByProcessGuidsResponse
)
ACTUAL_LRP_GROUPS: Final = Route("ActualLRPGroups", "/v1/actual_lrp_groups/list", pb.ActualLRPGroupsResponse)
ACTUAL_LRP_GROUPS_BY_PROCESS_GUID: Final = Route(
    "ActualLRPGroupsByProcessGuid", "/v1/actual_lrp_groups/list_by_process_guid", pb.ActualLRPGroupsResponse
)
ACTUAL_LRP_GROUP_BY_PROCESS_GUID_AND_INDEX: Final = Route(
    "ActualLRPGroupsByProcessGuidAndIndex",
    "/v1/actual_lrp_groups/get_by_process_guid_and_index",
    pb.ActualLRPGroupResponse,
)
CLAIM_ACTUAL_LRP: Final = Route("ClaimActualLRP", "/v1/actual_lrps/claim", pb.ActualLRPLifecycleResponse)
START_ACTUAL_LRP: Final = Route("StartActualLRP", "/v1/actual_lrps/start.r1", pb.ActualLRPLifecycleResponse)
START_ACTUAL_LRP_R0: Final = Route(
    "StartActualLRP_r0", "/v1/actual_lrps/start", pb.ActualLRPLifecycleResponse
)
CRASH_ACTUAL_LRP: Final = Route("CrashActualLRP", "/v1/actual_lrps/crash", pb.ActualLRPLifecycleResponse)
FAIL_ACTUAL_LRP: Final = Route("FailActualLRP", "/v1/actual_lrps/fail", pb.ActualLRPLifecycleResponse)
REMOVE_ACTUAL_LRP: Final = Route("RemoveActualLRP", "/v1/actual_lrps/remove", pb.ActualLRPLifecycleResponse)
RETIRE_ACTUAL_LRP: Final = Route("RetireActualLRP", "/v1/actual_lrps/retire", pb.ActualLRPLifecycleResponse)

REMOVE_EVACUATING_ACTUAL_LRP: Final = Route(
    "RemoveEvacuatingActualLRP", "/v1/actual_lrps/remove_evacuating", pb.RemoveEvacuatingActualLRPResponse
)
EVACUATE_CLAIMED_ACTUAL_LRP: Final = Route(
    "EvacuateClaimedActualLRP", "/v1/actual_lrps/evacuate_claimed", pb.EvacuationResponse
)
EVACUATE_CRASHED_ACTUAL_LRP: Final = Route(
    "EvacuateCrashedActualLRP", "/v1/actual_lrps/evacuate_crashed", pb.EvacuationResponse
)
EVACUATE_STOPPED_ACTUAL_LRP: Final = Route(
    "EvacuateStoppedActualLRP", "/v1/actual_lrps/evacuate_stopped", pb.EvacuationResponse
)
EVACUATE_RUNNING_ACTUAL_LRP: Final = Route(
    "EvacuateRunningActualLRP", "/v1/actual_lrps/evacuate_running.r1", pb.EvacuationResponse
)
EVACUATE_RUNNING_ACTUAL_LRP_R0: Final = Route(
    "EvacuateRunningActualLRP_r0", "/v1/actual_lrps/evacuate_running", pb.EvacuationResponse
)

DESIRED_LRPS: Final = Route("DesiredLRPs", "/v1/desired_lrps/list.r3", pb.DesiredLRPsResponse)
DESIRED_LRP_BY_PROCESS_GUID: Final = Route(
    "DesiredLRPByProcessGuid", "/v1/desired_lrps/get_by_process_guid.r3", pb.DesiredLRPResponse
)
DESIRED_LRP_SCHEDULING_INFOS: Final = Route(
    "DesiredLRPSchedulingInfos", "/v1/desired_lrp_scheduling_infos/list", pb.DesiredLRPSchedulingInfosResponse
)
DESIRED_LRP_SCHEDULING_INFO_BY_PROCESS_GUID: Final = Route(
    "DesiredLRPSchedulingInfoByProcessGuid",
    "/v1/desired_lrp_scheduling_infos/get_by_process_guid",
    pb.DesiredLRPSchedulingInfoByProcessGuidResponse,
)
DESIRED_LRP_ROUTING_INFOS: Final = Route(
    "DesiredLRPRoutingInfos", "/v1/desired_lrp_routing_infos/list", pb.DesiredLRPsResponse
)
DESIRE_LRP: Final = Route("DesireDesiredLRP", "/v1/desired_lrp/desire.r2", pb.DesiredLRPLifecycleResponse)
UPDATE_DESIRED_LRP: Final = Route("UpdateDesireLRP", "/v1/desired_lrp/update", pb.DesiredLRPLifecycleResponse)
REMOVE_DESIRED_LRP: Final = Route(
    "RemoveDesiredLRP", "/v1/desired_lrp/remove", pb.DesiredLRPLifecycleResponse
)

TASKS: Final = Route("Tasks", "/v1/tasks/list.r3", pb.TasksResponse)
TASK_BY_GUID: Final = Route("TaskByGuid", "/v1/tasks/get_by_task_guid.r3", pb.TaskResponse)
DESIRE_TASK: Final = Route("DesireTask", "/v1/tasks/desire.r2", pb.TaskLifecycleResponse)
START_TASK: Final = Route("StartTask", "/v1/tasks/start", pb.StartTaskResponse)
CANCEL_TASK: Final = Route("CancelTask", "/v1/tasks/cancel", pb.TaskLifecycleResponse)
FAIL_TASK: Final = Route("FailTask", "/v1/tasks/fail", pb.TaskLifecycleResponse)
REJECT_TASK: Final = Route("RejectTask", "/v1/tasks/reject", pb.TaskLifecycleResponse)
COMPLETE_TASK: Final = Route("CompleteTask", "/v1/tasks/complete", pb.TaskLifecycleResponse)
RESOLVING_TASK: Final = Route("ResolvingTask", "/v1/tasks/resolving", pb.TaskLifecycleResponse)
DELETE_TASK: Final = Route("DeleteTask", "/v1/tasks/delete", pb.TaskLifecycleResponse)

EVENTS: Final = StreamRoute("EventStream", "GET", "/v1/events.r1")
INSTANCE_EVENTS: Final = StreamRoute("LRPInstanceEventStream", "POST", "/v1/events/lrp_instances.r1")
TASK_EVENTS: Final = StreamRoute("TaskEventStream", "POST", "/v1/events/tasks.r1")
