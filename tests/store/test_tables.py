"""An index is right when it agrees with a scan, and `head` when it agrees with a plain dictionary."""

from itertools import permutations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bbs.models.actual_lrp import ActualLRP, InstanceKey, Presence, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.outcome import Row, delete, put
from bbs.store.head import Head
from bbs.store.tables import ActualLRPTable, DesiredLRPTable, Tables
from tests.records import actual_lrp, desired_lrp

GUIDS = st.sampled_from(["p", "q"])
CELLS = st.sampled_from(["", "c1", "c2"])
DOMAINS = st.sampled_from(["d", "e"])


@st.composite
def actual_lrps(draw: st.DrawFn) -> ActualLRP:
    return actual_lrp(
        draw(GUIDS),
        draw(st.integers(0, 1)),
        draw(st.sampled_from(Presence)),
        domain=draw(DOMAINS),
        instance=InstanceKey(instance_guid="i", cell_id=draw(CELLS)),
        crash_count=draw(st.integers(0, 3)),
    )


class ViewsAgreeWithScans(RuleBasedStateMachine):
    """Rows are staged, become durable in order, or are dropped; both views always show what a dictionary would."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables()
        self.head = Head(self.tables)
        self.staged: list[Row] = []
        self.committed_rows: dict[object, ActualLRP] = {}

    def head_rows(self) -> dict[object, ActualLRP]:
        rows = dict(self.committed_rows)
        for row in self.staged:
            if isinstance(row.record, ActualLRP):
                rows[row.key.key] = row.record
            else:
                rows.pop(row.key.key, None)
        return rows

    @rule(lrp=actual_lrps())
    def stage(self, lrp: ActualLRP) -> None:
        self.staged.append(put(lrp))
        self.head.stage(self.staged[-1:])

    @rule(lrp=actual_lrps())
    def stage_deletion(self, lrp: ActualLRP) -> None:
        self.staged.append(delete(lrp))
        self.head.stage(self.staged[-1:])

    @precondition(lambda self: self.staged)
    @rule()
    def land(self) -> None:
        row = self.staged.pop(0)
        self.tables.apply([row])
        self.head.unstage([row])
        if isinstance(row.record, ActualLRP):
            self.committed_rows[row.key.key] = row.record
        else:
            self.committed_rows.pop(row.key.key, None)

    @rule()
    def drop(self) -> None:
        self.staged.clear()
        self.head.reset()

    @invariant()
    def committed_agrees(self) -> None:
        table = self.tables.actual_lrps
        rows = list(self.committed_rows.values())
        assert table.rows == self.committed_rows
        for guid in ("p", "q"):
            of_process = [lrp for lrp in rows if lrp.process_guid == guid]
            assert list(table.by_process_guid[guid]) == sorted(of_process, key=lambda lrp: lrp.key)
        assert len(table.by_process_guid) == len({lrp.process_guid for lrp in rows})
        for cell in ("c1", "c2"):
            assert sorted(table.by_cell[cell], key=id) == sorted(
                (r for r in rows if r.instance.cell_id == cell), key=id
            )
        for domain in ("d", "e"):
            assert sorted(table.by_domain[domain], key=id) == sorted(
                (r for r in rows if r.domain == domain), key=id
            )

    @invariant()
    def head_agrees(self) -> None:
        rows = self.head_rows()
        for guid in ("p", "q"):
            assert self.head.rows_of(guid) == [rows[key] for key in sorted(rows) if key[0] == guid]  # type: ignore[type-var,index]
            for index in (0, 1):
                assert self.head.rows_at(guid, index) == Rows(*(rows.get((guid, index, p)) for p in Presence))

    @invariant()
    def nothing_is_left_behind(self) -> None:
        assert self.head.staged() == len({row.key for row in self.staged})


TestViewsAgreeWithScans = ViewsAgreeWithScans.TestCase


@pytest.mark.parametrize("order", list(permutations([*Presence, 10])))
def test_rows_of_a_process_come_by_index_and_presence_however_they_came(order: tuple[int, ...]) -> None:
    """An index of two digits, too: numbers are no texts."""
    table = ActualLRPTable()
    for presence in order:
        lrp = actual_lrp("p", 10) if presence == 10 else actual_lrp("p", 9, Presence(presence))
        table.put(lrp.key, lrp)
    assert [lrp.key[1:] for lrp in table.by_process_guid["p"]] == [(9, 0), (9, 1), (9, 2), (10, 0)]

    claimed = actual_lrp("p", 9, crash_count=1)
    table.put(claimed.key, claimed)
    table.delete(actual_lrp("p", 9, Presence.EVACUATING).key)

    assert [(lrp.presence, lrp.crash_count) for lrp in table.by_process_guid["p"]] == [(0, 1), (2, 0), (0, 0)]


def test_desired_lrps_come_in_order_whatever_has_changed_since_the_last_time() -> None:
    table = DesiredLRPTable()

    def expect(*lrps: DesiredLRP) -> None:
        assert list(table.in_order()) == list(lrps)
        assert list(table.in_order()) == list(lrps), "again"

    b, a, changed = desired_lrp("b"), desired_lrp("a"), desired_lrp("b", instances=7)
    expect()
    table.put("b", b)
    expect(b)
    table.put("a", a)
    expect(a, b)
    before = table.in_order()
    table.put("b", changed)
    expect(a, changed)
    table.delete("a")
    expect(changed)
    assert list(before) == [a, b], "what was handed out stays as it was"


def test_a_prefix_finds_the_processes_of_an_app_in_order() -> None:
    table = DesiredLRPTable()
    for guid in ("app-2-x", "app-1", "app-2", "b", "app-2-a"):
        table.put(guid, desired_lrp(guid))

    assert [lrp.process_guid for lrp in table.with_prefix("app-2")] == ["app-2", "app-2-a", "app-2-x"]
    assert list(table.with_prefix("zzz")) == []
