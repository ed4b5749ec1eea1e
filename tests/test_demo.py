"""`bbs demo` as a newcomer meets it, and its fleet towards a server."""

import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from bbs.demo import Behaviour
from bbs.demo.behaviour import QUIET
from bbs.demo.program import SERVES, Program, program_of
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState
from tests.daemons import free_port
from tests.demo_fleet import PATIENCE_S, DemoStage
from tests.forked_starts import Ended, ForkedStarts
from tests.terminals import at_a_terminal
from tests.waiting import wait_until

INSTANCES = 6
ADDRESSES = ("--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0", "--debug-listen")
"""The last one's value is a port that a test takes."""
PROGRAM = r"^\S*bbs |^\S+ -m bbs "
IN_A_SHELL = ("cells",)
FOLLOWED = "events --follow"
"""The command of those that are printed which goes on until somebody ends it."""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> ForkedStarts:
    """Starts beside one that runs."""
    return ForkedStarts(tmp_path_factory.mktemp("others"))


async def test_a_newcomer_sees_a_fleet_looks_at_it_as_told_and_ends_it(
    starts: ForkedStarts, others: ForkedStarts
) -> None:
    debug = f"127.0.0.1:{free_port()}"
    async with at_a_terminal(starts, "demo", *ADDRESSES, debug, "--cells", "3") as terminal:
        text = await terminal.until("Ctrl-C ends it")
        assert f"In a browser: http://{debug}/dashboard/" in text
        exports, commands = to_paste(text)
        [directory] = {Path(path).parent.parent for path in re.findall(r"CERT_FILE=(\S+)", exports)}
        for command in commands:
            ended = await pasted(exports, command, others)
            words = re.sub(PROGRAM, "", command)
            # A cell may be lost just now, which is not healthy.
            assert ended.exit_code in ((0, 1) if words == "doctor" else (0,)), (command, ended)
            for word in SHOWS[words]:
                assert word in ended.stdout, (command, ended)
        terminal.press_ctrl_c()
        ended_demo = await terminal.until_it_ends()

    assert ended_demo == Ended(0, "", "")
    assert terminal.text.endswith("ending: first the fleet, then the server\nended\n")
    assert not directory.exists()


SHOWS = {
    "cells": ('"cell_id":"cell-0"', '"cell_id":"cell-2"'),
    "actual-lrps --cell-id cell-0": ('"cell_id":"cell-0"',),
    "lrp shop": ('"process_guid":"shop"',),
    "tasks": (),
    "top": ("28 desired", "slowest"),
    "presences": ('"key":"cell-0"',),
    "events --follow": ('"type":"',),
    "doctor": ("requests ", "locket ", "healthy"),
    "curl -s --cacert $CA_CERT_FILE --cert $CLIENT_CERT_FILE --key $CLIENT_KEY_FILE -X POST $BBS_URL/v1/ping | od -An -tx1": ("08 01",),
}  # fmt: skip
"""Each command that is printed, and what it shows among other things."""


def to_paste(text: str) -> tuple[str, list[str]]:
    """The lines that set the environment, and the commands: all of them are indented."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    commands = [line for line in lines if not line.startswith("export ")]
    assert {re.sub(PROGRAM, "", command) for command in commands} == set(SHOWS)
    return "\n".join(line for line in lines if line.startswith("export ")), commands


async def pasted(exports: str, command: str, others: ForkedStarts) -> Ended:
    """What comes of ``command`` in another terminal. Some are given to a shell just as they are; the others, for which it would be
    the same program once more, to a start that is quicker.
    """
    environment = dict(setting.split("=", 1) for setting in shlex.split(exports) if setting != "export")
    words = re.sub(PROGRAM, "", command)
    if words == "top":  # which goes on at a terminal, and says so where there is none
        words = "top --once"
    if words not in (FOLLOWED, *IN_A_SHELL) and words != command:
        with trio.fail_after(PATIENCE_S):
            return await trio.to_thread.run_sync(
                partial(others.start, *shlex.split(words), environment=environment)
            )
    # What goes on until it is ended is ended when it has shown something.
    script = f"{exports}\n{command}" + (" | head -n 1" if words == FOLLOWED else "")
    with trio.fail_after(PATIENCE_S):
        ended = await trio.run_process(
            ["bash", "-c", script], capture_stdout=True, capture_stderr=True, check=False
        )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


async def test_it_can_be_ended_before_it_has_begun(tmp_path: Path, starts: ForkedStarts) -> None:
    data = tmp_path / "kept"
    arguments = ("demo", *ADDRESSES, f"127.0.0.1:{free_port()}", "--data-dir", str(data))
    async with at_a_terminal(starts, *arguments) as terminal:
        # Signals are listened to before the server makes this directory, which it does long before it answers.
        await wait_until((data / "data").exists, within_s=PATIENCE_S, what="the server begins to start")
        terminal.press_ctrl_c()
        assert await terminal.until_it_ends() == Ended(0, "", "")


async def test_instances_move_when_a_cell_is_evacuated_and_when_one_is_lost(
    demo_stage: DemoStage,
) -> None:
    async with demo_stage(replace(QUIET, presence_ttl_s=3)) as stage:
        await stage.until_all_run()
        assert set((await stage.cells_of_running()).values()) == {2}
        await wait_until(
            lambda: len(stage.fleet.route_emitter.endpoints.get("app", ())) == INSTANCES,
            within_s=PATIENCE_S,
            what="the route-emitter has heard of all",
        )

        with trio.fail_after(PATIENCE_S):
            await stage.fleet.cells["cell-0"].evacuate()
        await stage.until_all_run(not_on="cell-0")

        stage.fleet.cells["cell-1"].lose_power()
        await stage.until_all_run(not_on="cell-1")

        assert await stage.cells_of_running() == {"cell-2": INSTANCES}
        assert not stage.told


async def test_a_cell_that_is_back_at_once_waits_for_its_end(demo_stage: DemoStage) -> None:
    async with demo_stage(QUIET) as stage, trio.open_nursery() as nursery:
        cell = stage.fleet.cells["cell-0"]
        cell.lose_power()
        with trio.fail_after(PATIENCE_S):
            await nursery.start(cell.run)

        assert cell.is_up
        nursery.cancel_scope.cancel()


async def test_it_crashes_and_runs_tasks_and_loses_cells_by_itself(
    demo_stage: DemoStage,
) -> None:
    lively = Behaviour(
        creation_s=(0.0, 0.1),
        instance_lifetime_s=2.0,
        evacuation_every_s=1.0,
        evacuated_for_s=0.1,
        loss_every_s=1.0,
        lost_for_s=0.1,
        presence_ttl_s=3,
        task_every_s=0.1,
        task_duration_s=(0.0, 0.1),
    )
    async with demo_stage(lively) as stage:

        async def all_was_seen() -> bool:
            text = "\n".join(stage.told)
            done = any(task.result == "done" for task in await stage.bbs.tasks())
            return done and all(
                word in text for word in ("exited with status", "is evacuated", "loses its power", "is back")
            )

        await wait_until(all_was_seen, within_s=PATIENCE_S, what="all was seen once", every_s=0.1)


@pytest.mark.parametrize(
    ("run", "program"),
    [
        (["/bin/app"], SERVES),
        (["/bin/app", "-c", "exit 3"], SERVES),
        (["/bin/false"], Program(lasts_s=0, status=1)),
        (["/bin/sh", "-c", "exit 3"], Program(lasts_s=0, status=3)),
        (["/bin/sh", "-c", " sleep 2.5; exit 137 "], Program(lasts_s=2.5, status=137)),
        (["/bin/sh", "-c", "sleep 1 && exit 0"], Program(lasts_s=1, status=0)),
        (["/bin/sh", "-c", "sleep 1"], SERVES),
        (["/bin/sh", "-c", "sleep 1; exit 3; date"], SERVES),
        (["/bin/sh", "exit 3"], SERVES),
        ([], SERVES),
    ],
)
def test_what_a_container_makes_of_an_action(run: list[str], program: Program) -> None:
    path, *args = run or [""]
    action = pb.Action(run_action=pb.RunAction(path=path, args=args)) if run else pb.Action()

    assert program_of(action) == program


async def test_an_app_whose_program_exits_crashes_until_it_is_held_back(demo_stage: DemoStage) -> None:
    exits = pb.Action(run_action=pb.RunAction(path="/bin/sh", args=["-c", "exit 3"], user="vcap"))
    async with demo_stage(replace(QUIET, creation_s=(0, 0))) as stage:
        desired = await stage.bbs.desired_lrp_by_process_guid("app")
        desired.process_guid, desired.instances = "broken", 1
        desired.action.CopyFrom(exits)
        await stage.bbs.desire_lrp(desired)

        async def is_held_back() -> bool:
            [lrp] = await stage.bbs.actual_lrps(process_guid="broken")
            return lrp.state == ActualLRPState.CRASHED and lrp.crash_reason.endswith("exited with status 3")

        await wait_until(is_held_back, within_s=PATIENCE_S, what="it has crashed three times", every_s=0.1)
