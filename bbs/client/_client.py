"""What anybody may ask of a BBS: upstream's external client (spec: client.md §4.1).

Every call raises a refusal of `bbs.models.errors` when the server answers with one, and what `Caller.exchange` raises
when there is no proper answer. Every call takes the trace id that ties its log lines to those of other components;
`bbs.client.new_trace_id` makes one.
"""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Self, TypeVar

import trio
from google.protobuf.message import Message

from bbs.client import _routes as routes
from bbs.client._caller import Caller, raise_refusal
from bbs.client._config import RETRIES_DEFAULT, RETRY_INTERVAL_DEFAULT_S, ClientConfig
from bbs.client._connector import Connector, tcp_connector
from bbs.client._encoded_rows import ROUTES, RowsOf
from bbs.client._errors import TransportError
from bbs.client._events import EventSource
from bbs.client._fleet import Fleet
from bbs.client._http import Request, Transport
from bbs.client._log import Log, NoLog
from bbs.client._raw_events import RawEventSource
from bbs.client._routes import Route, StreamRoute
from bbs.client._single_stream import SingleStream
from bbs.client._watch import CELL_RELIST_S, watching
from bbs.client._watched_server import WatchedServer
from bbs.models import pb
from bbs.models.errors import BBSError
from bbs.models.wire import encode

R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActualLRPFilter:
    """Which ActualLRPs to list: those that fit every part given. An index of 0 is a part, ``None`` is not."""

    domain: str = ""
    cell_id: str = ""
    process_guid: str = ""
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredLRPFilter:
    """Which DesiredLRPs to list: those that fit every part given. Some lists ignore some parts (spec: api.md 8.5)."""

    domain: str = ""
    process_guids: Sequence[str] = ()
    app_guids: Sequence[str] = ()

    def request(self) -> pb.DesiredLRPsRequest:
        return pb.DesiredLRPsRequest(
            domain=self.domain, process_guids=self.process_guids, app_guids=self.app_guids
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks to list: those that fit every part given."""

    domain: str = ""
    cell_id: str = ""


class BBSClient:
    """A client for operators, routers and the cloud controller. Open it with `connect`; any number of tasks may use it.

    ``async with BBSClient.connect(ClientConfig(url="https://bbs:8889", is_tls=True, ...)) as client:``
    """

    def __init__(self, caller: Caller, streams: Transport, config: ClientConfig) -> None:
        """Use `connect`, which makes these parts and closes them."""
        self._caller = caller
        self._streams = streams
        self._config = config

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, config: ClientConfig, *, connector: Connector | None = None, log: Log | None = None
    ) -> AsyncIterator[Self]:
        """A client for as long as the block runs. Nothing is connected yet: each call connects if it has to.

        At the end of the block idle connections are closed. Event sources are not: whoever subscribed closes them.
        ``connector`` makes byte streams in place of TCP, ``log`` is told of each unary call.

        Raises:
          InvalidClientConfig: the URL or a TLS file is unusable.
        """
        base_url = config.parsed_url().geturl().rstrip("/")
        ssl_context = config.ssl_context()
        # Upstream's clients probe idle streams more seldom than the connections of unary calls.
        calls, streams = (
            Transport(
                connector or tcp_connector(keep_alive_s=keep_alive_s),
                ssl_context,
                idle_connections_max=config.idle_connections_max,
            )
            for keep_alive_s in (15, 30)
        )
        caller = Caller(
            calls,
            base_url=base_url,
            attempts=config.retries or RETRIES_DEFAULT,
            request_timeout_s=config.request_timeout_s,
            log=log or NoLog(),
        )
        try:
            yield cls(caller, streams, config)
        finally:
            with trio.CancelScope(shield=True):  # nothing in here waits
                await calls.aclose()
                await streams.aclose()

    # The server, its cells and domains

    async def ping(self, *, trace_id: str = "") -> bool:
        """Whether the server is up and is master. Raises nothing: after any failure the answer is no."""
        try:
            return (await self._caller.exchange(routes.PING, None, trace_id=trace_id)).available
        except (BBSError, TransportError):
            return False

    async def cells(self, *, trace_id: str = "") -> Sequence[pb.CellPresence]:
        return (await self._call(routes.CELLS, None, trace_id)).cells

    async def domains(self, *, trace_id: str = "") -> Sequence[str]:
        """The names of the domains that are fresh: what is desired in them is known completely."""
        return (await self._call(routes.DOMAINS, None, trace_id)).domains

    async def upsert_domain(self, domain: str, *, ttl_s: float, trace_id: str = "") -> None:
        """Declare a domain fresh for ``ttl_s`` seconds, rounded down to whole ones. 0 is for ever, and so is 0.9, which is
        rounded down to it.

        Raises:
          ValueError: the time is negative or does not fit 32 bits.
        """
        await self._call(
            routes.UPSERT_DOMAIN, pb.UpsertDomainRequest(domain=domain, ttl=math.floor(ttl_s)), trace_id
        )

    async def encoded_rows(self, which: RowsOf, *, trace_id: str = "") -> Sequence[bytes]:
        """All rows of a list as they came, not decoded: messages of the class that the list's own method returns, and of
        domains their names in UTF-8.
        """
        response = await self._call(ROUTES[which], None, trace_id)
        rows: Sequence[bytes] = response.rows
        return rows

    # ActualLRPs

    async def actual_lrps(
        self, which: ActualLRPFilter | None = None, *, trace_id: str = ""
    ) -> Sequence[pb.ActualLRP]:
        which = which or ActualLRPFilter()
        request = pb.ActualLRPsRequest(
            domain=which.domain, cell_id=which.cell_id, process_guid=which.process_guid, index=which.index
        )
        return (await self._call(routes.ACTUAL_LRPS, request, trace_id)).actual_lrps

    async def actual_lrps_by_process_guids(
        self, process_guids: Sequence[str], *, trace_id: str = ""
    ) -> Sequence[pb.ActualLRP]:
        """The instances of any of these processes. The server refuses to look for none at all."""
        request = pb.ActualLRPsByProcessGuidsRequest(process_guids=process_guids)
        return (await self._call(routes.ACTUAL_LRPS_BY_PROCESS_GUIDS, request, trace_id)).actual_lrps

    async def actual_lrp_groups(
        self, *, domain: str = "", cell_id: str = "", trace_id: str = ""
    ) -> Sequence[pb.ActualLRPGroup]:
        """Deprecated: use `actual_lrps`."""
        request = pb.ActualLRPGroupsRequest(domain=domain, cell_id=cell_id)
        return (await self._call(routes.ACTUAL_LRP_GROUPS, request, trace_id)).actual_lrp_groups

    async def actual_lrp_groups_by_process_guid(
        self, process_guid: str, *, trace_id: str = ""
    ) -> Sequence[pb.ActualLRPGroup]:
        """Deprecated: use `actual_lrps`."""
        request = pb.ActualLRPGroupsByProcessGuidRequest(process_guid=process_guid)
        return (
            await self._call(routes.ACTUAL_LRP_GROUPS_BY_PROCESS_GUID, request, trace_id)
        ).actual_lrp_groups

    async def actual_lrp_group_by_process_guid_and_index(
        self, process_guid: str, index: int, *, trace_id: str = ""
    ) -> pb.ActualLRPGroup:
        """Deprecated: use `actual_lrps`."""
        request = pb.ActualLRPGroupByProcessGuidAndIndexRequest(process_guid=process_guid, index=index)
        response = await self._call(routes.ACTUAL_LRP_GROUP_BY_PROCESS_GUID_AND_INDEX, request, trace_id)
        return response.actual_lrp_group

    async def retire_actual_lrp(self, key: pb.ActualLRPKey, *, trace_id: str = "") -> None:
        """Remove an instance that does not run, or have its cell stop it."""
        await self._call(routes.RETIRE_ACTUAL_LRP, pb.RetireActualLRPRequest(actual_lrp_key=key), trace_id)

    # DesiredLRPs

    async def desired_lrps(
        self, which: DesiredLRPFilter | None = None, *, trace_id: str = ""
    ) -> Sequence[pb.DesiredLRP]:
        request = (which or DesiredLRPFilter()).request()
        return (await self._call(routes.DESIRED_LRPS, request, trace_id)).desired_lrps

    async def desired_lrp_by_process_guid(self, process_guid: str, *, trace_id: str = "") -> pb.DesiredLRP:
        request = pb.DesiredLRPByProcessGuidRequest(process_guid=process_guid)
        return (await self._call(routes.DESIRED_LRP_BY_PROCESS_GUID, request, trace_id)).desired_lrp

    async def desired_lrp_scheduling_infos(
        self, which: DesiredLRPFilter | None = None, *, trace_id: str = ""
    ) -> Sequence[pb.DesiredLRPSchedulingInfo]:
        request = (which or DesiredLRPFilter()).request()
        response = await self._call(routes.DESIRED_LRP_SCHEDULING_INFOS, request, trace_id)
        return response.desired_lrp_scheduling_infos

    async def desired_lrp_scheduling_info_by_process_guid(
        self, process_guid: str, *, trace_id: str = ""
    ) -> pb.DesiredLRPSchedulingInfo:
        request = pb.DesiredLRPByProcessGuidRequest(process_guid=process_guid)
        response = await self._call(routes.DESIRED_LRP_SCHEDULING_INFO_BY_PROCESS_GUID, request, trace_id)
        return response.desired_lrp_scheduling_info

    async def desired_lrp_routing_infos(
        self, which: DesiredLRPFilter | None = None, *, trace_id: str = ""
    ) -> Sequence[pb.DesiredLRP]:
        """What route-emitters need of each DesiredLRP; its other fields are empty."""
        request = (which or DesiredLRPFilter()).request()
        return (await self._call(routes.DESIRED_LRP_ROUTING_INFOS, request, trace_id)).desired_lrps

    async def desire_lrp(self, lrp: pb.DesiredLRP, *, trace_id: str = "") -> None:
        await self._call(routes.DESIRE_LRP, pb.DesireLRPRequest(desired_lrp=lrp), trace_id)

    async def update_desired_lrp(
        self, process_guid: str, update: pb.DesiredLRPUpdate, *, trace_id: str = ""
    ) -> None:
        request = pb.UpdateDesiredLRPRequest(process_guid=process_guid, update=update)
        await self._call(routes.UPDATE_DESIRED_LRP, request, trace_id)

    async def remove_desired_lrp(self, process_guid: str, *, trace_id: str = "") -> None:
        await self._call(
            routes.REMOVE_DESIRED_LRP, pb.RemoveDesiredLRPRequest(process_guid=process_guid), trace_id
        )

    # Tasks

    async def desire_task(
        self, *, task_guid: str, domain: str, definition: pb.TaskDefinition | None, trace_id: str = ""
    ) -> None:
        """Without a definition the server says that it is missing."""
        request = pb.DesireTaskRequest(task_guid=task_guid, domain=domain, task_definition=definition)
        await self._call(routes.DESIRE_TASK, request, trace_id)

    async def tasks(self, which: TaskFilter | None = None, *, trace_id: str = "") -> Sequence[pb.Task]:
        which = which or TaskFilter()
        request = pb.TasksRequest(domain=which.domain, cell_id=which.cell_id)
        return (await self._call(routes.TASKS, request, trace_id)).tasks

    async def tasks_by_domain(self, domain: str, *, trace_id: str = "") -> Sequence[pb.Task]:
        return await self.tasks(TaskFilter(domain=domain), trace_id=trace_id)

    async def tasks_by_cell_id(self, cell_id: str, *, trace_id: str = "") -> Sequence[pb.Task]:
        return await self.tasks(TaskFilter(cell_id=cell_id), trace_id=trace_id)

    async def task_by_guid(self, task_guid: str, *, trace_id: str = "") -> pb.Task:
        return (
            await self._call(routes.TASK_BY_GUID, pb.TaskByGuidRequest(task_guid=task_guid), trace_id)
        ).task

    async def cancel_task(self, task_guid: str, *, trace_id: str = "") -> None:
        await self._call(routes.CANCEL_TASK, pb.TaskGuidRequest(task_guid=task_guid), trace_id)

    async def resolving_task(self, task_guid: str, *, trace_id: str = "") -> None:
        """Declare that somebody is taking note of a completed task's result."""
        await self._call(routes.RESOLVING_TASK, pb.TaskGuidRequest(task_guid=task_guid), trace_id)

    async def delete_task(self, task_guid: str, *, trace_id: str = "") -> None:
        """Remove a task that is being resolved."""
        await self._call(routes.DELETE_TASK, pb.TaskGuidRequest(task_guid=task_guid), trace_id)

    # Events. What the source raises later is in its own docstrings; these raise BadEventSourceResponse when the server
    # does not offer the stream, TransportError when it could not be reached.

    async def subscribe_to_events(self, *, cell_id: str = "") -> EventSource:
        """Deprecated: use `subscribe_to_instance_events`. Events of DesiredLRPs and of ActualLRP groups.

        A ``cell_id`` lets only the group events of that cell pass. Subscribed when this returns.
        """
        return await self._subscribe(routes.EVENTS, cell_id)

    async def subscribe_to_instance_events(self, *, cell_id: str = "", once: bool = False) -> EventSource:
        """Events of DesiredLRPs and ActualLRPs. A ``cell_id`` lets only the ActualLRP events of that cell pass.

        Subscribed when this returns. A source whose connection breaks connects again and goes on, without the events in between
        and without a word, as upstream's; with ``once`` it ends instead, so that its reader knows.
        """
        if once:
            return EventSource(
                await SingleStream.open(self._streams, self._stream_request(routes.INSTANCE_EVENTS, cell_id))
            )
        return await self._subscribe(routes.INSTANCE_EVENTS, cell_id)

    async def subscribe_to_task_events(self) -> EventSource:
        """Events of tasks. Subscribed when this returns."""
        return await self._subscribe(routes.TASK_EVENTS, "")

    # Everything at once

    @asynccontextmanager
    async def watch(
        self,
        *,
        cell_id: str = "",
        tasks: bool = False,
        relist_every_s: float | None = None,
        start_within_s: float = math.inf,
        random: Random | None = None,
    ) -> AsyncIterator[Fleet]:
        """What runs and what should, kept up to date as long as the block runs: a snapshot, then changes.

            async with client.watch() as fleet:
                print(len(fleet.actual_lrps))
                async for change in fleet:
                    match change:
                        case Added(after=pb.ActualLRP() as lrp): ...

        No change is missed and none comes twice, whatever happens to connections and servers meanwhile: each change follows
        from what the fleet showed before. When a stream ends or breaks, or the server has cut it off, the watch subscribes
        and lists again, and tells the difference as changes; `Fleet.is_current` is False until then. A follower that is
        behind takes it back no step. What is not taken in time is merged, change by change of one record (`Fleet`), so
        a slow consumer costs the memory of the fleet, once, and never the connection.

        Entering the block takes until the first snapshot is there.

        Args:
          cell_id: watch only the ActualLRPs of this cell, with the server's filter. DesiredLRPs and tasks are not filtered.
          tasks: watch tasks, too.
          relist_every_s: list again so often, as a check; 0 or more. None: every minute with a ``cell_id``, since there is
            one change that the server's filter hides (an instance claimed here and started elsewhere), else never.
          start_within_s: how long to wait for the first snapshot.
          random: draws the pauses between connections.

        Raises:
          WatchFailed: on entering, or by ``async for``: the server does not offer what is watched, or a certificate is not
            accepted. Anything else is tried again for as long as it takes, and told to the client's log.
          TransportTimeout: there was no snapshot within ``start_within_s``; the text has the last reason.
        """
        log = self._caller.log.session("watch", {"cell_id": cell_id} if cell_id else {})
        if relist_every_s is None:
            relist_every_s = CELL_RELIST_S if cell_id else math.inf
        async with watching(
            WatchedServer(self._caller, self._streams, cell_id=cell_id, log=log),
            tasks=tasks,
            relist_every_s=relist_every_s,
            start_within_s=start_within_s,
            random=random or Random(),
            log=log,
        ) as fleet:
            yield fleet

    async def _call(self, route: Route[R], request: Message | None, trace_id: str) -> R:
        response = await self._caller.exchange(route, request, trace_id=trace_id)
        raise_refusal(response)
        return response

    async def _subscribe(self, route: StreamRoute, cell_id: str) -> EventSource:
        raw = RawEventSource(
            self._streams,
            self._stream_request(route, cell_id),
            retries=self._config.retries or RETRIES_DEFAULT,
            retry_interval_s=self._config.retry_interval_s or RETRY_INTERVAL_DEFAULT_S,
        )
        await raw.open()
        return EventSource(raw)

    def _stream_request(self, route: StreamRoute, cell_id: str) -> Request:
        return Request(
            method=route.method,
            url=self._caller.base_url + route.path,
            body=encode(pb.EventsByCellId(cell_id=cell_id)),
        )
