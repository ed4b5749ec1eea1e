"""A client of any BBS, ours or upstream's Go server: all that upstream's own client offers, on Trio.

    config = ClientConfig(url="https://bbs.service.cf.internal:8889", is_tls=True, ca_file=..., ...)
    async with BBSClient.connect(config) as client:
        await client.desire_lrp(lrp, trace_id=new_trace_id())
        async with await client.subscribe_to_instance_events() as events:
            async for event in events:
                print(event.name, event.key)

Requests and results are the messages of `bbs.models.pb`; refusals are raised as the classes of `bbs.models.errors`.
"""

from bbs.client._client import ActualLRPFilter, BBSClient, DesiredLRPFilter, TaskFilter
from bbs.client._config import ClientConfig
from bbs.client._connector import Connector, tcp_connector
from bbs.client._encoded_rows import RowsOf
from bbs.client._errors import (
    BadEventSourceResponse,
    EndOfStream,
    EndpointNotFound,
    EvacuationFailed,
    EventSourceError,
    InvalidClientConfig,
    InvalidEventPayload,
    RawSourceError,
    SourceClosed,
    TransportError,
    TransportTimeout,
    UnrecognizedEventType,
)
from bbs.client._events import Event, EventMessage, EventSource
from bbs.client._internal_client import InternalBBSClient, RunningReport
from bbs.client._log import Log
from bbs.client._trace import new_trace_id

__all__ = [
    "ActualLRPFilter",
    "BBSClient",
    "BadEventSourceResponse",
    "ClientConfig",
    "Connector",
    "DesiredLRPFilter",
    "EndOfStream",
    "EndpointNotFound",
    "EvacuationFailed",
    "Event",
    "EventMessage",
    "EventSource",
    "EventSourceError",
    "InternalBBSClient",
    "InvalidClientConfig",
    "InvalidEventPayload",
    "Log",
    "RawSourceError",
    "RowsOf",
    "RunningReport",
    "SourceClosed",
    "TaskFilter",
    "TransportError",
    "TransportTimeout",
    "UnrecognizedEventType",
    "new_trace_id",
    "tcp_connector",
]
