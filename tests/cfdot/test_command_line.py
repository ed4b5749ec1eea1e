"""The command line, up to where somebody is called: parsing, settings, checks, help and usage texts.

Expected is what was observed of a program with upstream's flags and checks on the libraries it uses (`vectors.json`).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from bbs.cfdot import bbs_calls, locket_calls
from bbs.cfdot.table import COMMANDS, Command, Peer
from tests.cfdot.running import cfdot

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())


class Reached(Exception):
    """Everything was in order: now somebody would be called."""


def reach(*_: object) -> None:
    raise Reached


@pytest.fixture(autouse=True)
def _nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio, "run", reach)


def told(case: dict[str, Any]) -> str:
    changes = "".join(f" {name}={value}" for name, value in case.get("environment", {}).items())
    return f"{case['words']}{changes}"


@pytest.mark.parametrize("case", VECTORS["cases"], ids=told)
def test_every_invocation_does_as_upstreams(case: dict[str, Any]) -> None:
    settings = {**VECTORS["settings"], **case.get("environment", {})}
    environment = {name: value for name, value in settings.items() if value is not None}
    reached = False
    try:
        ended = cfdot(*case["words"], environment=environment)
    except Reached:
        reached = True

    assert reached == case.get("reached", False)
    if not reached:
        usage = VECTORS["usages"][case["usage_of"]] if "usage_of" in case else ""
        assert ended.err == case.get("err", "") + usage
        assert ended.out == (VECTORS["texts"][case["out"]] if "out" in case else "")
        assert ended.code == case["code"]


def test_the_vectors_have_every_command_reach_somebody_and_show_its_usage() -> None:
    called = {word for case in VECTORS["cases"] if case.get("reached") for word in case["words"]}

    assert {command.name for command in COMMANDS if command.peer is not Peer.NOBODY} - called == set()
    assert set(VECTORS["usages"]) == {"", *(command.name for command in COMMANDS)}


def test_every_command_is_carried_out_by_somebody() -> None:
    by_peer = {peer: {command.name for command in COMMANDS if command.peer is peer} for peer in Peer}

    assert set(bbs_calls.CALLS) == by_peer[Peer.BBS] | by_peer[Peer.BBS_STREAM]
    assert set(locket_calls.CALLS) == by_peer[Peer.LOCKET]
    assert set(bbs_calls.BEFORE) <= set(bbs_calls.CALLS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_ends_with_the_usage(command: Command) -> None:
    """The text before it is upstream's where it is short; the rest is in our words."""
    ended = cfdot(command.name, "--help", environment={})

    assert (ended.code, ended.err == "") == (0, not command.deprecated)
    assert ended.out == f"{command.long}\n\n{VECTORS['usages'][command.name]}".removesuffix("\n")


def test_the_program_may_have_another_name() -> None:
    ended = cfdot("domans", environment={}, program="bbs")

    assert ended.err.splitlines()[0] == 'Error: unknown command "domans" for "bbs"'
    assert (
        cfdot("domains", "--help", environment={}, program="bbs").out.splitlines()[3]
        == "  bbs domains [flags]"
    )
