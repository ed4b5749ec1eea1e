"""Starts of ``bbs`` that end by themselves. What such a start has to say takes it milliseconds: see `tests.forked`."""

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

    def start(self, *arguments: str, cwd: Path | None = None) -> Ended:
        """Run ``bbs`` with the arguments, and wait until it has ended. One that does not, within `START_MAX_S`, is ended."""
        out, err = self.directory / "stdout", self.directory / "stderr"
        exit_code = run_forked(
            "bbs", *arguments, cwd=cwd or self.directory, stdout=out, stderr=err, ends_within_s=START_MAX_S
        )
        return Ended(exit_code, *(file.read_text(errors="replace") for file in (out, err)))
