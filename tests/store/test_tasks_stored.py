"""Tasks in their table, in their columns, and in the two views of the store."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bbs.models.errors import BBSError, InvalidRequest, UnknownError
from bbs.models.outcome import Row, delete, put
from bbs.models.task import Task, TaskState
from bbs.models.wire import encode
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Policy, Undecodable
from bbs.store.codecs.envelope import ENVELOPE
from bbs.store.crypto import Keyring
from bbs.store.head import Head
from bbs.store.storable import must_be_storable
from bbs.store.tables import NO_CELL, Tables, TaskQueue
from tests.records import task, task_definition

KEYRING = Keyring({"label": "key"}, "label")
CODEC = CODECS[Task]
GUIDS = st.sampled_from("tuvwx")
TIMES_NS = st.integers(0, 4)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    return task(
        draw(GUIDS),
        draw(st.sampled_from(list(TaskState)[1:])),
        domain=draw(st.sampled_from("de")),
        cell_id=draw(st.sampled_from(["", "c1", "c2"])),
        created_at_ns=draw(TIMES_NS),
        updated_at_ns=draw(TIMES_NS),
        first_completed_at_ns=draw(TIMES_NS),
        unreadable=draw(st.sampled_from(["", "", "02x"])),
    )


class TasksAgreeWithScans(RuleBasedStateMachine):
    """Rows are staged, become durable in order, or are dropped; every index shows what a scan would."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables()
        self.head = Head(self.tables)
        self.staged: list[Row] = []
        self.committed_rows: dict[str, Task] = {}

    @rule(task=tasks())
    def stage(self, task: Task) -> None:
        self.staged.append(put(task))
        self.head.stage(self.staged[-1:])

    @rule(task=tasks())
    def stage_deletion(self, task: Task) -> None:
        self.staged.append(delete(task))
        self.head.stage(self.staged[-1:])

    @precondition(lambda self: self.staged)
    @rule()
    def land(self) -> None:
        row = self.staged.pop(0)
        self.tables.apply([row])
        self.head.unstage([row])
        _keep(self.committed_rows, row)

    @rule()
    def drop(self) -> None:
        self.staged.clear()
        self.head.reset()

    @invariant()
    def head_agrees(self) -> None:
        rows = dict(self.committed_rows)
        for row in self.staged:
            _keep(rows, row)
        assert {guid: self.head.task(guid) for guid in "tuvwx"} == {guid: rows.get(guid) for guid in "tuvwx"}

    @invariant()
    def filed_by_value(self) -> None:
        table, rows = self.tables.tasks, self.committed_rows.values()
        assert table.rows == self.committed_rows
        assert table.unreadable == {row.task_guid: row for row in rows if row.unreadable}
        for domain in "de":
            assert _guids(table.by_domain[domain]) == _guids(r for r in rows if r.domain == domain)
        for cell_id in ("c1", "c2"):
            assert _guids(table.by_cell[cell_id]) == _guids(r for r in rows if r.cell_id == cell_id)
        for cell_id in ("c1", "c2", ""):
            assert _guids(table.running_by_cell[cell_id or NO_CELL]) == _guids(
                r for r in rows if r.cell_id == cell_id and r.state is TaskState.Running
            )
        for state in TaskState:
            assert _guids(table.by_state[state.name]) == _guids(r for r in rows if r.state is state)

    @invariant()
    def queued_by_time(self) -> None:
        table, rows = self.tables.tasks, self.committed_rows.values()
        queues: list[tuple[TaskQueue, TaskState, Callable[[Task], int]]] = [
            (table.pending_by_creation, TaskState.Pending, lambda task: task.created_at_ns),
            (table.resolving_by_update, TaskState.Resolving, lambda task: task.updated_at_ns),
            (table.completed_by_update, TaskState.Completed, lambda task: task.updated_at_ns),
            (table.completed_by_completion, TaskState.Completed, lambda task: task.first_completed_at_ns),
        ]
        for queue, state, time_ns in queues:
            there = sorted((time_ns(row), row.task_guid) for row in rows if row.state is state)
            assert len(queue) == len(there)
            for limit_ns in range(6):
                before = [
                    (time_ns(t), t.task_guid) for page in queue.pages(2, before_ns=limit_ns) for t in page
                ]
                after = [
                    (time_ns(t), t.task_guid) for page in queue.pages(2, after_ns=limit_ns) for t in page
                ]
                assert before == [key for key in there if key[0] < limit_ns]
                assert after == [key for key in there if key[0] > limit_ns]


TestTasksAgreeWithScans = TasksAgreeWithScans.TestCase


def _keep(rows: dict[str, Task], row: Row) -> None:
    assert isinstance(row.key.key, str)
    if row.record is None:
        rows.pop(row.key.key, None)
    else:
        assert isinstance(row.record, Task)
        rows[row.key.key] = row.record


def _guids(found: Any) -> list[str]:
    return sorted(task.task_guid for task in found)


def test_pages_go_on_while_tasks_come_and_go() -> None:
    tables = Tables()
    queue = tables.tasks.pending_by_creation
    tables.apply(put(task(guid, created_at_ns=number)) for number, guid in enumerate("tuvwx"))

    seen = []
    for page in queue.pages(2, before_ns=100):
        seen += _guids(page)
        tables.apply(delete(task(guid)) for guid in ("t", "v"))
        tables.apply([put(task("new", created_at_ns=50))])

    assert seen == ["t", "u", "w", "x", "new"]


FULL = Task(
    task_guid="t",
    domain="d",
    created_at_ns=1,
    updated_at_ns=2,
    first_completed_at_ns=3,
    state=TaskState.Completed,
    cell_id="c1",
    result="r",
    failed=True,
    failure_reason="f",
    rejection_count=4,
    rejection_reason="j",
    definition=encode(task_definition()),
)


def stored(record: Task, **replaced: Any) -> tuple[Any, ...]:
    columns = dict(zip((c.name for c in CODEC.columns), CODEC.encode(record, KEYRING), strict=True))
    assert replaced.keys() <= columns.keys()
    return tuple((columns | replaced).values())


def test_columns() -> None:
    columns = dict(zip((c.name for c in CODEC.columns), stored(FULL), strict=True))

    assert KEYRING.open(columns.pop("task_definition")) == b"\x02\x00" + FULL.definition
    assert columns == {
        "guid": "t",
        "domain": "d",
        "created_at": 1,
        "updated_at": 2,
        "first_completed_at": 3,
        "state": 3,
        "cell_id": "c1",
        "result": "r",
        "failed": True,
        "failure_reason": "f",
        "rejection_count": 4,
        "rejection_reason": "j",
    }


@given(tasks())
def test_a_task_survives_being_stored(record: Task) -> None:
    readable = replace(record, unreadable="")

    assert CODEC.decode(stored(readable), KEYRING) == readable


def test_what_older_servers_left_is_read() -> None:
    nulls = dict.fromkeys(("created_at", "updated_at", "first_completed_at", "state", "result", "failed"))

    assert CODEC.decode(stored(FULL, **nulls), KEYRING) == replace(
        FULL,
        created_at_ns=0,
        updated_at_ns=0,
        first_completed_at_ns=0,
        state=TaskState.Invalid,
        result="",
        failed=False,
    )


def test_what_only_a_newer_server_knows_is_kept() -> None:
    definition = encode(task_definition()) + bytes.fromhex("c23e0161")  # field 1000

    read = CODEC.decode(stored(replace(FULL, definition=definition)), KEYRING)

    assert isinstance(read, Task)
    assert read.definition == definition
    assert read.framed == FULL.framed


def sealed(plaintext: bytes) -> str:
    text = KEYRING.seal(plaintext)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    "definition",
    [
        pytest.param("", id="empty"),
        pytest.param("0", id="cut short"),
        pytest.param("01" + base64.b64encode(b"{}").decode(), id="an encoding of old"),
        pytest.param("02AAAA", id="no label"),
        pytest.param(sealed(b"\x02"), id="half an envelope"),
        pytest.param(sealed(ENVELOPE + b"\xff"), id="no protobuf"),
        pytest.param(sealed(ENVELOPE + b"\x08\x01"), id="wrong type"),
        pytest.param(Keyring({"other": "key"}, "other").seal(ENVELOPE), id="unknown key"),
    ],
)
def test_an_unreadable_definition_is_kept_as_it_is(definition: str) -> None:
    row = stored(FULL, task_definition=definition)

    [[loaded], failures] = CODEC.decode_rows([row], KEYRING)

    assert not failures
    assert isinstance(loaded.record, Task)
    assert loaded.record == replace(FULL, definition=b"", unreadable=loaded.record.unreadable)
    assert loaded.record.unreadable
    assert CODEC.encode(loaded.record, KEYRING) == (*row[:-1], definition or " ")


def test_a_state_that_does_not_exist_leaves_the_row_out() -> None:
    with pytest.raises(Undecodable, match="state") as caught:
        CODEC.decode(stored(FULL, state=5), KEYRING)

    assert caught.value.policy is Policy.LEAVE_OUT


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (replace(FULL, result="r" * 100_000, failure_reason="f" * 1024, cell_id="c" * 255), None),
        (replace(FULL, cell_id="c" * 256), InvalidRequest),
        (replace(FULL, rejection_reason="j" * 1025), InvalidRequest),
        (replace(FULL, result="\0"), UnknownError),
        (replace(FULL, rejection_count=2**31), UnknownError),
        (replace(FULL, created_at_ns=2**63), UnknownError),
    ],
)
def test_what_postgres_would_refuse_is_refused(record: Task, error: type[BBSError] | None) -> None:
    if error is None:
        must_be_storable(record)
        return
    with pytest.raises(error):
        must_be_storable(record)
