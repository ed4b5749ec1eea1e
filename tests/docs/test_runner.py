"""What runs the commands of pages notices what it is there to notice."""

from pathlib import Path

import pytest

from tests.docs.output import VARYING, fits, rewritten
from tests.docs.pages import REPOSITORY, PageWrong, parse_page
from tests.docs.shell import ShellGone, shell
from tests.docs.stages import Stage, environment_of, open_stages
from tests.docs.test_pages import is_as_told, run_all, write_into
from tests.waiting import wait_until_blocking


@pytest.mark.parametrize(
    ("expected", "got", "does_fit"),
    [
        ("", "", True),
        ("a", "a", True),
        ("a", "a   ", True),
        ("a", "b", False),
        ("a", "a\nb", False),
        ("a\nb", "a", False),
        ("...", "", True),
        ("...", "a\nb", True),
        ("a\n...", "a", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nb\nc", False),
        ("...\na\n...\na", "a\na", True),
        ("...\na\n...\na", "a", False),
        ("listening on ...:8889", "listening on 10.0.0.5:8889", True),
        ("listening on ...:8889", "listening on 10.0.0.5:8890", False),
        ("a... (b)", "a* (b)", True),
        ("a.c", "abc", False),
        ("NAME  AGE", "NAME    AGE", True),
        ("NAME  AGE", "NAME AGE", False),
    ],
)
def test_output_fits(expected: str, got: str, does_fit: bool) -> None:
    assert fits(expected.splitlines(), got.splitlines()) is does_fit


@pytest.mark.parametrize(
    ("varying", "expected", "got"),
    [
        ("times", "02:09:43  web/0 crashed on 2026-11-29", "12:59:01  web/0 crashed on 2027-01-01"),
        ("times", '"since": "2026-11-29T02:28:57Z"', '"since": "2027-01-01T22:08:00Z"'),
        ("times", '{"since":1795918183661163129}', '{"since":1795918183661163130}'),
        ("durations", "25 ms, 2s ago, in 1m5s", "3 ms, 12s ago, in 30s"),
        ("uuids", "f464a70d-da20-4d50-9be4-7b6d51e6a4df", "0872d43a-3756-43f8-90a8-ada9a4e09ec6"),
        ("addresses", "https://127.0.0.1:8889, 10.0.0.5:61002", "https://127.0.0.1:35097, 10.0.0.12:61002"),
        ("cells", "web/0 on cell-3 (z1)", "web/0 on cell-12 (z2)"),
    ],
)
def test_what_varies_fits_where_the_page_says_so(varying: str, expected: str, got: str) -> None:
    others = [name for name in VARYING if name != varying]

    assert fits([expected], [got], [varying])
    assert fits([expected], [got], list(VARYING))
    assert not fits([expected], [got], others)
    assert not fits([expected], [f"{got}!"], [varying])


def test_written_output_keeps_what_was_loose_on_purpose() -> None:
    expected = ["on port ...", "gone", "..."]

    assert rewritten(expected, ["new  ", "on port 1", "on port 2"]) == ["new", "on port ...", "on port ..."]


AS_TOLD = [
    "$ echo one; echo two >&2\none\ntwo",
    "$ printf 'no end of line'\nno end of line",
    "$ false\n[exit code 1]",
    "$ echo left; exit_code() { return 3; }; exit_code\nleft\n[exit code 3]",
    "$ NAME=kept\n$ echo $NAME\nkept",
    "$ echo a \\\n    b\na b",
    "$ cat <<END\n> a\n> END\na",
    "$ echo '\n> in two lines'\n...\nin two lines",
    "$ if\n...\n[exit code 2]",
    "$ test -t 1",
    "$ cat",
    "$ pwd\n...",
    "$ ls",
    "$ command -v bbs\n.../bin/bbs",
]
NOT_AS_TOLD = [
    "$ echo one\ntwo",
    "$ echo one",
    "$ true\none",
    "$ true\n[exit code 1]",
    "$ false",
    "$ echo one; false\none",
    "$ exit_code() { return 3; }; exit_code\n[exit code 4]",
]


@pytest.mark.parametrize(
    ("text", "is_told"), [*((text, True) for text in AS_TOLD), *((text, False) for text in NOT_AS_TOLD)]
)
def test_commands_are_compared_with_their_page(text: str, is_told: bool, tmp_path: Path) -> None:
    page = parse_page("page.md", f"```console\n{text}\n```\n")

    with shell(tmp_path, environment_of(Stage(), home=tmp_path)) as bash:
        assert all(is_as_told(page, *seen) for seen in run_all(bash, page)) is is_told


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("exit 0", "has ended the shell"),
        ("echo begun; sleep 60", "in time.*\nbegun"),
        ("kill -9 $$", "has ended the shell"),
    ],
)
def test_a_command_that_does_not_come_back_is_told_of(command: str, says: str, tmp_path: Path) -> None:
    with (
        shell(tmp_path, environment_of(Stage(), home=tmp_path)) as bash,
        pytest.raises(ShellGone, match=f"(?s){says}"),
    ):
        bash.run(command, within_s=0.5)


def test_what_a_page_leaves_behind_is_ended(tmp_path: Path) -> None:
    with shell(tmp_path, environment_of(Stage(), home=tmp_path)) as bash:
        bash.run("(trap 'echo ended > end; exit' TERM; echo > first; while :; do sleep 0.01; done) &")
        [deaf] = bash.run("sh -c 'trap \"\" TERM; echo > second; exec sleep 600' & disown; echo $!").lines
        bash.run("until [ -e first -a -e second ]; do sleep 0.01; done")

    assert (tmp_path / "end").read_text() == "ended\n"
    wait_until_blocking(lambda: not is_running(int(deaf)), within_s=60, what="it is gone")


def is_running(pid: int) -> bool:
    """A process that has ended, and that nobody has asked about yet, does not run."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_output_is_written_into_its_place(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    text = "# Page\n\n```console\n$ echo one\n1\n2\n$ echo two\ntwo\n```\n\n- item\n\n    ```console\n    $ echo three; false\n    ```\n"
    file.write_text(text)
    page = parse_page("page.md", text)

    with shell(tmp_path, environment_of(Stage(), home=tmp_path)) as bash:
        write_into(file, page, list(run_all(bash, page)))

    written = text.replace("1\n2\n", "one\n").replace("false\n", "false\n    three\n    [exit code 1]\n")
    assert file.read_text() == written


def test_a_stage_that_is_not_there_is_told_of() -> None:
    with open_stages() as stages, pytest.raises(PageWrong, match="demo, serve and repository"):
        stages.named("theatre")


def test_a_page_has_one_stage() -> None:
    assert parse_page("page.md", "<!-- stage: demo --calm -->\n\n# Page\n").stage == "demo --calm"
    assert parse_page("page.md", "<!-- stage: serve -->\n<!-- in: repository -->\n").directory == REPOSITORY
    assert parse_page("page.md", "<!-- stage: repository -->\n").directory == REPOSITORY
    assert parse_page("page.md", "<!-- stage: serve -->\n").directory is None
    assert parse_page("page.md", "<!-- varies: times, cells -->\n").varying == ["times", "cells"]
    with pytest.raises(PageWrong, match="has 2"):
        parse_page("page.md", "<!-- stage: demo -->\n\n<!-- stage: serve -->\n")
