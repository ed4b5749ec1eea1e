"""What the log says of claim, start, crash, fail, remove and retire."""

from collections.abc import Callable
from functools import partial
from typing import Final

from bbs.log import Level
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Rows
from bbs.models.errors import (
    ActualLRPCannotBeClaimed,
    ActualLRPCannotBeCrashed,
    ActualLRPCannotBeFailed,
    ActualLRPCannotBeStarted,
    BBSError,
    ResourceNotFound,
)
from bbs.models.outcome import Outcome, RequestAuction
from bbs.routes.stories import data
from bbs.routes.stories.story import Failures, Line, Sequel, Session, Story, changing, whole
from bbs.store.head import Head


class ActualLRPStories:
    """With ``debug_lrp_start_heartbeats``, a start of what runs already is told at debug, under names of its own."""

    def __init__(self, head: Head, *, debug_lrp_start_heartbeats: bool) -> None:
        self._head = head
        self._debug_lrp_start_heartbeats = debug_lrp_start_heartbeats

    def claim(self, request: pb.ClaimActualLRPRequest, is_debug: bool) -> Story:
        process_guid, index = request.process_guid, request.index
        return changing(
            Session("db-claim-actual-lrp", "2", data.claim(request)),
            before=reading_rows(process_guid, index) if is_debug else (),
            ignored=partial(_ignored, "claim"),
            failures=_CLAIM_FAILURES,
            fails="failed-claiming-actual-lrp",
        )

    def start(self, request: pb.StartActualLRPRequest, is_debug: bool) -> Story:
        key = request.actual_lrp_key
        rows = self._head.rows_at(key.process_guid, key.index)
        read = reading_rows(key.process_guid, key.index) if is_debug else ()
        story = changing(
            Session("db-start-actual-lrp", "2", data.start(request)),
            before=read,
            ignored=partial(_ignored, "start"),
            after=_superseded(rows) if is_debug else (),
            failures=_START_FAILURES,
            fails="failed-creating-running-actual-lrp"
            if rows.ordinary is None
            else "failed-starting-actual-lrp",
        )
        if self._debug_lrp_start_heartbeats:
            holder = rows.held_by(InstanceKey.from_message(request.actual_lrp_instance_key))
            if holder is not None and holder.state is ActualLRPState.RUNNING:
                assert story.work is not None
                story.opening = (Line(Level.DEBUG, "heartbeating-lrp", story.work),)
                story.ends = Line(Level.DEBUG, "heartbeat-complete", story.work)
        return story

    def crash(self, request: pb.CrashActualLRPRequest, is_debug: bool) -> Story:
        key = request.actual_lrp_key
        rows = self._head.rows_at(key.process_guid, key.index)
        read = reading_rows(key.process_guid, key.index) if is_debug else ()
        if (suspect := _suspect(rows, request.actual_lrp_instance_key)) is not None:
            about = {"instance-guid": suspect.instance.instance_guid}
            removed = Line(Level.INFO, "removing-suspect-lrp", data=about)
            return removing_suspect(suspect, before=read, after=(removed,))
        return crashing(
            request,
            rows,
            before=read,
            sequel=lambda outcome: Sequel(
                after=whole(
                    Session(
                        "db-desired-lrp-scheduling-info-by-process-guid",
                        "3",
                        {"process_guid": key.process_guid},
                    )
                )
                if outcome.refusal is not None or _is_auctioned(outcome)
                else ()
            ),
            is_late=rows.ordinary is not None,
        )

    def fail(self, request: pb.FailActualLRPRequest, is_debug: bool) -> Story:
        key = request.actual_lrp_key
        rows = self._head.rows_at(key.process_guid, key.index)
        session = Session("db-fail-actual-lrp", "2", data.fail(request))
        missing = Line(
            Level.ERROR, "failed-to-get-actual-lrp", session, None, ResourceNotFound.canonical_text
        )
        return changing(
            session,
            before=reading_rows(key.process_guid, key.index) if is_debug else (),
            # The auctioneer is answered that all is well, as by upstream.
            within=(missing,) if rows.ordinary is None else (),
            failures={ActualLRPCannotBeFailed: "cannot-fail-actual-lrp"},
            fails="failed-failing-actual-lrp",
        )

    def remove(self, request: pb.RemoveActualLRPRequest, is_debug: bool) -> Story:
        rows = self._head.rows_at(request.process_guid, request.index)
        read = reading_rows(request.process_guid, request.index) if is_debug else ()
        if rows.ordinary is None:
            return Story(before=read)
        given = request.HasField("actual_lrp_instance_key")
        claimant = InstanceKey.from_message(request.actual_lrp_instance_key) if given else None
        return removing(
            Session("db-remove-actual-lrp", "2", data.by_index(request)),
            rows.ordinary,
            claimant,
            before=read,
        )

    def retire(self, request: pb.RetireActualLRPRequest, is_debug: bool) -> Story:
        """Only what is on no cell is removed right away; others are for their cells to stop."""
        key = request.actual_lrp_key
        lrp = self._head.rows_at(key.process_guid, key.index).ordinary
        about = data.retire(request)
        read = (
            reading_rows(key.process_guid, key.index, below="retire-actual-lrp", numbers="1.1", data=about)
            if is_debug
            else ()
        )
        if lrp is None or lrp.state.is_held:
            return Story(before=read)
        return removing(retiring(key.process_guid, key.index), lrp, None, before=read)

    def why(
        self,
        request: pb.ClaimActualLRPRequest | pb.CrashActualLRPRequest | pb.FailActualLRPRequest,
        error: BBSError,
    ) -> data.Data:
        """Data for the error line of a refusal: the state of the row that did not allow the request, if there is one."""
        match error, request:
            case ActualLRPCannotBeClaimed(), pb.ClaimActualLRPRequest():
                lrp = self._head.rows_at(request.process_guid, request.index).ordinary
            case ActualLRPCannotBeCrashed() | ActualLRPCannotBeFailed(), _:
                assert not isinstance(request, pb.ClaimActualLRPRequest)
                key = request.actual_lrp_key
                lrp = self._head.rows_at(key.process_guid, key.index).ordinary
            case _:
                return {}
        if lrp is None:
            return {}
        state: data.Data = {"from_state": str(lrp.state)}
        if not isinstance(request, pb.FailActualLRPRequest):
            state["same_instance_key"] = lrp.instance == InstanceKey.from_message(
                request.actual_lrp_instance_key
            )
        return state


_CLAIM_FAILURES: Final[Failures] = {
    ResourceNotFound: "failed-fetching-actual-lrp-for-share",
    ActualLRPCannotBeClaimed: "cannot-transition-to-claimed",
}
_START_FAILURES: Final[Failures] = {ActualLRPCannotBeStarted: "failed-to-transition-actual-lrp-to-started"}


def reading_rows(
    process_guid: str,
    index: int,
    *,
    below: str = "",
    numbers: str = "1",
    data: data.Data | None = None,
) -> tuple[Line, Line]:
    """Two lines about reading an instance's rows, which upstream does first."""
    name = f"{below}.db-actual-lrps" if below else "db-actual-lrps"
    filter_ = {"CellID": "", "Domain": "", "ProcessGuid": process_guid, "Index": index}
    return whole(Session(name, numbers, {**(data or {}), "filter": filter_}))


def retiring(process_guid: str, index: int) -> Session:
    """The session in which a retired row is removed; its number is 2, as rows were read in the first."""
    return Session(
        "retire-actual-lrp.db-remove-actual-lrp", "1.2", {"process_guid": process_guid, "index": index}
    )


def removing(
    session: Session,
    lrp: ActualLRP,
    instance: InstanceKey | None,
    *,
    before: tuple[Line, ...],
    further: tuple[Level, str] | None = None,
) -> Story:
    """The story of removing the ordinary row ``lrp`` if ``instance`` holds it; ``None`` stands for any instance."""
    within: tuple[Line, ...] = ()
    if instance is not None and instance != lrp.instance:
        within = (Line(Level.DEBUG, "not-found", session, {"instance_key": data.instance(instance)}),)
    return changing(
        session,
        before=before,
        within=within,
        failures={ResourceNotFound: ""},
        fails="failed-removing-actual-lrp",
        further=further,
    )


def removing_suspect(
    lrp: ActualLRP,
    *,
    numbers: str = "2",
    before: tuple[Line, ...],
    after: tuple[Line, ...] = (),
    further: tuple[Level, str] | None = None,
) -> Story:
    return changing(
        Session("db-remove-suspect-actual-lrp", numbers, {"lrp_key": data.key(lrp)}),
        level=Level.DEBUG,
        before=before,
        after=after,
        fails="failed-delete",
        further=further,
    )


def crashing(
    request: pb.CrashActualLRPRequest | pb.EvacuateCrashedActualLRPRequest,
    rows: Rows,
    *,
    before: tuple[Line, ...],
    sequel: Callable[[Outcome], Sequel] | None = None,
    is_late: bool = False,
    further: tuple[Level, str] | None = None,
) -> Story:
    """The story of a crash. With ``is_late`` ResourceNotFound means that nobody desires the process, which is found out
    only when the crash has been written.
    """
    failures: dict[type[BBSError], str] = {ActualLRPCannotBeCrashed: "failed-to-transition-to-crashed"}
    if not is_late:
        failures[ResourceNotFound] = "failed-to-get-actual-lrp"
    return changing(
        Session("db-crash-actual-lrp", "2", data.crash(request)),
        before=before,
        sequel=sequel,
        failures=failures,
        fails="failed-to-crash-actual-lrp",
        further=further,
        late={ResourceNotFound: "failed-fetching-desired-lrp"} if is_late else None,
    )


def _suspect(rows: Rows, message: pb.ActualLRPInstanceKey) -> ActualLRP | None:
    """The suspect row, if the instance holds it. Most instances have none, so the key is looked at only if there is one."""
    if rows.suspect is None:
        return None
    holder = rows.held_by(InstanceKey.from_message(message))
    return holder if holder is rows.suspect else None


def _superseded(rows: Rows) -> tuple[Line, ...]:
    """Lines about the evacuating and the suspect row, which a start ends."""
    lines: tuple[Line, ...] = ()
    if rows.evacuating is not None:
        about = {
            "lrp_key": data.key(rows.evacuating),
            "instance_key": data.instance(rows.evacuating.instance),
        }
        lines = whole(Session("db-remove-evacuating-actual-lrp", "3", about))
    if rows.suspect is not None:
        number = "4" if lines else "3"
        suspect = Session("db-remove-suspect-actual-lrp", number, {"lrp_key": data.key(rows.suspect)})
        lines = (*lines, *whole(suspect))
    return lines


def _ignored(verb: str, lrp: ActualLRP) -> Line:
    about = {
        "process_guid": lrp.process_guid,
        "index": lrp.index,
        "instance_guid": data.instance(
            lrp.instance
        ),  # the whole key under the name of one part, as upstream has it
        "state": str(lrp.state),
    }
    return Line(Level.INFO, f"ignored-{verb}-request-from-suspect", data=about)


def _is_auctioned(outcome: Outcome) -> bool:
    return any(isinstance(effect, RequestAuction) for effect in outcome.effects)
