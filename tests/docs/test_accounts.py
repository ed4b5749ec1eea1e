"""No command stands on a page that nobody runs and of which nobody says why."""

import re
from collections.abc import Iterable

import pytest

from tests.docs.output import VARYING
from tests.docs.pages import CONSOLE, REPOSITORY, Block, PageWrong, parse_page, paths_of_pages, read_page

SHELLS = {"sh", "bash", "shell", "zsh", "fish", "shell-session", "bat", "cmd", "powershell"}
RUN_ELSEWHERE = "run by"
NOT_RUN = "not run"
SNIPPET = re.compile(r'--8<-- "(?P<path>examples/[\w/]+\.\w+)(?::\w+)?"')


@pytest.mark.parametrize("path", paths_of_pages())
def test_no_block_of_a_page_goes_unaccounted_for(path: str) -> None:
    assert list(unaccounted(read_page(path).blocks)) == []


@pytest.mark.parametrize("path", paths_of_pages())
def test_what_a_page_says_that_it_varies_is_known(path: str) -> None:
    assert set(read_page(path).varying) <= set(VARYING)


def unaccounted(blocks: Iterable[Block]) -> Iterable[str]:
    """What is wrong with each block that is not accounted for, and what to do."""
    for block in blocks:
        if (problem := problem_of(block)) is not None:
            yield f"line {block.line}: {problem}"


def problem_of(block: Block) -> str | None:
    if not block.is_fenced:
        return "fence it with ``` and say what language it is: `text`, if it is none"
    if not block.language:
        return "say what language it is behind the ```: `text`, if it is none"
    if block.language == CONSOLE:
        return problem_of_console(block)
    is_sh = block.language == "sh"
    if block.language in SHELLS and not is_sh:
        return "shell commands are `console`, to be run by a test, or `sh`, with a comment that says why they are not"
    if block.language == "python" and block.lines and all(map(SNIPPET.fullmatch, block.lines)):
        return None
    if is_sh or block.language == "python":
        return problem_of_account(block.account)
    return None


def problem_of_console(block: Block) -> str | None:
    try:
        list(block.commands())
    except PageWrong as wrong:
        return str(wrong)
    return None


def problem_of_account(account: dict[str, str]) -> str | None:
    if account.get(NOT_RUN):
        return None
    if not (tests := account.get(RUN_ELSEWHERE)):
        return "put on the line before it `<!-- not run: REASON -->`, or `<!-- run by: tests/some/test_file.py -->`"
    for test in tests.split(", "):
        if not test.startswith("tests/") or not (REPOSITORY / test).is_file():
            return f"{test}, which is said to run it, is not there"
    return None


ACCOUNTED = [
    "```console\n$ true\n```",
    "<!-- not run: it needs a cluster -->\n```sh\nmake cluster\n```",
    "<!-- run by: tests/test_demo.py -->\n```sh\nbbs demo\n```",
    "- an item\n\n    <!-- not run: no -->\n    ```sh\n    bbs\n    ```",
    '```python\n--8<-- "examples/story.py:part"\n```',
    "```json\n{}\n```",
]
UNACCOUNTED = {
    "```sh\nbbs\n```": "not run",
    "<!-- not run: -->\n```sh\nbbs\n```": "not run",
    "<!-- not run: far away -->\n\n```sh\nbbs\n```": "not run",
    "<!-- run by: tests/none.py -->\n```sh\nbbs\n```": "is not there",
    "```bash\nbbs\n```": "console",
    "```\nbbs\n```": "language",
    "text\n\n    bbs\n": "fence it",
    "```console\n```": "begins with a command",
    "```console\noutput\n$ true\n```": "begins with a command",
    "```python\nprint()\n```": "run by",
}


@pytest.mark.parametrize("text", ACCOUNTED)
def test_a_block_that_is_accounted_for(text: str) -> None:
    assert list(unaccounted(parse_page("page.md", text).blocks)) == []


@pytest.mark.parametrize("text", UNACCOUNTED)
def test_a_block_that_is_not_accounted_for(text: str) -> None:
    [problem] = unaccounted(parse_page("page.md", text).blocks)
    assert UNACCOUNTED[text] in problem
