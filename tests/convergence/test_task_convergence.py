"""The task pass: what it changes, tells, asks for and counts (spec: tasks.md §6; examples.md J)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.convergence.loop import ConvergenceLoop
from bbs.convergence.tasks import PAGE_TASKS, TaskConvergenceStatistics
from bbs.lifecycle.task_convergence import (
    TaskLimits,
    at,
    demote,
    expire_completed,
    expire_pending,
    fail_where_cell_is_gone,
    is_to_be_auctioned,
    is_to_be_called_back,
    pruned,
)
from bbs.log import Level, null_logger
from bbs.models.errors import UnknownError
from bbs.models.events import TaskChanged, TaskRemoved
from bbs.models.task import Task, TaskState
from bbs.peers.interfaces import PeerUnavailable
from bbs.store.memory_backend import Outage
from tests.convergence.bench import MINUTE_NS, SECOND_NS, Bench, N, open_bench
from tests.faulty_peers import PeerFault
from tests.log_lines import Lines
from tests.records import task

Pending, Running, Completed, Resolving = list(TaskState)[1:]
URL = "https://callback.example.com/t"


def aged(
    state: TaskState,
    *,
    guid: str = "t",
    created: int = 0,
    updated: int = 0,
    first_completed: int = 0,
    **fields: Any,
) -> Task:
    """Ages in nanoseconds."""
    return task(
        guid,
        state,
        created_at_ns=N - created,
        updated_at_ns=N - updated,
        first_completed_at_ns=N - first_completed,
        **fields,
    )


@pytest.fixture
async def bench(autojump_clock: MockClock) -> AsyncIterator[Bench]:
    async with open_bench() as bench:
        yield bench


FAILED = {"state": Completed, "failed": True, "first_completed_at_ns": N, "updated_at_ns": N}
EXPIRED = FAILED | {"failure_reason": "not started within time limit"}
LOST = FAILED | {"failure_reason": "cell disappeared before completion"}


@pytest.mark.parametrize(
    ("before", "changes", "told", "kicked", "pruned", "asked"),
    [
        pytest.param(
            aged(Pending, created=30 * MINUTE_NS + 1, url=URL), EXPIRED, ["changed"], 1, 0, [], id="J1"
        ),
        pytest.param(aged(Pending, created=30 * MINUTE_NS), {}, [], 0, 0, [], id="J2"),
        pytest.param(aged(Pending, created=SECOND_NS), {}, [], 1, 0, ["auction"], id="J3"),
        pytest.param(aged(Running, cell_id="c9"), LOST, ["changed"], 1, 0, [], id="J4"),
        pytest.param(aged(Running, cell_id="c1"), {}, [], 0, 0, [], id="J5"),
        pytest.param(
            aged(Resolving, updated=31 * SECOND_NS, first_completed=40 * SECOND_NS, url=URL),
            {"state": Completed},
            ["changed"],
            1,
            0,
            ["callback"],
            id="J7",
        ),
        pytest.param(
            aged(Resolving, updated=3 * MINUTE_NS, first_completed=3 * MINUTE_NS, url=URL),
            None,
            ["changed", "removed"],
            0,
            1,
            [],
            id="J8",
        ),
        pytest.param(
            aged(Completed, updated=31 * SECOND_NS, first_completed=31 * SECOND_NS, url=URL),
            {},
            [],
            1,
            0,
            ["callback"],
            id="J9",
        ),
        pytest.param(
            aged(Completed, updated=SECOND_NS, first_completed=2 * MINUTE_NS + 1),
            None,
            ["removed"],
            0,
            1,
            [],
            id="J10",
        ),
        pytest.param(
            replace(aged(Pending, created=SECOND_NS), definition=b"", unreadable="02x"),
            None,
            [],
            0,
            1,
            [],
            id="J11: while in time",
        ),
        pytest.param(
            replace(aged(Pending, created=60 * MINUTE_NS), definition=b"", unreadable="02x"),
            None,
            [],
            0,
            1,
            [],
            id="J11: when too old",
        ),
        pytest.param(
            replace(aged(Running, cell_id="c1"), definition=b"", unreadable="02x"),
            {},
            [],
            0,
            0,
            [],
            id="an unreadable task that no step would pick",
        ),
        pytest.param(
            replace(
                aged(Completed, updated=MINUTE_NS, first_completed=MINUTE_NS),
                definition=b"",
                unreadable="02x",
            ),
            None,
            [],
            0,
            1,
            [],
            id="an unreadable task to be called back",
        ),
    ],
)
async def test_one_task(
    bench: Bench,
    before: Task,
    changes: dict[str, Any] | None,
    told: list[str],
    kicked: int,
    pruned: int,
    asked: list[str],
) -> None:
    await bench.given(before)

    await bench.convergence.converge()

    after = None if changes is None else replace(before, **changes)
    assert bench.rows() == ({} if after is None else {"t": after})
    assert [{TaskChanged: "changed", TaskRemoved: "removed"}[type(event)] for event in bench.events] == told
    statistics = bench.convergence.statistics()
    assert (statistics.kicked, statistics.pruned, statistics.passes) == (kicked, pruned, 1)
    assert bench.auctioned() == ([["t"]] if "auction" in asked else [])
    assert bench.called_back() == (["t"] if "callback" in asked else [])


async def test_j6_without_cells_every_running_task_is_lost(bench: Bench) -> None:
    bench.cells = frozenset()
    await bench.given(aged(Running, cell_id="c1"))

    await bench.convergence.converge()

    assert bench.rows()["t"].failure_reason == "cell disappeared before completion"
    assert bench.rows()["t"].cell_id == "c1"


async def test_j13_nothing_happens_while_the_cells_are_not_known(bench: Bench) -> None:
    bench.cells = UnknownError("locket is away")
    await bench.given(aged(Running, cell_id="c9"), aged(Pending, guid="u"))

    with pytest.raises(UnknownError):
        await bench.convergence.converge()

    assert bench.rows()["t"].state is Running
    assert not bench.peers.requests
    assert bench.convergence.statistics() == TaskConvergenceStatistics()


async def test_a_passs_lines_in_their_order() -> None:
    lines = Lines()
    async with open_bench(log=lines.logger(Level.DEBUG)) as bench:
        await bench.given(aged(Pending, unreadable="02x"))

        await bench.convergence.converge()

        assert [line.replace(" converge-tasks.", " ") for line in lines.table()] == [
            "debug listing-cells",
            "debug succeeded-listing-cells",
            "info db-converge-tasks.starting",
            "info db-converge-tasks.get-task-start-requests-for-kickable-pending-tasks"
            ".deleting-invalid-task-from-db guid",
            "info db-converge-tasks.complete",
            "debug emitting-events-from-convergence num_tasks_to_complete",
            "debug submitting-tasks-to-be-completed num_tasks_to_complete",
            "debug done-submitting-tasks-to-be-completed num_tasks_to_complete",
        ]
        bench.cells = UnknownError("locket is away")
        with pytest.raises(UnknownError):
            await bench.convergence.converge()
        assert lines.table()[-2:] == [
            "debug converge-tasks.listing-cells",
            "debug converge-tasks.failed-listing-cells",
        ]


async def test_a_task_that_the_pass_failed_is_called_back_by_a_later_one(bench: Bench) -> None:
    await bench.given(aged(Running, cell_id="c9", url=URL))
    await bench.convergence.converge()
    assert bench.called_back() == []

    bench.now_ns += 30 * SECOND_NS + 1
    await bench.convergence.converge()

    assert bench.called_back() == ["t"]


async def test_all_waiting_tasks_go_up_for_auction_in_one_request(bench: Bench) -> None:
    guids = [f"t{number:03}" for number in range(3 * PAGE_TASKS)]
    await bench.given(*(aged(Pending, guid=guid) for guid in guids))

    await bench.convergence.converge()

    assert bench.auctioned() == [guids]
    statistics = bench.convergence.statistics()
    assert (statistics.kicked, statistics.pending, statistics.running) == (len(guids), len(guids), 0)


async def test_an_auctioneer_that_is_away_is_no_obstacle(bench: Bench) -> None:
    bench.peers.faults = [PeerFault(call="request_task_auctions", error=partial(PeerUnavailable, "500"))]
    await bench.given(aged(Pending), aged(Completed, guid="u", updated=31 * SECOND_NS, url=URL))

    await bench.convergence.converge()

    assert not bench.auctioned()
    assert bench.called_back() == ["u"]


async def test_a_full_pool_holds_the_pass_up_but_not_its_numbers(bench: Bench) -> None:
    place = trio.Event()
    bench.peers.faults = [PeerFault(call="submit", until=place)]
    await bench.given(aged(Completed, updated=31 * SECOND_NS, first_completed=31 * SECOND_NS, url=URL))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.convergence.converge)
        await wait_all_tasks_blocked()
        assert bench.convergence.statistics().kicked == 1
        assert bench.called_back() == []
        place.set()

    assert bench.called_back() == ["t"]


async def test_a_step_that_fails_leaves_the_others_to_do_their_work(bench: Bench) -> None:
    await bench.given(
        aged(Pending, guid="expired", created=31 * MINUTE_NS), aged(Running, guid="lost", cell_id="c9")
    )
    now_s = trio.current_time()
    bench.faults.outages = [Outage(now_s, now_s + 5.5)]  # the store gives the first step up after 5 s

    await bench.convergence.converge()

    assert bench.rows()["expired"].state is Pending
    assert bench.rows()["lost"].state is Completed
    assert bench.convergence.statistics().kicked == 1
    await bench.convergence.converge()
    assert bench.rows()["expired"].state is Completed


async def test_a_task_that_moves_on_during_the_pass_is_left_alone(bench: Bench) -> None:
    """What the pass decides on is the staged row, not the committed one that it found the task by."""
    expired = aged(Pending, created=31 * MINUTE_NS)
    await bench.given(expired)
    bench.faults.write_s = 1.0

    async with trio.open_nursery() as nursery:
        started = replace(expired, state=Running, cell_id="c1", updated_at_ns=N)
        nursery.start_soon(bench.given, started)
        await wait_all_tasks_blocked()
        await bench.convergence.converge()

    assert bench.rows() == {"t": started}


LIMITS = TaskLimits()
TIMES = st.sampled_from(
    [
        N - age
        for limit in (LIMITS.kick_ns, LIMITS.expire_pending_ns, LIMITS.expire_completed_ns)
        for age in (limit - 1, limit, limit + 1, 2 * limit)
    ]
    + [N, 0]
)


@given(st.data(), st.sets(st.sampled_from(["c1", "c2", "c3"])))
def test_a_pass_does_what_a_scan_of_all_tasks_would(data: st.DataObject, cells: set[str]) -> None:
    tasks = [
        task(
            f"t{number}",
            data.draw(st.sampled_from(list(TaskState)[1:])),
            url=URL,
            created_at_ns=data.draw(TIMES),
            updated_at_ns=data.draw(TIMES),
            first_completed_at_ns=data.draw(TIMES),
            cell_id=data.draw(st.sampled_from(["", "c1", "c2"])),
            unreadable=data.draw(st.sampled_from(["", "", "", "02x"])),
        )
        for number in range(data.draw(st.integers(0, 8)))
    ]
    moment = at(N, LIMITS)
    expected = {each.task_guid: each for each in tasks}
    auctioned: list[str] = []
    called_back: list[str] = []
    for decide in (
        partial(expire_pending, at=moment),
        partial(_picked, is_to_be_auctioned, auctioned, moment),
        partial(fail_where_cell_is_gone, cells=cells, at=moment),
        partial(demote, at=moment),
        partial(expire_completed, at=moment),
        partial(_picked, is_to_be_called_back, called_back, moment),
    ):
        for each in list(expected.values()):
            outcome = decide(each)
            for row in outcome.rows if outcome is not None else ():
                assert row.record is None or isinstance(row.record, Task)
                if row.record is None:
                    del expected[each.task_guid]
                else:
                    expected[each.task_guid] = row.record

    async def converge() -> None:
        async with open_bench() as bench:
            bench.cells = cells
            await bench.given(*tasks)
            await bench.convergence.converge()
            assert bench.rows() == expected
            assert sorted(guid for request in bench.auctioned() for guid in request) == sorted(auctioned)
            assert sorted(bench.called_back()) == sorted(called_back)
            statistics = bench.convergence.statistics()
            assert (
                statistics.pending,
                statistics.running,
                statistics.completed,
                statistics.resolving,
            ) == tuple(
                sum(each.state is state for each in expected.values()) for state in list(TaskState)[1:]
            )

    trio.run(converge, clock=MockClock(autojump_threshold=0))


def _picked(is_wanted: Any, picked: list[str], moment: Any, each: Task) -> Any:
    if not is_wanted(each, moment):
        return None
    if not each.unreadable:
        picked.append(each.task_guid)
    return pruned(each)


async def test_passes_repeat_an_interval_after_the_slowest_has_ended(autojump_clock: MockClock) -> None:
    began: list[tuple[str, float]] = []

    async def converge(name: str, takes_s: float) -> None:
        began.append((name, trio.current_time() - start_s))
        await trio.sleep(takes_s)

    start_s = trio.current_time()
    with trio.move_on_after(75):
        await ConvergenceLoop(
            {"lrps": partial(converge, "quick", 1), "tasks": partial(converge, "slow", 10)},
            repeat_interval_s=30,
            log=null_logger(),
        ).run()

    assert sorted(began) == [("quick", 30), ("quick", 70), ("slow", 30), ("slow", 70)]
