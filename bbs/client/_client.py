"""What anybody may ask of a BBS: upstream's external client (spec: client.md §4.1).

Every call raises a refusal of `bbs.models.errors` when the server answers with one, and what `Caller.exchange` raises
when there is no proper answer.
"""

import math
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Final, Self, TypeVar, Unpack

import trio
from google.protobuf.message import Message

from bbs.client import _routes as routes
from bbs.client._caller import Caller, raise_refusal
from bbs.client._config import ClientConfig, ClientOptions
from bbs.client._connector import Connector, tcp_connector
from bbs.client._encoded_rows import ROUTES, RowsOf
from bbs.client._errors import TransportError
from bbs.client._events import EventSource
from bbs.client._fleet import Fleet
from bbs.client._http import Request, TimeOuts, Transport
from bbs.client._log import Log, NoLog
from bbs.client._raw_events import RawEventSource
from bbs.client._routes import Route, StreamRoute
from bbs.client._single_stream import SingleStream
from bbs.client._watch import CELL_RELIST_S, watching
from bbs.client._watched_server import LIST_WITHIN_S, WatchedServer
from bbs.models import pb
from bbs.models.errors import BBSError
from bbs.models.wire import encode

R = TypeVar("R", bound=Message)

TTL_S_LIMIT: Final = 2**32
"""It is 32 bits on the wire."""

CALLS_KEEP_ALIVE_S: Final = 15
STREAMS_KEEP_ALIVE_S: Final = 30
"""As upstream's clients, which probe idle streams more seldom than the connections of unary calls."""


class BBSClient:
    """A client for operators, routers and the cloud controller. Open it with `connect`; any number of tasks may use it.

        async with BBSClient.connect(
            "https://bbs.service.cf.internal:8889", ca_file="ca.crt", cert_file="client.crt", key_file="client.key"
        ) as client:
            for lrp in await client.actual_lrps(domain="cf-apps"):
                print(lrp.actual_lrp_key.process_guid, lrp.state == ActualLRPState.RUNNING)

    Every call takes ``trace_id``, which ties its log lines to those of other components (`new_trace_id` makes one), and raises
    what the server refuses it with, a `BBSError`. Without an answer it raises one of `NO_ANSWER`, once `ClientConfig.attempts`
    attempts have failed.

    Messages are those of `bbs.models.pb`. Their times are Unix times in nanoseconds, 0 is never; ``memory_mb`` and ``disk_mb`` are
    mebibytes; what ends in ``_ms`` is milliseconds.
    """

    def __init__(self, caller: Caller, streams: Transport, config: ClientConfig) -> None:
        """Use `connect`, which makes these parts and closes them."""
        self._caller = caller
        self._streams = streams
        self._config = config

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        to: str | ClientConfig,
        *,
        connector: Connector | None = None,
        log: Log | None = None,
        **options: Unpack[ClientOptions],
    ) -> AsyncIterator[Self]:
        """A client for as long as the block runs. Nothing is connected yet: each call connects if it has to.

        At the end of the block idle connections are closed. Event sources are not: whoever subscribed closes them.

        Args:
          to: the base URL, or a `ClientConfig`.
          connector: makes byte streams in place of TCP.
          log: is told of each unary call, and what a watch does.
          **options: the attributes of `ClientConfig` by their names, such as ``ca_file``, ``cert_file``, ``key_file`` and
            ``request_timeout_s``. They come before those of a config.

        Raises:
          InvalidClientConfig: the URL, a file or a number can't be used; the text says which, and what to give.
        """
        config = replace(to if isinstance(to, ClientConfig) else ClientConfig(url=to), **options)
        base_url = config.parsed_url().geturl().rstrip("/")
        ssl_context = config.ssl_context()
        dialling = TimeOuts(
            connect_s=config.connect_timeout_s, tls_handshake_s=config.tls_handshake_timeout_s
        )
        calls = Transport(
            connector or tcp_connector(keep_alive_s=CALLS_KEEP_ALIVE_S),
            ssl_context,
            idle_connections_max=config.idle_connections_max,
            time_outs=dialling,
        )
        streams = Transport(
            connector or tcp_connector(keep_alive_s=STREAMS_KEEP_ALIVE_S),
            ssl_context,
            idle_connections_max=config.idle_connections_max,
            time_outs=replace(
                dialling,
                head_s=_or_unbounded(config.request_timeout_s),
                piece_s=_or_unbounded(config.stream_idle_timeout_s),
            ),
        )
        caller = Caller(
            calls,
            base_url=base_url,
            attempts=config.attempts,
            request_timeout_s=_or_unbounded(config.request_timeout_s),
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
        """The cells that are there, as their reps have announced them.

        Of each: ``cell_id``, ``zone``, ``rep_url``, ``capacity`` (the whole of it, used or not: ``memory_mb``, ``disk_mb``,
        ``containers``), ``rootfs_providers``, ``placement_tags`` and ``optional_placement_tags``.
        """
        return (await self._call(routes.CELLS, None, trace_id)).cells

    async def domains(self, *, trace_id: str = "") -> Sequence[str]:
        """The names of the domains that are fresh: what is desired in them is known completely."""
        return (await self._call(routes.DOMAINS, None, trace_id)).domains

    async def upsert_domain(self, domain: str, *, ttl_s: float, trace_id: str = "") -> None:
        """Declare a domain fresh for ``ttl_s`` seconds, rounded down to whole ones. 0 is for ever.

        Raises:
          ValueError: the time is negative, does not fit 32 bits, or is less than a second, which rounded down would be for ever.
        """
        if ttl_s != 0 and not 1 <= ttl_s < TTL_S_LIMIT:
            raise ValueError(f"ttl_s is {ttl_s}: give 0, for ever, or seconds from 1 to {TTL_S_LIMIT - 1}")
        await self._call(
            routes.UPSERT_DOMAIN, pb.UpsertDomainRequest(domain=domain, ttl=math.floor(ttl_s)), trace_id
        )

    async def encoded_rows(self, which: RowsOf, *, trace_id: str = "") -> Sequence[bytes]:
        """All rows of a list as they came, not decoded: messages of the class that the list's own method returns, and of
        domains their names in UTF-8. So a list of 250,000 need not hold up the event loop: decode it piece by piece.
        """
        response = await self._call(ROUTES[which], None, trace_id)
        rows: Sequence[bytes] = response.rows
        return rows

    # ActualLRPs

    async def actual_lrps(
        self,
        *,
        domain: str = "",
        cell_id: str = "",
        process_guid: str = "",
        index: int | None = None,
        trace_id: str = "",
    ) -> Sequence[pb.ActualLRP]:
        """The instances that fit all that is given; '' and None fit any. An instance may have several rows while it is
        evacuated or its cell is missing, one for each `Presence`.

        Of each:

        - ``actual_lrp_key``: ``process_guid``, ``index`` and ``domain``.
        - ``state``: an `ActualLRPState`, by ``==``; on the wire it is text.
        - ``since``: when it came into that state, Unix time in nanoseconds.
        - ``actual_lrp_instance_key``: ``instance_guid`` and ``cell_id``; both '' while it is unclaimed.
        - ``actual_lrp_net_info``: once it runs ``address`` (the cell's), ``instance_address`` (the container's) and ``ports``, each
          with ``container_port`` and ``host_port``; ``preferred_address`` is a `PreferredAddress`, by ``==``.
        - ``presence``: a `Presence`, by ``==``.
        - ``routable``: whether routers may send it requests.
        - ``crash_count`` and ``crash_reason``; ``placement_error``: why no cell took it, '' if one did.
        - ``modification_tag``: ``epoch`` and ``index``, which order its versions.
        - ``availability_zone``, ``metric_tags``, ``actual_lrp_internal_routes``: as its cell reported them.
        """
        request = pb.ActualLRPsRequest(domain=domain, cell_id=cell_id, process_guid=process_guid, index=index)
        return (await self._call(routes.ACTUAL_LRPS, request, trace_id)).actual_lrps

    async def actual_lrps_by_process_guids(
        self, process_guids: Collection[str], *, trace_id: str = ""
    ) -> Sequence[pb.ActualLRP]:
        """The instances of any of these processes, as `actual_lrps` has them. An empty collection fits nothing, and then the server,
        which would refuse it, is not asked.
        """
        if _nothing_fits(process_guids):
            return []
        request = pb.ActualLRPsByProcessGuidsRequest(process_guids=_several(process_guids))
        return (await self._call(routes.ACTUAL_LRPS_BY_PROCESS_GUIDS, request, trace_id)).actual_lrps

    async def actual_lrp_groups(
        self, *, domain: str = "", cell_id: str = "", trace_id: str = ""
    ) -> Sequence[pb.ActualLRPGroup]:
        """Deprecated: use `actual_lrps`. Each group has the ``instance`` and, if it is being evacuated, an ``evacuating`` one."""
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
        """Deprecated: use `actual_lrps`.

        Raises:
          ResourceNotFound: there is no such instance.
        """
        request = pb.ActualLRPGroupByProcessGuidAndIndexRequest(process_guid=process_guid, index=index)
        response = await self._call(routes.ACTUAL_LRP_GROUP_BY_PROCESS_GUID_AND_INDEX, request, trace_id)
        return response.actual_lrp_group

    async def retire_actual_lrp(self, key: pb.ActualLRPKey, *, trace_id: str = "") -> None:
        """Remove an instance that does not run, or have its cell stop it. While it is desired, another one takes its place.

        Raises:
          ResourceNotFound: there is no such instance.
        """
        await self._call(routes.RETIRE_ACTUAL_LRP, pb.RetireActualLRPRequest(actual_lrp_key=key), trace_id)

    # DesiredLRPs

    async def desired_lrps(
        self,
        *,
        domain: str = "",
        process_guids: Collection[str] | None = None,
        app_guids: Collection[str] | None = None,
        trace_id: str = "",
    ) -> Sequence[pb.DesiredLRP]:
        """The DesiredLRPs that fit all that is given, whole. '' and None fit any; an empty collection fits nothing, and then the
        server is not asked. An app guid is what process guids begin with.

        Of each:

        - ``process_guid``, ``domain``, ``log_guid``, ``annotation``.
        - ``instances``: how many shall run.
        - ``memory_mb`` and ``disk_mb`` of each instance in mebibytes, ``max_pids``, ``cpu_weight``.
        - ``root_fs``, ``setup``, ``action``, ``monitor``: what is run.
        - ``start_timeout_ms``: how long ``monitor`` may take to succeed for the first time, in milliseconds.
        - ``routes.routes``: JSON as bytes, by the router's name.
        - ``update_strategy``: an `UpdateStrategy`, by ``==``.
        - ``modification_tag``: ``epoch`` and ``index``, which order its versions.
        """
        if _nothing_fits(process_guids, app_guids):
            return []
        request = _desired_lrps_request(domain, process_guids, app_guids)
        return (await self._call(routes.DESIRED_LRPS, request, trace_id)).desired_lrps

    async def desired_lrp_by_process_guid(self, process_guid: str, *, trace_id: str = "") -> pb.DesiredLRP:
        """One DesiredLRP, as `desired_lrps` has it.

        Raises:
          ResourceNotFound: there is none.
        """
        request = pb.DesiredLRPByProcessGuidRequest(process_guid=process_guid)
        return (await self._call(routes.DESIRED_LRP_BY_PROCESS_GUID, request, trace_id)).desired_lrp

    async def desired_lrp_scheduling_infos(
        self, *, domain: str = "", process_guids: Collection[str] | None = None, trace_id: str = ""
    ) -> Sequence[pb.DesiredLRPSchedulingInfo]:
        """What it takes to place and count each DesiredLRP that fits: much less than `desired_lrps`, with the same filters but the
        app guids, which servers ignore here.

        Of each: ``desired_lrp_key`` (``process_guid``, ``domain``, ``log_guid``), ``instances``, ``desired_lrp_resource``
        (``memory_mb``, ``disk_mb``, ``max_pids``, ``root_fs``), ``annotation``, ``routes``, ``volume_placement``, ``PlacementTags``
        and ``modification_tag``.
        """
        if _nothing_fits(process_guids):
            return []
        request = _desired_lrps_request(domain, process_guids, None)
        response = await self._call(routes.DESIRED_LRP_SCHEDULING_INFOS, request, trace_id)
        return response.desired_lrp_scheduling_infos

    async def desired_lrp_scheduling_info_by_process_guid(
        self, process_guid: str, *, trace_id: str = ""
    ) -> pb.DesiredLRPSchedulingInfo:
        """One scheduling info, as `desired_lrp_scheduling_infos` has it.

        Raises:
          ResourceNotFound: there is no such DesiredLRP.
        """
        request = pb.DesiredLRPByProcessGuidRequest(process_guid=process_guid)
        response = await self._call(routes.DESIRED_LRP_SCHEDULING_INFO_BY_PROCESS_GUID, request, trace_id)
        return response.desired_lrp_scheduling_info

    async def desired_lrp_routing_infos(
        self, *, process_guids: Collection[str] | None = None, trace_id: str = ""
    ) -> Sequence[pb.DesiredLRP]:
        """What route-emitters need of each DesiredLRP, or of these: ``process_guid``, ``domain``, ``log_guid``, ``instances``,
        ``routes``, ``metric_tags`` and ``modification_tag``; its other fields are empty. Servers ignore other filters here. An
        empty collection fits nothing, and then the server is not asked.
        """
        if _nothing_fits(process_guids):
            return []
        request = _desired_lrps_request("", process_guids, None)
        return (await self._call(routes.DESIRED_LRP_ROUTING_INFOS, request, trace_id)).desired_lrps

    async def desire_lrp(self, lrp: pb.DesiredLRP, *, trace_id: str = "") -> None:
        """Have an app run. When this returns it is stored and its instances are there, unclaimed as a rule: cells claim and start
        them later.

        Raises:
          ResourceExists: there is a DesiredLRP with this process guid; maybe by an attempt of this very call whose answer was
            lost.
          InvalidRequest: a field is missing, or has a value that is not allowed; the text has all of them.
        """
        await self._call(routes.DESIRE_LRP, pb.DesireLRPRequest(desired_lrp=lrp), trace_id)

    async def update_desired_lrp(
        self, process_guid: str, update: pb.DesiredLRPUpdate, *, trace_id: str = ""
    ) -> None:
        """Change what is set in ``update``: ``instances``, ``routes``, ``annotation``, ``metric_tags``, ``image_username`` and
        ``image_password``. Instances are started and stopped accordingly.

        Raises:
          ResourceNotFound: there is no such DesiredLRP.
          InvalidRequest: a value is not allowed.
        """
        request = pb.UpdateDesiredLRPRequest(process_guid=process_guid, update=update)
        await self._call(routes.UPDATE_DESIRED_LRP, request, trace_id)

    async def remove_desired_lrp(self, process_guid: str, *, trace_id: str = "") -> None:
        """Desire an app no longer. Its instances are stopped by their cells, which takes longer than this call.

        Raises:
          ResourceNotFound: there is no such DesiredLRP; maybe since an attempt of this very call removed it, and its answer was lost.
        """
        await self._call(
            routes.REMOVE_DESIRED_LRP, pb.RemoveDesiredLRPRequest(process_guid=process_guid), trace_id
        )

    # Tasks

    async def desire_task(
        self, *, task_guid: str, domain: str, definition: pb.TaskDefinition | None, trace_id: str = ""
    ) -> None:
        """Have a task run once. When this returns it is stored, pending; a cell starts it later. Once it is over the BBS posts to
        the definition's ``completion_callback_url``, if there is one, and deletes the task. Without a definition the server
        says that it is missing.

        Raises:
          ResourceExists: there is a task with this guid; maybe by an attempt of this very call whose answer was lost.
          InvalidRequest: a field is missing, or has a value that is not allowed.
        """
        request = pb.DesireTaskRequest(task_guid=task_guid, domain=domain, task_definition=definition)
        await self._call(routes.DESIRE_TASK, request, trace_id)

    async def tasks(self, *, domain: str = "", cell_id: str = "", trace_id: str = "") -> Sequence[pb.Task]:
        """The tasks that fit all that is given; '' fits any.

        Of each:

        - ``task_guid``, ``domain``, ``task_definition`` (``memory_mb`` and ``disk_mb`` in mebibytes).
        - ``state``: a `TaskState`, by ``==``.
        - ``cell_id``: who runs it, '' while it is pending.
        - ``created_at``, ``updated_at``, ``first_completed_at``: Unix times in nanoseconds, 0 is never.
        - ``failed``, ``failure_reason`` and ``result`` (what its result file had): once it is completed.
        - ``rejection_count`` and ``rejection_reason``: how often no cell took it, and why the last time.
        """
        request = pb.TasksRequest(domain=domain, cell_id=cell_id)
        return (await self._call(routes.TASKS, request, trace_id)).tasks

    async def task_by_guid(self, task_guid: str, *, trace_id: str = "") -> pb.Task:
        """One task, as `tasks` has it.

        Raises:
          ResourceNotFound: there is none.
        """
        return (
            await self._call(routes.TASK_BY_GUID, pb.TaskByGuidRequest(task_guid=task_guid), trace_id)
        ).task

    async def cancel_task(self, task_guid: str, *, trace_id: str = "") -> None:
        """End a pending or running task: it is completed and ``failed`` when this returns. Its cell stops it.

        Raises:
          ResourceNotFound: there is no such task.
          InvalidStateTransition: it is over already.
        """
        await self._call(routes.CANCEL_TASK, pb.TaskGuidRequest(task_guid=task_guid), trace_id)

    async def resolving_task(self, task_guid: str, *, trace_id: str = "") -> None:
        """Declare that somebody is taking note of a completed task's result. Only one caller succeeds with it.

        Raises:
          ResourceNotFound: there is no such task.
          InvalidStateTransition: it is not completed, or is being resolved already.
        """
        await self._call(routes.RESOLVING_TASK, pb.TaskGuidRequest(task_guid=task_guid), trace_id)

    async def delete_task(self, task_guid: str, *, trace_id: str = "") -> None:
        """Remove a task that is being resolved.

        Raises:
          ResourceNotFound: there is no such task.
          InvalidStateTransition: it is not being resolved.
        """
        await self._call(routes.DELETE_TASK, pb.TaskGuidRequest(task_guid=task_guid), trace_id)

    # Events. What a source raises later is in its own docstrings.

    async def subscribe_to_events(self, *, cell_id: str = "") -> EventSource:
        """Deprecated: use `subscribe_to_instance_events`. Events of DesiredLRPs and of ActualLRP groups.

        Raises as that does.

        A ``cell_id`` lets only the group events of that cell pass. Subscribed when this returns.
        """
        return await self._subscribe(routes.EVENTS, cell_id)

    async def subscribe_to_instance_events(self, *, cell_id: str = "", once: bool = False) -> EventSource:
        """Events of DesiredLRPs and ActualLRPs. A ``cell_id`` lets only the ActualLRP events of that cell pass.

        `Event.message` is a ``pb.DesiredLRPCreatedEvent``, ``DesiredLRPChangedEvent``, ``DesiredLRPRemovedEvent``,
        ``ActualLRPInstanceCreatedEvent``, ``ActualLRPInstanceChangedEvent``, ``ActualLRPInstanceRemovedEvent`` or
        ``ActualLRPCrashedEvent``. Whoever needs to know what is, and not just what happens, is better off with `watch`.

        Subscribed when this returns. A source whose connection breaks connects again and goes on, without the events in between
        and without a word, as upstream's; with ``once`` its reader is told by a `RawSourceError`, and the source is of no more use.

        Raises:
          BadEventSourceResponse: the server does not offer the stream.
          TransportError: it could not be reached.
        """
        if once:
            return EventSource(
                await SingleStream.open(self._streams, self._stream_request(routes.INSTANCE_EVENTS, cell_id))
            )
        return await self._subscribe(routes.INSTANCE_EVENTS, cell_id)

    async def subscribe_to_task_events(self, *, once: bool = False) -> EventSource:
        """Events of tasks: `Event.message` is a ``pb.TaskCreatedEvent``, ``TaskChangedEvent`` or ``TaskRemovedEvent``.

        Subscribed when this returns. ``once`` and what is raised: see `subscribe_to_instance_events`.
        """
        if once:
            return EventSource(
                await SingleStream.open(self._streams, self._stream_request(routes.TASK_EVENTS, ""))
            )
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
            WatchedServer(
                self._caller,
                self._streams,
                cell_id=cell_id,
                list_within_s=self._config.request_timeout_s or LIST_WITHIN_S,
                log=log,
            ),
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
            reconnects=self._config.stream_reconnects,
            pause_s=self._config.stream_reconnect_pause_s,
        )
        await raw.open()
        return EventSource(raw)

    def _stream_request(self, route: StreamRoute, cell_id: str) -> Request:
        return Request(
            method=route.method,
            url=self._caller.base_url + route.path,
            body=encode(pb.EventsByCellId(cell_id=cell_id)),
        )


def _or_unbounded(timeout_s: float | None) -> float:
    return math.inf if timeout_s is None else timeout_s


def _several(guids: Collection[str]) -> Collection[str]:
    """``guids``, unless it is one text: that would be taken for as many guids as it has letters."""
    if isinstance(guids, str):
        raise TypeError(f"{guids!r} is one guid; give a collection of them, such as [{guids!r}]")
    return guids


def _nothing_fits(*filters: Collection[str] | None) -> bool:
    """On the wire an empty list of guids is no filter, so that everything would come."""
    return any(guids is not None and not guids for guids in filters)


def _desired_lrps_request(
    domain: str, process_guids: Collection[str] | None, app_guids: Collection[str] | None
) -> pb.DesiredLRPsRequest:
    return pb.DesiredLRPsRequest(
        domain=domain, process_guids=_several(process_guids or ()), app_guids=_several(app_guids or ())
    )
