"""Clients of several servers: each is one server's, and notes what it did, when, and what came of it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

import trio

from bbs.client import InternalBBSClient, TransportError
from bbs.models import pb
from bbs.models.errors import BBSError
from tests.records import desired_message

INSTANCES = 3
"""Of a DesiredLRP that is desired as a whole: it and its instances are one transaction."""


class Verb(StrEnum):
    UPDATE = "update"
    DESIRE = "desire"
    REMOVE = "remove"


@dataclass
class Write:
    """A request. No other one writes this annotation, or desires or removes this process."""

    launch: str
    verb: Verb
    process_guid: str
    annotation: str
    began_s: float
    ended_s: float = inf
    error: str | None = None

    @property
    def is_acknowledged(self) -> bool:
        return self.ended_s < inf and self.error is None


@dataclass(frozen=True, slots=True)
class Read:
    """An answer: the annotations of registers."""

    launch: str
    began_s: float
    ended_s: float
    annotations: dict[str, str]


@dataclass
class Notes:
    """What all clients did. Times are the test's own clock, which all of them share."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    is_over: bool = False
    _news: trio.Event = field(default_factory=trio.Event)

    def under_way(self, launch: str) -> int:
        return sum(write.launch == launch and write.ended_s == inf for write in self.writes[-100:])

    def tell(self) -> None:
        """Something happened that somebody may wait for."""
        self._news.set()
        self._news = trio.Event()

    async def wait_news(self) -> None:
        await self._news.wait()

    def ended(self, write: Write, error: Exception | None) -> None:
        write.error = None if error is None else str(error)
        write.ended_s = trio.current_time()
        if error is None:
            self.acknowledged[write.launch] = self.acknowledged.get(write.launch, 0) + 1
            self.tell()


def registers(writers: int) -> list[str]:
    """Processes that are there from the beginning to the end. Each writer of a launch has one, and shares it with those of
    the same number of other launches: two writes that one server takes at once would be one change of the row.
    """
    return [f"register-{number}" for number in range(writers)]


@dataclass
class Writer:
    """Number ``number`` of a launch."""

    launch: str
    number: int
    notes: Notes
    random: random.Random
    desired: list[str] = field(default_factory=list)

    async def write(self, client: InternalBBSClient) -> None:
        """One write, whatever comes of it."""
        guid = f"{self.launch}-w{self.number}-{len(self.notes.writes)}"
        verb = self.random.choice(
            (Verb.UPDATE, Verb.UPDATE, Verb.DESIRE if not self.desired else Verb.REMOVE)
        )
        process_guid = {
            Verb.UPDATE: f"register-{self.number}",
            Verb.DESIRE: guid,
            Verb.REMOVE: self.desired[0] if self.desired else "",
        }[verb]
        write = Write(self.launch, verb, process_guid, guid, trio.current_time())
        self.notes.writes.append(write)
        try:
            match verb:
                case Verb.UPDATE:
                    await client.update_desired_lrp(process_guid, pb.DesiredLRPUpdate(annotation=guid))
                case Verb.DESIRE:
                    lrp = desired_message(process_guid, annotation=guid, instances=INSTANCES)
                    await client.desire_lrp(lrp)
                    self.desired.append(process_guid)
                case Verb.REMOVE:
                    self.desired.clear()
                    await client.remove_desired_lrp(process_guid)
        except (BBSError, TransportError) as error:
            self.notes.ended(write, error)
        else:
            self.notes.ended(write, None)


async def read(client: InternalBBSClient, launch: str, notes: Notes) -> None:
    """List everything, whatever comes of it."""
    began_s = trio.current_time()
    try:
        lrps: Sequence[pb.DesiredLRP] = await client.desired_lrps()
    except (BBSError, TransportError):
        return
    found = {lrp.process_guid: lrp.annotation for lrp in lrps if lrp.process_guid.startswith("register-")}
    notes.reads.append(Read(launch, began_s, trio.current_time(), found))
