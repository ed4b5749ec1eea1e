"""The stage itself: its two ways, and what authors of tests are told."""

import math
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

import bbs.testing
from bbs.client import BBSClient, RequestTimeout, UnexpectedStatus, UnknownError
from bbs.testing import (
    CellBehaviour,
    CommitUnanswered,
    Crash,
    FailOver,
    NoAnswer,
    NotReady,
    Refused,
    Stage,
    StageMisused,
    TaskEnd,
    desired_message,
    open_stage,
)

pytest_plugins = ["bbs.testing.pytest_plugin"]

Clock = trio.testing.MockClock

PATIENCE_S = 60


async def crash(stage: Stage, process_guid: str, index: int) -> None:
    stage.cells["cell-1"].crash(process_guid, index)


MISUSES: dict[str, tuple[Callable[[Stage], Awaitable[object]], str]] = {
    "two cells of one name": (lambda stage: stage.add_cell("cell-1"), r"await stage.boot\('cell-1'\)"),
    "a cell that is up": (lambda stage: stage.boot("cell-1"), "have it vanish or evacuate first"),
    "no such cell": (lambda stage: stage.boot("cell-2"), r"await stage.add_cell\('cell-2'\)"),
    "a crash of what is not there": (
        lambda stage: crash(stage, "app", 1),
        "cell-1 does not run app/1, but nothing: wait until",
    ),
    "no such route": (
        lambda stage: stage.inflict(NotReady(route="DesireLRP")),
        "no route is called 'DesireLRP'; did you mean .*DesireDesiredLRP",
    ),
    "nothing like it": (lambda stage: stage.inflict(NotReady(route="xyzzy")), "`stage.routes` has them all"),
    "no place for an error": (
        lambda stage: stage.inflict(Refused(route="Ping", error=UnknownError())),
        "take NotReady, or ConnectionCut",
    ),
    "a stream is not refused": (
        lambda stage: stage.inflict(Refused(route="TaskEventStream", error=UnknownError())),
        "take NotReady, or ConnectionCut",
    ),
}


@pytest.mark.parametrize(("misuse", "text"), MISUSES.values(), ids=MISUSES)
async def test_who_asks_for_what_cannot_be_is_told_what_can(
    bbs_stage: Stage,
    autojump_clock: Clock,
    misuse: Callable[[Stage], Awaitable[object]],
    text: str,
) -> None:
    await bbs_stage.add_cell("cell-1")
    with pytest.raises(StageMisused, match=text):
        await misuse(bbs_stage)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Crash(after_s=-1), r"Crash: after_s is -1, and is to be seconds, 0 or more"),
        (lambda: CellBehaviour(starts_after_s=math.nan), "CellBehaviour: starts_after_s is nan"),
        (lambda: TaskEnd(after_s=-0.5), "TaskEnd: after_s"),
        (lambda: FailOver(away_s=-1), "FailOver: away_s"),
        (lambda: NotReady(route="Ping", times=0), "NotReady: times is 0, and is to be 1 or more"),
        (lambda: CommitUnanswered(commits=0), "CommitUnanswered: commits is 0"),
    ],
)
def test_numbers_that_cannot_be_are_told_where_they_are_written(
    make: Callable[[], object], text: str
) -> None:
    with pytest.raises(StageMisused, match=text):
        make()


async def test_a_fault_that_makes_no_sense_lets_none_begin(bbs_stage: Stage, autojump_clock: Clock) -> None:
    with pytest.raises(StageMisused):
        await bbs_stage.inflict(FailOver(away_s=60), NotReady(route="xyzzy"))
    async with bbs_stage.connect() as bbs:
        assert await bbs.ping()


async def test_a_wait_in_vain_says_what_there_is(bbs_stage: Stage, autojump_clock: Clock) -> None:
    with pytest.raises(AssertionError, match="There are none: has it been desired"):
        await bbs_stage.until_running("app", 1, within_s=5)
    await bbs_stage.add_cell("cell-1", CellBehaviour(takes=False))
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app"))
        with pytest.raises(AssertionError, match=r"index 0: UNCLAIMED \(insufficient resources\)"):
            await bbs_stage.until_running("app", 1, within_s=5)


async def test_a_client_of_the_stage_has_the_options_that_it_is_given(
    bbs_stage: Stage, autojump_clock: Clock
) -> None:
    await bbs_stage.inflict(NotReady(route="Domains"), NoAnswer(route="Domains"))
    async with bbs_stage.connect(attempts=1, request_timeout_s=2) as bbs:
        with pytest.raises(UnexpectedStatus):
            await bbs.domains()
        began_s = trio.current_time()
        with pytest.raises(RequestTimeout):
            await bbs.domains()
        assert 2 <= trio.current_time() - began_s < 3


async def test_a_client_may_be_made_elsewhere(bbs_stage: Stage, autojump_clock: Clock) -> None:
    async with BBSClient.connect(bbs_stage.url, connector=bbs_stage.connector) as bbs:
        assert await bbs.ping()


async def test_a_port_in_virtual_time_is_refused(autojump_clock: Clock) -> None:
    with pytest.raises(StageMisused, match="run this test without `autojump_clock`"):
        async with open_stage(port=0):
            raise AssertionError("it opens")


async def test_a_wait_without_end_ends(autojump_clock: Clock) -> None:
    with pytest.RaisesGroup(StageMisused):
        async with (
            open_stage(virtual_max_s=600) as stage,
            stage.connect() as bbs,
            await bbs.subscribe_to_task_events() as events,
        ):
            await events.next()


@pytest.mark.slow
async def test_with_a_port_it_is_the_same_in_real_time(bbs_port_stage: Stage) -> None:
    stage = bbs_port_stage
    assert stage.connector is None
    with trio.fail_after(PATIENCE_S):
        await stage.add_cell("cell-1", CellBehaviour(starts_after_s=0.1))
        async with stage.connect() as bbs, await bbs.subscribe_to_instance_events(once=True) as events:
            url = stage.url
            assert url.startswith("http://127.0.0.1:")
            await bbs.desire_lrp(desired_message("app"))
            await stage.until_running("app", 1)
            await stage.inflict(FailOver(away_s=0.2))
            assert (await events.next()).key == "app"
            while not await bbs.ping():
                pass
            assert stage.url == url
            assert len(await bbs.actual_lrps()) == 1


MISUSED_FIXTURE = """
pytest_plugins = ["bbs.testing.pytest_plugin"]

async def test_in_real_time(bbs_stage):
    pass

async def test_in_virtual_time(bbs_port_stage, autojump_clock):
    pass
"""


@pytest.mark.slow
def test_fixtures_say_how_to_use_them_and_the_library_needs_no_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_misused.py").write_text(MISUSED_FIXTURE)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.stdout + done.stderr

    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_misused.py")
    assert "have the test take `autojump_clock`" in told
    assert "run this test without `autojump_clock`" in told
    # Trio's own testing tools import pytest if it is there.
    without = "import sys; sys.modules['pytest'] = None; import bbs.testing; print('tests' in sys.modules)"
    assert run("-c", without) == "False\n"


def test_the_page_refers_to_all_that_there_is() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "testing.md").read_text()
    [members] = re.findall(r"^      members:\n((?:        - \w+\n)+)", page, re.MULTILINE)

    assert {*re.findall(r"- (\w+)", members), "Fault"} == set(bbs.testing.__all__)
