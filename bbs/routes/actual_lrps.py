"""What cells, the auctioneer and operators say of single instances (spec: actual-lrps.md §6).

Each handler decides within the scope of one process; `Context.change` sees to the rest.
"""

from bbs.acts.auctions import CRASHED
from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import actual_lrps as lifecycle
from bbs.lifecycle.retirement import retire
from bbs.lifecycle.rows import StartReport
from bbs.models import pb
from bbs.models.actual_lrp import InstanceKey
from bbs.routes.answers import SUCCESS
from bbs.routes.context import Context
from bbs.store.scopes import ProcessScope


class ActualLRPLifecycle:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def claim(self, request: pb.ClaimActualLRPRequest, call: Call) -> Answer:
        await self._context.change(
            self._process(request.process_guid),
            lambda process: lifecycle.claim(
                process.rows_at(request.index),
                InstanceKey.from_message(request.actual_lrp_instance_key),
                now_ns=self._context.now_ns(),
            ),
            log=self._context.effects_log(call, "claim-actual-lrp"),
        )
        return SUCCESS

    # Both revisions of the route have the same message, but a cell that uses the old one knows neither internal routes nor
    # metric tags, so these are read differently (`StartReport`).
    async def start(self, request: pb.StartActualLRPRequest, call: Call) -> Answer:
        return await self._start(StartReport.from_request(request), call)

    async def start_r0(self, request: pb.StartActualLRPRequest, call: Call) -> Answer:
        return await self._start(StartReport.from_request_r0(request), call)

    async def crash(self, request: pb.CrashActualLRPRequest, call: Call) -> Answer:
        key = request.actual_lrp_key
        await self._context.change(
            self._process(key.process_guid),
            lambda process: lifecycle.crash(
                process.rows_at(key.index),
                InstanceKey.from_message(request.actual_lrp_instance_key),
                request.error_message,
                is_desired=process.desired_lrp() is not None,
                now_ns=self._context.now_ns(),
            ),
            log=self._context.effects_log(call, "crash-actual-lrp"),
            cause=CRASHED,
        )
        return SUCCESS

    async def fail(self, request: pb.FailActualLRPRequest, call: Call) -> Answer:
        key = request.actual_lrp_key
        await self._context.change(
            self._process(key.process_guid),
            lambda process: lifecycle.fail(
                process.rows_at(key.index), request.error_message, now_ns=self._context.now_ns()
            ),
            log=self._context.effects_log(call, "fail-actual-lrp"),
        )
        return SUCCESS

    async def remove(self, request: pb.RemoveActualLRPRequest, call: Call) -> Answer:
        # Without an instance key the row goes whoever holds it; an empty key would be one that nobody has.
        given = request.HasField("actual_lrp_instance_key")
        await self._context.change(
            self._process(request.process_guid),
            lambda process: lifecycle.remove(
                process.rows_at(request.index),
                InstanceKey.from_message(request.actual_lrp_instance_key) if given else None,
            ),
            log=self._context.effects_log(call, "remove-actual-lrp"),
        )
        return SUCCESS

    async def retire(self, request: pb.RetireActualLRPRequest, call: Call) -> Answer:
        """Remove an instance that is on no cell; else ask its cell to stop it, and answer when the cell has been asked.

        Once the cell is found, and before it is asked, the event streams are told that the instance is gone, although its
        row stays until the cell removes it. Upstream does so, also if every stop then fails (spec: actual-lrps.md §6.7,
        rows 6 and 7); routers have long dropped the instance by the time it stops.
        """
        key = request.actual_lrp_key
        await self._context.change(
            self._process(key.process_guid),
            lambda process: retire(process.rows_at(key.index), trace_id=call.trace_id),
            log=self._context.effects_log(
                call,
                "retire-actual-lrp.retire-actual-lrp",
                lambda: {"process_guid": key.process_guid, "index": key.index},
            ),
        )
        return SUCCESS

    async def _start(self, report: StartReport, call: Call) -> Answer:
        await self._context.change(
            self._process(report.process_guid),
            lambda process: lifecycle.start(
                process.rows_at(report.index),
                report,
                now_ns=self._context.now_ns(),
                epoch=self._context.new_guid(),
            ),
            log=self._context.effects_log(call, "start-actual-lrp"),
        )
        return SUCCESS

    def _process(self, process_guid: str) -> ProcessScope:
        return self._context.store.process(process_guid)
