"""``bbs doctor -config FILE``: what an operator should know of a deployment now, asked beside one of its servers."""

import sys

import trio

from bbs.concurrency.causes import root_cause
from bbs.config.errors import ConfigInvalid
from bbs.config.upstream import decode, read_file
from bbs.doctor.asking import Where, find_out
from bbs.doctor.report import judged

EXIT_NOT_HEALTHY = 1
EXIT_UNREADABLE = 2
EXIT_INTERRUPTED = 130


def doctor(path: str, where: Where, *, as_json: bool) -> int:
    """Ask and report; returns the exit code: 0 healthy, 1 not, 2 the configuration at ``path`` can't be read."""
    try:
        decoded = decode(read_file(path))
    except ConfigInvalid as error:
        print(f"bbs doctor: {path}: {error}", file=sys.stderr)
        return EXIT_UNREADABLE
    try:
        report = judged(trio.run(find_out, decoded, where))
    except BaseException as error:
        # The end of the process, whatever it was. An interrupt comes in the group of whoever was being asked.
        if isinstance(root_cause(error), KeyboardInterrupt):
            return EXIT_INTERRUPTED
        raise
    print(report.as_json() if as_json else report.as_text(), flush=True)
    return 0 if report.is_healthy else EXIT_NOT_HEALTHY
