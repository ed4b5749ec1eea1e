"""Locket, where the fleet's locks and presences are kept: what we ask of it, and how we ask over gRPC.

While Locket can't be reached calls fail at once, except those with ``wait_for_ready``, which wait for it within their
deadline. Nothing is tried again here: callers repeat their calls anyway (spec: locking-and-presence.md §1, §2).

gRPC makes its calls from threads of its own. A call's end is handed to Trio's thread; a call whose task is cancelled is
cancelled too. All its threads are gone soon after the channel is closed.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import partial
from math import inf
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import trio
from google.protobuf.message import DecodeError, Message

from bbs.log import Logger
from bbs.models.pb import locket_pb2 as pb
from bbs.peers.interfaces import PeerUnavailable
from bbs.tls.contexts import TLSFiles
from bbs.tls.grpc_credentials import channel_credentials, grpc

CONNECT_MAX_S: Final = 10
"""Upstream's: for the first connection altogether, and for each attempt."""

WATCH_END_MAX_S: Final = 5.0
"""gRPC looks every 0.2 s whether somebody still watches a connection. It takes longer on a machine that is busy."""

KEEPALIVE_TIME_MIN_S: Final = 10
"""Shortest silence after which a connection is probed; Go raises smaller settings to this."""

KEEPALIVE_TIMEOUT_S: Final = 20
"""How long a probe may go unanswered, unless the configuration says otherwise."""

MILLISECONDS_MAX: Final = (1 << 31) - 1
"""What fits into a channel option: 24 days."""

DEADLINE_MAX_S: Final = 1e9
"""A deadline farther away than this, 31 years, is left out: gRPC takes one beyond the year 2262 for one that has passed,
and every call would fail."""

ResponseT = TypeVar("ResponseT", bound=Message)


class TypeCode(IntEnum):
    """What a resource is. The wire may bring other numbers."""

    UNKNOWN = pb.UNKNOWN
    LOCK = pb.LOCK
    PRESENCE = pb.PRESENCE


TYPE_NAMES: Final[Mapping[int, str]] = {TypeCode.LOCK: "lock", TypeCode.PRESENCE: "presence"}
"""The older form of the type, which is still sent beside its code."""

EARLY_S: Final = 0.5
"""A deadline that gRPC says is over so long before it is, is none."""

LATE_S: Final = 1.0
"""How long we wait beyond a deadline for gRPC to say that it is over."""


class Code(StrEnum):
    """gRPC's status codes that Locket or the way to it produce, as Go spells them. There are more."""

    UNKNOWN = "Unknown"
    INTERNAL = "Internal"
    INVALID_ARGUMENT = "InvalidArgument"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    NOT_FOUND = "NotFound"
    ALREADY_EXISTS = "AlreadyExists"
    RESOURCE_EXHAUSTED = "ResourceExhausted"
    UNAVAILABLE = "Unavailable"


class LocketError(PeerUnavailable):
    """A call that failed. ``code`` is gRPC's name of the kind of failure, in Go's spelling; see `Code`."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {description}")
        self.code = code
        self.description = description

    @classmethod
    def out_of_time(cls) -> Self:
        return cls(Code.DEADLINE_EXCEEDED, "context deadline exceeded")


class LocketUnreachable(Exception):
    """No connection to Locket within `CONNECT_MAX_S`. The text is upstream's."""

    def __init__(self) -> None:
        super().__init__("context deadline exceeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that one owner holds for as long as it renews it."""

    key: str
    owner: str
    value: str = ""
    type: str
    type_code: int

    @classmethod
    def lock(cls, key: str, *, owner: str, value: str = "") -> Self:
        name = TYPE_NAMES[TypeCode.LOCK]
        return cls(key=key, owner=owner, value=value, type=name, type_code=TypeCode.LOCK)

    @classmethod
    def presence(cls, key: str, *, owner: str, value: str) -> Self:
        name = TYPE_NAMES[TypeCode.PRESENCE]
        return cls(key=key, owner=owner, value=value, type=name, type_code=TypeCode.PRESENCE)

    @classmethod
    def from_wire(cls, resource: pb.Resource) -> Self:
        return cls(
            key=resource.key,
            owner=resource.owner,
            value=resource.value,
            type=resource.type,
            type_code=resource.type_code,
        )

    def to_wire(self) -> pb.Resource:
        return pb.Resource(
            key=self.key,
            owner=self.owner,
            value=self.value,
            type=self.type,
            type_code=self.type_code,
        )


class Locket(Protocol):
    """Every call raises `LocketError`. A ``deadline_s`` that is not positive has passed before the call is made.

    Cancellation: whether Locket did as asked is unknown, as after a deadline.
    """

    async def lock(
        self,
        resource: Resource,
        *,
        ttl_s: int,
        request_uuid: str = "",
        deadline_s: float | None,
        wait_for_ready: bool,
    ) -> None:
        """Take or renew ``resource`` for ``ttl_s`` seconds. With ``wait_for_ready`` the call waits while Locket is away."""

    async def fetch(self, key: str, *, deadline_s: float | None) -> Resource: ...

    async def release(self, resource: Resource) -> None:
        """Give up ``resource``, without a deadline, as upstream does. One that nobody holds is no error."""

    async def fetch_all(self, type_code: int, *, deadline_s: float | None) -> list[Resource]:
        """All resources of a type, in no particular order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocketSettings:
    """``address`` is ``host:port``; the host is the name that Locket's certificate must bear. No ``tls``: plain text.

    Keep-alive times are upstream's settings as they are written: whole seconds, 0 for the default.
    """

    address: str
    tls: TLSFiles | None
    keepalive_time_s: int = 0
    keepalive_timeout_s: int = 0


@asynccontextmanager
async def open_locket(settings: LocketSettings, *, log: Logger) -> AsyncIterator["GRPCLocket"]:
    """A connection to Locket, which comes back by itself when it breaks; closed in the end.

    Raises:
      TLSFilesInvalid: a file can't be used.
      LocketUnreachable: Locket can't be reached, or we do not trust one another.
    """
    channel = _open_channel(settings)
    try:
        await _connect(channel)
        log.debug("connected-to-locket", {"address": settings.address})
        yield GRPCLocket(channel)
    finally:
        await _watch_ended(channel)
        channel.close()


def _open_channel(settings: LocketSettings) -> grpc.Channel:
    options: list[tuple[str, Any]] = [
        ("grpc.keepalive_time_ms", _milliseconds(max(settings.keepalive_time_s, KEEPALIVE_TIME_MIN_S))),
        ("grpc.keepalive_timeout_ms", _milliseconds(settings.keepalive_timeout_s or KEEPALIVE_TIMEOUT_S)),
        # Go pings for as long as a call takes, however quiet the line is.
        ("grpc.http2.max_pings_without_data", 0),
        # Go's backoff, with upstream's limit to an attempt.
        ("grpc.initial_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 120_000),
        ("grpc.min_reconnect_backoff_ms", CONNECT_MAX_S * 1000),
        # Each channel its own connection: a new one must not inherit another one's backoff.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
    if settings.tls is None:
        return grpc.insecure_channel(settings.address, options=options)
    return grpc.secure_channel(settings.address, channel_credentials(settings.tls), options=options)


def _milliseconds(seconds: int) -> int:
    """Seconds in the form of a channel option, bounded by what fits. A negative time is over at once, as in Go."""
    return min(max(seconds * 1000, 1), MILLISECONDS_MAX)


async def _connect(channel: grpc.Channel) -> None:
    connected = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def on_state(state: grpc.ChannelConnectivity) -> None:
        if state is grpc.ChannelConnectivity.READY:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(connected.set)

    channel.subscribe(on_state, try_to_connect=True)
    try:
        with trio.fail_after(CONNECT_MAX_S):
            await connected.wait()
    except trio.TooSlowError as error:
        raise LocketUnreachable from error
    finally:
        channel.unsubscribe(on_state)


async def _watch_ended(channel: grpc.Channel) -> None:
    """Wait until the threads that told `_connect` of the channel's state are over, which they are some 0.2 s after it.

    A process that ended while one of them held the channel's lock would hang: Python stops such threads where they are, and
    then waits for that lock when it deletes the channel.
    """
    watch = channel._connectivity_state  # type: ignore[attr-defined]  # gRPC tells it in no other way
    with trio.move_on_after(WATCH_END_MAX_S, shield=True):
        while watch.polling or watch.delivering:  # noqa: ASYNC110  # they set no event
            await trio.sleep(0.01)


class GRPCLocket:
    """A `Locket` on a channel, which is its opener's to close."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._lock = _method(channel, "Lock", pb.LockResponse)
        self._fetch = _method(channel, "Fetch", pb.FetchResponse)
        self._release = _method(channel, "Release", pb.ReleaseResponse)
        self._fetch_all = _method(channel, "FetchAll", pb.FetchAllResponse)

    async def lock(
        self,
        resource: Resource,
        *,
        ttl_s: int,
        request_uuid: str = "",
        deadline_s: float | None,
        wait_for_ready: bool,
    ) -> None:
        await _call(
            self._lock,
            pb.LockRequest(resource=resource.to_wire(), ttl_in_seconds=ttl_s),
            deadline_s=deadline_s,
            metadata=(("uuid", request_uuid),) if request_uuid else (),
            wait_for_ready=wait_for_ready,
        )

    async def fetch(self, key: str, *, deadline_s: float | None) -> Resource:
        response = await _call(self._fetch, pb.FetchRequest(key=key), deadline_s=deadline_s)
        return Resource.from_wire(response.resource)

    async def release(self, resource: Resource) -> None:
        await _call(self._release, pb.ReleaseRequest(resource=resource.to_wire()), deadline_s=None)

    async def fetch_all(self, type_code: int, *, deadline_s: float | None) -> list[Resource]:
        request = pb.FetchAllRequest(
            type=TYPE_NAMES.get(type_code, ""),
            type_code=type_code,
        )
        response = await _call(self._fetch_all, request, deadline_s=deadline_s)
        return [Resource.from_wire(resource) for resource in response.resources]


@dataclass(frozen=True, slots=True)
class _Method(Generic[ResponseT]):
    """A call of Locket's. gRPC is given bytes and gives bytes: of those that are no message it would write a traceback to
    standard error.
    """

    ask: "grpc.UnaryUnaryMultiCallable[bytes, bytes]"
    response_class: type[ResponseT]

    def read(self, answer: bytes) -> ResponseT:
        """
        Raises:
          LocketError: it is not this message. The code and the beginning of the text are Go's.
        """
        try:
            return self.response_class.FromString(answer)
        except DecodeError as error:
            name = self.response_class.DESCRIPTOR.full_name
            description = f"grpc: failed to unmarshal the received message: not a {name}"
            raise LocketError(Code.INTERNAL, description) from error


def _method(channel: grpc.Channel, name: str, response_class: type[ResponseT]) -> _Method[ResponseT]:
    return _Method(channel.unary_unary(f"/models.Locket/{name}"), response_class)


async def _call(
    method: _Method[ResponseT],
    request: Message,
    *,
    deadline_s: float | None,
    metadata: Sequence[tuple[str, str]] = (),
    wait_for_ready: bool = False,
) -> ResponseT:
    if deadline_s is not None and deadline_s <= 0:
        await trio.lowlevel.checkpoint()
        raise LocketError.out_of_time()
    ends = inf if deadline_s is None else trio.current_time() + deadline_s
    attempt = partial(_attempt, method, request.SerializeToString(), ends, tuple(metadata), wait_for_ready)
    try:
        return await attempt()
    except LocketError as error:
        if error.code != Code.DEADLINE_EXCEEDED or trio.current_time() > ends - EARLY_S:
            raise
    # gRPC counts by the wall clock, and that has jumped forward while the call began.
    return await attempt()


async def _attempt(
    method: _Method[ResponseT],
    request: bytes,
    ends: float,
    metadata: tuple[tuple[str, str], ...],
    wait_for_ready: bool,
) -> ResponseT:
    """One call, over by ``ends`` on Trio's clock."""
    ended = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def on_end(_: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(ended.set)

    left_s = ends - trio.current_time()
    call = method.ask.future(
        request,
        timeout=left_s if left_s <= DEADLINE_MAX_S else None,
        metadata=metadata,
        wait_for_ready=wait_for_ready,
    )
    call.add_done_callback(on_end)
    try:
        # Without a deadline the caller has a reason of its own to wait. With one gRPC keeps it, unless the wall clock has jumped
        # back while the call began: then it is ours that ends the call.
        with trio.move_on_at(ends + LATE_S):
            await ended.wait()
    finally:
        call.cancel()  # nothing happens to one that has ended
    if not ended.is_set():
        raise LocketError.out_of_time()
    # Not by the exception that `result` would raise: it is the call, so its traceback would keep the call, and with it
    # the channel and its threads, until the garbage is collected.
    if call.code() is not grpc.StatusCode.OK:
        raise _error_of(call)
    return method.read(call.result())


def _error_of(call: grpc.Call) -> LocketError:
    code = call.code()
    # The code comes from us as well as from Locket; what happened is the same.
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return LocketError.out_of_time()
    return LocketError(_go_name(code), call.details() or "")


def _go_name(code: grpc.StatusCode) -> str:
    return "Canceled" if code is grpc.StatusCode.CANCELLED else code.name.title().replace("_", "")
