"""What the log says of draining cells' requests. The cases are those of `bbs.lifecycle.evacuation`: change both together.

They are told apart here once more, since the decision gives only its outcome and upstream's lines also name what it looked
at. The numbers of the sessions count upstream's calls of its database in the case at hand, so they differ from case to case.
"""

from collections.abc import Callable
from typing import Final, Protocol

from bbs.lifecycle.evacuation import PROVEN
from bbs.log import Level
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence, Rows
from bbs.models.desired_lrp import RECREATE, DesiredLRP
from bbs.models.errors import ResourceExists, ResourceNotFound
from bbs.models.outcome import Outcome, RequestAuction
from bbs.models.wire import encode
from bbs.routes.stories import data
from bbs.routes.stories.actual_lrps import (
    crashing,
    reading_rows,
    removing,
    removing_suspect,
)
from bbs.routes.stories.story import HANDLER, Line, Sequel, Session, Story, changing, whole
from bbs.store.head import Head

NO_SUCH_ROW: Final = "sql: no rows in result set"
"""What Go's ``database/sql`` says when a row is missing."""


class _Asked(Protocol):
    """The fields that all requests of a draining cell have."""

    @property
    def actual_lrp_key(self) -> pb.ActualLRPKey: ...
    @property
    def actual_lrp_instance_key(self) -> pb.ActualLRPInstanceKey: ...


class EvacuationStories:
    def __init__(self, head: Head) -> None:
        self._head = head

    def remove_evacuating(self, request: pb.RemoveEvacuatingActualLRPRequest, is_debug: bool) -> Story:
        rows, held, read = self._looked_at(request)
        if held is None:
            return Story(before=(*read, _not_found(request)))
        if held.presence is not Presence.EVACUATING:
            return Story(before=(*read, Line(Level.INFO, "evacuating-lrp-is-empty")))
        about: dict[str, object] = {
            "process-guid": held.process_guid,
            "index": held.index,
            "instance-key": data.instance(held.instance),
        }
        if (replacement := rows.ordinary) is not None:
            about["replacement-lrp-instance-key"] = data.instance(replacement.instance)
            about["replacement-state"] = str(replacement.state)
            about["replacement-lrp-placement-error"] = replacement.placement_error
        stranded = Line(Level.INFO, "removing-stranded-evacuating-actual-lrp", data=about)
        return _removing_evacuating(request, "2", before=(*read, stranded))

    def claimed(self, request: pb.EvacuateClaimedActualLRPRequest, is_debug: bool) -> Story:
        _, held, read = self._looked_at(request)
        if held is None or held.presence is not Presence.ORDINARY:
            return _ended_elsewhere(request, held, read)
        return changing(
            _unclaim("db-unclaim-actual-lrp", held, "2"),
            before=read,
            sequel=self._auction("3"),
            fails="failed-to-unclaim-actual-lrp",
        )

    def crashed(self, request: pb.EvacuateCrashedActualLRPRequest, is_debug: bool) -> Story:
        rows, held, read = self._looked_at(request)
        if held is None or held.presence is not Presence.ORDINARY:
            return _ended_elsewhere(request, held, read)
        return crashing(request, rows, before=read, further=(Level.ERROR, "failed-to-crash-actual-lrp"))

    def stopped(self, request: pb.EvacuateStoppedActualLRPRequest, is_debug: bool) -> Story:
        _, held, read = self._looked_at(request)
        if held is None or held.presence is not Presence.ORDINARY:
            return _ended_elsewhere(request, held, read)
        session = Session(
            "db-remove-actual-lrp", "2", {"process_guid": held.process_guid, "index": held.index}
        )
        return removing(
            session, held, None, before=read, further=(Level.ERROR, "failed-to-remove-actual-lrp")
        )

    def running(self, request: pb.EvacuateRunningActualLRPRequest, is_debug: bool) -> Story:
        rows, held, read = self._looked_at(request)
        ordinary, process_guid = rows.ordinary, request.actual_lrp_key.process_guid
        if not rows.present():
            return Story(before=read)
        is_replaced = ordinary is not None and ordinary is not held and ordinary.state in PROVEN
        if ordinary is None or is_replaced:
            return _dropping(rows, held, "2", read)
        desired = self._head.desired_lrp(process_guid)
        strategy = Session(
            "db-desired-lrp-update-strategy-by-process-guid", "2", {"process_guid": process_guid}
        )
        first, last = whole(strategy)
        if desired is None:
            missing = Line(Level.ERROR, "failed-scanning-row", strategy, None, NO_SUCH_ROW)
            return _dropping(rows, held, "3", (*read, first, missing, last))
        read = (*read, first, last)
        if desired.update_strategy == RECREATE:
            return self._recreate(rows, held, desired, read, is_debug=is_debug)
        return self._roll(request, rows, held, read)

    def _recreate(
        self,
        rows: Rows,
        held: ActualLRP | None,
        desired: DesiredLRP,
        read: tuple[Line, ...],
        *,
        is_debug: bool,
    ) -> Story:
        if held is None:
            return Story(before=read)
        if held.presence is Presence.EVACUATING:
            return _dropping(rows, held, "3", read)
        if held.presence is Presence.SUSPECT:
            return removing_suspect(
                held, numbers="3", before=read, further=(Level.ERROR, "failed-removing-suspect-actual-lrp")
            )
        if not held.state.is_held:
            return Story(before=read)
        session = _unclaim("db-unclaim-actual-lrp-if-all-running", held, "3")
        within: tuple[Line, ...] = ()
        if is_debug and (actual := self._running(held.process_guid)) < desired.instances:
            counts = {"actual": actual, "desired": desired.instances}
            within = (Line(Level.DEBUG, "not-enough-running-actual-lrps", session, counts),)
        return changing(
            session,
            before=read,
            within=within,
            sequel=self._auction("4"),
            fails="failed-to-unclaim-actual-lrp",
            further=(Level.ERROR, "failed-to-unclaim-actual-lrp"),
        )

    def _roll(
        self,
        request: pb.EvacuateRunningActualLRPRequest,
        rows: Rows,
        held: ActualLRP | None,
        read: tuple[Line, ...],
    ) -> Story:
        evacuating = rows.evacuating
        if held is None and evacuating is not None:
            return Story(before=(*read, Line(Level.INFO, "already-evacuated-by-different-cell")))
        if held is None or held.presence is Presence.EVACUATING:
            return _evacuating_from_report(request, evacuating, read)
        if not held.state.is_held:
            return Story(before=read)
        return self._dance(rows, held, read)

    def _dance(self, rows: Rows, held: ActualLRP, read: tuple[Line, ...]) -> Story:
        session = Session("db-evacuate-actual-lrp", "3", data.evacuated(held))
        former, is_suspect = rows.evacuating, held.presence is Presence.SUSPECT
        second = whole(
            Session("db-remove-suspect-actual-lrp", "4", {"lrp_key": data.key(held)})
            if is_suspect
            else _unclaim("db-unclaim-actual-lrp", held, "4"),
            Level.DEBUG if is_suspect else Level.INFO,
        )
        return changing(
            session,
            level=Level.DEBUG,
            before=read,
            within=_evacuates(session, former, is_same=former is not None and _is_evacuated_as(former, held)),
            after=second,
            sequel=self._auction("5"),
            failures={ResourceExists: ""},
            fails=_write_fails(former),
        )

    def _looked_at(self, request: _Asked) -> tuple[Rows, ActualLRP | None, tuple[Line, ...]]:
        key = request.actual_lrp_key
        rows = self._head.rows_at(key.process_guid, key.index)
        held = rows.held_by(InstanceKey.from_message(request.actual_lrp_instance_key))
        return rows, held, reading_rows(key.process_guid, key.index)

    def _running(self, process_guid: str) -> int:
        return sum(
            lrp.presence is Presence.ORDINARY and lrp.state is ActualLRPState.RUNNING
            for lrp in self._head.rows_of(process_guid)
        )

    def _auction(self, numbers: str) -> Callable[[Outcome], Sequel]:
        """Makes the lines about reading the DesiredLRP for an auction, if the outcome asks for one."""

        def sequel(outcome: Outcome) -> Sequel:
            for effect in outcome.effects:
                if isinstance(effect, RequestAuction):
                    name = "db-desired-lrp-scheduling-info-by-process-guid"
                    read = whole(Session(name, numbers, {"process_guid": effect.process_guid}))
                    if self._head.desired_lrp(effect.process_guid) is not None:
                        return Sequel(after=read)
                    action = "failed-fetching-desired-lrp-scheduling-info"
                    missing = Line(Level.ERROR, action, HANDLER, None, ResourceNotFound.canonical_text)
                    return Sequel(after=(*read, missing))
            return Sequel()

        return sequel


def _evacuating_from_report(
    request: pb.EvacuateRunningActualLRPRequest, evacuating: ActualLRP | None, read: tuple[Line, ...]
) -> Story:
    session = Session("db-evacuate-actual-lrp", "3", data.evacuation(request))
    action = "failed-evacuating-actual-lrp"
    is_same = evacuating is not None and (
        request.actual_lrp_key.domain,
        encode(request.actual_lrp_net_info),
    ) == (
        evacuating.domain,
        evacuating.net_info,
    )
    # The cell is answered that all is well, as by upstream.
    exists = Line(Level.ERROR, action, HANDLER, None, ResourceExists.canonical_text)
    return changing(
        session,
        level=Level.DEBUG,
        before=read,
        within=_evacuates(session, evacuating, is_same=is_same),
        after=(exists,) if is_same else (),
        fails=_write_fails(evacuating),
        further=(Level.ERROR, action),
    )


def _evacuates(session: Session, evacuating: ActualLRP | None, *, is_same: bool) -> tuple[Line, ...]:
    if evacuating is None:
        return (Line(Level.DEBUG, "creating-evacuating-lrp", session),)
    return (Line(Level.DEBUG, "evacuating-lrp-already-exists", session),) if is_same else ()


def _is_evacuated_as(former: ActualLRP, held: ActualLRP) -> bool:
    return (former.domain, former.instance, former.net_info) == (held.domain, held.instance, held.net_info)


def _write_fails(evacuating: ActualLRP | None) -> str:
    return "failed-inserting-evacuating-lrp" if evacuating is None else "failed-update-evacuating-lrp"


def _ended_elsewhere(request: _Asked, held: ActualLRP | None, read: tuple[Line, ...]) -> Story:
    if held is None:
        return Story(before=(*read, _not_found(request)))
    if held.presence is Presence.SUSPECT:
        return removing_suspect(
            held, before=read, further=(Level.ERROR, "failed-removing-suspect-actual-lrp")
        )
    return _removing_evacuating(
        request, "2", before=read, further=(Level.ERROR, "failed-removing-evacuating-actual-lrp")
    )


def _dropping(rows: Rows, held: ActualLRP | None, numbers: str, read: tuple[Line, ...]) -> Story:
    """The story of an instance that is not needed any more (`_drop` of `bbs.lifecycle.evacuation`)."""
    if held is None:
        return Story(before=read)
    about = {"lrp_key": data.key(held), "instance_key": data.instance(held.instance)}
    session = Session("db-remove-evacuating-actual-lrp", numbers, about)
    within: tuple[Line, ...] = ()
    if rows.evacuating is None:
        within = (Line(Level.DEBUG, "evacuating-lrp-does-not-exist", session),)
    elif rows.evacuating.instance != held.instance:
        keys = {
            "instance_key_param": data.instance(held.instance),
            "instance_key_from_db": data.instance(rows.evacuating.instance),
        }
        within = (Line(Level.DEBUG, "actual-lrp-instance-key-mismatch", session, keys),)
    return changing(session, level=Level.DEBUG, before=read, within=within, fails="failed-delete")


def _removing_evacuating(
    request: _Asked, numbers: str, *, before: tuple[Line, ...], further: tuple[Level, str] | None = None
) -> Story:
    about = {
        "lrp_key": data.key(request.actual_lrp_key),
        "instance_key": data.instance(InstanceKey.from_message(request.actual_lrp_instance_key)),
    }
    return changing(
        Session("db-remove-evacuating-actual-lrp", numbers, about),
        level=Level.DEBUG,
        before=before,
        fails="failed-delete",
        further=further,
    )


def _unclaim(name: str, lrp: ActualLRP, numbers: str) -> Session:
    return Session(name, numbers, {"key": data.key(lrp)})


def _not_found(request: _Asked) -> Line:
    key = request.actual_lrp_key
    return Line(Level.DEBUG, "actual-lrp-not-found", data={"guid": key.process_guid, "index": key.index})
