"""What the pages name is there: files, tests, rooms, commands. A page that names what is gone misleads whoever reads it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PAGES = [
    "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "docs/databases.md", "docs/differences.md", "docs/guarantees.md",
    "docs/high-availability.md", "docs/performance.md", "docs/security.md", "docs/shadow.md", "docs/track-record.md", "packaging/README.md",
]  # fmt: skip
FOLDERS = ("bbs/", "docs/", "examples/", "locks/", "packaging/", "perf/", "tests/", "tools/")
FILE_NAMES = (".json", ".service", ".log")


def page(name: str) -> str:
    return (REPOSITORY / name).read_text()


def code_spans(text: str) -> Iterator[str]:
    """What stands in backticks, and what is set off as a block."""
    yield from re.findall(r"`([^`\n]+)`", text)
    yield from (line.strip() for line in text.splitlines() if line.startswith("    "))


def paths_in(text: str) -> set[str]:
    """The paths of this repository that a page's code names. One with a `*` or `<` in it stands for many."""
    words = (word.strip("\"',()") for span in code_spans(text) for word in span.split())
    return {word for word in words if word.startswith(FOLDERS) and not set("*<") & set(word)}


def rows(name: str) -> list[list[str]]:
    """The cells of a page's one table, row by row, without its head."""
    return cells_of([line for line in page(name).splitlines() if line.startswith("|")])


def rows_of_all_tables(name: str) -> list[list[str]]:
    tables = re.findall(r"(?:^\|.*\n)+", page(name), re.MULTILINE)
    return [row for table in tables for row in cells_of(table.splitlines())]


def cells_of(table: list[str]) -> list[list[str]]:
    # A bar inside a cell is written with a backslash.
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[2:]]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("name", PAGES)
def test_a_path_that_a_page_names_exists(name: str) -> None:
    assert [path for path in sorted(paths_in(page(name))) if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_what_a_merge_left_behind(name: str) -> None:
    assert re.findall(r"^(?:<<<<<<<|=======|>>>>>>>).*", page(name), re.MULTILINE) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_a_page_names_exists(name: str) -> None:
    named = {span for span in code_spans(page(name)) if re.fullmatch(r"[\w/-]+\.md", span)}
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_module_that_a_page_names_exists(name: str) -> None:
    """``bbs.client`` in backticks, and what ``python -m`` is to run."""
    text = page(name)
    named = {
        span
        for span in code_spans(text)
        if re.fullmatch(r"bbs(\.[a-z_]+)+", span) and not span.endswith(FILE_NAMES)
    }
    named |= set(re.findall(r"python -m ((?:bbs|examples|perf|tests)[\w.]*)", text))
    for module in named:
        path = REPOSITORY / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), module


@pytest.mark.parametrize("name", PAGES)
def test_a_target_of_make_that_a_page_names_exists(name: str) -> None:
    spans = [shlex.split(span, comments=True) for span in code_spans(page(name)) if span.startswith("make ")]
    for _, *words in spans:
        assert {word for word in words if "=" not in word} <= make_targets()


def test_the_list_of_rooms_has_each_room() -> None:
    listed = set(re.findall(r"^    bbs/(\w+)", page("ARCHITECTURE.md"), re.MULTILINE))
    packages = {path.parent.name for path in (REPOSITORY / "bbs").glob("*/__init__.py")}
    assert listed == packages | {"service"}


def test_differences_are_numbered_without_a_gap() -> None:
    assert [row[0] for row in rows("docs/differences.md")] == [
        str(number) for number in range(1, len(rows("docs/differences.md")) + 1)
    ]


@pytest.mark.parametrize("row", rows("docs/differences.md"), ids=lambda row: row[0])
def test_a_difference_has_its_reason_and_its_test(row: list[str]) -> None:
    _, difference, reason, test = row
    assert difference
    assert reason
    assert paths_in(test)
    for path in paths_in(test):
        assert path.startswith("tests/")
        assert has_tests(REPOSITORY / path), path


@pytest.mark.parametrize("row", rows("docs/track-record.md"), ids=lambda row: row[0][:40])
def test_a_fault_can_be_replayed(row: list[str]) -> None:
    symptom, found_by, replayed_with = row
    assert symptom
    assert found_by
    assert list(code_spans(replayed_with))
    for span in code_spans(replayed_with):
        must_be_a_command(span)


@pytest.mark.parametrize("row", rows_of_all_tables("docs/guarantees.md"), ids=lambda row: row[0][:40])
def test_a_promise_has_a_test(row: list[str]) -> None:
    assert all(row)
    spans = list(code_spans(row[-1]))
    assert spans
    for span in spans:
        assert span.startswith("pytest ")
        must_be_a_command(span)


def must_be_a_command(span: str) -> None:
    """``span`` runs something that is there: tests, a target of make, a module of ours."""
    command, *words = shlex.split(span)
    if command == "make":
        assert words[0] in make_targets()
    elif command == "pytest":
        paths = [REPOSITORY / word for word in words if word.startswith("tests/")]
        assert paths
        assert all(map(has_tests, paths)), span
        texts = "".join(path.read_text().lower() for each in paths for path in files_with_tests(each))
        assert [word for word in selected_by(words) if word not in texts] == [], span
    elif command not in ("python", "git"):  # test_a_module_that_a_page_names_exists looks after the former
        assert has_tests(REPOSITORY / span), span


def selected_by(words: list[str]) -> list[str]:
    """The words of the expression after -k. Pytest looks for them in the names of tests and of their cases."""
    if "-k" not in words:
        return []
    expression = words[words.index("-k") + 1].lower()
    return [word for word in expression.split() if word not in ("and", "or", "not")]


def files_with_tests(path: Path) -> list[Path]:
    return sorted(path.rglob("test_*.py")) if path.is_dir() else [path]


def has_tests(path: Path) -> bool:
    files = files_with_tests(path)
    return bool(files) and all(each.is_file() and each.name.startswith("test_") for each in files)
