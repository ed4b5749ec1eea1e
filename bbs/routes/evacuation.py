"""What draining cells ask and report (spec: evacuation.md). Each handler decides within the scope of one process.

Most answers say whether the cell is to keep the container: a cell that is told to keep it asks again, one that is not
destroys it. The cell looks at this field also when there is an error beside it, and a missing field means "destroy". So an
error alone would be an outage: the container goes while no replacement runs. Therefore `KEEP_CONTAINER` goes with every
error that leaves it open whether a running instance is replaced, trouble with the database above all, and with requests
about claimed and running instances that cannot be read (spec: evacuation.md §1).
"""

from collections.abc import Callable
from typing import Final

from bbs.acts.auctions import EVACUATED
from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import evacuation as lifecycle
from bbs.lifecycle.rows import StartReport
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState, InstanceKey, Presence
from bbs.models.errors import Failure, as_refusal
from bbs.models.outcome import Outcome
from bbs.routes.answers import SUCCESS, RefusedBeside
from bbs.routes.context import Context
from bbs.store.scopes import ProcessScope

KEEP_CONTAINER: Final = pb.EvacuationResponse(keep_container=True).SerializeToString()
DESTROY_CONTAINER: Final = b""


class Evacuation:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def remove_evacuating(self, request: pb.RemoveEvacuatingActualLRPRequest, call: Call) -> Answer:
        key = request.actual_lrp_key
        await self._context.change(
            self._context.store.process(key.process_guid),
            lambda process: lifecycle.remove_evacuating(
                process.rows_at(key.index), InstanceKey.from_message(request.actual_lrp_instance_key)
            ),
            log=self._context.effects_log(call, "remove-evacuating-actual-lrp"),
        )
        return SUCCESS

    async def claimed(self, request: pb.EvacuateClaimedActualLRPRequest, call: Call) -> Answer:
        return await self._evacuate(
            call,
            "evacuate-claimed-actual-lrp",
            request.actual_lrp_key.process_guid,
            lambda process: lifecycle.evacuate_claimed(
                process.rows_at(request.actual_lrp_key.index),
                InstanceKey.from_message(request.actual_lrp_instance_key),
                now_ns=self._context.now_ns(),
            ),
        )

    async def crashed(self, request: pb.EvacuateCrashedActualLRPRequest, call: Call) -> Answer:
        return await self._evacuate(
            call,
            "evacuate-crashed-actual-lrp",
            request.actual_lrp_key.process_guid,
            lambda process: lifecycle.evacuate_crashed(
                process.rows_at(request.actual_lrp_key.index),
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
            lambda process: lifecycle.evacuate_stopped(
                process.rows_at(request.actual_lrp_key.index),
                InstanceKey.from_message(request.actual_lrp_instance_key),
            ),
        )

    async def running(self, request: pb.EvacuateRunningActualLRPRequest, call: Call) -> Answer:
        return await self._running(call, StartReport.from_request(request))

    async def running_r0(self, request: pb.EvacuateRunningActualLRPRequest, call: Call) -> Answer:
        return await self._running(call, StartReport.from_evacuation_r0(request))

    async def _running(self, call: Call, report: StartReport) -> Answer:
        def decide(process: ProcessScope) -> lifecycle.Evacuation:
            return lifecycle.evacuate_running(
                process.rows_at(report.index),
                report,
                process.desired_lrp(),
                running=lambda: _running_instances(process),
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
        decide: Callable[[ProcessScope], lifecycle.Evacuation],
        *,
        keep_if_refused: bool = False,
    ) -> Answer:
        """Decide, carry it out, and answer whether to keep the container. ``session`` is the handler's in the log.

        ``keep_if_refused`` is the answer if ``decide`` raises. What it returns says itself what to answer, also for the case
        that it cannot be written.

        Raises:
          RefusedBeside: the cell is answered an error and keeps the container.
          Failure: the cell is answered an error and destroys it.
        """
        decided: lifecycle.Evacuation | None = None

        def outcome(process: ProcessScope) -> Outcome:
            nonlocal decided
            decided = decide(process)
            if decided.error is not None:
                # Raised in here, so that it is held back until the rows it rests on are durable, as any refusal is.
                raise decided.error
            return decided.outcome

        try:
            await self._context.change(
                self._context.store.process(process_guid),
                outcome,
                log=self._context.effects_log(call, session),
                cause=EVACUATED,
            )
        except Failure as failure:
            # Here already and not in `RPC`: ``keep_after`` tells the decision's own error from that of the write by identity.
            error = as_refusal(failure)
            keep = keep_if_refused if decided is None else decided.keep_after(error)
            if not keep:
                raise
            raise RefusedBeside(error, KEEP_CONTAINER) from error
        assert decided is not None
        return KEEP_CONTAINER if decided.keep else DESTROY_CONTAINER


def _running_instances(process: ProcessScope) -> int:
    return sum(
        lrp.presence is Presence.ORDINARY and lrp.state is ActualLRPState.RUNNING for lrp in process.rows()
    )
