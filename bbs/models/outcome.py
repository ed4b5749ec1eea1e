"""What a pure decision asks the rest of the server to do: rows to write, events to tell, effects to cause.

The order is a contract: rows are made durable first, then readers see them, then the events go out, in the order of
commits, and only then do the effects begin and does the caller get its answer. So an event never tells of something that
a crash of the process could undo, and whoever lists after an event finds at least what the event said. Effects that
nobody waits for begin first, the others follow one after another in their order (`bbs.acts.performing`).

"Waits" below is about whoever asked for the decision: a request's handler, or a convergence pass.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.errors import BBSError
from bbs.models.events import Event, Hub
from bbs.models.record import record, value
from bbs.models.task import Task

Record = ActualLRP | DesiredLRP | Domain | Task


class Announcement(Protocol):
    """Something that happened, from which each hub's events follow.

    Working events out costs more than most mutations, so it is put off until a hub with subscribers asks. An announcement
    therefore holds records, which never change, and looks nothing up when it is asked.
    """

    def events(self, hub: Hub) -> Sequence[Event]:
        """The events for one hub, in the order its subscribers must see them."""


@value
class Told:
    """An announcement that is simply one event for one hub."""

    hub: Hub
    event: Event

    def events(self, hub: Hub) -> Sequence[Event]:
        return (self.event,) if hub is self.hub else ()


class RowKey(NamedTuple):
    """Where a row lives: the record's class stands for its table."""

    table: type[Record]
    key: ActualLRPKey | str


class Row(NamedTuple):
    """One row to write; ``record`` is ``None`` when it is to go."""

    key: RowKey
    record: Record | None


def put(record: Record) -> Row:
    return Row(RowKey(type(record), record.key), record)


def delete(record: Record) -> Row:
    return Row(RowKey(type(record), record.key), None)


@value
class RequestAuction:
    """Ask the auctioneer to place these instances of one process. The asker waits for the answer, and goes on whatever it is."""

    process_guid: str
    indices: tuple[int, ...]
    trace_id: str = ""


@value
class StopInstance:
    """Ask the rep that holds ``lrp`` to stop it. Nobody waits; the rep has the row removed when the container is gone."""

    lrp: ActualLRP
    trace_id: str


@value
class UpdateInstance:
    """Give the rep that holds ``lrp`` new internal routes and metric tags; ``None`` leaves a part as it is."""

    lrp: ActualLRP
    internal_routes: tuple[str, ...] | None
    metric_tags: tuple[tuple[str, str], ...] | None
    trace_id: str


@value
class RetireInstance:
    """Have the cell of the ordinary one of ``rows`` stop it; if there is no such cell, remove the row.

    ``rows`` are those of the instance as they were when that was decided. The asker waits, and a cell that does not do as
    asked is its failure (spec: actual-lrps.md §6.7).
    """

    rows: Rows
    trace_id: str

    @property
    def lrp(self) -> ActualLRP:
        assert self.rows.ordinary is not None
        return self.rows.ordinary


@value
class RequestTaskAuction:
    """Ask the auctioneer to place ``task``. The asker waits for the answer, and goes on whatever it is."""

    task: Task


@value
class CancelTask:
    """Ask the rep of that cell to stop a task. The asker waits; only a cell that announces no address to call is a failure."""

    task_guid: str
    cell_id: str
    trace_id: str


@value
class CompleteTask:
    """Hand ``task``, which is completed, to the callback pool. A request does not wait; a pass waits for room in the pool."""

    task: Task


Effect = (
    RequestAuction
    | StopInstance
    | UpdateInstance
    | RetireInstance
    | RequestTaskAuction
    | CancelTask
    | CompleteTask
)
"""All that an outcome can ask of peers; `bbs.acts.performing` performs each of them."""


@record
class Outcome:
    """The result of a lifecycle decision. Its rows are written all or not at all.

    ``refusal`` is for the few requests that do their work and are then answered with an error all the same: the crash
    of an instance that nobody desires any more, for one. A refusal that is *raised* writes nothing. ``ignored`` is the
    suspect row of a cell that was given up: the cell's request is acknowledged and changes nothing, and the log says so.
    """

    rows: tuple[Row, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    effects: tuple[Effect, ...] = ()
    refusal: BBSError | None = None
    ignored: ActualLRP | None = None


NOTHING: Final = Outcome()
"""The request is answered as it stands: success, and nothing changes."""
