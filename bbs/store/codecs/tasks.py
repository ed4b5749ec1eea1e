"""How tasks are stored (spec: storage.md §1.5, §3)."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from sys import intern
from typing import Any, Final

from bbs.models import pb
from bbs.models.task import Task, TaskState
from bbs.store.codecs.codec import Codec, Policy
from bbs.store.codecs.columns import Column, SQLType, Values
from bbs.store.codecs.envelope import ENVELOPE, open_envelope
from bbs.store.crypto import Keyring


class TaskCodec(Codec):
    """A task whose definition can't be read is a record all the same: requests about it must fail with Deserialize and not
    with ResourceNotFound, and convergence must find and delete it. Its column is kept as it is, to be written back unchanged.
    """

    table = "tasks"
    columns = (
        Column("guid", SQLType.TEXT, 255),
        Column("domain", SQLType.TEXT, 255),
        Column("created_at", SQLType.INT8),
        Column("updated_at", SQLType.INT8),
        Column("first_completed_at", SQLType.INT8),
        Column("state", SQLType.INT4),
        Column("cell_id", SQLType.TEXT, 255),
        Column("result", SQLType.TEXT),
        Column("failed", SQLType.BOOL),
        Column("failure_reason", SQLType.TEXT, 1024),
        Column("rejection_count", SQLType.INT4),
        Column("rejection_reason", SQLType.TEXT, 1024),
        Column("task_definition", SQLType.TEXT, sealed=True),
    )

    def key_values(self, key: str) -> Values:
        return (key,)

    def encode(self, record: Task, keyring: Keyring) -> Values:
        return *self.plain(record), record.unreadable or keyring.seal(ENVELOPE + record.definition)

    def plain(self, record: Task) -> Values:
        return _plain_of_task(record)

    def decode(self, row: Sequence[Any], keyring: Keyring) -> Task:
        (
            task_guid, domain, created_at, updated_at, first_completed_at, state, cell_id, result, failed,
            failure_reason, rejection_count, rejection_reason, task_definition,
        ) = row  # fmt: skip
        try:
            known_state = TaskState(state or 0)
        except ValueError as error:
            raise self.unreadable(row, "state", error, Policy.LEAVE_OUT) from error
        definition, unreadable = b"", ""
        try:
            opened = keyring.open(task_definition)
            open_envelope(pb.TaskDefinition, opened)
            # Kept byte for byte, with fields that a newer version may have written: each change of state writes the row.
            definition = opened[len(ENVELOPE) :]
        except (ValueError, RecursionError):
            unreadable = task_definition or UNREADABLE_BLANK
        return Task(
            task_guid=task_guid,
            domain=intern(domain),
            created_at_ns=created_at or 0,
            updated_at_ns=updated_at or 0,
            first_completed_at_ns=first_completed_at or 0,
            state=known_state,
            cell_id=intern(cell_id),
            result=result or "",
            failed=bool(failed),
            failure_reason=failure_reason,
            rejection_count=rejection_count,
            rejection_reason=rejection_reason,
            definition=definition,
            unreadable=unreadable,
        )


_plain_of_task: Callable[[Task], Values] = attrgetter(
    "task_guid", "domain", "created_at_ns", "updated_at_ns", "first_completed_at_ns", "state", "cell_id", "result",
    "failed", "failure_reason", "rejection_count", "rejection_reason",
)  # fmt: skip

UNREADABLE_BLANK: Final = " "
"""What stands for an empty column in ``Task.unreadable``, where '' means that the definition can be read."""
