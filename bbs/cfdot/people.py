"""Results as tables, for a person at a terminal. Imported only where tables are wanted, since rich takes its time to load."""

import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bbs.cfdot.columns import Column, columns_for, harmless
from bbs.cfdot.rendering import JSONLines, Result, written
from bbs.client import Event
from bbs.models import pb
from bbs.words.events import Words, in_words
from bbs.words.times import NS

STYLES: Final[Mapping[str, str]] = {
    "RUNNING": "green",
    "CLAIMED": "cyan",
    "UNCLAIMED": "yellow",
    "PENDING": "yellow",
    "CRASHED": "bold red",
    "evacuating": "magenta",
    "suspect": "bold yellow",
    "not announced": "bold red",
}
UNBOUNDED: Final = 100_000
"""The width of a table in a file or a pipe: nothing is folded there, so that it can be searched."""


ANY_HEIGHT: Final = 25


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
        if isinstance(result, Event):
            self._show_event(result)
        elif isinstance(result, pb.ActualLRPGroup):
            for name in ("instance", "evacuating"):
                if result.HasField(name):
                    self.show(getattr(result, name))
        elif columns_for(type(result), wide=self._wide) is None:
            self._lines.show(result)
        else:
            self._held.setdefault(type(result), []).append(result)

    def _show_event(self, event: Event) -> None:
        """At once: the next one may be long in coming."""
        line = event_line(event, self._now_ns())
        with written():
            self._out.write(drawn(self._out, self._environment, line).encode())

    def flush(self) -> None:
        held, self._held = self._held, {}
        for kind, results in held.items():
            columns = columns_for(kind, wide=self._wide)
            assert columns is not None
            table = table_of(columns, results, self._now_ns())
            with written():
                self._out.write(drawn(self._out, self._environment, table).encode())
        self._lines.flush()

    def warn(self, text: str) -> None:
        self._lines.warn(text)


def table_of(columns: Sequence[Column], results: Sequence[Any], now_ns: int) -> Table:
    """Rows in the order of what they say, which is that of guids and names. Numbers in it count as numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, overflow="fold")
    rows = [[column.cell(result, now_ns) for column in columns] for result in results]
    for row in sorted(rows, key=_in_order):
        table.add_row(*(Text(harmless(cell), style=STYLES.get(cell, "")) for cell in row))
    return table


def facts(lines: Iterable[tuple[str, str]]) -> Table:
    """Titles, and what there is to say under each."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for title, text in lines:
        table.add_row(title, Text(harmless(text)))
    return table


def event_line(event: Event, at_ns: int, note: str = "") -> Text:
    """What has happened, after the time of day. ``note`` is put behind it."""
    line = line_of(time.strftime("%H:%M:%S", time.localtime(at_ns / NS)), in_words(event))
    return line.append(f"  {note}", style="dim") if note else line


def line_of(at: str, words: Words) -> Text:
    return Text.assemble((f"{at}  ", "dim"), (harmless(words.text), words.style))


def drawn(out: BinaryIO, environment: Mapping[str, str], *parts: RenderableType) -> str:
    """``parts`` one below the other, for ``out``: as wide as it is, in colours if it is a terminal that wants them."""
    text = io.StringIO()
    at_terminal = out.isatty()
    console = Console(
        file=text,
        force_terminal=at_terminal,
        width=width_of(out, environment),
        height=ANY_HEIGHT,  # without one, rich takes a terminal that calls itself dumb for 80 wide, whatever the width is here
        _environ=environment,
        highlight=False,
    )
    for part in parts:
        console.print(part)
    return text.getvalue()


def drawn_lines(out: BinaryIO, environment: Mapping[str, str], lines: Iterable[Text]) -> Iterator[str]:
    """Each as one line, cut off where ``out`` ends."""
    width = width_of(out, environment)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        yield drawn(out, environment, line).removesuffix("\n")


def width_of(out: BinaryIO, environment: Mapping[str, str]) -> int:
    """COLUMNS counts first, as in other programs. A terminal that does not know its width is taken for 80 wide."""
    word = environment.get("COLUMNS", "")
    if word.isascii() and word.isdigit() and int(word):
        return min(int(word), UNBOUNDED)
    if not out.isatty():
        return UNBOUNDED
    try:
        return os.get_terminal_size(out.fileno()).columns or 80
    except OSError:
        return 80


def _in_order(row: list[str]) -> list[tuple[int, str]]:
    return [(int(cell) if cell.isdecimal() else -1, cell) for cell in row]
