"""``python -m tests.config.forked_starts``: starts ``bbs -config FILE`` for each FILE that it reads, and prints the exit code.

Each start is a process of its own, forked from one that has imported everything: that takes milliseconds instead of a second.
What it writes goes to FILE.out. One that takes half a minute is ended by SIGALRM.
"""

import os
import signal
import sys

import bbs.commands.daemon  # noqa: F401, imported before the forks
from bbs.commands import entry
from bbs.sync.locket import client

HANG_S = 30


def start(file: str) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(HANG_S)
        out = os.open(f"{file}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = 99
        try:
            code = entry.main(["-config", file])
        except SystemExit as exited:
            code = exited.code if isinstance(exited.code, int) else 98
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    # Nobody is at the address of Locket: a start that comes so far need not wait ten seconds to find that out.
    client.CONNECT_MAX_S = 1  # type: ignore[misc]  # a constant, but for these starts
    for line in sys.stdin:
        print(start(line.rstrip("\n")), flush=True)


if __name__ == "__main__":
    main()
