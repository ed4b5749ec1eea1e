"""Every command of a ``console`` block is run, and shows what its page says.

    pytest tests/docs --write-output -k getting-started

writes what they show into the page instead.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.docs.output import fits, rewritten
from tests.docs.pages import REPOSITORY, Command, Page, paths_of_pages, read_page
from tests.docs.shell import Shell, ShellGone, Shown, shell
from tests.docs.stages import Stages, environment_of

PAGES = [page for page in map(read_page, paths_of_pages()) if page.console]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_commands_show_what_the_page_says(
    page: Page, stages: Stages, tmp_path: Path, write_output: bool
) -> None:
    stage = stages.named(page.stage)
    with shell(page.directory or tmp_path, environment_of(stage, home=tmp_path)) as bash:
        seen = list(run_all(bash, page))

    if write_output:
        write_into(REPOSITORY / page.path, page, seen)
    elif troubles := [trouble(page, *each) for each in seen if not is_as_told(page, *each)]:
        pytest.fail("\n\n".join(troubles), pytrace=False)


def run_all(bash: Shell, page: Page) -> Iterator[tuple[Command, Shown]]:
    for block in page.console:
        for command in block.commands():
            try:
                yield command, bash.run(command.text)
            except ShellGone as gone:
                pytest.fail(f"{page.path}:{command.line}: $ {command.text}\n{gone}", pytrace=False)


def is_as_told(page: Page, command: Command, shown: Shown) -> bool:
    return shown.exit_code == command.exit_code and fits(command.output, shown.lines, page.varying)


def trouble(page: Page, command: Command, shown: Shown) -> str:
    return "\n".join(
        [
            f"{page.path}:{command.line}: $ {command.text}",
            f"expected, with exit code {command.exit_code}:",
            *command.output,
            f"got, with exit code {shown.exit_code}:",
            *shown.lines,
        ]
    )


def write_into(file: Path, page: Page, seen: Sequence[tuple[Command, Shown]]) -> None:
    """Put what was seen into the page, where it does not say so already."""
    lines = file.read_text().split("\n")
    for command, shown in reversed(seen):  # so that lines further up keep their numbers
        if not is_as_told(page, command, shown):
            told = rewritten(command.output, shown.lines, page.varying)
            told += [f"[exit code {shown.exit_code}]"] if shown.exit_code else []
            lines[command.output_lines] = [command.indentation + line if line else "" for line in told]
    file.write_text("\n".join(lines))
