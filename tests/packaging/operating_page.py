"""The tables of ``docs/operating.md``, which servers and other files are held to."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = REPOSITORY / "docs/operating.md"
OF_EVERYBODY = "Of every process"
OF_MASTERS = "Of masters and standbys"


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


Families = dict[str, tuple[str, frozenset[str]]]
"""Kind and labels of metrics by their names, as rules and people write them."""


def documented(heading: str) -> Families:
    found = {}
    for names, kind, *_ in table_under(heading):
        for name in code_in(names):
            metric, _, label = name.rstrip("}").partition("{")
            found[metric] = (kind, frozenset({label} if label else ()))
    return found
