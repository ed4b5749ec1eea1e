"""``bbs doctor -config FILE``: what an operator should know of a deployment now, asked beside one of its servers."""

import signal
import sys
from typing import Final

import trio

from bbs.config.errors import ConfigInvalid
from bbs.config.upstream import Decoded, decode, read_file
from bbs.doctor.asking import Where, find_out
from bbs.doctor.facts import Facts
from bbs.doctor.report import judged

EXIT_NOT_HEALTHY: Final = 1
EXIT_UNREADABLE: Final = 2
EXIT_INTERRUPTED: Final = 130


def doctor(path: str, where: Where, *, as_json: bool) -> int:
    """Ask and report; returns the exit code: 0 healthy, 1 not, 2 the configuration at ``path`` can't be read, 130 interrupted."""
    try:
        decoded = decode(read_file(path))
    except ConfigInvalid as error:
        print(f"bbs doctor: {path}: {error}", file=sys.stderr)
        return EXIT_UNREADABLE
    facts = trio.run(_find_out_unless_interrupted, decoded, where)
    if facts is None:
        return EXIT_INTERRUPTED
    report = judged(facts)
    print(report.as_json() if as_json else report.as_text(), flush=True)
    return 0 if report.is_healthy else EXIT_NOT_HEALTHY


async def _find_out_unless_interrupted(decoded: Decoded, where: Where) -> Facts | None:
    """None at SIGINT. The signal cancels, and does not raise KeyboardInterrupt: that may come inside a library's own clean-up,
    where it is lost or leaves things half done.
    """
    facts = None
    async with trio.open_nursery() as nursery:

        async def end_when_interrupted(
            *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
        ) -> None:
            with trio.open_signal_receiver(signal.SIGINT) as signals:
                task_status.started()
                async for _ in signals:
                    nursery.cancel_scope.cancel()

        await nursery.start(end_when_interrupted)
        facts = await find_out(decoded, where)
        nursery.cancel_scope.cancel()
    return facts
