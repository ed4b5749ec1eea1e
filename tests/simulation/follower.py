"""Followers, who know the rows of each transaction and nothing else: what they tell, compared with what the master tells."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bbs.convergence.taken_over import announcements_of
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Rows
from bbs.models.events import (
    ActualLRPCrashed,
    ActualLRPGroupChanged,
    ActualLRPGroupCreated,
    ActualLRPGroupRemoved,
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    Event,
    Hub,
)
from bbs.models.outcome import Announcement, Row, Told
from bbs.store.tables import Tables
from tests.told_of_rows import UNEXPLAINED, as_rows_say, difference, misled

At = tuple[str, int]
"""Process guid and index."""


class Follower:
    """Has some rows, and is given those that change."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._tables = Tables()
        self._tables.apply(rows)

    def misled(self, rows: Sequence[Row]) -> Iterator[str]:
        """A transaction: how its subscribers would be misled by what is told of it."""
        yield from (
            wrong for before, after in self._instances(rows).values() if (wrong := misled(before, after))
        )
        self._tables.apply(rows)

    def differences(self, rows: Sequence[Row], announcements: tuple[Announcement, ...]) -> Iterator[str]:
        """One outcome: in what the events of its rows differ from those of its announcements, but for what
        `docs/differences.md` lists.
        """
        derived = announcements_of(self._tables)(rows)
        for hub in (Hub.DESIRED, Hub.TASK):
            if as_rows_say(derived, hub) != (told := as_rows_say(announcements, hub)):
                yield f"{hub} was told {told}, and of the rows it is told {as_rows_say(derived, hub)}"
        if any(
            as_rows_say(derived, hub) != as_rows_say(announcements, hub) for hub in (Hub.GROUP, Hub.INSTANCE)
        ):
            for at, (before, after) in self._instances(rows).items():
                about = [
                    Told(hub, event)
                    for hub in (Hub.GROUP, Hub.INSTANCE)
                    for told in announcements
                    for event in told.events(hub)
                    if _at(event) == at
                ]
                if difference(before, after, about) == UNEXPLAINED:
                    yield f"of {at}, from {before} to {after}, was told {[told.event for told in about]}"
        self._tables.apply(rows)

    def _instances(self, rows: Sequence[Row]) -> dict[At, tuple[Rows, Rows]]:
        changed: dict[At, dict[ActualLRPKey, ActualLRP | None]] = {}
        for (_, key), record in rows:
            if isinstance(key, ActualLRPKey):
                assert record is None or isinstance(record, ActualLRP)
                changed.setdefault((key.process_guid, key.instance_index), {})[key] = record
        return {at: self._instance(at, records) for at, records in changed.items()}

    def _instance(self, at: At, changed: Mapping[ActualLRPKey, ActualLRP | None]) -> tuple[Rows, Rows]:
        before = self._tables.actual_lrps.rows_at(*at)
        after = before._replace(**{key.presence.name.lower(): record for key, record in changed.items()})
        return before, after


def _at(event: Event) -> At:
    match event:
        case ActualLRPGroupCreated(group=group) | ActualLRPGroupRemoved(group=group):
            lrp = group.resolve()
        case ActualLRPGroupChanged(after=group):
            lrp = group.resolve()
        case ActualLRPInstanceCreated(actual_lrp=lrp) | ActualLRPInstanceRemoved(actual_lrp=lrp):
            pass
        case ActualLRPInstanceChanged(after=lrp) | ActualLRPCrashed(after=lrp):
            pass
        case _:
            raise AssertionError(event)
    return lrp.process_guid, lrp.index
