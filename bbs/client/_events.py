"""Typed events out of raw ones (spec: events.md §5, §10.2)."""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

from google.protobuf.message import DecodeError

from bbs.client._errors import (
    BadEventSourceResponse,
    EndOfStream,
    InvalidEventPayload,
    RawSourceError,
    SourceClosed,
    TransportError,
    UnrecognizedEventType,
)
from bbs.client._sse import RawEvent
from bbs.models import pb

EventMessage: TypeAlias = (
    pb.DesiredLRPCreatedEvent
    | pb.DesiredLRPChangedEvent
    | pb.DesiredLRPRemovedEvent
    | pb.ActualLRPCreatedEvent
    | pb.ActualLRPChangedEvent
    | pb.ActualLRPRemovedEvent
    | pb.ActualLRPCrashedEvent
    | pb.ActualLRPInstanceCreatedEvent
    | pb.ActualLRPInstanceChangedEvent
    | pb.ActualLRPInstanceRemovedEvent
    | pb.TaskCreatedEvent
    | pb.TaskChangedEvent
    | pb.TaskRemovedEvent
)

MESSAGES: Final[Mapping[str, type[EventMessage]]] = {
    "desired_lrp_created": pb.DesiredLRPCreatedEvent,
    "desired_lrp_changed": pb.DesiredLRPChangedEvent,
    "desired_lrp_removed": pb.DesiredLRPRemovedEvent,
    "actual_lrp_created": pb.ActualLRPCreatedEvent,
    "actual_lrp_changed": pb.ActualLRPChangedEvent,
    "actual_lrp_removed": pb.ActualLRPRemovedEvent,
    "actual_lrp_crashed": pb.ActualLRPCrashedEvent,
    "actual_lrp_instance_created": pb.ActualLRPInstanceCreatedEvent,
    "actual_lrp_instance_changed": pb.ActualLRPInstanceChangedEvent,
    "actual_lrp_instance_removed": pb.ActualLRPInstanceRemovedEvent,
    "task_created": pb.TaskCreatedEvent,
    "task_changed": pb.TaskChangedEvent,
    "task_removed": pb.TaskRemovedEvent,
}


@dataclass(frozen=True, slots=True)
class Event:
    """An event: its name on the wire, and its message, whose class tells the same."""

    name: str
    message: EventMessage

    @property
    def key(self) -> str:
        """The guid of what the event is about: of a process, an instance or a task; empty if the event has none."""
        match self.message:
            case pb.DesiredLRPChangedEvent(before=lrp) | pb.DesiredLRPCreatedEvent(desired_lrp=lrp):
                return lrp.process_guid
            case pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
                return lrp.process_guid
            case pb.ActualLRPChangedEvent(before=group) | pb.ActualLRPCreatedEvent(actual_lrp_group=group):
                return _resolve(group).actual_lrp_instance_key.instance_guid
            case pb.ActualLRPRemovedEvent(actual_lrp_group=group):
                return _resolve(group).actual_lrp_instance_key.instance_guid
            case (
                pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp)
                | pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp)
            ):
                return lrp.actual_lrp_instance_key.instance_guid
            case pb.ActualLRPCrashedEvent() | pb.ActualLRPInstanceChangedEvent():
                return self.message.actual_lrp_instance_key.instance_guid
            case (
                pb.TaskChangedEvent(before=task)
                | pb.TaskCreatedEvent(task=task)
                | pb.TaskRemovedEvent(task=task)
            ):
                return task.task_guid


def _resolve(group: pb.ActualLRPGroup) -> pb.ActualLRP:
    """The LRP that a group stands for, an empty one for an empty group (spec: api.md 8.2)."""
    if not group.HasField("evacuating") or group.instance.state in ("RUNNING", "CRASHED"):
        return group.instance
    return group.evacuating


def read_event(raw: RawEvent) -> Event:
    """The typed form of a raw event.

    Raises:
      InvalidEventPayload: the data are not base64 of this event's message.
      UnrecognizedEventType: the name is none that we know.
    """
    try:
        payload = decode_base64(raw.data)
    except CorruptBase64 as error:
        text = "event with no data" if error.is_from_the_start else str(error)
        raise InvalidEventPayload(f"invalid protobuf payload of type {raw.name}: {text}") from error
    if not payload:
        raise InvalidEventPayload(f"invalid protobuf payload of type {raw.name}: event with no data")
    message_class = MESSAGES.get(raw.name)
    if message_class is None:
        raise UnrecognizedEventType
    try:
        return Event(raw.name, message_class.FromString(payload))
    except DecodeError as error:
        raise InvalidEventPayload(f"invalid protobuf payload of type {raw.name}: {error}") from error


class CorruptBase64(ValueError):
    """``is_from_the_start``: there is nothing to decode before the place where it goes wrong."""

    def __init__(self, offset: int, *, is_from_the_start: bool) -> None:
        super().__init__(f"illegal base64 data at input byte {offset}")
        self.is_from_the_start = is_from_the_start


def decode_base64(data: bytes) -> bytes:
    """Standard base64 with padding, line breaks ignored.

    Raises:
      CorruptBase64: it is not; the text says where.
    """
    data = data.translate(None, b"\r\n")
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except binascii.Error as error:
        good, digits = (match.end() for match in _good_prefix(data))
        # Go's error names a byte, and clients log it. If the data end inside a group of four digits that is the byte where
        # the group starts, otherwise the first byte that is no digit.
        raise CorruptBase64(good if digits == len(data) else digits, is_from_the_start=good == 0) from error


def _good_prefix(data: bytes) -> tuple[re.Match[bytes], re.Match[bytes]]:
    """What can be decoded, and the digits that follow it."""
    groups = _GROUPS.match(data)
    assert groups is not None
    digits = _DIGITS.match(data, groups.end())
    assert digits is not None
    return groups, digits


_GROUPS: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_DIGITS: Final = re.compile(rb"[A-Za-z0-9+/]*")


class RawSource(Protocol):
    """What a typed source reads from. `next` raises as `RawEventSource.next` does."""

    async def next(self) -> RawEvent: ...

    async def aclose(self) -> None: ...


class EventSource:
    """A stream of typed events. Close it in the end, or use it as an async context manager.

    ``async for event in source`` follows upstream's advice to consumers: it leaves out kinds of events that it does
    not know, and stops when the stream ends or the source is closed. Then subscribe anew and list, since events were
    missed. Errors of single events do not end the source: go on with another ``async for`` or `next`.
    """

    def __init__(self, raw: RawSource) -> None:
        self._raw = raw

    async def next(self) -> Event:
        """The next event.

        Raises:
          EndOfStream, SourceClosed: there is none, and never will be.
          RawSourceError: the stream broke and could not be opened again.
          InvalidEventPayload, UnrecognizedEventType: it is unreadable; the next one may be fine.
        Cancellation:
          Loses no event.
        """
        try:
            raw = await self._raw.next()
        except (BadEventSourceResponse, TransportError) as error:
            raise RawSourceError(f"raw event source error: {error}") from error
        return read_event(raw)

    async def aclose(self) -> None:
        """Close the stream, ending a `next` that waits in another task. Closing twice is harmless.

        Raises:
          RawSourceError: closing failed; nothing is left open all the same.
        """
        try:
            await self._raw.aclose()
        except TransportError as error:
            raise RawSourceError(f"error closing raw source: {error}") from error

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            try:
                return await self.next()
            except UnrecognizedEventType:
                continue
            except (EndOfStream, SourceClosed) as end:
                raise StopAsyncIteration from end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
