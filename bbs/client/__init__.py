"""A client of any BBS, ours or upstream's Go server: all that upstream's own client offers, on Trio.

    async with BBSClient.connect(
        "https://bbs.service.cf.internal:8889", ca_file="ca.crt", cert_file="client.crt", key_file="client.key"
    ) as client:
        for lrp in await client.actual_lrps(domain="cf-apps"):
            print(lrp.actual_lrp_key.process_guid, lrp.state == ActualLRPState.RUNNING)

`BBSClient.watch` keeps a copy of the fleet up to date: a snapshot, then each change once. `docs/client.md` is the guide.

Requests and results are the protobuf messages of ``pb``; refusals are raised as `BBSError`, each kind as a class of its own.
"""

from bbs.client._changes import Added, Change, Changed, Removed, Told, what_is_told
from bbs.client._client import BBSClient
from bbs.client._config import ClientConfig, ClientOptions
from bbs.client._connector import Connector, tcp_connector
from bbs.client._encoded_rows import RowsOf
from bbs.client._enums import PreferredAddress, UpdateStrategy
from bbs.client._errors import (
    NO_ANSWER,
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
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPKey, ActualLRPState, Presence
from bbs.models.errors import (
    ActualLRPCannotBeClaimed,
    ActualLRPCannotBeCrashed,
    ActualLRPCannotBeFailed,
    ActualLRPCannotBeRemoved,
    ActualLRPCannotBeStarted,
    ActualLRPCannotBeUnclaimed,
    BBSError,
    Deadlock,
    Deserialize,
    FailedToOpenEnvelope,
    GUIDGeneration,
    InvalidJSON,
    InvalidProtobufMessage,
    InvalidRecord,
    InvalidRequest,
    InvalidResponse,
    InvalidStateTransition,
    LockCollision,
    RequestTimeout,
    ResourceConflict,
    ResourceExists,
    ResourceNotFound,
    RouterError,
    RunningOnDifferentCell,
    UnknownError,
    Unrecoverable,
)
from bbs.models.task import TaskState

__all__ = [
    "NO_ANSWER",
    "ActualLRPCannotBeClaimed",
    "ActualLRPCannotBeCrashed",
    "ActualLRPCannotBeFailed",
    "ActualLRPCannotBeRemoved",
    "ActualLRPCannotBeStarted",
    "ActualLRPCannotBeUnclaimed",
    "ActualLRPKey",
    "ActualLRPState",
    "Added",
    "BBSClient",
    "BBSError",
    "BadEventSourceResponse",
    "CertificateRefused",
    "Change",
    "Changed",
    "ClientConfig",
    "ClientOptions",
    "ConnectionRefused",
    "Connector",
    "Deadlock",
    "Deserialize",
    "Distrust",
    "EndOfStream",
    "EndpointNotFound",
    "EvacuationFailed",
    "Event",
    "EventMessage",
    "EventSource",
    "EventSourceError",
    "FailedToOpenEnvelope",
    "Fleet",
    "FleetStatistics",
    "GUIDGeneration",
    "HostNotFound",
    "InternalBBSClient",
    "InvalidClientConfig",
    "InvalidEventPayload",
    "InvalidJSON",
    "InvalidProtobufMessage",
    "InvalidRecord",
    "InvalidRequest",
    "InvalidResponse",
    "InvalidStateTransition",
    "LockCollision",
    "Log",
    "NotMaster",
    "NotTLS",
    "PreferredAddress",
    "Presence",
    "RawSourceError",
    "Removed",
    "RequestTimeout",
    "ResourceConflict",
    "ResourceExists",
    "ResourceNotFound",
    "RouterError",
    "RowsOf",
    "RunningOnDifferentCell",
    "RunningReport",
    "ServerNotTrusted",
    "SourceClosed",
    "TLSWanted",
    "TaskState",
    "Told",
    "TransportError",
    "TransportTimeout",
    "UnexpectedStatus",
    "UnknownError",
    "UnrecognizedEventType",
    "Unrecoverable",
    "UpdateStrategy",
    "WatchFailed",
    "http_get",
    "new_trace_id",
    "pb",
    "shake_hands",
    "tcp_connector",
    "what_is_told",
]
