"""Results as tables, for a person at a terminal. Imported only where tables are wanted, since rich takes its time to load."""

import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bbs.cfdot.columns import Column, columns_for, harmless
from bbs.cfdot.rendering import JSONLines, Result, written

STYLES: Final[Mapping[str, str]] = {
    "RUNNING": "green",
    "CLAIMED": "cyan",
    "UNCLAIMED": "yellow",
    "PENDING": "yellow",
    "CRASHED": "bold red",
    "evacuating": "magenta",
    "suspect": "bold yellow",
}
UNBOUNDED: Final = 100_000
"""The width of a table in a file or a pipe: nothing is folded there, so that it can be searched."""


class Tables:
    """A renderer: results are held back until `flush`, and those of one kind are one table."""

    def __init__(
        self,
        out: BinaryIO,
        err: BinaryIO,
        environment: Mapping[str, str],
        *,
        wide: bool,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._out = out
        self._lines = JSONLines(out, err)
        self._environment = environment
        self._wide = wide
        self._now_ns = now_ns
        self._held: dict[type, list[Result]] = {}

    def show(self, result: Result) -> None:
        if columns_for(type(result), wide=self._wide) is None:
            self._lines.show(result)
        else:
            self._held.setdefault(type(result), []).append(result)

    def flush(self) -> None:
        held, self._held = self._held, {}
        for kind, results in held.items():
            columns = columns_for(kind, wide=self._wide)
            assert columns is not None
            with written():
                self._out.write(self._drawn(columns, results).encode())
        self._lines.flush()

    def warn(self, text: str) -> None:
        self._lines.warn(text)

    def _drawn(self, columns: Sequence[Column], results: Sequence[Result]) -> str:
        """Rows in the order of what they say, which is that of guids and names. Numbers in it count as numbers."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.title, overflow="fold")
        now_ns = self._now_ns()
        rows = [[column.cell(result, now_ns) for column in columns] for result in results]
        for row in sorted(rows, key=_in_order):
            table.add_row(*(Text(harmless(cell), style=STYLES.get(cell, "")) for cell in row))
        text = io.StringIO()
        at_terminal = self._out.isatty()
        Console(
            file=text,
            force_terminal=at_terminal,
            width=self._width(at_terminal),
            _environ=self._environment,
            highlight=False,
        ).print(table)
        return text.getvalue()

    def _width(self, at_terminal: bool) -> int:
        """COLUMNS counts first, as in other programs. A terminal that does not know its width is taken for 80 wide."""
        word = self._environment.get("COLUMNS", "")
        if word.isascii() and word.isdigit() and int(word):
            return min(int(word), UNBOUNDED)
        if not at_terminal:
            return UNBOUNDED
        try:
            return os.get_terminal_size(self._out.fileno()).columns or 80
        except OSError:
            return 80


def _in_order(row: list[str]) -> list[tuple[int, str]]:
    return [(int(cell) if cell.isdecimal() else -1, cell) for cell in row]
