"""What should run: desire, update, remove (spec: desired-lrps.md §5-§7)."""

from bbs.lifecycle import desired_lrps as lifecycle
from bbs.lifecycle.desired_lrps import Circumstances
from bbs.models import pb
from bbs.models.outcome import Outcome, StopInstance, UpdateInstance
from bbs.routes.answers import SUCCESS
from bbs.routes.context import Context
from bbs.routes.http import Answer
from bbs.routes.large_processes import INSTANCES_AT_ONCE_MAX, LargeProcesses


class DesiredLRPLifecycle:
    """A request's answer waits for the auction it causes, and for nothing else that a peer does.

    A request about few instances is one outcome, decided here. One about many is for `LargeProcesses`, and until it is
    done others about the same process wait.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._head = context.store.head
        self._large = LargeProcesses(context)

    def must_be_allowed(self, request: pb.DesireLRPRequest | pb.UpdateDesiredLRPRequest) -> None:
        """Look at how many instances a valid request asks for.

        Raises:
          InvalidRequest: too many.
        """
        asked = request.desired_lrp if isinstance(request, pb.DesireLRPRequest) else request.update
        lifecycle.must_be_allowed(asked.instances, self._context.desired_lrp_instances_max)

    async def desire(self, request: pb.DesireLRPRequest, trace_id: str) -> Answer:
        message, at = request.desired_lrp, self._circumstances(trace_id)
        process_guid = message.process_guid
        await self._large.done_with(process_guid)
        if message.instances > INSTANCES_AT_ONCE_MAX:
            await self._large.desire(message, at)
            return SUCCESS
        outcome = await self._context.change(
            lambda: lifecycle.desire(
                self._head.desired_lrp(process_guid),
                message,
                self._head.rows_in(process_guid, range(message.instances)),
                at,
            ),
            about=process_guid,
        )
        await self._perform(outcome)
        return SUCCESS

    async def update(self, request: pb.UpdateDesiredLRPRequest, trace_id: str) -> Answer:
        process_guid, update, at = request.process_guid, request.update, self._circumstances(trace_id)
        await self._large.done_with(process_guid)
        if self._is_large(process_guid, update.instances):
            await self._large.update(process_guid, update, at)
            return SUCCESS
        outcome = await self._context.change(
            lambda: lifecycle.update(
                self._head.desired_lrp(process_guid), update, self._head.rows_of(process_guid), at
            ),
            about=process_guid,
        )
        await self._perform(outcome)
        return SUCCESS

    async def remove(self, request: pb.RemoveDesiredLRPRequest, trace_id: str) -> Answer:
        process_guid = request.process_guid
        await self._large.done_with(process_guid)
        if self._is_large(process_guid):
            await self._large.remove(process_guid, trace_id=trace_id)
            return SUCCESS
        outcome = await self._context.change(
            lambda: lifecycle.remove(
                self._head.desired_lrp(process_guid), self._head.rows_of(process_guid), trace_id=trace_id
            ),
            about=process_guid,
        )
        await self._perform(outcome)
        return SUCCESS

    def _is_large(self, process_guid: str, instances: int = 0) -> bool:
        return max(instances, self._head.rows_max(process_guid)) > INSTANCES_AT_ONCE_MAX

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
            instances_max=self._context.desired_lrp_instances_max,
        )
