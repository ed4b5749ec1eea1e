"""Named targets: the file, what counts before what, and the list of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from bbs.cfdot import bbs_calls, locket_calls
from bbs.cfdot.errors import Invalid
from bbs.cfdot.target import Target
from bbs.console.targets import EXAMPLE, VARIABLES, file_path, parse, read_targets
from tests.cfdot.running import Ended, cfdot
from tests.processes import running_bbs

TWO = """\
default = "lab"

[targets.lab]
url = "http://127.0.0.1:1"
locket = "127.0.0.1:2"
debug = "127.0.0.1:3"

[targets."prod.eu"]
url = "https://prod:8889"
ca_file = "ca.crt"
cert_file = "client.crt"
key_file = "client.key"
locket = "prod:8891"
timeout_s = 7
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("ca.crt", "client.crt", "client.key", "other"):
        (tmp_path / name).touch()
    file = tmp_path / "targets.toml"
    file.write_text(TWO)
    return file


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Target]]:
    """Whom commands would have talked to, in place of talking."""
    targets: list[Target] = []
    monkeypatch.setattr(bbs_calls, "call_bbs", lambda *words: targets.append(words[2]))
    monkeypatch.setattr(locket_calls, "call_locket", lambda *words: targets.append(words[2]))
    return iter([targets])


def bbs(*words: str, **environment: str) -> Ended:
    return cfdot(*words, environment=environment, program="bbs")


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        pytest.param("domains", {}, ("http://127.0.0.1:1", False), id="the default"),
        pytest.param("domains --target prod.eu", {}, ("https://prod:8889", True), id="the flag"),
        pytest.param("--target prod.eu domains", {}, ("https://prod:8889", True), id="the flag before the command"),
        pytest.param("domains", {"BBS_TARGET": "prod.eu"}, ("https://prod:8889", True), id="the variable"),
        pytest.param(
            "domains --target lab", {"BBS_TARGET": "prod.eu"}, ("http://127.0.0.1:1", False), id="flag over variable"
        ),
        pytest.param("domains", {"BBS_URL": "http://h:5"}, ("http://h:5", False), id="environment over default"),
        pytest.param(
            "domains", {"BBS_URL": "https://h:5", "BBS_TARGET": "prod.eu"}, ("https://h:5", True),
            id="environment over the target it names",
        ),
        pytest.param(
            "domains --target lab", {"BBS_URL": "https://h:5"}, ("http://127.0.0.1:1", False), id="--target over environment"
        ),
        pytest.param(
            "domains --target prod.eu --bbsURL https://h:6", {"BBS_URL": "https://h:5"}, ("https://h:6", True),
            id="a flag over --target",
        ),
        pytest.param("locks", {}, ("127.0.0.1:2", False), id="Locket, in the clear as its BBS"),
        pytest.param("locks --target prod.eu", {}, ("prod:8891", True), id="Locket of a target"),
        pytest.param(
            "locks --target prod.eu", {"LOCKET_API_LOCATION": "h:7"}, ("prod:8891", True), id="Locket of --target"
        ),
    ],
)  # fmt: skip
def test_what_counts_before_what(
    words: str,
    environment: Mapping[str, str],
    expected: tuple[str, bool],
    file: Path,
    called: Iterator[list[Target]],
) -> None:
    ended = bbs(*words.split(), BBS_TARGETS=str(file), **environment)

    assert (ended.code, ended.err) == (0, "")
    [target] = next(called)
    assert (target.address, target.is_tls) == expected


def test_all_settings_of_a_target_arrive(file: Path, called: Iterator[list[Target]]) -> None:
    bbs(
        "domains", "--target", "prod.eu", BBS_TARGETS=str(file), CA_CERT_FILE="/elsewhere", CFDOT_TIMEOUT="99"
    )
    bbs(
        "domains",
        BBS_TARGET="prod.eu",
        BBS_TARGETS=str(file),
        CA_CERT_FILE=str(file.parent / "other"),
        CFDOT_TIMEOUT="99",
    )
    bbs("domains", BBS_TARGETS=str(file))

    whole, mixed, lab = next(called)
    beside = str(file.parent)
    files = (f"{beside}/ca.crt", f"{beside}/client.crt", f"{beside}/client.key")
    assert (whole.ca_file, whole.cert_file, whole.key_file, whole.timeout_s) == (*files, 7)
    assert (mixed.ca_file, mixed.cert_file, mixed.timeout_s) == (
        f"{beside}/other",
        f"{beside}/client.crt",
        99,
    )
    assert lab.debug == "127.0.0.1:3"


def test_no_certificate_of_the_default_is_shown_to_another_server(
    file: Path, called: Iterator[list[Target]]
) -> None:
    file.write_text(TWO.replace('"lab"', '"prod.eu"', 1))

    ended = bbs("domains", "--bbsURL", "https://h:5", BBS_TARGETS=str(file))

    assert (ended.code, ended.err.splitlines()[0]) == (
        3,
        "Error: --caCertFile must be specified if using HTTPS and --skipCertVerify is not set",
    )
    assert next(called) == []
    # Nor is another deployment's Locket asked, because its address is the only one in the file.
    assert bbs("locks", BBS_URL="https://h:5", BBS_TARGETS=str(file)).code == 3


def test_a_wrong_file_hinders_nobody_who_does_not_need_it(file: Path, called: Iterator[list[Target]]) -> None:
    file.write_text("[")

    assert bbs("domains", BBS_URL="http://h:5", BBS_TARGETS=str(file)).code == 0
    assert bbs("domains", BBS_TARGETS=str(file)).code == 3
    assert cfdot("domains", environment={"BBS_TARGETS": str(file)}).err.startswith("Error: BBS URL not set.")


def test_upstreams_name_knows_of_no_targets(file: Path) -> None:
    for words in (["cells"], ["cells", "--target", "lab"], ["targets"]):
        assert cfdot(*words, environment={"BBS_TARGETS": str(file), "BBS_TARGET": "lab"}).code in (3, 255)
    plain = cfdot("cells", environment={"BBS_URL": "http://127.0.0.1:1"})
    assert "does not have an 'https' scheme" in plain.err
    assert "--target" not in cfdot("cells", "--help", environment={}).out


@pytest.mark.parametrize(
    ("text", "line", "what", "advice"),
    [
        pytest.param("[targets.a]\nurl = https://x", 2, "no TOML", "in quotes", id="no quotes"),
        pytest.param('[targets.a]\nurl = "https://x"\nurl = "https://y"\n', 3, "overwrite", "", id="twice"),
        pytest.param("[targets.a\nurl = 1", 1, "no TOML", "https://toml.io", id="no bracket"),
        pytest.param("x = 1\n[targets.a]\n", 1, "'x' is nothing that is known", "remove", id="unknown"),
        pytest.param('[prod]\nurl = "https://x"', 1, "'prod'", "[targets.NAME]", id="not below targets"),
        pytest.param("\ntargets = 3", 2, "tables", "[targets.NAME]", id="targets is no table"),
        pytest.param('\n[targets]\na = "https://x"', 2, "'a' is to be a table", "[targets.a]", id="target is no table"),
        pytest.param('[targets.b]\nurl = "https://x"\n[targets.a]\nlocket = "h:1"', 3, "no url", "https://", id="no url"),
        pytest.param('[targets.a]\nurl = "prod:8889"', 2, "no URL", "https://", id="no scheme"),
        pytest.param('[targets.a]\nurl = "https://x"\ncafile = "a"', 3, "no 'cafile'", "'ca_file' is meant", id="key"),
        pytest.param('[targets.a]\nurl = "https://x"\nzzz = "a"', 3, "no 'zzz'", "it may have: url", id="odd key"),
        pytest.param('[targets.a]\nurl = "https://x"\ntimeout_s = "5"', 3, "whole seconds", "without quotes", id="text"),
        pytest.param('[targets.a]\nurl = "https://x"\ntimeout_s = 32768', 3, "32767", "", id="more than a variable takes"),
        pytest.param('[targets.a]\nurl = "https://x"\ntimeout_s = true', 3, "whole seconds", "", id="boolean"),
        pytest.param('[targets.a]\nurl = "https://x"\nca_file = 5', 3, "'ca_file'", "in quotes", id="number"),
        pytest.param('[targets.a]\nurl = "https://x"\nlocket = "h"', 3, "'h'", "host:port", id="no port"),
        pytest.param('[targets.a]\nurl = "https://x"\nskip_cert_verify = "y"', 3, "true or false", "", id="no boolean"),
        pytest.param('default = "b"\n[targets.a]\nurl = "https://x"', 1, "'default'", "there are: a", id="no default"),
    ],
)  # fmt: skip
def test_a_wrong_file_says_where_and_what_to_do(
    text: str, line: int, what: str, advice: str, file: Path
) -> None:
    file.write_text(text)

    for words in (["cells"], ["targets"]):
        ended = bbs(*words, BBS_TARGETS=str(file))
        first = ended.err.splitlines()[0]
        assert (ended.code, ended.out) == (3, "")
        assert first.startswith(f"Error: {file}, line {line}: "), first
        assert what in first
        assert advice in first


def test_an_unknown_name_is_answered_with_those_that_there_are(file: Path) -> None:
    for ended in (
        bbs("cells", "--target", "pord", BBS_TARGETS=str(file)),
        bbs("cells", BBS_TARGET="pord", BBS_TARGETS=str(file)),
        bbs("targets", "--target", "pord", BBS_TARGETS=str(file)),
    ):
        assert ended.code == 3
        assert ended.err.startswith(f"Error: There is no target 'pord' in {file}. It names: lab, prod.eu\n")


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    gone = bbs("cells", BBS_TARGETS=str(tmp_path / "gone"))
    assert (gone.code, "gone, which BBS_TARGETS names, is not there" in gone.err) == (3, True)
    directory = bbs("cells", BBS_TARGETS=str(tmp_path))
    assert (directory.code, "can't be read: is a directory" in directory.err) == (3, True)
    (tmp_path / "odd").write_bytes(b"[targets.a]\nurl = '\xff'")
    odd = bbs("cells", BBS_TARGETS=str(tmp_path / "odd"))
    assert (odd.code, "odd, line 2: this is no UTF-8" in odd.err) == (3, True)
    assert bbs("cells", BBS_TARGETS="/dev/zero").code == 3
    # Without a file of its own, an operator is told how to write one.
    named = bbs("cells", "--target", "prod", HOME=str(tmp_path))
    assert (named.code, EXAMPLE in named.err) == (3, True)
    assert f"{tmp_path}/.config/bbs/targets.toml" in named.err


def test_where_the_file_is() -> None:
    assert file_path({"HOME": "/h"}) == Path("/h/.config/bbs/targets.toml")
    assert file_path({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/bbs/targets.toml")
    assert file_path({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}) == Path("/h/.config/bbs/targets.toml")
    assert file_path({"HOME": "/h", "XDG_CONFIG_HOME": "/c", "BBS_TARGETS": "/t"}) == Path("/t")
    assert file_path({}) is None


def test_paths_are_relative_to_the_file_and_know_home(file: Path) -> None:
    text = '[targets.a]\nurl = "https://x"\nca_file = "../a"\ncert_file = "~/b"\nkey_file = "/c"'

    settings = parse(text.encode(), Path("/etc/bbs/t.toml"), home="/home/me").by_name["a"].settings

    assert (settings["ca_file"], settings["cert_file"], settings["key_file"]) == (
        "/etc/bbs/../a",
        "/home/me/b",
        "/c",
    )


def test_the_example_is_right() -> None:
    targets = parse(EXAMPLE.encode(), Path("/t"), home="")

    assert (list(targets.by_name), targets.default) == (["lab", "prod"], "lab")
    assert {key for target in targets.by_name.values() for key in target.settings} <= set(VARIABLES)


def test_without_any_target_a_person_is_told_what_to_set(tmp_path: Path) -> None:
    ended = bbs("cells", HOME=str(tmp_path))
    plain = cfdot("cells", environment={"HOME": str(tmp_path)})

    assert ended.code == plain.code == 3
    assert ended.err.splitlines()[0] == plain.err.splitlines()[0]
    for hint in (
        "http://127.0.0.1:8889",
        "CA_CERT_FILE",
        "~/.config/bbs/targets.toml",
        "--target NAME",
        EXAMPLE,
    ):
        assert hint in ended.err
        assert hint not in plain.err.partition("Usage:")[0]


def listed(*words: str, **environment: str) -> dict[str, dict[str, Any]]:
    ended = bbs("targets", *words, **environment)
    assert (ended.code, ended.err) == (0, "")
    return {each["name"]: each for each in map(json.loads, ended.lines)}


def test_the_list_says_which_is_in_use_and_what_can_be_read(file: Path) -> None:
    lines = listed(BBS_TARGETS=str(file))
    assert {name: line["in_use"] for name, line in lines.items()} == {"lab": True, "prod.eu": False}
    assert [line["problems"] for line in lines.values()] == [[], []]

    (file.parent / "client.key").unlink()
    lines = listed("--target", "prod.eu", BBS_TARGETS=str(file))
    assert {name: line["in_use"] for name, line in lines.items()} == {"lab": False, "prod.eu": True}
    [problem] = lines["prod.eu"]["problems"]
    assert problem == f"key_file {file.parent}/client.key: no such file or directory"

    elsewhere = bbs("targets", "-o", "table", BBS_TARGETS=str(file), BBS_URL="https://x")
    assert "None is in use: BBS_URL says whom to talk to." in elsewhere.out
    table = bbs("targets", "-o", "table", BBS_TARGETS=str(file)).lines
    assert [line.split()[:3] for line in table[1:3]] == [
        ["lab", "yes", "http://127.0.0.1:1"],
        ["prod.eu", "-", "https://prod:8889"],
    ]
    assert "lab is in use: it is the default." in table[-1]
    assert bbs("targets", "--names", BBS_TARGETS=str(file)).lines == ["lab", "prod.eu"]


def test_an_empty_list(tmp_path: Path) -> None:
    assert read_targets({"HOME": str(tmp_path)}).by_name == {}
    assert bbs("targets", HOME=str(tmp_path)).out == ""
    assert EXAMPLE in bbs("targets", "-o", "table", HOME=str(tmp_path)).out


def test_a_name_that_is_no_target_is_an_error_of_its_own() -> None:
    with pytest.raises(Invalid, match="names none"):
        read_targets({}).named("x")


@pytest.mark.slow
@pytest.mark.postgres
async def test_the_first_two_minutes(tmp_path: Path, database_url: str) -> None:
    """A server without certificates, and a process that finds it by a name in a file."""
    async with running_bbs(tmp_path, "--database-url", database_url) as server:
        directory = tmp_path / "config" / "bbs"
        directory.mkdir(parents=True)
        (directory / "targets.toml").write_text(f'default = "here"\n[targets.here]\nurl = "{server.url}"\n')
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BBS_", "CA_", "CLIENT_"))
        } | {"XDG_CONFIG_HOME": str(tmp_path / "config")}

        async def run(*words: str) -> tuple[int, str, str]:
            with trio.fail_after(60):
                ended = await trio.run_process(
                    [sys.executable, "-m", "bbs", *words], env=environment, capture_stdout=True,
                    capture_stderr=True, check=False,
                )  # fmt: skip
            return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

        assert await run("set-domain", "d") == (0, "", "")
        assert await run("domains") == (0, '"d"\n', "")
        assert await run("cells", "--target", "here") == (0, "", "")
        code, out, _ = await run("targets")
        assert (code, json.loads(out)["in_use"]) == (0, True)


def test_a_process_says_what_is_wrong(file: Path) -> None:
    file.write_text("[targets.a]\nurl = 5\n")
    ended = subprocess.run(
        [sys.executable, "-m", "bbs", "--target", "a", "cells"],
        env={**os.environ, "BBS_TARGETS": str(file)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith(f"Error: {file}, line 2: 'url' is to be a text in quotes\nUsage:\n")
