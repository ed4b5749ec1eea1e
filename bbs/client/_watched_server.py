"""What a watch asks of a server: event streams, and lists. Each once, with a deadline, and with the token of the last answer."""

from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from bbs.client import _routes as routes
from bbs.client._at_least import HEADER, AtLeast
from bbs.client._caller import Caller, raise_refusal
from bbs.client._changes import Kind, Record, actual_key, without_what_events_lack
from bbs.client._errors import BadEventSourceResponse, TransportTimeout, UnexpectedStatus
from bbs.client._events import EventSource
from bbs.client._http import Request, Transport
from bbs.client._log import Log
from bbs.client._routes import StreamRoute
from bbs.client._single_stream import SingleStream
from bbs.models import pb
from bbs.models.wire import encode

SUBSCRIBE_WITHIN_S: Final = 30.0
"""Until the head of a stream must have come. A follower may wait meanwhile until it has what the token stands for."""

LIST_WITHIN_S: Final = 60.0
"""For a list of a whole fleet, with the time that a follower may wait, where requests have no bound of their own."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list by key. ``has_token``: it was answered by a server that has tokens, and so heeds the one it was sent."""

    rows: Mapping[Hashable, Record]
    has_token: bool


class WatchedServer:
    """Raises what the client's calls raise; `TransportTimeout` when a deadline passes."""

    def __init__(
        self, caller: Caller, streams: Transport, *, cell_id: str, list_within_s: float, log: Log
    ) -> None:
        self.at_least: Final = AtLeast()
        self.url: Final = caller.base_url
        self._caller = caller
        self._streams = streams
        self._cell_id = cell_id
        self._list_within_s = list_within_s
        self._log = log

    @asynccontextmanager
    async def subscribed(self, route: StreamRoute) -> AsyncIterator[EventSource]:
        """Subscribed as long as the block runs."""
        sent = self.at_least.headers
        request = Request(
            method=route.method,
            url=self.url + route.path,
            headers=sent,
            body=encode(pb.EventsByCellId(cell_id=self._cell_id)) if route is routes.INSTANCE_EVENTS else b"",
        )
        try:
            with trio.fail_after(SUBSCRIBE_WITHIN_S):
                stream = await SingleStream.open(self._streams, request)
        except trio.TooSlowError as error:
            raise TransportTimeout(
                f'{request.verb} "{request.url}": no answer for {SUBSCRIBE_WITHIN_S:g} s'
            ) from error
        except BadEventSourceResponse as error:
            self._note_refusal(error.status, sent=bool(sent))
            raise
        self.at_least.answered(stream.token)
        async with EventSource(stream) as source:
            yield source

    async def list(self, kind: Kind) -> Listed:
        sent = self.at_least.headers
        try:
            with trio.fail_after(self._list_within_s):
                rows, token = await self._list(kind)
        except trio.TooSlowError as error:
            raise TransportTimeout(
                f"{self.url}: no list of {kind.value}s for {self._list_within_s:g} s"
            ) from error
        except UnexpectedStatus as error:
            self._note_refusal(error.status, sent=bool(sent))
            raise
        self.at_least.answered(token)
        return Listed(rows, bool(token))

    async def _list(self, kind: Kind) -> tuple[Mapping[Hashable, Record], str]:
        ask, headers = self._caller.ask_once, self.at_least.headers
        match kind:
            case Kind.DESIRED_LRP:
                desired, response = await ask(
                    routes.DESIRED_LRP_ROUTING_INFOS, pb.DesiredLRPsRequest(), headers=headers
                )
                raise_refusal(desired)
                rows: dict[Hashable, Record] = {lrp.process_guid: lrp for lrp in desired.desired_lrps}
            case Kind.ACTUAL_LRP:
                actual, response = await ask(
                    routes.ACTUAL_LRPS, pb.ActualLRPsRequest(cell_id=self._cell_id), headers=headers
                )
                raise_refusal(actual)
                rows = {actual_key(row): without_what_events_lack(row) for row in actual.actual_lrps}
            case Kind.TASK:
                tasks, response = await ask(routes.TASKS, pb.TasksRequest(), headers=headers)
                raise_refusal(tasks)
                rows = {task.task_guid: task for task in tasks.tasks}
        return rows, response.header(HEADER) or ""

    def _note_refusal(self, status: int, *, sent: bool) -> None:
        if status == 503 and sent and self.at_least.refused():
            self._log.error(
                "token-given-up",
                error="the server has not come to what this watch knows; its next lists are taken as they are",
            )
