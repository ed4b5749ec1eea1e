"""Compares what a decision tells with what is told of the rows that it left, as followers and the audit tell it.

`docs/differences.md` lists where the two may differ, since rows do not say all; `difference` knows these by name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, Final

from bbs.lifecycle.announcements import RowsChanged
from bbs.lifecycle.row_changes import InstanceChanged
from bbs.lifecycle.rows import as_stored
from bbs.models.actual_lrp import NO_INSTANCE, ActualLRP, ActualLRPKey, ActualLRPState, Presence, Rows
from bbs.models.events import (
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    Event,
    Group,
    Hub,
)
from bbs.models.outcome import Announcement

SHARED_KEY: Final = "an evacuating row has the instance key of another row"
TOLD_BEFORE: Final = "a retirement was told of before"
CRASH: Final = "its cell drains, or it was given up, and its row looks as after a crash"
MASKED: Final = "a suspect row stands for the instance in the group, or did"
UNEXPLAINED: Final = "no difference that is allowed"

Known = dict[ActualLRPKey, ActualLRP]


def difference(before: Rows, after: Rows, announcements: Iterable[Announcement]) -> str | None:
    """By what the events of a decision about one instance differ from those of its rows; ``None``: by nothing."""
    told = list(announcements)
    if not told and _is_retired(before, after):
        return TOLD_BEFORE
    found = [
        _reason(hub, before, after, told)
        for hub in (Hub.INSTANCE, Hub.GROUP)
        if as_rows_say(told, hub) != as_rows_say((InstanceChanged(before, after),), hub)
    ]
    return None if not found else UNEXPLAINED if UNEXPLAINED in found else found[0]


def as_rows_say(announcements: Iterable[Announcement], hub: Hub) -> list[Event]:
    """Events of a hub without what rows do not have: trace ids, the ends of long texts, and the zone that a cell reports when it
    reports an evacuating row again.
    """
    return [_as_rows_say(event) for told in announcements for event in told.events(hub)]


def _as_rows_say(it: Any) -> Any:
    match it:
        case ActualLRP(presence=Presence.EVACUATING):
            return replace(as_stored(it), availability_zone="")
        case ActualLRP():
            return as_stored(it)
        case Group():
            return Group(_as_rows_say(it.instance), _as_rows_say(it.evacuating))
        case None:
            return None
    parts = {part.name: getattr(it, part.name) for part in fields(it)}
    if "trace_id" in parts:
        parts["trace_id"] = ""
    return type(it)(
        **{
            name: _as_rows_say(part) if isinstance(part, ActualLRP | Group) else part
            for name, part in parts.items()
        }
    )


def _reason(hub: Hub, before: Rows, after: Rows, told: list[Announcement]) -> str:
    if _is_key_shared(before, after):
        return SHARED_KEY
    if _is_crash(before, after) and as_rows_say(told, hub) == as_rows_say(
        (_as_any_change(before, after),), hub
    ):
        return CRASH
    if hub is Hub.GROUP and before.suspect is not None and (after.suspect is None or _loses(before, after)):
        return MASKED
    return UNEXPLAINED


def _is_key_shared(before: Rows, after: Rows) -> bool:
    evacuating = before.evacuating
    others = (before.ordinary, before.suspect, after.ordinary)
    return evacuating is not None and any(
        row is not None and row.instance == evacuating.instance != NO_INSTANCE for row in others
    )


def _is_retired(before: Rows, after: Rows) -> bool:
    lrp = before.ordinary
    return lrp is not None and lrp.state.is_held and after == before._replace(ordinary=None)


def _is_crash(before: Rows, after: Rows) -> bool:
    """Whether the ordinary row may have crashed. One that crashed before, and for the same reason, may also have been given up."""
    old, new = before.ordinary, after.ordinary
    return old is not None and new is not None and old.state.is_held and new.crash_count > 0


def _as_any_change(before: Rows, after: Rows) -> RowsChanged:
    return RowsChanged(before.present(), tuple(after[row.presence] for row in before.present()))


def _loses(before: Rows, after: Rows) -> bool:
    """Whether the ordinary row goes, or runs no more."""
    old, new = before.ordinary, after.ordinary
    return old is not None and (
        new is None or (old.state is ActualLRPState.RUNNING and new.state is ActualLRPState.UNCLAIMED)
    )


class Subscriber:
    """Knows rows by their keys, from events alone, as the route-emitter of the simulation does."""

    def __init__(self, rows: Iterable[ActualLRP]) -> None:
        self.rows: Known = {row.key: row for row in rows}

    def apply(self, event: Event) -> None:
        match event:
            case ActualLRPInstanceCreated(actual_lrp=row):
                self.rows[row.key] = row
            case ActualLRPInstanceChanged(before=before, after=row):
                if before.key != row.key:
                    self.rows.pop(before.key, None)
                self.rows[row.key] = row
            case ActualLRPInstanceRemoved(actual_lrp=row):
                # The former row may be told as gone when its successor is known already.
                if self.rows.get(row.key) == row:
                    del self.rows[row.key]

    def runs(self, at: tuple[str, int]) -> bool:
        return any(
            row.state is ActualLRPState.RUNNING and (row.process_guid, row.index) == at
            for row in self.rows.values()
        )


Endpoint = tuple[str, bool]
"""An instance guid, and whether it is evacuating."""


class Routes:
    """Knows where instances run by their guids, as Diego's route-emitter does. A change has only one instance key."""

    def __init__(self, rows: Iterable[ActualLRP]) -> None:
        self.endpoints: dict[Endpoint, tuple[str, int]] = dict(self.of(rows))

    @staticmethod
    def of(rows: Iterable[ActualLRP]) -> Iterator[tuple[Endpoint, tuple[str, int]]]:
        for row in rows:
            if row.state is ActualLRPState.RUNNING:
                yield _endpoint(row, row), (row.process_guid, row.index)

    def apply(self, event: Event) -> None:
        match event:
            case ActualLRPInstanceCreated(actual_lrp=row):
                self.endpoints.update(self.of([row]))
            case ActualLRPInstanceChanged(before=before, after=row):
                holder = row if row.instance != NO_INSTANCE else before
                if before.state is ActualLRPState.RUNNING:
                    self.endpoints.pop(_endpoint(before, holder), None)
                self.endpoints.update(self.of([row]))
            case ActualLRPInstanceRemoved(actual_lrp=row):
                self.endpoints.pop(_endpoint(row, row), None)

    def runs(self, at: tuple[str, int]) -> bool:
        return at in self.endpoints.values()


def _endpoint(row: ActualLRP, holder: ActualLRP) -> Endpoint:
    return holder.instance.instance_guid, row.presence is Presence.EVACUATING


def misled(before: Rows, after: Rows) -> str | None:
    """How the events of a transaction, maybe of several decisions, mislead a subscriber: it has to know the rows after them, and
    never in between to lack an instance that runs throughout. ``None``: not at all.
    """
    present = before.present() or after.present()
    if not present:
        return None
    at = (present[0].process_guid, present[0].index)
    runs = all(any(row.state is ActualLRPState.RUNNING for row in rows.present()) for rows in (before, after))
    subscriber, routes = Subscriber(before.present()), Routes(before.present())
    events = InstanceChanged(before, after).events(Hub.INSTANCE)
    for event in events:
        subscriber.apply(event)
        routes.apply(event)
        if runs and not (subscriber.runs(at) and routes.runs(at)):
            return f"{at} runs, and is missing after {event.name}, in {events}"
    if before.evacuating is not None and after.evacuating is not None:
        # As upstream, nobody is told of the end of an evacuating row that another instance takes over (spec: evacuation.md
        # 8.3): by its key it is overwritten.
        routes.endpoints.pop(_endpoint(before.evacuating, before.evacuating), None)
        routes.endpoints.update(Routes.of([after.evacuating]))
    if subscriber.rows == {row.key: row for row in after.present()} and routes.endpoints == dict(
        Routes.of(after.present())
    ):
        return None
    return f"{at} has {after}, and subscribers know {subscriber.rows} and {routes.endpoints}, from {events}"
