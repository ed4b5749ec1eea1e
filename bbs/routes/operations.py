"""The log's names for what each route does, as upstream's lines have them (spec: metrics-and-logs.md §3.1).

Changes of LRPs and tasks are told at info, reads and domains at debug.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

from bbs.log import Level, Logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence, Rows
from bbs.models.domain import Domain
from bbs.models.errors import (
    ActualLRPCannotBeClaimed,
    ActualLRPCannotBeCrashed,
    ActualLRPCannotBeFailed,
    ActualLRPCannotBeStarted,
    InvalidStateTransition,
    ResourceNotFound,
    RunningOnDifferentCell,
)
from bbs.routes import operation_data as data
from bbs.routes.answers import RPC
from bbs.routes.handler_log import HandlerLog, Ignored, Operation, logged_handler, logged_stream
from bbs.routes.http import EventStream, Route, RouteTable, Unary

_GROUPS: Final = ("subscribe-r0", "subscribed-to-event-stream", data.subscription)
_INSTANCES: Final = ("subscribe-r0", "subscribed-to-instance-event-stream", data.subscription)
_TASKS: Final = ("tasks-subscribe-r0", "subscribed-to-tasks-event-stream", data.task_subscription)
SUBSCRIPTIONS: Final = {
    "EventStream": _GROUPS,
    "EventStream_r0": _GROUPS,
    "LRPInstanceEventStream": _INSTANCES,
    "LrpInstanceEventStream_r0": _INSTANCES,
    "TaskEventStream": _TASKS,
    "TaskEventStream_r0": _TASKS,
}


class Head(Protocol):
    """What lines want to know of the rows as the handler is going to see them."""

    def rows_at(self, process_guid: str, index: int) -> Rows: ...

    def domain(self, name: str) -> Domain | None: ...


def logged(
    table: RouteTable, head: Head, log: Logger, *, debug_lrp_start_heartbeats: bool = False
) -> RouteTable:
    """``table``, whose handlers tell the log what they do.

    With ``debug_lrp_start_heartbeats``, a start of what runs already is told at debug, under names of its own.
    """
    operations = operations_by_route(Looks(head, debug_lrp_start_heartbeats=debug_lrp_start_heartbeats))

    def logged_route(route: Route) -> Route:
        endpoint: Unary | EventStream = route.endpoint
        operation = operations.get(route.name)
        match endpoint:
            case Unary(RPC() as rpc) if operation is not None:
                endpoint = Unary(rpc.logged(HandlerLog(log, operation)))
            case Unary(handle) if operation is not None:
                endpoint = logged_handler(handle, HandlerLog(log, operation))
            case EventStream(open_stream):
                session, action, about = SUBSCRIPTIONS[route.name]
                endpoint = logged_stream(open_stream, log, session=session, action=action, about=about)
        return Route(route.name, route.method, route.path, endpoint)

    return RouteTable(logged_route(route) for route in table.routes)


class Looks:
    """Closer looks at requests whose lines depend on the rows."""

    def __init__(self, head: Head, *, debug_lrp_start_heartbeats: bool) -> None:
        self._head = head
        self._debug_lrp_start_heartbeats = debug_lrp_start_heartbeats

    def at_claim(self, request: pb.ClaimActualLRPRequest) -> Operation | Ignored:
        holder = self._holder(request.process_guid, request.index, request.actual_lrp_instance_key)
        if holder is not None and holder.presence is Presence.SUSPECT:
            return _ignored("claim", holder)
        return _CLAIM

    def at_start(self, request: pb.StartActualLRPRequest) -> Operation | Ignored:
        key = request.actual_lrp_key
        holder = self._holder(key.process_guid, key.index, request.actual_lrp_instance_key)
        if holder is None:
            return _START
        if holder.presence is Presence.SUSPECT:
            return _ignored("start", holder)
        if self._debug_lrp_start_heartbeats and holder.state is ActualLRPState.RUNNING:
            return _HEARTBEAT
        return _START

    def at_retire(self, request: pb.RetireActualLRPRequest) -> Operation | None:
        """Only what is on no cell is removed from the database; others are for their cells to stop."""
        key = request.actual_lrp_key
        lrp = self._head.rows_at(key.process_guid, key.index).ordinary
        on_no_cell = lrp is not None and lrp.state in (ActualLRPState.UNCLAIMED, ActualLRPState.CRASHED)
        return _RETIRE if on_no_cell else None

    def at_upsert(self, request: pb.UpsertDomainRequest) -> str:
        return "" if self._head.domain(request.domain) is not None else "added-domain"

    def _holder(self, process_guid: str, index: int, key: pb.ActualLRPInstanceKey) -> ActualLRP | None:
        instance = InstanceKey(instance_guid=key.instance_guid, cell_id=key.cell_id)
        return self._head.rows_at(process_guid, index).held_by(instance)


def _ignored(verb: str, lrp: ActualLRP) -> Ignored:
    instance = {"instance_guid": lrp.instance.instance_guid, "cell_id": lrp.instance.cell_id}
    return Ignored(
        f"ignored-{verb}-request-from-suspect",
        {
            "process_guid": lrp.process_guid,
            "index": lrp.index,
            "instance_guid": instance,  # sic
            "state": str(lrp.state),
        },
    )


_CLAIM: Final = Operation(
    session="claim-actual-lrp",
    db="db-claim-actual-lrp",
    level=Level.INFO,
    about=data.claim,
    failures={
        ResourceNotFound: "failed-fetching-actual-lrp-for-share",
        ActualLRPCannotBeClaimed: "cannot-transition-to-claimed",
    },
    fails="failed-claiming-actual-lrp",
)

_START: Final = Operation(
    session="start-actual-lrp",
    db="db-start-actual-lrp",
    level=Level.INFO,
    about=data.start,
    failures={ActualLRPCannotBeStarted: "failed-to-transition-actual-lrp-to-started"},
    fails="failed-starting-actual-lrp",
)

_HEARTBEAT: Final = Operation(
    session=_START.session,
    db=_START.db,
    level=Level.DEBUG,
    begins="heartbeating-lrp",
    ends="heartbeat-complete",
    about=data.start,
)

_RETIRE: Final = Operation(
    # The controller's session has the handler's name again.
    session="retire-actual-lrp.retire-actual-lrp",
    db="db-remove-actual-lrp",
    level=Level.INFO,
    about=data.retire,
    fails="failed-removing-actual-lrp",
)


def _evacuation(state: str, *, begins: str | None = "started") -> Operation:
    session = f"evacuate-{state}-actual-lrp"
    if begins is None:
        return Operation(session=session)
    return Operation(session=session, level=Level.INFO, begins=begins, ends="completed")


def _task_change(
    verb: str, *, failed_transition: str, fails: str = "failed-updating-tasks", on_cell: bool = False
) -> Operation:
    return Operation(
        session=f"{verb}-task.{verb}-task",
        db=f"db-{verb}-task",
        level=Level.INFO,
        about=data.task_on_cell if on_cell else data.task,
        failures={
            ResourceNotFound: "failed-locking-task",
            InvalidStateTransition: failed_transition,
            RunningOnDifferentCell: "failed-task-already-running-on-different-cell",
        },
        fails=fails,
    )


def operations_by_route(looks: Looks) -> Mapping[str, Operation]:
    """By the route's name. A route that is not in here has nothing to say but its request's lines."""
    start = replace(_START, instead=looks.at_start)
    desired_lrps = Operation(
        session="desired-lrps", db="db-desired-lrps", begins="start", about=data.desired_lrps
    )
    desired_lrp = Operation(
        session="desired-lrp-by-process-guid", db="db-desired-lrp-by-process-guid", about=data.by_process_guid
    )
    tasks = Operation(session="tasks.tasks", db="db-tasks", about=data.tasks)
    task = Operation(session="task-by-guid.task-by-guid", db="db-task-by-guid", about=data.task)
    return {
        "Domains": Operation(session="domains", db="db-domains"),
        "UpsertDomain": Operation(
            session="upsert",
            db="db-upsert-domain",
            about=data.domain,
            fails="failed-inserting-domain",
            news=looks.at_upsert,
        ),
        "ActualLRPs": Operation(session="actual-lrps", db="db-actual-lrps", about=data.actual_lrps),
        "ActualLRPsByProcessGuids": Operation(
            session="multiple-actual-lrps", db="db-actual-lrps-by-process-guids", about=data.process_guids
        ),
        "ActualLRPGroups": Operation(session="actual-lrp-groups", db="db-actual-lrps", about=data.groups),
        "ActualLRPGroupsByProcessGuid": Operation(
            session="actual-lrp-groups-by-process-guid", db="db-actual-lrps", about=data.groups_of
        ),
        "ActualLRPGroupsByProcessGuidAndIndex": Operation(
            session="actual-lrp-group-by-process-guid-and-index", db="db-actual-lrps", about=data.group_at
        ),
        "ClaimActualLRP": replace(_CLAIM, instead=looks.at_claim),
        "StartActualLRP": start,
        "StartActualLRP_r0": start,
        "CrashActualLRP": Operation(
            session="crash-actual-lrp",
            db="db-crash-actual-lrp",
            level=Level.INFO,
            about=data.crash,
            failures={
                ResourceNotFound: "failed-to-get-actual-lrp",
                ActualLRPCannotBeCrashed: "failed-to-transition-to-crashed",
            },
            fails="failed-to-crash-actual-lrp",
        ),
        "FailActualLRP": Operation(
            session="fail-actual-lrp",
            db="db-fail-actual-lrp",
            level=Level.INFO,
            about=data.fail,
            failures={ActualLRPCannotBeFailed: "cannot-fail-actual-lrp"},
            fails="failed-failing-actual-lrp",
        ),
        "RemoveActualLRP": Operation(
            session="remove-actual-lrp",
            db="db-remove-actual-lrp",
            level=Level.INFO,
            about=data.by_index,
            failures={ResourceNotFound: ""},
            fails="failed-removing-actual-lrp",
        ),
        "RetireActualLRP": replace(_RETIRE, instead=looks.at_retire),
        "RemoveEvacuatingActualLRP": Operation(
            session="remove-evacuating-actual-lrp", level=Level.INFO, begins="started", ends="completed"
        ),
        "EvacuateClaimedActualLRP": _evacuation("claimed"),
        "EvacuateCrashedActualLRP": _evacuation("crashed"),
        "EvacuateStoppedActualLRP": _evacuation("stopped", begins=None),
        "EvacuateRunningActualLRP": _evacuation("running", begins="starting"),
        "EvacuateRunningActualLRP_r0": _evacuation("running", begins="starting"),
        "DesiredLRPSchedulingInfos": Operation(
            session="desired-lrp-scheduling-infos",
            db="db-desired-lrps-scheduling-infos",
            about=data.desired_lrps,
        ),
        "DesiredLRPSchedulingInfoByProcessGuid": Operation(
            session="desired-lrp-scheduling-info-by-process-guid",
            db="db-desired-lrp-scheduling-info-by-process-guid",
            about=data.by_process_guid,
        ),
        "DesiredLRPRoutingInfos": Operation(
            session="desired-lrp-routing-infos", db="db-desired-lrps-routing-infos", about=data.desired_lrps
        ),
        "DesiredLRPs": desired_lrps,
        "DesiredLRPs_r2": desired_lrps,
        "DesiredLRPByProcessGuid": desired_lrp,
        "DesiredLRPByProcessGuid_r2": desired_lrp,
        "DesireDesiredLRP": Operation(
            session="desire-lrp",
            db="db-desire-lrp",
            level=Level.INFO,
            about=data.desire,
            fails="failed-inserting-desired",
        ),
        "UpdateDesireLRP": Operation(
            session="update-desired-lrp",
            db="db-update-desired-lrp",
            level=Level.INFO,
            about=data.by_process_guid,
            failures={ResourceNotFound: "failed-lock-desired"},
            fails="failed-executing-query",
        ),
        "RemoveDesiredLRP": Operation(
            session="remove-desired-lrp",
            db="db-remove-desired-lrp",
            level=Level.INFO,
            about=data.by_process_guid,
            failures={ResourceNotFound: "failed-lock-desired"},
            fails="failed-deleting-from-db",
        ),
        "Tasks": tasks,
        "Tasks_r2": tasks,
        "TaskByGuid": task,
        "TaskByGuid_r2": task,
        "DesireTask": Operation(
            session="desire-task.desire-task",
            db="db-desire-task",
            level=Level.INFO,
            about=data.task,
            fails="failed-inserting-task",
        ),
        "StartTask": _task_change(
            "start", failed_transition="failed-to-transition-task-to-running", on_cell=True
        ),
        "CancelTask": _task_change("cancel", failed_transition="failed-to-transition-task-to-completed"),
        "FailTask": replace(
            _task_change("fail", failed_transition="failed-to-transition-task-to-completed"),
            session="fail-task",
        ),
        "RejectTask": replace(
            _task_change("reject", failed_transition="failed-to-reject-task", fails="failed-to-reject-task"),
            about=data.rejected_task,
        ),
        "CompleteTask": _task_change(
            "complete", failed_transition="failed-to-transition-task-to-completed", on_cell=True
        ),
        "ResolvingTask": _task_change("resolving", failed_transition="invalid-state-transition"),
        "DeleteTask": _task_change(
            "delete", failed_transition="invalid-state-transition", fails="failed-deleting-task"
        ),
        "Cells": Operation(session="cells"),
    }
