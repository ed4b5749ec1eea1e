"""What draining cells ask and report (spec: evacuation.md). Each handler decides on `store.head` in one breath.

Most answers say whether the cell is to keep the container. That is worth more than the error that may go with it: a
container destroyed too early is an outage, so whatever we could not do for a running one, the cell keeps it.
"""

from collections.abc import Callable
from typing import Final

from bbs.acts.effects import EVACUATED
from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import evacuation as lifecycle
from bbs.lifecycle.rows import StartReport
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState, InstanceKey, Presence, Rows
from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome
from bbs.routes.answers import SUCCESS, RefusedBeside
from bbs.routes.context import Context

KEEP_CONTAINER: Final = pb.EvacuationResponse(keep_container=True).SerializeToString()
DESTROY_CONTAINER: Final = b""


class Evacuation:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._head = context.store.head

    async def remove_evacuating(self, request: pb.RemoveEvacuatingActualLRPRequest, call: Call) -> Answer:
        await self._context.change(
            lambda: lifecycle.remove_evacuating(
                self._rows(request.actual_lrp_key), InstanceKey.from_message(request.actual_lrp_instance_key)
            ),
            about=request.actual_lrp_key.process_guid,
        )
        return SUCCESS

    async def claimed(self, request: pb.EvacuateClaimedActualLRPRequest, call: Call) -> Answer:
        return await self._evacuate(
            call,
            "evacuate-claimed-actual-lrp",
            request.actual_lrp_key.process_guid,
            lambda: lifecycle.evacuate_claimed(
                self._rows(request.actual_lrp_key),
                InstanceKey.from_message(request.actual_lrp_instance_key),
                now_ns=self._context.now_ns(),
            ),
        )

    async def crashed(self, request: pb.EvacuateCrashedActualLRPRequest, call: Call) -> Answer:
        return await self._evacuate(
            call,
            "evacuate-crashed-actual-lrp",
            request.actual_lrp_key.process_guid,
            lambda: lifecycle.evacuate_crashed(
                self._rows(request.actual_lrp_key),
                InstanceKey.from_message(request.actual_lrp_instance_key),
                request.error_message,
                now_ns=self._context.now_ns(),
            ),
        )

    async def stopped(self, request: pb.EvacuateStoppedActualLRPRequest, call: Call) -> Answer:
        return await self._evacuate(
            call,
            "evacuate-stopped-actual-lrp",
            request.actual_lrp_key.process_guid,
            lambda: lifecycle.evacuate_stopped(
                self._rows(request.actual_lrp_key), InstanceKey.from_message(request.actual_lrp_instance_key)
            ),
        )

    async def running(self, request: pb.EvacuateRunningActualLRPRequest, call: Call) -> Answer:
        return await self._running(call, StartReport.from_request(request))

    async def running_r0(self, request: pb.EvacuateRunningActualLRPRequest, call: Call) -> Answer:
        return await self._running(call, StartReport.from_evacuation_r0(request))

    async def _running(self, call: Call, report: StartReport) -> Answer:
        def decide() -> lifecycle.Evacuation:
            return lifecycle.evacuate_running(
                self._head.rows_at(report.process_guid, report.index),
                report,
                self._head.desired_lrp(report.process_guid),
                running=lambda: self._running_instances(report.process_guid),
                now_ns=self._context.now_ns(),
                epoch=self._context.new_guid(),
            )

        return await self._evacuate(
            call, "evacuate-running-actual-lrp", report.process_guid, decide, keep_if_refused=True
        )

    async def _evacuate(
        self,
        call: Call,
        session: str,
        process_guid: str,
        decide: Callable[[], lifecycle.Evacuation],
        *,
        keep_if_refused: bool = False,
    ) -> Answer:
        """``session`` is the handler's in the log. ``keep_if_refused`` is for what ``decide`` raises; what it returns says so itself."""
        decided: lifecycle.Evacuation | None = None

        def outcome() -> Outcome:
            nonlocal decided
            decided = decide()
            if decided.error is not None:
                raise decided.error
            return decided.outcome

        try:
            changed = await self._context.change(outcome, about=process_guid)
        except BBSError as error:
            keep = keep_if_refused if decided is None else decided.keep_after(error)
            if not keep:
                raise
            raise RefusedBeside(error, KEEP_CONTAINER) from error
        assert decided is not None
        await self._context.auction(changed, EVACUATED, log=lambda: self._context.session(call, session))
        return KEEP_CONTAINER if decided.keep else DESTROY_CONTAINER

    def _rows(self, key: pb.ActualLRPKey) -> Rows:
        return self._head.rows_at(key.process_guid, key.index)

    def _running_instances(self, process_guid: str) -> int:
        return sum(
            lrp.presence is Presence.ORDINARY and lrp.state is ActualLRPState.RUNNING
            for lrp in self._head.rows_of(process_guid)
        )
