"""The command line, up to where somebody is called: parsing, settings, checks, help and usage texts.

Expected is what was observed of a program with upstream's flags and checks on the libraries it uses (`vectors.json`).
"""

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from bbs.cfdot import bbs_calls, locket_calls, main
from bbs.cfdot.completion_command import COMPLETION
from bbs.cfdot.table import BY_NAME, COMMANDS, Command, Peer
from bbs.commands import cli, entry
from bbs.console import MORE, calls
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


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    """What the invocation does here, in the form of the vectors."""
    settings = {**VECTORS["settings"], **case.get("environment", {})}
    environment = {name: value for name, value in settings.items() if value is not None}
    try:
        ended = cfdot(*case["words"], environment=environment)
    except Reached:
        return {"reached": True}
    return {"code": ended.code, "out": ended.out, "err": ended.err}


def expected(case: dict[str, Any]) -> dict[str, Any]:
    if "reached" in case:
        return {"reached": True}
    usage = VECTORS["usages"][case["usage_of"]] if "usage_of" in case else ""
    out = VECTORS["texts"][case["out"]] if "out" in case else ""
    return {
        "code": case["code"],
        "out": with_completion(out),
        "err": case.get("err", "") + with_completion(usage),
    }


def with_completion(text: str) -> str:
    """The list of commands, with cobra's own, which the observed program had been built without."""
    line = f"  {COMPLETION.name:28} {COMPLETION.short}\n"
    return text.replace(
        "  create-desired-lrp           Create", f"{line}  create-desired-lrp           Create"
    )


def cases_by_command() -> dict[str, list[dict[str, Any]]]:
    cases: dict[str, list[dict[str, Any]]] = {}
    for case in VECTORS["cases"]:
        cases.setdefault(next((word for word in case["words"] if word in BY_NAME), "none"), []).append(case)
    return cases


CASES = cases_by_command()


@pytest.mark.parametrize("command", CASES)
def test_every_invocation_does_as_upstreams(command: str) -> None:
    for case in CASES[command]:
        assert outcome(case) == expected(case), told(case)


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


@pytest.mark.parametrize(
    ("line", "is_cfdots"),
    [
        ("domains", True),
        ("domains --help", True),
        ("help domains", True),
        ("--bbsURL https://x:1 domains", True),
        ("--bbsURL=https://x:1 domains", True),
        ("--skipCertVerify=true domains", True),
        ("-d x tasks", True),
        ("", False),
        ("--help", False),
        ("-h", False),
        ("--version", False),
        ("-config domains", False),
        ("--config domains", False),
        ("-config=domains", False),
        ("-config domains domains", False),
        ("serve", False),
        ("completion bash", False),
        ("serve --listen x", False),
        ("check-config domains", False),
        ("migrate-database --from x --to y", False),
        ("certs domains", False),
        ("no-command", False),
        ("-nonsense", False),
    ],
)
def test_bbs_takes_cfdots_commands_and_keeps_its_own(
    line: str, is_cfdots: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[object] = []

    def cfdots_main(argv: Sequence[str], *, program: str, more: main.More) -> int:
        assert more is MORE
        taken.append((argv, program))
        return 7

    monkeypatch.setattr(main, "main", cfdots_main)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for ours in ("bbs.commands.cli.main", "bbs.commands.daemon.run"):
        monkeypatch.setattr(ours, lambda *_: 8)

    assert (entry.main(line.split()) == 7) == is_cfdots
    assert taken == ([(line.split(), "bbs")] if is_cfdots else [])


def test_no_command_of_ours_has_a_name_of_cfdots() -> None:
    """Ours would win, and upstream's be out of reach for `bbs`."""
    [commands] = [each.choices for each in cli._parser()._actions if isinstance(each.choices, dict)]

    assert not set(commands) & set(BY_NAME)


def test_every_command_of_the_console_is_carried_out() -> None:
    assert set(calls.CALLS) == set(MORE.commands)


def test_the_servers_help_names_cfdots_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    words = set(capsys.readouterr().out.replace(",", " ").replace(".", " ").split())
    assert set(BY_NAME) <= words


def test_the_program_may_have_another_name() -> None:
    ended = cfdot("domans", environment={}, program="bbs")

    assert ended.err.splitlines()[0] == 'Error: unknown command "domans" for "bbs"'
    assert (
        cfdot("domains", "--help", environment={}, program="bbs").out.splitlines()[3]
        == "  bbs domains [flags]"
    )
