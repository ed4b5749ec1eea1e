"""Tells how far a run is: a bar where rich is installed and somebody watches, else a line per step on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    def begin(self, what: str) -> None:
        """What is done now."""

    def done(self, told: str = "") -> None:
        """One of the steps is over, with what is to be told of it."""

    def note(self, text: str) -> None:
        """Something that whoever watches should know now."""


class Lines:
    """A line when something begins and, if there is something to tell, when it is over."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._over = 0
        self._began_s = time.monotonic()

    def begin(self, what: str) -> None:
        passed_s = time.monotonic() - self._began_s
        self._say(f"[{self._over + 1}/{self._steps} {passed_s:6.0f} s] {what}")

    def done(self, told: str = "") -> None:
        self._over += 1
        if told:
            self._say(f"    {told}")

    def note(self, text: str) -> None:
        self._say(text)

    @staticmethod
    def _say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def shown(steps: int) -> Iterator[Progress]:
    """Progress over that many steps."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
    except ImportError:
        yield Lines(steps)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(steps)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=steps)

        class Drawn:
            def begin(self, what: str) -> None:
                bar.update(task, description=what)

            def done(self, told: str = "") -> None:
                bar.advance(task)
                if told:
                    self.note(told)

            def note(self, text: str) -> None:
                console.print(text, highlight=False, markup=False)

        yield Drawn()
