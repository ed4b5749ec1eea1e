"""A client of any BBS, ours or upstream's Go server: all that upstream's own client offers, on Trio.

    config = ClientConfig(url="https://bbs.service.cf.internal:8889", is_tls=True, ca_file=..., ...)
    async with BBSClient.connect(config) as client:
        await client.desire_lrp(lrp, trace_id=new_trace_id())
        async with await client.subscribe_to_instance_events() as events:
            async for event in events:
                print(event.name, event.key)

`BBSClient.watch` keeps a copy of the fleet up to date: a snapshot, then each change once.

Requests and results are the messages of `bbs.models.pb`; refusals are raised as the classes of `bbs.models.errors`.
"""

from bbs.client._changes import Added, Change, Changed, Removed, Told, what_is_told
from bbs.client._client import ActualLRPFilter, BBSClient, DesiredLRPFilter, TaskFilter
from bbs.client._config import ClientConfig
from bbs.client._connector import Connector, tcp_connector
from bbs.client._encoded_rows import RowsOf
from bbs.client._errors import (
    BadEventSourceResponse,
    CertificateRefused,
    ConnectionRefused,
    Distrust,
    EndOfStream,
    EndpointNotFound,
    EvacuationFailed,
    EventSourceError,
    HostNotFound,
    InvalidClientConfig,
    InvalidEventPayload,
    NotMaster,
    NotTLS,
    RawSourceError,
    ServerNotTrusted,
    SourceClosed,
    TLSWanted,
    TransportError,
    TransportTimeout,
    UnexpectedStatus,
    UnrecognizedEventType,
    WatchFailed,
)
from bbs.client._events import Event, EventMessage, EventSource
from bbs.client._fleet import Fleet, FleetStatistics
from bbs.client._handshake import shake_hands
from bbs.client._http_get import http_get
from bbs.client._internal_client import InternalBBSClient, RunningReport
from bbs.client._log import Log
from bbs.client._trace import new_trace_id

__all__ = [
    "ActualLRPFilter",
    "Added",
    "BBSClient",
    "BadEventSourceResponse",
    "CertificateRefused",
    "Change",
    "Changed",
    "ClientConfig",
    "ConnectionRefused",
    "Connector",
    "DesiredLRPFilter",
    "Distrust",
    "EndOfStream",
    "EndpointNotFound",
    "EvacuationFailed",
    "Event",
    "EventMessage",
    "EventSource",
    "EventSourceError",
    "Fleet",
    "FleetStatistics",
    "HostNotFound",
    "InternalBBSClient",
    "InvalidClientConfig",
    "InvalidEventPayload",
    "Log",
    "NotMaster",
    "NotTLS",
    "RawSourceError",
    "Removed",
    "RowsOf",
    "RunningReport",
    "ServerNotTrusted",
    "SourceClosed",
    "TLSWanted",
    "TaskFilter",
    "Told",
    "TransportError",
    "TransportTimeout",
    "UnexpectedStatus",
    "UnrecognizedEventType",
    "WatchFailed",
    "http_get",
    "new_trace_id",
    "shake_hands",
    "tcp_connector",
    "what_is_told",
]
