"""Ctrl-C, which must not be lost in a run of a quarter of an hour.

Python raises KeyboardInterrupt wherever the main thread happens to be. If that is a finalizer, gRPC's for a channel say, whatever
is raised there is ignored, and the run would go on. So it is kept that there was one, and whoever sends requests asks.
"""

import signal
from types import FrameType

_was_interrupted = False


def heed_interruptions() -> None:
    """Have SIGINT and SIGTERM, which `timeout` sends, raise KeyboardInterrupt in the main thread, and be kept.

    Our servers have to be stopped, so nobody just ends.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _was_interrupted
    _was_interrupted = True
    raise KeyboardInterrupt


def raise_if_interrupted() -> None:
    """Raises KeyboardInterrupt if there was one, every time it is asked, until it is taken as heard."""
    if _was_interrupted:
        raise KeyboardInterrupt


def take_as_heard() -> None:
    """For whoever cleans up after one, and sends requests to do so."""
    global _was_interrupted
    _was_interrupted = False
