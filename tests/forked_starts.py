"""Starts of ``bbs`` that end by themselves. What such a start has to say takes it milliseconds: see `tests.forked`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.forked import run_forked

START_MAX_S = 60


@dataclass(frozen=True, slots=True)
class Ended:
    """A start that has ended, and what it left on its standard output and standard error."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class ForkedStarts:
    """What they write goes to files in ``directory``."""

    directory: Path

    def start(
        self,
        *arguments: str,
        cwd: Path | None = None,
        terminal: Path | None = None,
        at_terminal: Collection[str] = (),
        environment: Mapping[str, str | None] | None = None,
    ) -> Ended:
        """Run ``bbs`` with the arguments, and wait until it has ended. One that does not, within `START_MAX_S`, is ended.

        ``terminal`` is the one that it runs at, with those of its streams that are ``at_terminal`` ("stdout", "stderr"); see
        `tests.terminals`. ``environment`` is added to ours; what is None there is taken out.
        """
        stdout, stderr = self.directory / "stdout", self.directory / "stderr"
        exit_code = run_forked(
            "bbs",
            *arguments,
            cwd=cwd or self.directory,
            stdout=stdout,
            stderr=stderr,
            ends_within_s=START_MAX_S,
            terminal=terminal,
            at_terminal=[
                number for number, name in enumerate(("stdout", "stderr"), 1) if name in at_terminal
            ],
            environment=environment,
        )
        return Ended(exit_code, *(file.read_text(errors="replace") for file in (stdout, stderr)))
