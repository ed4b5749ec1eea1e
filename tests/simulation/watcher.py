"""Who watches the fleet with the client's `watch`, and checks what he is told.

*no gap, no duplicate*: each change follows from what he has, and within one epoch only forwards; what was left behind does not
come back. A row that was told to be gone and stays (see `route_emitter.py`) may be told of again, as it was.
*no loss*: at quiet moments he has what the server has.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator
from random import Random
from typing import Final, NoReturn

import trio

from bbs.client import Added, BBSClient, Change, Changed, Fleet, Removed
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPKey, Presence
from bbs.store.tables import Tables
from bbs.testing._cell import CONFIG, Tell
from bbs.testing._network import Network

Record = pb.DesiredLRP | pb.ActualLRP | pb.Task
Version = tuple[object, ...]
Key = tuple[str, Hashable]


class Watcher:
    def __init__(self, name: str, network: Network, random: Random, tell: Tell) -> None:
        self.name: Final = name
        self.violations: list[str] = []
        self.changes = 0
        self._network = network
        self._random = random
        self._tell = tell
        self._fleet: Fleet | None = None
        self._rows: dict[Key, Version] = {}
        self._gone: dict[Key, Version] = {}
        self._left_behind: defaultdict[Key, set[Version]] = defaultdict(set)

    async def run(self) -> NoReturn:
        connector = self._network.connector(self.name)
        async with (
            BBSClient.connect(CONFIG, connector=connector) as client,
            client.watch(tasks=True, random=self._random) as fleet,
        ):
            self._fleet = fleet
            self._rows = dict(map(_seen, _records(fleet)))
            async for change in fleet:
                self._take(change)
                if self._random.random() < 0.05:
                    await trio.sleep(self._random.uniform(0, 20))  # what comes meanwhile is merged
        raise AssertionError("a watch does not end")

    def differences(self, tables: Tables) -> Iterator[str]:
        """How what he knows differs from the server's rows."""
        if self._fleet is None or not self._fleet.is_current or self._fleet.statistics().pending:
            yield f"{self.name} has not caught up: {self._fleet and self._fleet.trouble}"
            return
        there = dict(map(_seen, _stored(tables)))
        for key in self._rows.keys() | there.keys():
            mine, theirs = self._rows.get(key), there.get(key)
            if mine != theirs and (mine is not None or self._gone.get(key) != theirs):
                yield f"{self.name} knows {mine} at {key}, the server {theirs}"

    def _take(self, change: Change) -> None:
        self.changes += 1
        match change:
            case Added(after):
                key, version = _seen(after)
                self._demand(key not in self._rows, f"{key} added as {version}, but there is one")
                self._goes_on(key, version)
            case Changed(before, after):
                key, version = _seen(after)
                _, former = _seen(before)
                self._demand(
                    self._rows.get(key) == former,
                    f"{key} changed from {former}, but the last of it was {self._rows.get(key)}",
                )
                self._left_behind[key].add(former)
                self._goes_on(key, version)
            case Removed(before):
                key, version = _seen(before)
                known = self._rows.pop(key, None)
                self._demand(known == version, f"{key} removed as {version}, but there was {known}")
                self._gone[key] = version
        self._tell(f"{self.name} {type(change).__name__} {key} {version}")

    def _goes_on(self, key: Key, version: Version) -> None:
        self._demand(version not in self._left_behind[key], f"{key} goes back to {version}")
        if (gone := self._gone.pop(key, version)) != version:
            self._left_behind[key].add(gone)
        self._rows[key] = version

    def _demand(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.violations.append(f"{self.name}: {otherwise}")


def _records(fleet: Fleet) -> Iterator[Record]:
    yield from fleet.desired_lrps.values()
    yield from fleet.actual_lrps.values()
    yield from fleet.tasks.values()


def _stored(tables: Tables) -> Iterator[Record]:
    for lrp in tables.desired_lrps.rows.values():
        yield lrp.message()
    for row in tables.actual_lrps.rows.values():
        yield row.message()
    for task in tables.tasks.rows.values():
        yield task.message()


def _seen(record: Record) -> tuple[Key, Version]:
    """A record's key, and its version with what a route-emitter needs of it."""
    tag = None if isinstance(record, pb.Task) else record.modification_tag
    match record:
        case pb.DesiredLRP():
            assert tag is not None
            return ("desired", record.process_guid), (tag.epoch, tag.index, record.instances)
        case pb.ActualLRP(actual_lrp_key=key, actual_lrp_instance_key=instance):
            assert tag is not None
            return ("actual", ActualLRPKey(key.process_guid, key.index, Presence(record.presence))), (
                tag.epoch, tag.index, record.state, instance.instance_guid, record.routable, record.since,
                record.actual_lrp_net_info.SerializeToString(deterministic=True),
            )  # fmt: skip
        case pb.Task():
            return ("task", record.task_guid), (
                record.created_at, record.updated_at, record.state, record.cell_id, record.rejection_count,
            )  # fmt: skip
