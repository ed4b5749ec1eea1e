"""Pages as those see them who hold them to what they say: their blocks of code, and what stands before these.

CONTRIBUTING.md says how blocks are written.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY: Final = Path(__file__).parent.parent.parent

CONSOLE: Final = "console"
ELLIPSIS: Final = "..."
IN_REPOSITORY: Final = "repository"
"""A stage, and, beside another stage, what ``<!-- in: repository -->`` says."""
PROMPT: Final = "$ "
GOES_ON: Final = "> "
"""What begins a further line of a command, as at bash's second prompt: a here-document has such lines."""

_COMMENT: Final = re.compile(
    r"<!--\s*(?P<name>stage|in|varies|not run|run by):\s*(?P<text>.*?)\s*-->", re.DOTALL
)
_EXIT_CODE: Final = re.compile(r"\[exit code (\d+)\]")


class PageWrong(Exception):
    """A page is not written as pages are. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Command:
    """``line`` is that of the page, counted from 1, on which it begins; ``output`` the lines that must come; ``output_lines``
    where they are in the page, as a slice of its lines, counted from 0.
    """

    line: int
    text: str
    output: Sequence[str]
    exit_code: int
    output_lines: slice
    indentation: str


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code. ``language`` is '' for one that is only indented; ``account`` is what the comment right before it says, by
    its name: ``{"not run": "it needs a BOSH director"}``.
    """

    line: int
    language: str
    lines: Sequence[str]
    account: dict[str, str]
    is_fenced: bool
    indentation: str

    def commands(self) -> Iterator[Command]:
        """Those of a ``console`` block, in order.

        Raises:
          PageWrong: it does not begin with one.
        """
        if not self.lines or not self.lines[0].startswith(PROMPT):
            raise PageWrong(f"a console block begins with a command: `{PROMPT}COMMAND`")
        starts = [number for number, line in enumerate(self.lines) if line.startswith(PROMPT)]
        for start, end in zip(starts, [*starts[1:], len(self.lines)], strict=True):
            yield self._command(start, end)

    def _command(self, start: int, end: int) -> Command:
        words = [self.lines[start].removeprefix(PROMPT)]
        at = start + 1
        while at < end and (words[-1].endswith("\\") or self.lines[at].startswith(GOES_ON)):
            words.append(self.lines[at].removeprefix(GOES_ON))
            at += 1
        output, exit_code = list(self.lines[at:end]), 0
        if output and (told := _EXIT_CODE.fullmatch(output[-1])):
            exit_code = int(told[1])
            output.pop()
        return Command(
            line=self.line + 1 + start,
            text="\n".join(words),
            output=output,
            exit_code=exit_code,
            output_lines=slice(self.line + at, self.line + end),
            indentation=self.indentation,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """``path`` is relative to the repository. ``directory`` is where its commands run; None for an empty one.
    ``varying`` names what its commands show otherwise in each run: see tests/docs/output.py.
    """

    path: str
    blocks: Sequence[Block]
    stage: str
    directory: Path | None
    varying: Sequence[str]

    @property
    def console(self) -> Sequence[Block]:
        return [block for block in self.blocks if block.language == CONSOLE]


def paths_of_pages() -> list[str]:
    """All pages there are, relative to the repository: those at its top, those of docs/, and packaging's."""
    files = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("packaging/*.md")]
    return sorted(str(file.relative_to(REPOSITORY)) for file in files)


def read_page(path: str) -> Page:
    return parse_page(path, (REPOSITORY / path).read_text())


def parse_page(path: str, text: str) -> Page:
    tokens = MarkdownIt().enable("table").parse(text)
    comments = [found for each in tokens if each.type == "html_block" for found in _comments(each)]
    stages = [found["text"] for found in comments if found["name"] == "stage"]
    if len(stages) > 1:
        raise PageWrong(f"{path}: a page has one stage, and this one has {len(stages)}")
    stage = stages[0] if stages else ""
    is_in_repository = stage == IN_REPOSITORY or any(
        (found["name"], found["text"]) == ("in", IN_REPOSITORY) for found in comments
    )
    lines = text.split("\n")
    blocks = [
        _block(token, tokens[number - 1] if number else None, lines)
        for number, token in enumerate(tokens)
        if token.type in ("fence", "code_block")
    ]
    return Page(
        path,
        blocks,
        stage,
        directory=REPOSITORY if is_in_repository else None,
        varying=[
            name for found in comments if found["name"] == "varies" for name in found["text"].split(", ")
        ],
    )


def _block(token: Token, before: Token | None, page: Sequence[str]) -> Block:
    assert token.map is not None
    first = token.map[0]
    account: dict[str, str] = {}
    if (
        before is not None
        and before.type == "html_block"
        and before.map is not None
        and before.map[1] == first
    ):
        account = {found["name"]: found["text"] for found in _comments(before)}
    is_fenced = token.type == "fence"
    return Block(
        line=first + 1,
        language=token.info.split(" ")[0] if is_fenced else "",
        lines=token.content.removesuffix("\n").split("\n") if token.content else [],
        account=account,
        is_fenced=is_fenced,
        indentation=page[first][: len(page[first]) - len(page[first].lstrip())],
    )


def _comments(token: Token) -> Iterator[re.Match[str]]:
    return _COMMENT.finditer(token.content)
