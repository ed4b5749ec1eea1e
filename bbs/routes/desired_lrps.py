"""What should run: desire, update, remove (spec: desired-lrps.md §5-§7)."""

from bbs.lifecycle import desired_lrps as lifecycle
from bbs.lifecycle.desired_lrps import Circumstances
from bbs.models import pb
from bbs.models.outcome import Outcome, StopInstance, UpdateInstance
from bbs.routes.answers import SUCCESS
from bbs.routes.context import Context
from bbs.routes.http import Answer


class DesiredLRPLifecycle:
    """A request's answer waits for the auction it causes, and for nothing else that a peer does."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._head = context.store.head

    async def desire(self, request: pb.DesireLRPRequest, trace_id: str) -> Answer:
        process_guid = request.desired_lrp.process_guid
        outcome = await self._context.change(
            lambda: lifecycle.desire(
                self._head.desired_lrp(process_guid),
                request.desired_lrp,
                self._head.rows_of(process_guid),
                self._circumstances(trace_id),
            ),
            about=process_guid,
        )
        await self._perform(outcome)
        return SUCCESS

    async def update(self, request: pb.UpdateDesiredLRPRequest, trace_id: str) -> Answer:
        process_guid = request.process_guid
        outcome = await self._context.change(
            lambda: lifecycle.update(
                self._head.desired_lrp(process_guid),
                request.update,
                self._head.rows_of(process_guid),
                self._circumstances(trace_id),
            ),
            about=process_guid,
        )
        await self._perform(outcome)
        return SUCCESS

    async def remove(self, request: pb.RemoveDesiredLRPRequest, trace_id: str) -> Answer:
        process_guid = request.process_guid
        outcome = await self._context.change(
            lambda: lifecycle.remove(
                self._head.desired_lrp(process_guid), self._head.rows_of(process_guid), trace_id=trace_id
            ),
            about=process_guid,
        )
        await self._perform(outcome)
        return SUCCESS

    async def _perform(self, outcome: Outcome) -> None:
        self._context.effects.submit(
            [effect for effect in outcome.effects if isinstance(effect, StopInstance | UpdateInstance)]
        )
        await self._context.auction(outcome, drivers_when_none=())

    def _circumstances(self, trace_id: str) -> Circumstances:
        return Circumstances(
            now_ns=self._context.now_ns(),
            new_epoch=self._context.new_guid,
            update_workers=self._context.update_workers,
            trace_id=trace_id,
        )
