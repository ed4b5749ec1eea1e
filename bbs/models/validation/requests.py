"""Every request that an endpoint takes (spec: validation.md §3).

The requests of a busy fleet are claims, starts and crashes, so these rules ask for each field once and build nothing
when there is nothing to say.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.validation.aggregates import desired_lrp, desired_lrp_update, task_definition
from bbs.models.validation.fields import guid, invalid
from bbs.models.validation.parts import actual_lrp_instance_key, actual_lrp_key, actual_lrp_net_info

RunningRequest = pb.StartActualLRPRequest | pb.EvacuateRunningActualLRPRequest
KeyedRequest = (
    RunningRequest
    | pb.CrashActualLRPRequest
    | pb.FailActualLRPRequest
    | pb.RetireActualLRPRequest
    | pb.RemoveEvacuatingActualLRPRequest
    | pb.EvacuateClaimedActualLRPRequest
    | pb.EvacuateStoppedActualLRPRequest
    | pb.EvacuateCrashedActualLRPRequest
)
InstanceRequest = (
    RunningRequest
    | pb.ClaimActualLRPRequest
    | pb.CrashActualLRPRequest
    | pb.RemoveEvacuatingActualLRPRequest
    | pb.EvacuateClaimedActualLRPRequest
    | pb.EvacuateStoppedActualLRPRequest
    | pb.EvacuateCrashedActualLRPRequest
)
FailureRequest = pb.FailActualLRPRequest | pb.EvacuateCrashedActualLRPRequest
ProcessRequest = (
    pb.ActualLRPGroupsByProcessGuidRequest
    | pb.DesiredLRPByProcessGuidRequest
    | pb.RemoveDesiredLRPRequest
    | pb.ClaimActualLRPRequest
    | pb.UpdateDesiredLRPRequest
)
SlotRequest = pb.ActualLRPGroupByProcessGuidAndIndexRequest | pb.RemoveActualLRPRequest


def _anything_goes(request: Message) -> list[str]:
    return []


def _upsert_domain(request: pb.UpsertDomainRequest) -> list[str]:
    return [] if request.domain else [invalid("domain")]


# ActualLRPs


def _key(request: KeyedRequest) -> list[str]:
    if not request.HasField("actual_lrp_key"):
        return [invalid("actual_lrp_key")]
    return actual_lrp_key(request.actual_lrp_key)


def _instance_key(request: InstanceRequest) -> list[str]:
    if not request.HasField("actual_lrp_instance_key"):
        return [invalid("actual_lrp_instance_key")]
    return actual_lrp_instance_key(request.actual_lrp_instance_key)


def _net_info(request: RunningRequest) -> list[str]:
    if not request.HasField("actual_lrp_net_info"):
        return [invalid("actual_lrp_net_info")]
    return actual_lrp_net_info(request.actual_lrp_net_info)


def _error_message(request: FailureRequest) -> list[str]:
    return [] if request.error_message else [invalid("error_message")]


def _process_guid(request: ProcessRequest) -> list[str]:
    return [] if request.process_guid else [invalid("process_guid")]


def _slot(request: SlotRequest) -> list[str]:
    found = []
    if not request.process_guid:
        found.append(invalid("process_guid"))
    if request.index < 0:
        found.append(invalid("index"))
    return found


def _by_process_guids(request: pb.ActualLRPsByProcessGuidsRequest) -> list[str]:
    return [] if request.process_guids else ["process_guids must not be empty"]


def _claim(request: pb.ClaimActualLRPRequest) -> list[str]:
    """What is wrong with a claim. As upstream, its index is not looked at; a negative one finds no row."""
    return _process_guid(request) + _instance_key(request)


def _running(request: RunningRequest) -> list[str]:
    return _key(request) + _instance_key(request) + _net_info(request)


def _of_instance(
    request: pb.CrashActualLRPRequest
    | pb.RemoveEvacuatingActualLRPRequest
    | pb.EvacuateClaimedActualLRPRequest
    | pb.EvacuateStoppedActualLRPRequest
    | pb.EvacuateCrashedActualLRPRequest,
) -> list[str]:
    return _key(request) + _instance_key(request)


def _fail_actual_lrp(request: pb.FailActualLRPRequest) -> list[str]:
    return _key(request) + _error_message(request)


def _evacuate_crashed(request: pb.EvacuateCrashedActualLRPRequest) -> list[str]:
    return _of_instance(request) + _error_message(request)


# DesiredLRPs


def _desire_lrp(request: pb.DesireLRPRequest) -> list[str]:
    return desired_lrp(request.desired_lrp) if request.HasField("desired_lrp") else [invalid("desired_lrp")]


def _update_desired_lrp(request: pb.UpdateDesiredLRPRequest) -> list[str]:
    """What is wrong with an update request. Upstream lets one without an update pass and then panics; here that is named
    if nothing else is wrong, so that every text of upstream's stays as it is.
    """
    found = _process_guid(request)
    if request.HasField("update"):
        return found + desired_lrp_update(request.update)
    return found or [invalid("update")]


# Tasks


def _desire_task(request: pb.DesireTaskRequest) -> list[str]:
    found = guid(request.task_guid, "task_guid")
    if not request.domain:
        found.append(invalid("domain"))
    if not request.HasField("task_definition"):
        return [*found, invalid("task_definition")]
    return found + task_definition(request.task_definition)


def _task_on_cell(request: pb.StartTaskRequest | pb.CompleteTaskRequest) -> list[str]:
    return guid(request.task_guid, "task_guid") + ([] if request.cell_id else [invalid("cell_id")])


def _fail_task(request: pb.FailTaskRequest) -> list[str]:
    return guid(request.task_guid, "task_guid") + (
        [] if request.failure_reason else [invalid("failure_reason")]
    )


def _reject_task(request: pb.RejectTaskRequest) -> list[str]:
    """What is wrong with a rejection. Upstream looks at ``rejection_reason`` but names ``failure_reason``."""
    return guid(request.task_guid, "task_guid") + (
        [] if request.rejection_reason else [invalid("failure_reason")]
    )


def _task_guid(request: pb.TaskByGuidRequest | pb.TaskGuidRequest) -> list[str]:
    return [] if request.task_guid else [invalid("task_guid")]


RULES: Final[dict[type[Message], Callable[[Any], list[str]]]] = {
    pb.ActualLRPGroupByProcessGuidAndIndexRequest: _slot,
    pb.ActualLRPGroupsByProcessGuidRequest: _process_guid,
    pb.ActualLRPGroupsRequest: _anything_goes,
    pb.ActualLRPsByProcessGuidsRequest: _by_process_guids,
    pb.ActualLRPsRequest: _anything_goes,
    pb.ClaimActualLRPRequest: _claim,
    pb.CompleteTaskRequest: _task_on_cell,
    pb.CrashActualLRPRequest: _of_instance,
    pb.DesireLRPRequest: _desire_lrp,
    pb.DesireTaskRequest: _desire_task,
    pb.DesiredLRPByProcessGuidRequest: _process_guid,
    pb.DesiredLRPsRequest: _anything_goes,
    pb.EvacuateClaimedActualLRPRequest: _of_instance,
    pb.EvacuateCrashedActualLRPRequest: _evacuate_crashed,
    pb.EvacuateRunningActualLRPRequest: _running,
    pb.EvacuateStoppedActualLRPRequest: _of_instance,
    pb.EventsByCellId: _anything_goes,
    pb.FailActualLRPRequest: _fail_actual_lrp,
    pb.FailTaskRequest: _fail_task,
    pb.RejectTaskRequest: _reject_task,
    pb.RemoveActualLRPRequest: _slot,
    pb.RemoveDesiredLRPRequest: _process_guid,
    pb.RemoveEvacuatingActualLRPRequest: _of_instance,
    pb.RetireActualLRPRequest: _key,
    pb.StartActualLRPRequest: _running,
    pb.StartTaskRequest: _task_on_cell,
    pb.TaskByGuidRequest: _task_guid,
    pb.TaskGuidRequest: _task_guid,
    pb.TasksRequest: _anything_goes,
    pb.UpdateDesiredLRPRequest: _update_desired_lrp,
    pb.UpsertDomainRequest: _upsert_domain,
}
