"""What should run: desire, update, remove (spec: desired-lrps.md §5-§7)."""

from bbs.acts.effects import DESIRED
from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import desired_lrps as lifecycle
from bbs.lifecycle.desired_lrps import Circumstances
from bbs.models import pb
from bbs.models.outcome import Outcome, StopInstance, UpdateInstance
from bbs.routes.answers import SUCCESS
from bbs.routes.change_sessions import ChangeSessions
from bbs.routes.context import Context
from bbs.routes.large_processes import INSTANCES_AT_ONCE_MAX, LargeProcesses
from bbs.routes.stories.desired_lrps import IN_DESIRE, IN_REMOVE, IN_UPDATE


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

    async def desire(self, request: pb.DesireLRPRequest, call: Call) -> Answer:
        message, at = request.desired_lrp, self._circumstances(call)
        process_guid = message.process_guid
        await self._large.done_with(process_guid)
        sessions = ChangeSessions(self._context, call, "desire-lrp", {}, number=IN_DESIRE)
        if message.instances > INSTANCES_AT_ONCE_MAX:
            await self._large.desire(message, at, sessions)
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
        await self._start(outcome, range(message.instances), sessions)
        return SUCCESS

    async def update(self, request: pb.UpdateDesiredLRPRequest, call: Call) -> Answer:
        process_guid, update, at = request.process_guid, request.update, self._circumstances(call)
        await self._large.done_with(process_guid)
        sessions = ChangeSessions(
            self._context, call, "update-desired-lrp", {"guid": process_guid}, number=IN_UPDATE
        )
        if self._is_large(process_guid, update.instances):
            await self._large.update(process_guid, update, at, sessions)
            return SUCCESS
        before = self._head.desired_lrp(process_guid)
        outcome = await self._context.change(
            lambda: lifecycle.update(before, update, self._head.rows_of(process_guid), at),
            about=process_guid,
        )
        assert before is not None
        if update.HasField("instances"):
            sessions.scaled_by(update.instances - before.instances)
        self._stop(outcome, process_guid, update.instances, sessions)
        if updates := [effect for effect in outcome.effects if isinstance(effect, UpdateInstance)]:
            self._context.effects.submit(updates, log=sessions.updating(process_guid))
        await self._start(outcome, range(before.instances, update.instances), sessions)
        return SUCCESS

    async def remove(self, request: pb.RemoveDesiredLRPRequest, call: Call) -> Answer:
        process_guid = request.process_guid
        await self._large.done_with(process_guid)
        sessions = ChangeSessions(
            self._context, call, "remove-desired-lrp", {"process_guid": process_guid}, number=IN_REMOVE
        )
        if self._is_large(process_guid):
            await self._large.remove(process_guid, sessions, trace_id=call.trace_id)
            return SUCCESS
        outcome = await self._context.change(
            lambda: lifecycle.remove(
                self._head.desired_lrp(process_guid),
                self._head.rows_of(process_guid),
                trace_id=call.trace_id,
            ),
            about=process_guid,
        )
        self._stop(outcome, process_guid, 0, sessions)
        return SUCCESS

    def _is_large(self, process_guid: str, instances: int = 0) -> bool:
        return max(instances, self._head.rows_max(process_guid)) > INSTANCES_AT_ONCE_MAX

    def _stop(self, outcome: Outcome, process_guid: str, first_index: int, sessions: ChangeSessions) -> None:
        if stops := [effect for effect in outcome.effects if isinstance(effect, StopInstance)]:
            self._context.effects.submit(stops, log=sessions.stopping(process_guid, first_index))

    async def _start(self, outcome: Outcome, indices: range, sessions: ChangeSessions) -> None:
        await self._context.auction(
            outcome, DESIRED, log=lambda: sessions.starting(indices.start, indices.stop)
        )

    def _circumstances(self, call: Call) -> Circumstances:
        return Circumstances(
            now_ns=self._context.now_ns(),
            new_epoch=self._context.new_guid,
            update_workers=self._context.update_workers,
            trace_id=call.trace_id,
            instances_max=self._context.desired_lrp_instances_max,
        )
