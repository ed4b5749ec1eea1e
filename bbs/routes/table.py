"""The one table of routes: what upstream serves, under the names its metrics use (spec: api.md §6).

Names are spelt as upstream spells them, also where that looks like a slip (sic): ``UpdateDesireLRP``,
``DesireDesiredLRP``, ``LrpInstanceEventStream_r0``, ``ActualLRPGroupsByProcessGuidAndIndex``. Deployments name routes in
``advanced_metrics``, and dashboards name the metrics; a name put right would send zeros there. Two of the streams are GET
and the others POST, as clients ask for them.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from bbs.http.endpoints import Answer, Call, EventStream, Route, RouteTable, Unary
from bbs.models import pb
from bbs.models.errors import Failure, Unrecoverable, as_refusal
from bbs.models.versions import Version
from bbs.routes.actual_lrp_reads import ActualLRPReads
from bbs.routes.actual_lrps import ActualLRPLifecycle
from bbs.routes.answers import error_response, rpc
from bbs.routes.context import Context
from bbs.routes.desired_lrp_reads import DesiredLRPReads
from bbs.routes.desired_lrps import DesiredLRPLifecycle
from bbs.routes.domains import Domains
from bbs.routes.evacuation import KEEP_CONTAINER, Evacuation
from bbs.routes.operations import logged
from bbs.routes.streams import GROUP_FEEDS, INSTANCE_FEEDS, lrp_stream, task_stream
from bbs.routes.tasks import TaskLifecycle, TaskReads

_AVAILABLE: Final = pb.PingResponse(available=True).SerializeToString()


def route_table(
    context: Context,
    *,
    on_unrecoverable: Callable[[Unrecoverable], None],
    debug_lrp_start_heartbeats: bool = False,
) -> RouteTable:
    """All routes, bound to what they work with.

    ``on_unrecoverable`` is told when a handler's refusal is `Unrecoverable`: this process cannot get over it.
    ``debug_lrp_start_heartbeats`` is upstream's setting of this name (spec: config.md §2.1).
    """
    unary = partial(rpc, on_unrecoverable=on_unrecoverable)
    reads, lrps = ActualLRPReads(context), ActualLRPLifecycle(context)
    desired_reads, desired = DesiredLRPReads(context), DesiredLRPLifecycle(context)
    domains = Domains(context)
    evacuation = Evacuation(context)
    task_reads, tasks = TaskReads(context), TaskLifecycle(context)

    def post(name: str, path: str, endpoint: Unary | EventStream) -> Route:
        return Route(name, "POST", f"/v1/{path}", endpoint)

    def get(name: str, path: str, endpoint: EventStream) -> Route:
        return Route(name, "GET", f"/v1/{path}", endpoint)

    groups_v0, groups_v3 = (lrp_stream(context, GROUP_FEEDS, version) for version in (Version.V0, Version.V3))
    instances_v0, instances_v3 = (
        lrp_stream(context, INSTANCE_FEEDS, version) for version in (Version.V0, Version.V3)
    )
    by_guid = pb.DesiredLRPByProcessGuidRequest

    # Of the evacuations below, those about claimed and running instances keep the container when the request can't be read:
    # it may be serving. That of a crashed or stopped one serves nobody, and there is nothing to keep.

    routes = RouteTable(
        [
            post("Ping", "ping", Unary(_ping)),
            post("Domains", "domains/list", Unary(domains.fresh)),
            post("UpsertDomain", "domains/upsert", unary(pb.UpsertDomainRequest, domains.upsert)),
            post("ActualLRPs", "actual_lrps/list", unary(pb.ActualLRPsRequest, reads.lrps)),
            post(
                "ActualLRPsByProcessGuids",
                "actual_lrps/list_by_process_guids",
                unary(pb.ActualLRPsByProcessGuidsRequest, reads.lrps_by_process_guids),
            ),
            post(
                "ActualLRPGroups",
                "actual_lrp_groups/list",
                unary(pb.ActualLRPGroupsRequest, reads.groups),
            ),
            post(
                "ActualLRPGroupsByProcessGuid",
                "actual_lrp_groups/list_by_process_guid",
                unary(pb.ActualLRPGroupsByProcessGuidRequest, reads.groups_by_process_guid),
            ),
            post(
                "ActualLRPGroupsByProcessGuidAndIndex",
                "actual_lrp_groups/get_by_process_guid_and_index",
                unary(pb.ActualLRPGroupByProcessGuidAndIndexRequest, reads.group_at),
            ),
            post("ClaimActualLRP", "actual_lrps/claim", unary(pb.ClaimActualLRPRequest, lrps.claim)),
            post("StartActualLRP", "actual_lrps/start.r1", unary(pb.StartActualLRPRequest, lrps.start)),
            post("StartActualLRP_r0", "actual_lrps/start", unary(pb.StartActualLRPRequest, lrps.start_r0)),
            post("CrashActualLRP", "actual_lrps/crash", unary(pb.CrashActualLRPRequest, lrps.crash)),
            post("FailActualLRP", "actual_lrps/fail", unary(pb.FailActualLRPRequest, lrps.fail)),
            post("RemoveActualLRP", "actual_lrps/remove", unary(pb.RemoveActualLRPRequest, lrps.remove)),
            post("RetireActualLRP", "actual_lrps/retire", unary(pb.RetireActualLRPRequest, lrps.retire)),
            post(
                "RemoveEvacuatingActualLRP",
                "actual_lrps/remove_evacuating",
                unary(pb.RemoveEvacuatingActualLRPRequest, evacuation.remove_evacuating),
            ),
            post(
                "EvacuateClaimedActualLRP",
                "actual_lrps/evacuate_claimed",
                unary(pb.EvacuateClaimedActualLRPRequest, evacuation.claimed, beside_invalid=KEEP_CONTAINER),
            ),
            post(
                "EvacuateCrashedActualLRP",
                "actual_lrps/evacuate_crashed",
                unary(pb.EvacuateCrashedActualLRPRequest, evacuation.crashed),
            ),
            post(
                "EvacuateStoppedActualLRP",
                "actual_lrps/evacuate_stopped",
                unary(pb.EvacuateStoppedActualLRPRequest, evacuation.stopped),
            ),
            post(
                "EvacuateRunningActualLRP",
                "actual_lrps/evacuate_running.r1",
                unary(pb.EvacuateRunningActualLRPRequest, evacuation.running, beside_invalid=KEEP_CONTAINER),
            ),
            post(
                "EvacuateRunningActualLRP_r0",
                "actual_lrps/evacuate_running",
                unary(
                    pb.EvacuateRunningActualLRPRequest, evacuation.running_r0, beside_invalid=KEEP_CONTAINER
                ),
            ),
            post(
                "DesiredLRPSchedulingInfos",
                "desired_lrp_scheduling_infos/list",
                unary(pb.DesiredLRPsRequest, desired_reads.scheduling_infos),
            ),
            post(
                "DesiredLRPSchedulingInfoByProcessGuid",
                "desired_lrp_scheduling_infos/get_by_process_guid",
                unary(by_guid, desired_reads.scheduling_info),
            ),
            post(
                "DesiredLRPRoutingInfos",
                "desired_lrp_routing_infos/list",
                unary(pb.DesiredLRPsRequest, desired_reads.routing_infos),
            ),
            post("DesiredLRPs", "desired_lrps/list.r3", unary(pb.DesiredLRPsRequest, desired_reads.lrps)),
            post(
                "DesiredLRPByProcessGuid",
                "desired_lrps/get_by_process_guid.r3",
                unary(by_guid, desired_reads.by_process_guid),
            ),
            post(
                "DesiredLRPs_r2", "desired_lrps/list.r2", unary(pb.DesiredLRPsRequest, desired_reads.lrps_r2)
            ),
            post(
                "DesiredLRPByProcessGuid_r2",
                "desired_lrps/get_by_process_guid.r2",
                unary(by_guid, desired_reads.by_process_guid_r2),
            ),
            post(
                "DesireDesiredLRP",
                "desired_lrp/desire.r2",
                unary(
                    pb.DesireLRPRequest,
                    desired.desire,
                    is_allowed=desired.must_be_allowed,
                    on_invalid=lambda request, error: context.app_log(
                        request.desired_lrp.process_guid, error
                    ),
                ),
            ),
            post(
                "UpdateDesireLRP",
                "desired_lrp/update",
                unary(
                    pb.UpdateDesiredLRPRequest,
                    desired.update,
                    is_allowed=desired.must_be_allowed,
                    on_invalid=lambda request, error: context.app_log(request.process_guid, error),
                ),
            ),
            post("RemoveDesiredLRP", "desired_lrp/remove", unary(pb.RemoveDesiredLRPRequest, desired.remove)),
            post("Tasks", "tasks/list.r3", unary(pb.TasksRequest, task_reads.tasks)),
            post("TaskByGuid", "tasks/get_by_task_guid.r3", unary(pb.TaskByGuidRequest, task_reads.by_guid)),
            post("Tasks_r2", "tasks/list.r2", unary(pb.TasksRequest, task_reads.tasks_r2)),
            post(
                "TaskByGuid_r2",
                "tasks/get_by_task_guid.r2",
                unary(pb.TaskByGuidRequest, task_reads.by_guid_r2),
            ),
            post("DesireTask", "tasks/desire.r2", unary(pb.DesireTaskRequest, tasks.desire)),
            post("StartTask", "tasks/start", unary(pb.StartTaskRequest, tasks.start)),
            post("CancelTask", "tasks/cancel", unary(pb.TaskGuidRequest, tasks.cancel)),
            post("FailTask", "tasks/fail", unary(pb.FailTaskRequest, tasks.fail)),
            post("RejectTask", "tasks/reject", unary(pb.RejectTaskRequest, tasks.reject)),
            post("CompleteTask", "tasks/complete", unary(pb.CompleteTaskRequest, tasks.complete)),
            post("ResolvingTask", "tasks/resolving", unary(pb.TaskGuidRequest, tasks.resolving)),
            post("DeleteTask", "tasks/delete", unary(pb.TaskGuidRequest, tasks.delete)),
            get("EventStream", "events.r1", groups_v3),
            post("TaskEventStream", "events/tasks.r1", task_stream(context, Version.V3)),
            post("LRPInstanceEventStream", "events/lrp_instances.r1", instances_v3),
            get("EventStream_r0", "events", groups_v0),
            post("TaskEventStream_r0", "events/tasks", task_stream(context, Version.V0)),
            post("LrpInstanceEventStream_r0", "events/lrp_instances", instances_v0),
            post("Cells", "cells/list.r1", Unary(_cells(context))),
        ]
    )
    return logged(
        routes,
        context.store.head,
        context.log,
        debug_lrp_start_heartbeats=debug_lrp_start_heartbeats,
        update_workers=context.update_workers,
        max_task_retries=context.max_task_retries,
    )


# Asks nobody: a request that gets here has passed the server's gate, so this process is master and has its rows.
async def _ping(call: Call) -> Answer:
    return _AVAILABLE


def _cells(context: Context) -> Callable[[Call], Awaitable[Answer]]:
    # The request has no message, so there is no `RPC` around it that would make an error of a failure.
    async def cells(call: Call) -> Answer:
        try:
            return await context.cells.list_wire(log=context.session(call, "cells"))
        except Failure as failure:
            return error_response(as_refusal(failure))

    return cells
