"""What should run: desire, update, remove (spec: desired-lrps.md §5-§7)."""

from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import desired_lrps as lifecycle
from bbs.lifecycle.desired_lrps import Circumstances
from bbs.models import pb
from bbs.models.outcome import Outcome
from bbs.routes.answers import SUCCESS
from bbs.routes.change_sessions import ChangeSessions
from bbs.routes.context import Context
from bbs.routes.large_processes import INSTANCES_AT_ONCE_MAX, LargeProcesses
from bbs.routes.stories.desired_lrps import IN_DESIRE, IN_REMOVE, IN_UPDATE
from bbs.store.scopes import ProcessScope


class DesiredLRPLifecycle:
    """A request's answer waits for the auction it causes, and for nothing else that a peer does.

    A request about few instances is one outcome, decided here. One about many is for `LargeProcesses`, and until it is
    done others about the same process wait: each handler calls `LargeProcesses.done_with` first, and has no checkpoint
    between that and its decision, else two of them might work on the same process at a time.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._large = LargeProcesses(context)

    def must_be_allowed(self, request: pb.DesireLRPRequest | pb.UpdateDesiredLRPRequest) -> None:
        """Look at how many instances a valid request asks for. Called while it is read, maybe in a thread.

        Raises:
          InvalidRequest: too many.
        """
        asked = request.desired_lrp if isinstance(request, pb.DesireLRPRequest) else request.update
        lifecycle.must_be_allowed(asked.instances, self._context.desired_lrp_instances_max)

    async def desire(self, request: pb.DesireLRPRequest, call: Call) -> Answer:
        message, at = request.desired_lrp, self._circumstances(call)
        indices = range(message.instances)
        await self._large.done_with(message.process_guid)
        sessions = ChangeSessions(
            self._context, call, "desire-lrp", message.process_guid, {}, number=IN_DESIRE, starts=indices
        )
        if message.instances > INSTANCES_AT_ONCE_MAX:
            await self._large.desire(message, at, sessions)
            return SUCCESS
        await self._context.change(
            self._context.store.process(message.process_guid),
            lambda process: lifecycle.desire(process.desired_lrp(), message, process.rows_in(indices), at),
            log=sessions.of,
        )
        return SUCCESS

    async def update(self, request: pb.UpdateDesiredLRPRequest, call: Call) -> Answer:
        process_guid, update, at = request.process_guid, request.update, self._circumstances(call)
        await self._large.done_with(process_guid)
        sessions = ChangeSessions(
            self._context, call, "update-desired-lrp", process_guid, {"guid": process_guid}, number=IN_UPDATE
        )
        process = self._context.store.process(process_guid)
        if _is_large(process, update.instances):
            await self._large.update(process_guid, update, at, sessions)
            return SUCCESS

        def decide(process: ProcessScope) -> Outcome:
            before = process.desired_lrp()
            if before is not None and update.HasField("instances"):
                sessions.scaled(before.instances, update.instances)
            return lifecycle.update(before, update, process.rows(), at)

        await self._context.change(process, decide, log=sessions.of)
        return SUCCESS

    async def remove(self, request: pb.RemoveDesiredLRPRequest, call: Call) -> Answer:
        process_guid = request.process_guid
        await self._large.done_with(process_guid)
        sessions = ChangeSessions(
            self._context,
            call,
            "remove-desired-lrp",
            process_guid,
            {"process_guid": process_guid},
            number=IN_REMOVE,
        )
        process = self._context.store.process(process_guid)
        if _is_large(process):
            await self._large.remove(process_guid, sessions, trace_id=call.trace_id)
            return SUCCESS
        await self._context.change(
            process,
            lambda process: lifecycle.remove(process.desired_lrp(), process.rows(), trace_id=call.trace_id),
            log=sessions.of,
        )
        return SUCCESS

    def _circumstances(self, call: Call) -> Circumstances:
        return Circumstances(
            now_ns=self._context.now_ns(),
            new_epoch=self._context.new_guid,
            update_workers=self._context.update_workers,
            trace_id=call.trace_id,
            instances_max=self._context.desired_lrp_instances_max,
        )


def _is_large(process: ProcessScope, instances: int = 0) -> bool:
    """By what is asked for and by what is there: a process scaled down from 10,000 instances is large, too."""
    return max(instances, process.rows_max()) > INSTANCES_AT_ONCE_MAX
