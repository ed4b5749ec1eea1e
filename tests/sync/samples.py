"""Records and events for the tests of the feeds, and a reader of what a stream says."""

from base64 import b64decode
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from bbs.models.actual_lrp import (
    NO_INSTANCE,
    ActualLRP,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
)
from bbs.models.events import Hub
from bbs.models.versions import Version
from bbs.sync.hubs.hub import Subscription

GROUP_STREAM = frozenset({Hub.DESIRED, Hub.GROUP})
INSTANCE_STREAM = frozenset({Hub.DESIRED, Hub.INSTANCE})
TASK_STREAM = frozenset({Hub.TASK})


def lrp(cell_id: str = "", *, state: ActualLRPState = ActualLRPState.RUNNING) -> ActualLRP:
    """An instance on ``cell_id``; on none, an unclaimed one."""
    return ActualLRP(
        process_guid="process",
        index=0,
        domain="domain",
        presence=Presence.ORDINARY,
        state=state if cell_id else ActualLRPState.UNCLAIMED,
        instance=InstanceKey(instance_guid=f"on-{cell_id}", cell_id=cell_id) if cell_id else NO_INSTANCE,
        since_ns=1,
        tag=ModificationTag(epoch="epoch", index=0),
    )


@dataclass(slots=True)
class FakeEvent:
    """An event whose bytes are its text and version, and which counts how often it is asked for them."""

    text: str
    cell_ids: tuple[str, ...] | None = None
    name: ClassVar[str] = "fake"
    broken: bool = False
    encodings: list[Version] = field(default_factory=list)
    questions: int = 0

    def cells(self) -> tuple[str, ...] | None:
        self.questions += 1
        return self.cell_ids

    def encode(self, version: Version) -> bytes:
        self.encodings.append(version)
        if self.broken:
            raise ValueError("has no bytes")
        return f"{self.text}@{version.name}".encode()


class Received(NamedTuple):
    id: int
    name: str
    payload: bytes


def parse(text: bytes) -> list[Received]:
    """Events of a stream's text. Strict: anything but the form that the spec shows fails."""
    assert text.endswith(b"\n\n")
    events = []
    for block in text.removesuffix(b"\n\n").split(b"\n\n"):
        id_line, name_line, data_line = block.split(b"\n")
        payload = b"" if data_line == b"data" else b64decode(data_line.removeprefix(b"data: "), validate=True)
        assert id_line.startswith(b"id: ")
        assert name_line.startswith(b"event: ")
        events.append(Received(int(id_line[4:]), name_line[7:].decode(), payload))
    return events


async def receive_all(subscription: Subscription) -> list[Received]:
    """All that is queued."""
    events: list[Received] = []
    while subscription.queued_events:
        events += parse(await subscription.receive())
    return events
