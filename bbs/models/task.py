"""A piece of work that runs once: the Task record.

A record is immutable and knows its own wire bytes, which are made at most once. Two records are the 'before' and
'after' of an event, and a view of the store is a dictionary of references to them.
"""

from dataclasses import field
from enum import IntEnum
from typing import Final

from bbs.models import pb
from bbs.models.actual_lrp import LIST_ELEMENT
from bbs.models.record import record
from bbs.models.wire import encode, frame


class TaskState(IntEnum):
    """Numbers and names are those of the wire, of the database and of error texts (spec: tasks.md §1)."""

    Invalid = 0
    """The state of no stored task; the wire shows it where there is no task."""
    Pending = 1
    """No cell runs it yet."""
    Running = 2
    """A cell has started it."""
    Completed = 3
    """It is over, well or not, and nobody has taken note of it yet."""
    Resolving = 4
    """Its completion callback is under way."""


@record
class Task:
    """A row of ``tasks`` (spec: tasks.md §1).

    ``definition`` is a serialised ``models.TaskDefinition``; times are Unix time in nanoseconds, 0 is never.
    ``unreadable`` is the stored text of a definition that we cannot read, else ``""``. Such a task can be counted and
    deleted, but never shown or changed (spec: storage.md §5); the text is kept, so that the row can be written again.
    """

    task_guid: str
    domain: str
    created_at_ns: int
    updated_at_ns: int
    first_completed_at_ns: int = 0
    state: TaskState
    cell_id: str = ""
    result: str = ""
    failed: bool = False
    failure_reason: str = ""
    rejection_count: int = 0
    rejection_reason: str = ""
    definition: bytes = field(repr=False)
    unreadable: str = field(default="", repr=False)
    # Kept once made, as in `ActualLRP`.
    kept_framed: bytes | None = field(default=None, init=False, repr=False, compare=False)
    """What `framed` gave, once somebody has asked for it."""
    _callback: tuple[str, str] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def key(self) -> str:
        return self.task_guid

    @property
    def framed(self) -> bytes:
        """This record as one element of a list response, ready to be joined."""
        if self.kept_framed is None:
            object.__setattr__(self, "kept_framed", frame(LIST_ELEMENT, encode(self.message())))
        assert self.kept_framed is not None
        return self.kept_framed

    @property
    def completion_callback_url(self) -> str:
        """Whom to tell that the task is over; ``""``: nobody."""
        return self._callback_parts()[0]

    @property
    def annotation(self) -> str:
        return self._callback_parts()[1]

    def message(self) -> pb.Task:
        """The task at version 3. Its definition is always present, be it empty (spec: api.md 7.2)."""
        message = pb.Task(
            task_guid=self.task_guid,
            domain=self.domain,
            created_at=self.created_at_ns,
            updated_at=self.updated_at_ns,
            first_completed_at=self.first_completed_at_ns,
            state=int(self.state),
            cell_id=self.cell_id,
            result=self.result,
            failed=self.failed,
            failure_reason=self.failure_reason,
            rejection_count=self.rejection_count,
            rejection_reason=self.rejection_reason,
        )
        message.task_definition.CopyFrom(self.definition_message())
        return message

    def definition_message(self) -> pb.TaskDefinition:
        """What the task is to do. Fields that only a newer version knows are kept in the row, but not shown."""
        definition = pb.TaskDefinition.FromString(self.definition)
        definition.DiscardUnknownFields()
        return definition

    def _callback_parts(self) -> tuple[str, str]:
        """The callback's URL and the annotation: what the server itself looks at in a definition, which is decoded once."""
        if self._callback is None:
            definition = pb.TaskDefinition.FromString(self.definition)
            parts = definition.completion_callback_url, definition.annotation
            object.__setattr__(self, "_callback", parts)
        assert self._callback is not None
        return self._callback


NO_TASK: Final = Task(
    task_guid="", domain="", created_at_ns=0, updated_at_ns=0, state=TaskState.Invalid, definition=b""
)
"""What an event shows where there is no task: all defaults (spec: examples.md H21)."""
