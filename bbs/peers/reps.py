"""The reps, the processes on the cells that run instances and tasks, over HTTPS (spec: peers.md §3)."""

from typing import Final

import trio

from bbs.http.reasons import go_reason
from bbs.log import Logger
from bbs.models.actual_lrp import ActualLRP
from bbs.peers import bodies
from bbs.peers.http import JSON_CONTENT, REQUEST_ID, BadStatus, Headers, HTTPClient, NoResponse
from bbs.peers.interfaces import Cell, PeerUnavailable
from bbs.peers.rep_failures import RepFailures

ACCEPTED: Final = 202
NOT_FOUND: Final = 404


class HTTPReps:
    """Every call raises `RepURLUnusable` before it does anything when the cell announces no https address.

    Calls that fail are noted in ``failures``, by cell.
    """

    def __init__(self, *, http: HTTPClient, failures: RepFailures | None = None) -> None:
        self._http = http
        self.failures: Final = RepFailures() if failures is None else failures

    async def stop_lrp_instance(self, cell: Cell, lrp: ActualLRP, *, trace_id: str, log: Logger) -> None:
        """Have the instance stopped.

        Raises:
          PeerUnavailable: no response, or another than 202.
        """
        cell.require_https()
        call = _Call(
            "stop-lrp",
            log.session("stop-lrp", {**_key(lrp), "instance-key": _instance_key(lrp)}),
            "POST",
            f"{cell.rep_url}/v1/lrps/{lrp.process_guid}/instances/{lrp.instance.instance_guid}/stop",
            (*JSON_CONTENT, *_request_id(trace_id)),
        )
        await self._make(cell, call)

    async def update_lrp_instance(
        self,
        cell: Cell,
        lrp: ActualLRP,
        *,
        internal_routes: tuple[str, ...] | None,
        metric_tags: tuple[tuple[str, str], ...] | None,
        trace_id: str,
        log: Logger,
    ) -> None:
        """Give the instance new internal routes and metric tags; ``None`` leaves a part as it is.

        A rep too old for this route is asked through the route before it, which knows no tags; one that has neither
        can do nothing about it, and that counts as done.

        Raises:
          PeerUnavailable: no response, or another than 202 and 404.
        """
        cell.require_https()
        path = f"lrps/{lrp.process_guid}/instances/{lrp.instance.instance_guid}"
        headers = (*JSON_CONTENT, *_request_id(trace_id))
        about = {**_key(lrp), "instance-guid": lrp.instance.instance_guid}
        call = _Call(
            "update-lrp",
            log.session("update-lrp", about),
            "PUT",
            f"{cell.rep_url}/v2/{path}",
            headers,
            bodies.lrp_update(lrp, internal_routes=internal_routes, metric_tags=metric_tags),
        )
        if await self._make(cell, call, may_be_missing=True) or internal_routes is None:
            return
        call = _Call(
            "update-lrp-r0",
            log.session("update-lrp-r0", about),
            "PUT",
            f"{cell.rep_url}/v1/{path}",
            headers,
            bodies.lrp_update(lrp, internal_routes=internal_routes, metric_tags=None),
        )
        await self._make(cell, call, may_be_missing=True)

    async def cancel_task(self, cell: Cell, task_guid: str, *, trace_id: str, log: Logger) -> None:
        """Have the task stopped.

        Raises:
          PeerUnavailable: no response, or another than 202.
        """
        cell.require_https()
        call = _Call(
            "cancel-task",
            log.session("cancel-task", {"task-guid": task_guid}),
            "POST",
            f"{cell.rep_url}/v1/tasks/{task_guid}/cancel",
            _request_id(trace_id),
        )
        await self._make(cell, call)

    async def _make(self, cell: Cell, call: "_Call", *, may_be_missing: bool = False) -> bool:
        try:
            return await call.make(self._http, may_be_missing=may_be_missing)
        except PeerUnavailable as error:
            self.failures.note(cell.cell_id, call=call.name, reason=str(error))
            raise


class _Call:
    """One request to a rep, and what the log says of it. ``name`` is what the log's session is called."""

    def __init__(
        self, name: str, log: Logger, method: str, url: str, headers: Headers, body: bytes | None = None
    ) -> None:
        self.name = name
        self._log = log
        self._method = method
        self._url = url
        self._headers = headers
        self._body = body

    async def make(self, http: HTTPClient, *, may_be_missing: bool = False) -> bool:
        """Make the call; whether the rep accepted. With ``may_be_missing`` a 404 is no error: the rep is too old for the
        route, and the result is False.

        Raises:
          PeerUnavailable: no response, or another refusal.
        """
        began = trio.current_time()
        self._log.info("starting")
        try:
            status = await http.send(self._method, self._url, headers=self._headers, body=self._body)
        except NoResponse as error:
            self._log.error("request-failed", error=error)
            raise
        if status == ACCEPTED:
            self._log.info("completed", duration=int((trio.current_time() - began) * 1e9))
            return True
        failure = None if may_be_missing and status == NOT_FOUND else BadStatus(status)
        self._log.error(
            "failed-with-status", {"status-code": status, "msg": go_reason(status)}, error=failure
        )
        if failure is None:
            return False
        raise failure


def _request_id(trace_id: str) -> Headers:
    return ((REQUEST_ID, trace_id),) if trace_id else ()


def _key(lrp: ActualLRP) -> dict[str, object]:
    return {"process-guid": lrp.process_guid, "index": lrp.index, "domain": lrp.domain}


def _instance_key(lrp: ActualLRP) -> dict[str, object]:
    return {"instance_guid": lrp.instance.instance_guid, "cell_id": lrp.instance.cell_id}
