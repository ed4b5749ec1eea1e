"""What each route does, for the reference that tools/protocol_page.py writes. Names are those of bbs/routes/table.py."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Told:
    """``errors`` are those beside the ones that any route may answer, each with when. ``instead`` is what has superseded a route
    that is deprecated. ``request`` is the message of a stream, which the route table does not tell.
    """

    does: str
    errors: tuple[tuple[str, str], ...] = ()
    instead: str = ""
    request: str = ""


NOT_FOUND: Final = ("ResourceNotFound", "there is none")
NO_INSTANCE: Final = ("ResourceNotFound", "there is no ordinary instance of this index")
NO_TASK: Final = ("ResourceNotFound", "there is no such task")
WRONG_STATE: Final = ("InvalidStateTransition", "it is not in a state from which this is possible")

_CLAIM: Final = Told(
    "A cell claims an instance before it makes a container: UNCLAIMED becomes CLAIMED. Claiming again changes nothing.",
    (
        NO_INSTANCE,
        ("ActualLRPCannotBeClaimed", "another attempt has claimed it or runs there, or it has crashed"),
    ),
)
_START: Final = Told(
    "A cell says that an instance runs: the row becomes RUNNING with what is reported, or is made if there is none. It is how cells"
    " keep the server up to date, too: what is there already is left alone. Evacuating and suspect rows of this index go.",
    (("ActualLRPCannotBeStarted", "another attempt runs at this index, or it has crashed"),),
)
_EVACUATE_RUNNING: Final = Told(
    "By the update strategy the instance is kept until its replacement runs (rolling), or stopped once there are enough others"
    " (recreate). The cell repeats it while `keep_container` is true.",
)
_LIST_TASKS: Final = Told(
    "Tasks, all or by domain and cell.", (("Deserialize", "one of them can't be read"),)
)
_TASK: Final = Told("One task.", (NO_TASK, ("Deserialize", "it can't be read")))
_DESIRED: Final = Told("DesiredLRPs, whole: all, or by domain, process guids and app guids.")
_DESIRED_ONE: Final = Told("One DesiredLRP.", (NOT_FOUND,))
_INSTANCE_EVENTS: Final = Told(
    "Events of DesiredLRPs and of instances, of all or of one cell.", request="EventsByCellId"
)
_GROUP_EVENTS: Final = Told(
    "Events of DesiredLRPs and of groups of instances. The request is the body of a GET.",
    instead="LRPInstanceEventStream",
    request="EventsByCellId",
)
_TASK_EVENTS: Final = Told("Events of tasks. The body is not read.")


def _deprecated(told: Told, instead: str) -> Told:
    return Told(told.does, told.errors, instead, told.request)


ROUTES: Final = {
    "Ping": Told("Whether this server answers as the master. The body is not read."),
    "Domains": Told("The domains that are fresh. The body is not read."),
    "UpsertDomain": Told(
        "Says that a domain is fresh for so many seconds: all that should run in it is desired now. Only in fresh domains are"
        " instances removed that nobody desires.",
    ),
    "ActualLRPs": Told(
        "Instances, all or by domain, cell, process guid and index; evacuating and suspect ones too."
    ),
    "ActualLRPsByProcessGuids": Told(
        "The instances of several processes.", (("InvalidRequest", "no process guid is given"),)
    ),
    "ActualLRPGroups": Told("Groups of instances, all or by domain and cell.", instead="ActualLRPs"),
    "ActualLRPGroupsByProcessGuid": Told("The groups of one process.", instead="ActualLRPs"),
    "ActualLRPGroupsByProcessGuidAndIndex": Told(
        "The group of one index.", (NOT_FOUND,), instead="ActualLRPs"
    ),
    "ClaimActualLRP": _CLAIM,
    "StartActualLRP": _START,
    "StartActualLRP_r0": _deprecated(_START, "StartActualLRP"),
    "CrashActualLRP": Told(
        "A cell says that an instance has ended by itself. It becomes UNCLAIMED and is auctioned at once, or, after the third crash in"
        " a row, CRASHED for a while. A suspect one is removed.",
        (NO_INSTANCE, ("ActualLRPCannotBeCrashed", "it is not that attempt which is claimed or runs")),
    ),
    "FailActualLRP": Told(
        "The auctioneer says that no cell takes an instance. It stays UNCLAIMED, with the reason.",
        (("ActualLRPCannotBeFailed", "it is not UNCLAIMED"),),
    ),
    "RemoveActualLRP": Told(
        "A cell says that an instance is gone: its row is removed.",
        (("ResourceNotFound", "there is no ordinary instance of this index, or it is another attempt"),),
    ),
    "RetireActualLRP": Told(
        "Has an instance stopped for good. One that is not on a cell, or on one that is missing, is removed; of others the cell is"
        " asked to stop it, and the row goes when the cell says so.",
        (NO_INSTANCE, ("UnknownError", "the cell could not be asked, in five attempts")),
    ),
    "RemoveEvacuatingActualLRP": Told(
        "A cell says that an instance which was kept up is gone.",
        (("ResourceNotFound", "there is no evacuating row of that attempt"),),
    ),
    "EvacuateClaimedActualLRP": Told(
        "An instance that does not run yet is given back and auctioned.",
        (
            ("ResourceNotFound", "there is no row of that attempt"),
            ("ActualLRPCannotBeUnclaimed", "it is another one by now"),
        ),
    ),
    "EvacuateCrashedActualLRP": Told(
        "An instance has crashed during the evacuation. It is counted as a crash, and not auctioned at once.",
        (
            ("ResourceNotFound", "there is no row of that attempt"),
            ("ActualLRPCannotBeCrashed", "it is another one by now"),
        ),
    ),
    "EvacuateStoppedActualLRP": Told(
        "An instance was stopped during the evacuation: its row is removed.",
        (
            ("ResourceNotFound", "there is no row of that attempt"),
            ("ActualLRPCannotBeRemoved", "it is another one by now"),
        ),
    ),
    "EvacuateRunningActualLRP": _EVACUATE_RUNNING,
    "EvacuateRunningActualLRP_r0": _deprecated(_EVACUATE_RUNNING, "EvacuateRunningActualLRP"),
    "DesiredLRPSchedulingInfos": Told(
        "What a scheduler needs of DesiredLRPs: all, or by domain and process guids."
    ),
    "DesiredLRPSchedulingInfoByProcessGuid": Told("The same of one DesiredLRP.", (NOT_FOUND,)),
    "DesiredLRPRoutingInfos": Told(
        "What a router needs of DesiredLRPs: guids, domain, instances, routes, modification tag and metric tags; all, or by process"
        " guids.",
    ),
    "DesiredLRPs": _DESIRED,
    "DesiredLRPByProcessGuid": _DESIRED_ONE,
    "DesiredLRPs_r2": _deprecated(_DESIRED, "DesiredLRPs"),
    "DesiredLRPByProcessGuid_r2": _deprecated(_DESIRED_ONE, "DesiredLRPByProcessGuid"),
    "DesireDesiredLRP": Told(
        "Desires a process: its instances are made and auctioned.",
        (("ResourceExists", "one of this process guid is desired already"),),
    ),
    "UpdateDesireLRP": Told(
        "Changes a DesiredLRP: its instances are made and auctioned, or stopped from the highest index down; cells are told of new"
        " internal routes and metric tags.",
        (NOT_FOUND,),
    ),
    "RemoveDesiredLRP": Told("Removes a DesiredLRP, and has its instances stopped.", (NOT_FOUND,)),
    "Tasks": _LIST_TASKS,
    "TaskByGuid": _TASK,
    "Tasks_r2": _deprecated(_LIST_TASKS, "Tasks"),
    "TaskByGuid_r2": _deprecated(_TASK, "TaskByGuid"),
    "DesireTask": Told(
        "Desires a task: it is Pending, and auctioned.",
        (("ResourceExists", "there is one of this guid already"),),
    ),
    "StartTask": Told(
        "A cell is about to run a task: Pending becomes Running. `should_start` is false if this cell has started it before.",
        (NO_TASK, WRONG_STATE),
    ),
    "CancelTask": Told(
        "Cancels a task that is Pending or Running: it is Completed as failed, and its cell is asked to stop it.",
        (NO_TASK, WRONG_STATE),
    ),
    "FailTask": Told(
        "Has a task that is Pending or Running end as failed, with a reason.",
        (NO_TASK, WRONG_STATE),
        instead="RejectTask",
    ),
    "RejectTask": Told(
        "The auctioneer says that no cell takes a task. It stays Pending, and fails when that was too often (`max_task_retries`).",
        (NO_TASK, ("InvalidRequest", "it is neither Pending nor Running")),
    ),
    "CompleteTask": Told(
        "A cell says that a task has ended: Running becomes Completed, and its callback is called.",
        (NO_TASK, ("RunningOnDifferentCell", "another cell runs it"), WRONG_STATE),
    ),
    "ResolvingTask": Told(
        "Somebody is about to deal with the end of a task: Completed becomes Resolving.",
        (NO_TASK, WRONG_STATE),
    ),
    "DeleteTask": Told("Deletes a task that is Resolving.", (NO_TASK, WRONG_STATE)),
    "EventStream": _GROUP_EVENTS,
    "TaskEventStream": _TASK_EVENTS,
    "LRPInstanceEventStream": _INSTANCE_EVENTS,
    "EventStream_r0": _GROUP_EVENTS,
    "TaskEventStream_r0": _deprecated(_TASK_EVENTS, "TaskEventStream"),
    "LrpInstanceEventStream_r0": _deprecated(_INSTANCE_EVENTS, "LRPInstanceEventStream"),
    "Cells": Told(
        "The cells that are announced in Locket. The body is not read.",
        (("UnknownError", "Locket does not answer"),),
    ),
}
