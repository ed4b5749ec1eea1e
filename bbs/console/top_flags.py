"""``bbs top`` as a command: its flags, and what is checked before it is carried out. Pure."""

from typing import Final

from bbs.cfdot.errors import Invalid
from bbs.cfdot.flags import Flag, Kind
from bbs.cfdot.given import Given, arguments, in_order
from bbs.cfdot.table import Command, Peer, output_form

EVERY_S_DEFAULT: Final = 2


def every_s(given: Given) -> int:
    return given.flags.number("every-s") if given.flags.has("every-s") else EVERY_S_DEFAULT


def _check(given: Given) -> None:
    if every_s(given) < 1:
        raise Invalid("--every-s should be at least 1")
    if output_form(given) in ("json", "wide"):
        raise Invalid("top is for people. Numbers for programs are on the server's /metrics")


TOP: Final = Command(
    use="top",
    short="Show the fleet live: states, rates, latencies",
    long=(
        "Show the fleet live: instances and tasks by state, cells and domains; and of the server that --debug names, requests,"
        " latencies, batches, event loop and passes. 'q' ends it"
    ),
    peer=Peer.BBS_STREAM,
    own_flags=(
        Flag("debug", "the debug address of the server, as HOST:PORT or URL: its rates and latencies are shown, too", shorthand="d"),
        Flag("every-s", "draw anew every so many seconds; 2 if not given", Kind.INT),
        Flag("once", "print one frame and end", Kind.BOOL),
    ),
    check=in_order(arguments(0), _check),
)  # fmt: skip
