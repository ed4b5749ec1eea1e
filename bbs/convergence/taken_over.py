"""The announcements of rows that somebody else has changed in the database: what a request that changed them would have told."""

from collections.abc import Callable, Sequence

from bbs.lifecycle.row_changes import InstanceChanged, desired_lrp_changed, task_changed
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.outcome import Announcement, Row
from bbs.models.task import Task
from bbs.store.tables import Tables


def announcements_of(committed: Tables) -> Callable[[Sequence[Row]], tuple[Announcement, ...]]:
    """For `Store.take_over` and `Store.reconcile`: given rows as the database has them, while ``committed`` still has what was
    before. All changed rows of an instance, of one transaction, have to be among those of one call.
    """
    desired_lrps, tasks = committed.desired_lrps.rows, committed.tasks.rows

    def announcements(rows: Sequence[Row]) -> tuple[Announcement, ...]:
        instances: dict[tuple[str, int], dict[ActualLRPKey, ActualLRP | None]] = {}
        told: list[Announcement] = []
        for (table, key), record in rows:
            if table is ActualLRP:
                assert isinstance(key, ActualLRPKey)
                assert record is None or isinstance(record, ActualLRP)
                instances.setdefault((key.process_guid, key.instance_index), {})[key] = record
            elif table is DesiredLRP:
                assert record is None or isinstance(record, DesiredLRP)
                told += desired_lrp_changed(desired_lrps.get(key), record)
            elif table is Task:
                assert record is None or isinstance(record, Task)
                told += task_changed(tasks.get(str(key)), record)
            # Of domains no event tells.
        # In the order of indices, as requests tell of them, in whatever order the database wrote them.
        for (process_guid, index), changed in sorted(instances.items()):
            before = committed.actual_lrps.rows_at(process_guid, index)
            after = list(before)
            for key, record in changed.items():
                after[key.presence] = record
            told.append(InstanceChanged(before, Rows(*after)))
        return tuple(told)

    return announcements
