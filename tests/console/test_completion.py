"""Completion: scripts made from the tables, and what real shells complete with them."""

import argparse
import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bbs.cfdot.completion import SCRIPTS
from bbs.cfdot.completion.model import Takes, of_table
from bbs.cfdot.table import BY_NAME
from bbs.commands import cli
from bbs.commands.completion import of_parser, print_completion
from bbs.console import MORE
from tests.cfdot.running import cfdot
from tests.console.shells import PATIENCE_S, require, running_shell

SHELLS = ("bash", "fish", "zsh")


@dataclass(frozen=True, slots=True)
class Case:
    """A line up to where TAB is pressed, and words that must be, and must not be, among what is shown."""

    line: str
    shown: str
    hidden: str = ""


BBS = [
    Case("bbs cel", "cells cell-state cell-states", "serve --bbsURL cancel-task"),
    Case("bbs comp", "completion"),
    Case("bbs targ", "targets"),
    Case("bbs ", "cells serve follow targets migrate-database demo lrp-events", "actual-lrp-groups"),
    Case("bbs cells --c", "--caCertFile --clientCertFile --clientKeyFile", "--cell-id"),
    Case("bbs cells --out", "--output"),
    Case("bbs actual-lrps --cell", "--cell-id"),
    Case("bbs cells -o ", "json table wide", "ca.crt"),
    Case("bbs cells --output=w", "wide", "json"),
    Case("bbs cells --target ", "lab prod-eu", "ca.crt"),
    Case("bbs cells --target=pr", "prod-eu", "lab"),
    Case("bbs --target pr", "prod-eu"),
    Case("bbs --bbsURL https://x:1 domai", "domains"),
    Case("bbs cells --caCertFile c", "ca.crt certs/", "serve"),
    Case("bbs --bbsURL https://x:1 cells --caCertFile=ca.", "ca.crt"),
    Case("bbs create-task @sp", "@spec.json"),
    Case("bbs create-task s", "", "spec.json"),
    Case("bbs update-desired-lrp guid @sp", "@spec.json"),
    Case("bbs help desired-lrp-", "desired-lrp-scheduling-infos"),
    Case("bbs desired-lrp c", "", "ca.crt cells"),
    Case("bbs completion ", "bash fish zsh"),
    Case("bbs serve --listen x --ca-f", "--ca-file"),
    Case("bbs serve --ca-file c", "ca.crt"),
    Case("bbs serve --log-format ", "auto json text"),
    Case("bbs follow --st", "--staleness-max-s"),
    Case("bbs follow -config c", "ca.crt"),
    Case("bbs check-config c", "ca.crt certs/"),
    Case("bbs certs c", "certs/", "ca.crt"),
    Case("bbs shadow --comp", "--compare"),
    Case("bbs lrp-events --excl", "--exclude-actual-lrp-groups"),
    Case("bbs locks --lock", "--locketAPILocation"),
    Case("bbs cells --skipCertVerify --time", "--timeout"),
]
CFDOT = [
    Case("cfdot cel", "cells cell-state", "serve"),
    Case("cfdot ", "cells completion help", "serve targets actual-lrp-groups"),
    Case("cfdot cells --t", "--timeout", "--target"),
    Case("cfdot completion ", "bash fish zsh"),
    Case("cfdot cells --clientKeyFile c", "ca.crt"),
    Case("cfdot create-desired-lrp @sp", "@spec.json"),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with scripts, programs of both names, files to be completed, and targets."""
    directory = tmp_path_factory.mktemp("completion")
    for program, main in (("bbs", "bbs.commands.entry"), ("cfdot", "bbs.cfdot.main")):
        path = directory / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport sys\nfrom {main} import main\nsys.exit(main())\n")
        path.chmod(0o755)
    (directory / "files" / "certs").mkdir(parents=True)
    for name in ("ca.crt", "spec.json"):
        (directory / "files" / name).touch()
    (directory / "targets.toml").write_text(
        '[targets.lab]\nurl = "http://x"\n[targets.prod-eu]\nurl = "http://y"\n'
    )
    for shell in SHELLS:
        bbs = io.StringIO()
        with contextlib.redirect_stdout(bbs):
            assert cli.main(["completion", shell]) == 0
        (directory / "files" / f".bbs.{shell}").write_text(bbs.getvalue())
        ended = cfdot("completion", shell, environment={})
        assert (ended.code, ended.err) == (0, "")
        (directory / "files" / f".cfdot.{shell}").write_text(ended.out)
    return directory


def environment(directory: Path) -> Mapping[str, str]:
    return {
        "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
        "HOME": str(directory),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "BBS_TARGETS": str(directory / "targets.toml"),
        "LC_ALL": "C.UTF-8",
    }


def assert_completes(cases: list[Case], completions: Callable[[str], set[str]]) -> None:
    wrong = []
    for case in cases:
        shown = completions(case.line)
        wanted = set(case.shown.split())
        # Where only one can follow, a shell writes it into the line, behind what stands there.
        shown |= {part for word in shown for part in word.split("=", 1)}
        if wanted - shown or set(case.hidden.split()) & shown:
            wrong.append((case.line, sorted(shown)))
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize(("program", "cases"), [("bbs", BBS), ("cfdot", CFDOT)], ids=["bbs", "cfdot"])
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_at_a_terminal(shell: str, program: str, cases: list[Case], scripts: Path) -> None:
    require(shell)
    with running_shell(shell, scripts / "files" / f".{program}.{shell}", environment(scripts)) as running:
        assert_completes(cases, running.completions)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "cases"), [("bbs", BBS), ("cfdot", CFDOT)], ids=["bbs", "cfdot"])
def test_fish(program: str, cases: list[Case], scripts: Path) -> None:
    """fish tells itself what it would complete."""
    require("fish")
    lines = "".join(f"complete -C '{case.line}'; echo ==\n" for case in cases)
    ended = subprocess.run(
        ["fish", "--no-config", "-c", f"source .{program}.fish; {lines}"],
        cwd=scripts / "files", env=environment(scripts), capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ended.stderr == ""
    answers = iter(ended.stdout.split("==\n"))
    assert_completes(cases, lambda _: {line.partition("\t")[0] for line in next(answers).splitlines()})


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_flag_of_the_tables_is_in_the_script(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = cli._parser()
    assert print_completion(shell, parser) == 0
    words = set(
        capsys.readouterr()
        .out.replace("'", " ")
        .replace("=", " ")
        .replace("[", " ")
        .replace("+", " ")
        .split()
    )

    for command in (*of_table({**BY_NAME, **MORE.commands}.values(), "bbs"), *of_parser(parser)):
        assert command.name in " ".join(words)
        for option in command.options:
            for name in option.names:
                spelt = name.lstrip("-") if shell == "fish" else name
                assert spelt in words or any(word.endswith(f"){name}") for word in words), (
                    command.name,
                    name,
                )


def test_what_values_are_is_read_off_the_tables() -> None:
    commands = {command.name: command for command in of_table(BY_NAME.values(), "bbs")}
    options = {name: option for option in commands["cells"].options for name in option.names}

    assert options["--caCertFile"].value is not None
    assert options["--caCertFile"].value.takes is Takes.FILE
    assert options["-o"].value is not None
    assert options["-o"].value.words == ("json", "table", "wide")
    assert options["--skipCertVerify"].value is None
    assert [value.takes for value in commands["update-desired-lrp"].arguments] == [Takes.TEXT, Takes.SPEC]
    assert [value.takes for value in commands["help"].arguments] == [Takes.COMMAND]
    assert "actual-lrp-groups" not in commands


def test_what_values_are_is_read_off_a_parser() -> None:
    parser = argparse.ArgumentParser()
    command = parser.add_subparsers().add_parser("run", help="what it does")
    command.add_argument("--level", choices=["low", "high"], help="by default %(default)s", default="low")
    command.add_argument("--from-file", metavar="FILE")
    command.add_argument("--quiet", action="store_true")
    command.add_argument("where", metavar="DIR")

    [run] = of_parser(parser)

    assert (run.name, run.told) == ("run", "what it does")
    level, from_file, quiet = (option for option in run.options if "--help" not in option.names)
    assert (level.told, level.value and level.value.words) == ("by default low", ("low", "high"))
    assert (from_file.value and from_file.value.takes, quiet.value) == (Takes.FILE, None)
    assert [value.takes for value in run.arguments] == [Takes.DIRECTORY]


# `cfdot completion`, as cobra has it


USAGE = """\
Usage:
  cfdot completion [command]

Available Commands:
  bash        Generate the autocompletion script for bash
  fish        Generate the autocompletion script for fish
  zsh         Generate the autocompletion script for zsh

Flags:
  -h, --help   help for completion

Use "cfdot completion [command] --help" for more information about a command.
"""
OF_BASH = """\
Usage:
  cfdot completion bash

Flags:
  -h, --help              help for bash
      --no-descriptions   disable completion descriptions
"""


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["powershell"], ["no-shell"]], ids=str)
def test_without_a_shell_there_is_help(words: list[str]) -> None:
    ended = cfdot("completion", *words, environment={})

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Generate the autocompletion script for cfdot for the specified shell.\n")
    assert ended.out.endswith(USAGE)
    assert cfdot("help", "completion", environment={}).code == 0


def test_help_of_a_shells_command() -> None:
    ended = cfdot("completion", "bash", "--help", environment={})
    assert (ended.code, ended.out.endswith(OF_BASH), ended.err) == (0, True, "")
    assert "  cfdot completion zsh [flags]\n" in cfdot("completion", "zsh", "-h", environment={}).out


def test_what_is_too_much_is_told_with_the_usage() -> None:
    extra = cfdot("completion", "bash", "extra", environment={})
    assert (extra.code, extra.out) == (255, "")
    assert extra.err == f'Error: unknown command "extra" for "cfdot completion bash"\n{OF_BASH}\n'
    unknown = cfdot("completion", "--nonsense", environment={})
    assert (unknown.code, unknown.err) == (255, f"Error: unknown flag: --nonsense\n{USAGE}\n")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_may_do_without_descriptions(shell: str) -> None:
    full, bare = (
        cfdot("completion", shell, *words, environment={}).out for words in ([], ["--no-descriptions"])
    )
    assert ("List registered cell presences" in full) == (shell != "bash")
    assert "List registered cell presences" not in bare


def test_bbs_has_no_shell_beside_these(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["completion", "powershell"])

    assert ended.value.code == 2
    assert "'bash', 'fish', 'zsh'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_writes_the_same_into_a_pipe(scripts: Path) -> None:
    for program in ("bbs", "cfdot"):
        ended = subprocess.run(
            [scripts / "bin" / program, "completion", "zsh"],
            env=environment(scripts), capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == (scripts / "files" / f".{program}.zsh").read_text()
