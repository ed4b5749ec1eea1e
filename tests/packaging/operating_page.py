"""The tables of ``docs/operating.md``, which other files are held to."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = REPOSITORY / "docs/operating.md"


def section(heading: str) -> str:
    """What stands below a heading, of whichever level, up to the next one of that level or of a higher one."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", PAGE.read_text(), re.MULTILINE)
    assert found, f"docs/operating.md has no heading {heading!r}"
    rest = PAGE.read_text()[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def table_under(heading: str) -> list[list[str]]:
    """The cells of all tables of a section, row by row, without their heads."""
    rows = []
    for table in re.findall(r"(?:^\|.*\n)+", section(heading), re.MULTILINE):
        lines = table.splitlines()[2:]
        rows += [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return rows


def code_in(text: str) -> list[str]:
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
