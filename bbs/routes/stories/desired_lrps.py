"""What the log says of desire, update and remove.

New instances have lines of their own only if they are few. Of more the log has only the range: three lines for each of
100,000 would fill it, and be written while everybody else waits.
"""

from typing import Final

from bbs.log import Level
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence
from bbs.models.errors import ResourceExists, ResourceNotFound
from bbs.models.outcome import Outcome, RequestAuction
from bbs.routes.stories.data import Data, desire
from bbs.routes.stories.story import Line, Sequel, Session, Story, changing, whole, with_data
from bbs.store.head import Head

INSTANCES_TOLD_MAX: Final = 64
"""Instances of one request that have lines of their own, which takes 2 ms. Nearly every app is smaller."""


# The numbers of the sessions in which instances are started or stopped. Calls to peers are told of in them too, by
# `bbs.routes.change_sessions`. An update has 1 although the database's sessions have 1 and 2 (sic): upstream counts anew
# from there.
IN_DESIRE: Final = 3
IN_UPDATE: Final = 1
IN_REMOVE: Final = 3


class DesiredLRPStories:
    """``update_workers`` is upstream's setting; with less than one, no instances are created."""

    def __init__(self, head: Head, *, update_workers: int) -> None:
        self._head = head
        self._update_workers = update_workers

    def desire(self, request: pb.DesireLRPRequest, is_debug: bool) -> Story:
        message = request.desired_lrp
        about = desire(request)
        read = whole(Session("db-desired-lrp-by-process-guid", "2", about)) if is_debug else ()

        def sequel(outcome: Outcome) -> Sequel:
            if message.instances <= 0:
                return Sequel(after=read)
            started = self._start_range(
                outcome, message.process_guid, message.domain, range(message.instances), str(IN_DESIRE), {}
            )
            return Sequel(after=(*read, *started.after), at_last=started.at_last)

        return changing(
            Session("db-desire-lrp", "1", about),
            sequel=sequel,
            fails="failed-inserting-desired",
        )

    def update(self, request: pb.UpdateDesiredLRPRequest, is_debug: bool) -> Story:
        process_guid, update = request.process_guid, request.update
        before = self._head.desired_lrp(process_guid)
        guid: Data = {"guid": process_guid}
        handler = with_data(guid)
        about = {**guid, "process_guid": process_guid}

        def sequel(outcome: Outcome) -> Sequel:
            lines: tuple[Line, ...] = (
                Line(Level.DEBUG, "completed-updating-desired-lrp", handler),
                *whole(Session("db-desired-lrp-by-process-guid", "2", about)),
            )
            if before is None or not update.HasField("instances"):
                return Sequel(after=lines)
            lines = (*lines, Line(Level.DEBUG, "updating-lrp-instances", handler))
            delta = update.instances - before.instances
            scaling: Data = {**guid, "instances_delta": delta}
            if delta > 0:
                first = Line(Level.DEBUG, "increasing-the-instances", with_data(scaling))
                indices = range(before.instances, update.instances)
                started = self._start_range(
                    outcome, process_guid, before.domain, indices, str(IN_UPDATE), scaling
                )
                return Sequel(after=(*lines, first, *started.after), at_last=started.at_last)
            if delta < 0:
                first = Line(Level.DEBUG, "decreasing-the-instances", with_data(scaling))
                stopped = _stop_from(outcome, process_guid, update.instances, str(IN_UPDATE), scaling)
                return Sequel(after=(*lines, first, *stopped))
            return Sequel(after=lines)

        return changing(
            Session("db-update-desired-lrp", "1", about),
            before=(Line(Level.DEBUG, "updating-desired-lrp", handler),),
            sequel=sequel,
            failures={ResourceNotFound: "failed-lock-desired"},
            fails="failed-executing-query",
            further=(Level.DEBUG, "failed-updating-desired-lrp"),
            further_at=handler,
        )

    def remove(self, request: pb.RemoveDesiredLRPRequest, is_debug: bool) -> Story:
        process_guid = request.process_guid
        about: Data = {"process_guid": process_guid}
        read = whole(Session("fetch-desired.db-desired-lrp-by-process-guid", "1.1", about))
        if self._head.desired_lrp(process_guid) is None:
            return Story(before=read)
        return changing(
            Session("remove-desired.db-remove-desired-lrp", "2.1", about),
            before=read,
            sequel=lambda outcome: Sequel(after=_stop_from(outcome, process_guid, 0, str(IN_REMOVE), about)),
            failures={ResourceNotFound: "failed-lock-desired"},
            fails="failed-deleting-from-db",
        )

    def _start_range(
        self, outcome: Outcome, process_guid: str, domain: str, indices: range, numbers: str, given: Data
    ) -> Sequel:
        """Lines about new instances: ``after`` is all up to their auction, ``at_last`` the end of the session after it."""
        name: Final = "start-instance-range"
        about: Data = {**given, "lower": indices.start, "upper": indices.stop}
        first, last = whole(Session(name, numbers, about), Level.INFO)
        creation = Session(f"{name}.create-unclaimed-actual-lrp", f"{numbers}.1", about)
        lines = [first]
        if self._update_workers < 1:
            lines.append(
                Line(
                    Level.ERROR,
                    "failed-constructing-throttler",
                    creation,
                    {"max_workers": self._update_workers, "num_works": len(indices)},
                    f"must provide positive maxWorkers; provided {self._update_workers}",
                )
            )
        elif len(indices) <= INSTANCES_TOLD_MAX and _is_auctioned(outcome):
            created = {row.index for _, row in outcome.rows if isinstance(row, ActualLRP)}
            for number, index in enumerate(indices, 1):
                key = {"process_guid": process_guid, "index": index, "domain": domain}
                lines += _created(creation, key, number, is_new=index in created)
        return Sequel(after=lines, at_last=(last,))


def _is_auctioned(outcome: Outcome) -> bool:
    """Whether the outcome has the instances too. If the process is large it has only the record, and they follow in turns."""
    return any(isinstance(effect, RequestAuction) for effect in outcome.effects)


def _created(creation: Session, key: Data, number: int, *, is_new: bool) -> list[Line]:
    db = Session(
        f"{creation.name}.db-create-unclaimed-actual-lrps",
        f"{creation.numbers}.{number}",
        {**creation.data, "key": key},
    )
    first, last = whole(db, Level.INFO)
    begins = Line(Level.INFO, "starting", creation, {"actual_lrp_key": key})
    if is_new:
        return [begins, first, last]
    text = ResourceExists.canonical_text
    failed = Line(Level.ERROR, "failed-to-create-unclaimed-actual-lrp", db, None, text)
    return [
        begins,
        first,
        failed,
        last,
        Line(Level.INFO, "failed", creation, {"actual_lrp_key": key, "err_message": text}),
    ]


def _stop_from(outcome: Outcome, process_guid: str, index: int, numbers: str, given: Data) -> list[Line]:
    """Lines about instances that are no longer desired and are on no cell. Calls to cells are logged where they are made."""
    name: Final = "stop-instances-from"
    about: Data = {**given, "process_guid": process_guid, "index": index}
    fetched = {
        **about,
        "filter": {"CellID": "", "Domain": "", "ProcessGuid": process_guid, "Index": None},
    }
    lines = [*whole(Session(f"{name}.fetch-actuals.db-actual-lrps", f"{numbers}.1.1", fetched))]
    gone = [
        key.key
        for key, record in outcome.rows
        if record is None and isinstance(key.key, ActualLRPKey) and key.key.presence is Presence.ORDINARY
    ]
    for number, key in enumerate(gone[:INSTANCES_TOLD_MAX], 2):
        removed = Session(
            f"{name}.remove-actual.db-remove-actual-lrp",
            f"{numbers}.{number}.1",
            {**about, "index": key.instance_index},
        )
        lines += whole(removed, Level.INFO)
    return lines
