"""What cells, the auctioneer and operators say of single instances (spec: actual-lrps.md §6).

Each handler reads `store.head` and decides without a checkpoint in between; `Context.change` sees to the rest.
"""

from bbs.acts.effects import CRASHED
from bbs.acts.retirement import Retirement
from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import actual_lrps as lifecycle
from bbs.lifecycle.retirement import retire
from bbs.lifecycle.rows import StartReport
from bbs.log import Level
from bbs.models import pb
from bbs.models.actual_lrp import InstanceKey, Rows
from bbs.routes.answers import SUCCESS
from bbs.routes.context import Context
from bbs.routes.handler_log import tell
from bbs.routes.stories.actual_lrps import retiring
from bbs.routes.stories.story import whole


class ActualLRPLifecycle:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._head = context.store.head
        self._retirement = Retirement(context.store, context.effects)

    async def claim(self, request: pb.ClaimActualLRPRequest, call: Call) -> Answer:
        await self._context.change(
            lambda: lifecycle.claim(
                self._head.rows_at(request.process_guid, request.index),
                InstanceKey.from_message(request.actual_lrp_instance_key),
                now_ns=self._context.now_ns(),
            ),
            about=request.process_guid,
        )
        return SUCCESS

    async def start(self, request: pb.StartActualLRPRequest, call: Call) -> Answer:
        return await self._start(StartReport.from_request(request))

    async def start_r0(self, request: pb.StartActualLRPRequest, call: Call) -> Answer:
        return await self._start(StartReport.from_request_r0(request))

    async def crash(self, request: pb.CrashActualLRPRequest, call: Call) -> Answer:
        process_guid = request.actual_lrp_key.process_guid
        outcome = await self._context.change(
            lambda: lifecycle.crash(
                self._rows(request.actual_lrp_key),
                InstanceKey.from_message(request.actual_lrp_instance_key),
                request.error_message,
                is_desired=self._head.desired_lrp(process_guid) is not None,
                now_ns=self._context.now_ns(),
            ),
            about=process_guid,
        )
        await self._context.auction(
            outcome, CRASHED, log=lambda: self._context.session(call, "crash-actual-lrp")
        )
        if outcome.refusal is not None:
            raise outcome.refusal
        return SUCCESS

    async def fail(self, request: pb.FailActualLRPRequest, call: Call) -> Answer:
        await self._context.change(
            lambda: lifecycle.fail(
                self._rows(request.actual_lrp_key), request.error_message, now_ns=self._context.now_ns()
            ),
            about=request.actual_lrp_key.process_guid,
        )
        return SUCCESS

    async def remove(self, request: pb.RemoveActualLRPRequest, call: Call) -> Answer:
        given = request.HasField("actual_lrp_instance_key")
        await self._context.change(
            lambda: lifecycle.remove(
                self._head.rows_at(request.process_guid, request.index),
                InstanceKey.from_message(request.actual_lrp_instance_key) if given else None,
            ),
            about=request.process_guid,
        )
        return SUCCESS

    async def retire(self, request: pb.RetireActualLRPRequest, call: Call) -> Answer:
        to_ask = await self._retirement.begin(
            lambda: retire(self._rows(request.actual_lrp_key), trace_id=call.trace_id),
            about=request.actual_lrp_key.process_guid,
        )
        if to_ask is not None:
            key = request.actual_lrp_key
            about = {"process_guid": key.process_guid, "index": key.index}
            log = self._context.session(call, "retire-actual-lrp.retire-actual-lrp", about)
            if await self._retirement.ask_cell(to_ask, log=log):
                tell(*whole(retiring(key.process_guid, key.index), Level.INFO))
        return SUCCESS

    async def _start(self, report: StartReport) -> Answer:
        await self._context.change(
            lambda: lifecycle.start(
                self._head.rows_at(report.process_guid, report.index),
                report,
                now_ns=self._context.now_ns(),
                epoch=self._context.new_guid(),
            ),
            about=report.process_guid,
        )
        return SUCCESS

    def _rows(self, key: pb.ActualLRPKey) -> Rows:
        return self._head.rows_at(key.process_guid, key.index)
