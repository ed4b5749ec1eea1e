"""The numbers of a fleet agree with a count of all rows, whatever the rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.dashboard import counts
from bbs.dashboard.apps import apps
from bbs.dashboard.troubles import Wrong, processes_with
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.outcome import put
from bbs.models.task import TaskState
from bbs.store.tables import Tables
from tests.records import actual_lrp, desired_lrp, task

GUIDS = st.sampled_from(["a", "b", "c"])


@st.composite
def rows(draw: st.DrawFn) -> ActualLRP:
    state = draw(st.sampled_from(ActualLRPState))
    held = state.is_held
    return actual_lrp(
        draw(GUIDS),
        draw(st.integers(0, 3)),
        draw(st.sampled_from(Presence)),
        state=state,
        instance=InstanceKey(instance_guid="i", cell_id="c1")
        if held
        else InstanceKey(instance_guid="", cell_id=""),
        crash_count=draw(st.integers(0, 201)) if state is ActualLRPState.CRASHED else 0,
    )


DESIRED = st.builds(lambda guid, instances: desired_lrp(guid, instances=instances), GUIDS, st.integers(0, 4))
FLEETS = st.lists(st.one_of(rows(), DESIRED), max_size=30)


def tables_of(records: list[ActualLRP | DesiredLRP]) -> Tables:
    tables = Tables()
    tables.apply([put(record) for record in records])
    return tables


@given(FLEETS)
async def test_numbers_are_those_of_a_full_scan(records: list[ActualLRP | DesiredLRP]) -> None:
    tables = tables_of(records)
    lrps, desired = list(tables.actual_lrps.rows.values()), dict(tables.desired_lrps.rows)
    ordinary = {(lrp.process_guid, lrp.index) for lrp in lrps if lrp.presence is Presence.ORDINARY}
    wanted = {(guid, index) for guid, lrp in desired.items() for index in range(lrp.instances)}

    told = await counts.instances(tables)

    assert told.by_state == {state.value: sum(lrp.state is state for lrp in lrps) for state in ActualLRPState}
    assert told.evacuating == sum(lrp.presence is Presence.EVACUATING for lrp in lrps)
    assert told.suspect == sum(lrp.presence is Presence.SUSPECT for lrp in lrps)
    assert (told.desired, told.processes) == (len(wanted), len(desired))
    assert told.missing == len(wanted - ordinary)
    assert told.extra == sum(guid in desired for guid, _ in ordinary - wanted)
    assert told.orphans == sum(
        lrp.process_guid not in desired and lrp.presence is not Presence.EVACUATING for lrp in lrps
    )


@given(FLEETS)
async def test_apps_are_chosen_by_what_is_wrong_with_them(records: list[ActualLRP | DesiredLRP]) -> None:
    tables = tables_of(records)
    lrps, desired = list(tables.actual_lrps.rows.values()), dict(tables.desired_lrps.rows)

    ordinary = [lrp for lrp in lrps if lrp.presence is Presence.ORDINARY]
    indices = {guid: {lrp.index for lrp in ordinary if lrp.process_guid == guid} for guid in desired}
    expected = {
        Wrong.MISSING: {guid for guid, lrp in desired.items() if set(range(lrp.instances)) - indices[guid]},
        Wrong.EXTRA: {guid for guid, lrp in desired.items() if indices[guid] - set(range(lrp.instances))},
        Wrong.UNCLAIMED: {
            lrp.process_guid
            for lrp in ordinary
            if lrp.state is ActualLRPState.UNCLAIMED and lrp.process_guid in desired
        },
        Wrong.CRASHED: {lrp.process_guid for lrp in ordinary if lrp.state is ActualLRPState.CRASHED},
        Wrong.SUSPECT: {lrp.process_guid for lrp in lrps if lrp.presence is Presence.SUSPECT},
        Wrong.NOT_DESIRED: {
            lrp.process_guid
            for lrp in lrps
            if lrp.process_guid not in desired and lrp.presence is not Presence.EVACUATING
        },
    }

    chosen = {wrong: await processes_with(wrong, tables, count=10) for wrong in Wrong}
    assert chosen == {wrong: sorted(guids) for wrong, guids in expected.items()}


def test_tasks_are_counted_by_state() -> None:
    tables = Tables()
    states = (TaskState.Pending, TaskState.Pending, TaskState.Running, TaskState.Resolving)
    tables.apply([put(task(f"t{number}", state)) for number, state in enumerate(states)])

    assert counts.tasks(tables) == {"Pending": 2, "Running": 1, "Completed": 0, "Resolving": 1}


@pytest.mark.parametrize("prefix", ["", "app-1", "app-10", "nothing"])
@pytest.mark.parametrize("wrong", [None, Wrong.MISSING])
async def test_pages_of_apps_follow_one_another_without_gap_or_overlap(
    prefix: str, wrong: Wrong | None
) -> None:
    tables = Tables()
    guids = [f"app-{number:03}" for number in range(130)]
    tables.apply([put(desired_lrp(guid)) for guid in guids])
    pages: list[list[str]] = []
    after: object = ""

    while after is not None:
        page = await apps(tables, prefix=prefix, after=str(after), wrong=wrong)
        rows, after = page["apps"], page["next"]
        assert isinstance(rows, list)
        pages.append([row["guid"] for row in rows])

    assert [guid for page in pages for guid in page] == [guid for guid in guids if guid.startswith(prefix)]
    assert all(len(page) == 50 for page in pages[:-1])
