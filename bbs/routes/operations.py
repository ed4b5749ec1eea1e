"""The log's names for what each route does, as upstream's lines have them (spec: metrics-and-logs.md §3.1).

Changes of LRPs and tasks are told at info, reads and domains at debug. What exactly is said of a request is up to its
story (`bbs.routes.stories`). An operation's level is ERROR if its story may have a line at error although the request
succeeds: it must then be made even if only errors are logged.

Session names are upstream's where they are odd, too (sic): both LRP streams are ``subscribe-r0`` in every revision, some
handlers begin with ``starting`` and some with ``started``. Operators search for them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from bbs.http.endpoints import EventStream, Route, RouteTable, Unary
from bbs.log import Level, Logger
from bbs.models import pb
from bbs.routes.answers import RPC
from bbs.routes.handler_log import Around, HandlerLog, Operation, logged_handler, logged_stream
from bbs.routes.stories import actual_lrps, data, desired_lrps, evacuation, tasks
from bbs.routes.stories.story import Line, Sequel, Session, Story, changing, reading
from bbs.store.head import Head

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

AROUND: Final = Around()
PARSING: Final = "failed-parsing-request"


def logged(
    table: RouteTable,
    head: Head,
    log: Logger,
    *,
    debug_lrp_start_heartbeats: bool = False,
    update_workers: int = 1000,
    max_task_retries: int = 3,
) -> RouteTable:
    """``table``, whose handlers tell the log what they do. The settings are upstream's of these names.

    ``head`` has the rows as the handlers are going to see them.

    With ``debug_lrp_start_heartbeats``, a start of what runs already is told at debug, under names of its own.
    """
    operations = operations_by_route(
        head,
        debug_lrp_start_heartbeats=debug_lrp_start_heartbeats,
        update_workers=update_workers,
        max_task_retries=max_task_retries,
    )

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


def operations_by_route(
    head: Head,
    *,
    debug_lrp_start_heartbeats: bool = False,
    update_workers: int = 1000,
    max_task_retries: int = 3,
) -> Mapping[str, Operation]:
    """By the route's name, as `bbs.routes.table` spells it. Of a route that is not in here the log has only its begin and
    end (`bbs.routes.request_log`).
    """
    desired = desired_lrps.DesiredLRPStories(head, update_workers=update_workers)
    return {
        "Domains": _read("domains", "db-fresh-domains", lambda request: {}),
        "UpsertDomain": Operation(session="upsert", level=Level.INFO, story=_upsert(head)),
        **_actual_lrp_reads(),
        **_actual_lrp_changes(
            actual_lrps.ActualLRPStories(head, debug_lrp_start_heartbeats=debug_lrp_start_heartbeats)
        ),
        **_evacuations(evacuation.EvacuationStories(head)),
        **_desired_lrp_reads(),
        "DesireDesiredLRP": Operation(
            session="desire-lrp", level=Level.ERROR, story=desired.desire, unreadable=PARSING
        ),
        "UpdateDesireLRP": Operation(
            session="update-desired-lrp", level=Level.ERROR, story=desired.update, unreadable=PARSING
        ),
        "RemoveDesiredLRP": Operation(session="remove-desired-lrp", level=Level.INFO, story=desired.remove),
        **_tasks(tasks.TaskStories(head, max_task_retries=max_task_retries)),
        "Cells": Operation(session="cells"),
    }


def _actual_lrp_reads() -> dict[str, Operation]:
    return {
        "ActualLRPs": _read("actual-lrps", "db-actual-lrps", data.actual_lrps, around=AROUND),
        "ActualLRPsByProcessGuids": _read(
            "multiple-actual-lrps", "db-multiple-actual-lrps", data.process_guids, around=AROUND
        ),
        "ActualLRPGroups": _read("actual-lrp-groups", "db-actual-lrps", data.groups),
        "ActualLRPGroupsByProcessGuid": _read(
            "actual-lrp-groups-by-process-guid", "db-actual-lrps", data.groups_of
        ),
        "ActualLRPGroupsByProcessGuidAndIndex": _read(
            "actual-lrp-group-by-process-guid-and-index", "db-actual-lrps", data.group_at
        ),
    }


def _actual_lrp_changes(stories: actual_lrps.ActualLRPStories) -> dict[str, Operation]:
    def change(verb: str, story: Callable[[Any, bool], Story], level: Level = Level.INFO) -> Operation:
        return Operation(
            session=f"{verb}-actual-lrp", level=level, story=story, around=AROUND, why=stories.why
        )

    return {
        "ClaimActualLRP": change("claim", stories.claim),
        "StartActualLRP": change("start", stories.start),
        "StartActualLRP_r0": change("start", stories.start),
        "CrashActualLRP": change("crash", stories.crash),
        "FailActualLRP": change("fail", stories.fail, Level.ERROR),
        "RemoveActualLRP": change("remove", stories.remove),
        "RetireActualLRP": change("retire", stories.retire),
    }


def _evacuations(stories: evacuation.EvacuationStories) -> dict[str, Operation]:
    around = Around(level=Level.INFO, begins="started", ends="completed")
    running = Operation(
        session="evacuate-running-actual-lrp",
        level=Level.ERROR,
        story=stories.running,
        around=Around(level=Level.INFO, begins="starting", ends="completed"),
    )
    return {
        "RemoveEvacuatingActualLRP": Operation(
            session="remove-evacuating-actual-lrp",
            level=Level.INFO,
            story=stories.remove_evacuating,
            around=around,
        ),
        "EvacuateClaimedActualLRP": Operation(
            session="evacuate-claimed-actual-lrp",
            level=Level.ERROR,
            story=stories.claimed,
            around=around,
            unreadable=PARSING,
        ),
        "EvacuateCrashedActualLRP": Operation(
            session="evacuate-crashed-actual-lrp",
            level=Level.INFO,
            story=stories.crashed,
            around=around,
            unreadable=PARSING,
        ),
        "EvacuateStoppedActualLRP": Operation(
            session="evacuate-stopped-actual-lrp",
            level=Level.INFO,
            story=stories.stopped,
            unreadable="failed-to-parse-request",
        ),
        "EvacuateRunningActualLRP": running,
        "EvacuateRunningActualLRP_r0": running,
    }


def _desired_lrp_reads() -> dict[str, Operation]:
    lrps = _read("desired-lrps", "db-desired-lrps", data.desired_lrps, begins="start")
    lrp = _read("desired-lrp-by-process-guid", "db-desired-lrp-by-process-guid", data.by_process_guid)
    return {
        "DesiredLRPSchedulingInfos": _read(
            "desired-lrp-scheduling-infos",
            "db-desired-lrps-scheduling-infos",
            data.desired_lrps,
            around=AROUND,
        ),
        "DesiredLRPSchedulingInfoByProcessGuid": _read(
            "desired-lrp-scheduling-info-by-process-guid",
            "db-desired-lrp-scheduling-info-by-process-guid",
            data.by_process_guid,
            around=AROUND,
        ),
        "DesiredLRPRoutingInfos": _read(
            "desired-lrp-routing-infos", "db-desired-lrps-routing-infos", data.desired_lrps, around=AROUND
        ),
        "DesiredLRPs": lrps,
        "DesiredLRPs_r2": lrps,
        "DesiredLRPByProcessGuid": lrp,
        "DesiredLRPByProcessGuid_r2": lrp,
    }


def _tasks(stories: tasks.TaskStories) -> dict[str, Operation]:
    def change(verb: str, story: Callable[[Any, bool], Story], level: Level = Level.INFO) -> Operation:
        return Operation(session=f"{verb}-task", level=level, story=story, unreadable=PARSING)

    reads = Operation(session="tasks", story=stories.tasks, unreadable=PARSING)
    read = Operation(session="task-by-guid", story=stories.by_guid, unreadable=PARSING)
    return {
        "Tasks": reads,
        "Tasks_r2": reads,
        "TaskByGuid": read,
        "TaskByGuid_r2": read,
        "DesireTask": change("desire", stories.desire),
        "StartTask": change("start", stories.start),
        "CancelTask": change("cancel", stories.cancel),
        "FailTask": change("fail", stories.fail),
        "RejectTask": change("reject", stories.reject, Level.ERROR),
        "CompleteTask": change("complete", stories.complete),
        "ResolvingTask": change("resolving", stories.resolving),
        "DeleteTask": change("delete", stories.delete),
    }


def _read(
    session: str,
    db: str,
    about: Callable[[Any], data.Data],
    *,
    begins: str = "starting",
    around: Around | None = None,
) -> Operation:
    return Operation(
        session=session,
        story=lambda request, is_debug: reading(Session(db, "1", about(request)), begins=begins),
        around=around,
    )


def _upsert(head: Head) -> Callable[[pb.UpsertDomainRequest, bool], Story]:
    """An info line is for a domain that was not there before; cells and clients renew theirs all the time."""

    def story(request: pb.UpsertDomainRequest, is_debug: bool) -> Story:
        session = Session("db-upsert-domain", "1", data.domain(request))
        added = Line(Level.INFO, "added-domain", session)
        is_new = head.domain(request.domain) is None
        upsert = changing(session, level=Level.DEBUG, fails="failed-inserting-domain")
        if is_new:
            # It is added before its session ends.
            upsert.ends = None
            upsert.sequel = lambda outcome: Sequel(after=(added,))
            upsert.at_last = (Line(Level.DEBUG, "complete", session),)
        return upsert

    return story
