"""Starts of ``bbs`` that end by themselves, each in a process of its own, which is forked from one that has imported everything.

What such a start has to say takes it milliseconds, and its imports take more than a second. For whoever looks at exit code,
log and standard error, a start from a shell makes no difference; some of those are tested, too (`tests/daemons.py`).

``python -m tests.forked_starts`` is the process: it reads a line of JSON for each start, and answers with its exit code.
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

START_MAX_S = 60


@dataclass(frozen=True, slots=True)
class Ended:
    """A start that has ended, and what it left on its standard output and standard error."""

    exit_code: int
    stdout: str
    stderr: str


class ForkedStarts:
    def __init__(self, process: "subprocess.Popen[str]", directory: Path) -> None:
        self._process = process
        self._directory = directory

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
        files = [self._directory / "stdout", self._directory / "stderr"]
        for file in files:
            file.write_bytes(b"")
        opened = [terminal if terminal is not None and file.name in at_terminal else file for file in files]
        request = {
            "arguments": arguments,
            "cwd": str(cwd or self._directory),
            "files": [*map(str, opened)],
            "is_session": terminal is not None,
            "environment": environment or {},
        }
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(request), file=stdin, flush=True)
        exit_code = int(stdout.readline())
        return Ended(exit_code, *(file.read_text(errors="replace") for file in files))


@contextmanager
def forked_starts(directory: Path) -> Iterator[ForkedStarts]:
    """Those of a module's tests, one after the other."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.forked_starts"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield ForkedStarts(process, directory)


def _main(requests: IO[str]) -> None:
    # So that those that are forked need not.
    import bbs.cfdot.bbs_calls
    import bbs.cfdot.locket_calls
    import bbs.cfdot.rendering
    import bbs.commands.cli
    import bbs.commands.daemon  # noqa: F401
    from bbs.commands import entry

    # What is imported stays, and is shared with each that is forked for as long as its garbage collector leaves it alone.
    gc.freeze()
    for line in requests:
        request = json.loads(line)
        child = os.fork()
        if not child:
            signal.alarm(START_MAX_S)
            os.chdir(request["cwd"])
            if request["is_session"]:
                os.setsid()  # so that the first terminal it opens is its own, with Ctrl-C
            for name, value in request["environment"].items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            for descriptor, file in enumerate(request["files"], start=1):
                # Read and write, since a terminal that is only written to becomes nobody's own.
                os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC), descriptor)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.exit(entry.main(request["arguments"]))  # with all that Python does at the end of a process
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _main(sys.stdin)
