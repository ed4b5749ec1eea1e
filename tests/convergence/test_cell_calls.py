"""The calls to cells that one pass makes: how many at once, and what a cell that does not answer costs."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from bbs.convergence.cell_calls import CALLS_PER_CELL_MAX, cell_calls
from bbs.log import null_logger
from bbs.peers.http import BadStatus, NoResponse
from tests.log_lines import Lines


class Cells:
    """Cells that take as long as they are told to, and what was called when."""

    def __init__(self) -> None:
        self.called: list[tuple[str, float]] = []
        self.under_way = self.under_way_max = 0

    async def call(self, cell_id: str, takes_s: float = 0.0, error: Exception | None = None) -> None:
        self.called.append((cell_id, trio.current_time()))
        self.under_way += 1
        self.under_way_max = max(self.under_way_max, self.under_way)
        await trio.sleep(takes_s)
        self.under_way -= 1
        if error is not None:
            raise error


@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (3, 3), (20, 12)])
async def test_as_many_at_once_as_there_are_workers(
    autojump_clock: MockClock, workers: int, at_once: int
) -> None:
    cells = Cells()
    async with cell_calls(calls_max=12, workers=workers, log=null_logger()) as calls:
        for number in range(12):
            cell_id = f"c{number}"
            calls.add(cell_id, partial(cells.call, cell_id, 1), failed="failed", about={})

    assert cells.under_way_max == at_once
    assert len(cells.called) == 12
    assert cells.under_way == 0, "all have ended when the block has"


async def test_few_at_once_to_one_cell(autojump_clock: MockClock) -> None:
    cells = Cells()
    async with cell_calls(calls_max=12, workers=20, log=null_logger()) as calls:
        for _ in range(12):
            calls.add("c1", partial(cells.call, "c1", 1), failed="failed", about={})

    assert cells.under_way_max == CALLS_PER_CELL_MAX


@pytest.mark.parametrize(
    ("error", "called"),
    [
        pytest.param(NoResponse("timed out"), CALLS_PER_CELL_MAX, id="no response"),
        pytest.param(BadStatus(500), 12, id="an answer, though a bad one"),
    ],
)
async def test_a_cell_that_does_not_answer_is_not_called_again(
    autojump_clock: MockClock, error: Exception, called: int
) -> None:
    cells, lines = Cells(), Lines()
    async with cell_calls(calls_max=13, workers=20, log=lines.logger()) as calls:
        for index in range(12):
            calls.add("c1", partial(cells.call, "c1", 20, error), failed="failed", about={"index": index})
        calls.add("c2", partial(cells.call, "c2"), failed="failed", about={})

    assert [cell_id for cell_id, _ in cells.called].count("c1") == called
    assert [cell_id for cell_id, _ in cells.called].count("c2") == 1
    said = [(line["message"], line["data"]["index"]) for line in lines.lines]
    assert sorted(index for _, index in said) == list(range(12)), "each is heard of"
    assert sum(message == "bbs.skipping-silent-cell" for message, _ in said) == 12 - called


async def test_no_calls_need_no_workers(autojump_clock: MockClock) -> None:
    async with cell_calls(calls_max=0, workers=20, log=null_logger()):
        assert len(trio.lowlevel.current_task().child_nurseries[-1].child_tasks) == 0


async def test_calls_may_be_added_after_others_have_ended(autojump_clock: MockClock) -> None:
    cells = Cells()
    async with cell_calls(calls_max=2, workers=1, log=null_logger()) as calls:
        calls.add("c1", partial(cells.call, "c1"), failed="failed", about={})
        await trio.sleep(1)
        calls.add("c2", partial(cells.call, "c2", 5), failed="failed", about={})

    assert cells.called == [("c1", 0.0), ("c2", 1.0)]
    assert trio.current_time() == 6.0
