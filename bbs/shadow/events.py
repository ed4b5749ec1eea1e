"""Matches two event streams that tell of the same rows, in whatever order: which events has one of them, and the other not?

An event waits until the other side tells the same: the same name and payload, trace ids apart. All events about one row or
instance are a *subject*. What is left of a subject once nothing has come of it for the grace is judged:

* In sum the two tell the same. Events telescope: ``a to b`` and ``b to c`` are ``a to c`` in sum, and ``created b, removed
  a`` is ``a to b``. So did changes that were committed together: a follower sees only what has become of a row.
* It is something that upstream's server announces, and no row says (`_is_of_masters_only`), or the other way round
  (`_is_silent_in_groups`).
* All else is a difference.

The two streams do not begin at the same moment. What is left of a subject of which something came in the first seconds is
forgiven, since the other half may have been told before. The same holds for the end.

Times are seconds of any clock that the caller likes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from google.protobuf.message import Message

from bbs.client import Event
from bbs.models import pb
from bbs.shadow.kinds import canonical

RESTLESS_GRACES: Final = 10
"""After so many graces a subject that never comes to rest is given up."""

WAITING_MAX: Final = 100_000
"""Events that wait for their twins. With more of them the streams have nothing to do with each other."""


class Side(StrEnum):
    MASTER = "master"
    FOLLOWER = "follower"


class TooManyUnmatched(Exception):
    """More than `WAITING_MAX` events wait for the other side to tell the same."""

    def __init__(self) -> None:
        super().__init__(f"more than {WAITING_MAX:,} events were told by one side only")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDifference:
    """An event that only one side has told, or, if both are given, one that they tell differently."""

    name: str
    subject: str
    master: Message | None
    follower: Message | None


@dataclass(slots=True, kw_only=True)
class EventCounts:
    """``matched`` were told by both, ``merged`` by the master where the follower told of less steps, ``announced`` by one of them
    as upstream's documents say; of ``unjudged`` nothing can be said.
    """

    matched: int = 0
    merged: int = 0
    announced: int = 0
    unjudged: int = 0
    different: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    side: Side
    event: Event
    payload: bytes
    since: float


@dataclass(slots=True)
class _Subject:
    first: float
    last: float
    waiting: list[_Waiting] = field(default_factory=list)


class EventMatching:
    """Of one kind of stream. `begin`, then `arrived` and `judge` in any order, then `end`; and again."""

    def __init__(self, *, grace_s: float) -> None:
        self.counts = EventCounts()
        self._grace_s = grace_s
        self._begun_at = 0.0
        self._subjects: dict[str, _Subject] = {}
        self._waiting = 0

    def begin(self, now: float) -> None:
        """Both sides are subscribed to."""
        assert not self._subjects
        self._begun_at = now

    def end(self) -> None:
        """What waits will never be matched, and nobody is to blame."""
        self.counts.unjudged += self._waiting
        self._subjects.clear()
        self._waiting = 0

    def arrived(self, side: Side, event: Event, now: float) -> None:
        """Raises:
        TooManyUnmatched
        """
        name = subject_of(event)
        subject = self._subjects.get(name)
        payload = payload_of(event)
        for number, other in enumerate(subject.waiting if subject is not None else ()):
            assert subject is not None
            if other.side is not side and other.event.name == event.name and other.payload == payload:
                del subject.waiting[number]
                subject.last = now
                self._waiting -= 1
                self.counts.matched += 1
                if not subject.waiting:
                    del self._subjects[name]
                return
        if subject is None:
            subject = self._subjects[name] = _Subject(now, now)
        subject.waiting.append(_Waiting(side, event, payload, now))
        subject.last = now
        self._waiting += 1
        if self._waiting > WAITING_MAX:
            raise TooManyUnmatched

    def judge(self, now: float) -> list[EventDifference]:
        """Judge all subjects that have come to rest."""
        found: list[EventDifference] = []
        for name, subject in list(self._subjects.items()):
            has_rested = now - subject.last >= self._grace_s
            if not has_rested and now - subject.first < RESTLESS_GRACES * self._grace_s:
                continue
            del self._subjects[name]
            self._waiting -= len(subject.waiting)
            if not has_rested or subject.first < self._begun_at + self._grace_s:
                self.counts.unjudged += len(subject.waiting)
            else:
                found += self._judged(name, subject.waiting)
        self.counts.different += len(found)
        return found

    def _judged(self, subject: str, left: list[_Waiting]) -> list[EventDifference]:
        if not _same_in_sum(left):
            expected = [each for each in left if _is_of_masters_only(each) or _is_silent_in_groups(each)]
            self.counts.announced += len(expected)
            left = [each for each in left if each not in expected]
        if _same_in_sum(left):
            self.counts.merged += sum(each.side is Side.MASTER for each in left)
            return []
        return list(_differences(subject, left))


def _same_in_sum(left: list[_Waiting]) -> bool:
    """Whether both sides tell of the same change in sum, the master in steps of which the follower need not know."""
    mine = [each.event for each in left if each.side is Side.MASTER]
    other = [each.event for each in left if each.side is Side.FOLLOWER]
    if not mine and not other:
        return True
    # A crash is told beside a change. Alone it is no step of anything.
    steps = [event for event in mine if not isinstance(event.message, pb.ActualLRPCrashedEvent)]
    if not steps or (not other and len(steps) < 2):
        return False
    return sum_of(mine) == sum_of(other)


def _is_of_masters_only(waiting: _Waiting) -> bool:
    """Upstream's server tells of a removal at once when it asks a cell to stop an instance. The row goes later, maybe."""
    match waiting.event.message:
        case pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp):
            removed = [lrp]
        case pb.ActualLRPRemovedEvent(actual_lrp_group=group):
            removed = _lrps(group)
        case _:
            return False
    return waiting.side is Side.MASTER and all(lrp.state in ("CLAIMED", "RUNNING") for lrp in removed)


def _is_silent_in_groups(waiting: _Waiting) -> bool:
    """Of suspects, upstream's server tells the deprecated group stream next to nothing; their rows change all the same."""
    match waiting.event.message:
        case pb.ActualLRPChangedEvent(before=before, after=after):
            told = [*_lrps(before), *_lrps(after)]
        case (
            pb.ActualLRPCreatedEvent(actual_lrp_group=group)
            | pb.ActualLRPRemovedEvent(actual_lrp_group=group)
        ):
            told = _lrps(group)
        case _:
            return False
    is_suspect = any(lrp.presence == pb.ActualLRP.SUSPECT for lrp in told)
    return waiting.side is Side.FOLLOWER and is_suspect


def _differences(subject: str, left: Iterable[_Waiting]) -> Iterator[EventDifference]:
    """Events of one name, one of each side, are taken for the same event, told differently."""
    by_name: dict[str, dict[Side, list[Message]]] = {}
    for each in left:
        sides = by_name.setdefault(each.event.name, {Side.MASTER: [], Side.FOLLOWER: []})
        sides[each.side].append(each.event.message)
    for name, sides in by_name.items():
        mine, other = sides[Side.MASTER], sides[Side.FOLLOWER]
        for number in range(max(len(mine), len(other))):
            yield EventDifference(
                name=name,
                subject=subject,
                master=mine[number] if number < len(mine) else None,
                follower=other[number] if number < len(other) else None,
            )


def payload_of(event: Event) -> bytes:
    """What an event says, but for the request that it came of."""
    message: Message = event.message
    if not getattr(message, "trace_id", ""):
        return canonical(message)
    untraced = type(message)()
    untraced.CopyFrom(message)
    untraced.ClearField("trace_id")
    return canonical(untraced)


def subject_of(event: Event) -> str:
    """Which row, or which instance with its at most three rows, an event is about."""
    match event.message:
        case pb.DesiredLRPCreatedEvent(desired_lrp=lrp) | pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
            return f"desired LRP {lrp.process_guid}"
        case pb.DesiredLRPChangedEvent(after=lrp):
            return f"desired LRP {lrp.process_guid}"
        case (
            pb.TaskCreatedEvent(task=task) | pb.TaskRemovedEvent(task=task) | pb.TaskChangedEvent(after=task)
        ):
            return f"task {task.task_guid}"
        case (
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp)
            | pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp)
        ):
            key = lrp.actual_lrp_key
        case (
            pb.ActualLRPInstanceChangedEvent(actual_lrp_key=key)
            | pb.ActualLRPCrashedEvent(actual_lrp_key=key)
        ):
            pass
        case (
            pb.ActualLRPCreatedEvent(actual_lrp_group=group)
            | pb.ActualLRPRemovedEvent(actual_lrp_group=group)
        ):
            [key, *_] = [lrp.actual_lrp_key for lrp in _lrps(group)] or [pb.ActualLRPKey()]
        case pb.ActualLRPChangedEvent(before=before, after=after):
            [key, *_] = [lrp.actual_lrp_key for lrp in _lrps(after) + _lrps(before)] or [pb.ActualLRPKey()]
    return f"actual LRP {key.process_guid}/{key.index}"


def sum_of(events: Iterable[Event]) -> Counter[bytes]:
    """What events tell in sum: states that rows have come to count 1, those that they have left count -1, and those that they
    have passed through do not occur.
    """
    total: Counter[bytes] = Counter()
    for event in events:
        before, after = _states(event)
        total.update(map(canonical, after))
        total.subtract(map(canonical, before))
    return Counter({state: count for state, count in total.items() if count})


def _states(event: Event) -> tuple[list[Message], list[Message]]:
    """What was before, what is after. Of an ActualLRP what all of its events tell: not its instance, routes and tags."""
    match event.message:
        case pb.DesiredLRPCreatedEvent(desired_lrp=lrp):
            return [], [lrp]
        case pb.DesiredLRPChangedEvent(before=desired_before, after=desired_after):
            return [desired_before], [desired_after]
        case pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
            return [lrp], []
        case pb.TaskCreatedEvent(task=task):
            return [], [task]
        case pb.TaskChangedEvent(before=task_before, after=task_after):
            return [task_before], [task_after]
        case pb.TaskRemovedEvent(task=task):
            return [task], []
        case pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual):
            return [], [_told(actual)]
        case pb.ActualLRPInstanceRemovedEvent(actual_lrp=actual):
            return [_told(actual)], []
        case pb.ActualLRPInstanceChangedEvent(actual_lrp_key=key, before=info_before, after=info_after):
            return [_of_info(key, info_before)], [_of_info(key, info_after)]
        case pb.ActualLRPCreatedEvent(actual_lrp_group=group):
            return [], [*map(_told, _lrps(group))]
        case pb.ActualLRPRemovedEvent(actual_lrp_group=group):
            return [*map(_told, _lrps(group))], []
        case pb.ActualLRPChangedEvent(before=group_before, after=group_after):
            return [*map(_told, _lrps(group_before))], [*map(_told, _lrps(group_after))]
        case pb.ActualLRPCrashedEvent():
            return [], []


def _lrps(group: pb.ActualLRPGroup) -> list[pb.ActualLRP]:
    return [getattr(group, slot) for slot in ("instance", "evacuating") if group.HasField(slot)]


def _told(lrp: pb.ActualLRP) -> pb.ActualLRP:
    told = pb.ActualLRP()
    told.CopyFrom(lrp)
    for name in ("actual_lrp_instance_key", "actual_lrp_internal_routes", "metric_tags"):
        told.ClearField(name)
    return told


def _of_info(key: pb.ActualLRPKey, info: pb.ActualLRPInfo) -> pb.ActualLRP:
    lrp = pb.ActualLRP(
        actual_lrp_key=key,
        actual_lrp_net_info=info.actual_lrp_net_info,
        crash_count=info.crash_count,
        crash_reason=info.crash_reason,
        state=info.state,
        placement_error=info.placement_error,
        since=info.since,
        modification_tag=info.modification_tag,
        presence=info.presence,
        availability_zone=info.availability_zone,
    )
    if info.HasField("Routable"):
        lrp.routable = info.Routable
    return lrp
