"""The routes of a follower: reads and event streams are answered from its copy, and writes are referred to the master.

A request may say in ``X-Bbs-At-Least`` what its answer is to know of; it waits until the copy does. The header's value is a token
that answers of masters and followers carry in a header of the same name.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final, NoReturn

import trio

from bbs.http.endpoints import (
    AT_LEAST_HEADER,
    Answer,
    Call,
    EventStream,
    Refusal,
    Route,
    RouteTable,
    StreamSource,
    Unary,
)
from bbs.store.following import Following
from bbs.store.tokens import Token
from bbs.sync.locket.master import MasterLookup

AT_LEAST_MAX_S: Final = 10.0
"""How long a request may wait for what its answer is to know of."""

MASTER_HEADER: Final = "X-Bbs-Master"

READS: Final = frozenset((
    "Ping", "Domains", "Cells",
    "ActualLRPs", "ActualLRPsByProcessGuids",
    "ActualLRPGroups", "ActualLRPGroupsByProcessGuid", "ActualLRPGroupsByProcessGuidAndIndex",
    "DesiredLRPs", "DesiredLRPs_r2", "DesiredLRPByProcessGuid", "DesiredLRPByProcessGuid_r2",
    "DesiredLRPSchedulingInfos", "DesiredLRPSchedulingInfoByProcessGuid", "DesiredLRPRoutingInfos",
    "Tasks", "Tasks_r2", "TaskByGuid", "TaskByGuid_r2",
    "EventStream", "EventStream_r0", "TaskEventStream", "TaskEventStream_r0",
    "LRPInstanceEventStream", "LrpInstanceEventStream_r0",
))  # fmt: skip
"""The routes that change nothing, by the names in `bbs.routes.table`."""


def followed(
    table: RouteTable, following: Following, master: MasterLookup, *, at_least_max_s: float = AT_LEAST_MAX_S
) -> RouteTable:
    """``table``, as a follower serves it."""

    async def must_know(at_least: str) -> None:
        """Wait for what a request asks for.

        Raises:
          Refusal: 400, it is no token; 503, the copy does not know of it in time.
        """
        try:
            token = Token.parse(at_least)
        except ValueError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"{AT_LEAST_HEADER}: {error}") from error
        with trio.move_on_after(at_least_max_s):
            await following.wait_for(token)
            return
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"this follower has {following.position}, and {token} was asked for; {at_least_max_s:g} s were not enough."
            " Try again, or ask the master",
            ("Retry-After", "1"),
        )

    async def refer(call: Call) -> NoReturn:
        known = await master.ask()
        raise Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"this is a follower, which only reads: {known}",
            *([(MASTER_HEADER, known.url)] if known.url else []),
        )

    def read(handle: Callable[[Call], Awaitable[Answer]]) -> Callable[[Call], Awaitable[Answer]]:
        async def handle_when_known(call: Call) -> Answer:
            if call.at_least:
                await must_know(call.at_least)
            return await handle(call)

        return handle_when_known

    def opened(
        open_stream: Callable[[Call], Awaitable[StreamSource]],
    ) -> Callable[[Call], Awaitable[StreamSource]]:
        async def open_when_known(call: Call) -> StreamSource:
            if call.at_least:
                await must_know(call.at_least)
            return await open_stream(call)

        return open_when_known

    def of_follower(route: Route) -> Route:
        if route.name not in READS:
            return replace(route, endpoint=Unary(refer))
        match route.endpoint:
            case Unary(handle):
                return replace(route, endpoint=Unary(read(handle)))
            case EventStream(open_stream):
                return replace(route, endpoint=EventStream(opened(open_stream)))

    return RouteTable(map(of_follower, table.routes))
