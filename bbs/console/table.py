"""The commands, their flags, and what is checked before they are carried out, as `bbs.cfdot.table` has upstream's. Pure."""

from collections.abc import Mapping
from typing import Final

from bbs.cfdot.errors import Invalid
from bbs.cfdot.flags import Flag, Kind
from bbs.cfdot.given import Given, in_order
from bbs.cfdot.table import BY_NAME as UPSTREAMS
from bbs.cfdot.table import ONE_GUID, OUTPUT, Command, Peer, watch_every_s
from bbs.cfdot.target import TARGET


def follow_or_watch(given: Given) -> None:
    if given.flags.switch("follow") and watch_every_s(given):
        raise Invalid("Only one of --follow and --watch should be passed")


LRP: Final = Command(
    use="lrp PROCESS_GUID",
    short="Show all about one app, and why it is not as desired",
    long=(
        "Show what is desired of one app, its instances, and in words why they are not as desired and what will be done about it."
        " There is no history: --follow goes on with the events that concern it"
    ),
    own_flags=(Flag("follow", "go on with the app's events, until interrupted", Kind.BOOL, "f"),),
    check=in_order(ONE_GUID, follow_or_watch),
    watched=True,
)

CELLS: Final = UPSTREAMS["cells"]
CELL: Final = UPSTREAMS["cell"]
"""Upstream's, as lines of JSON; as tables they tell more."""

TARGETS: Final = Command(
    use="targets",
    short="List the named targets",
    long="List the targets that ~/.config/bbs/targets.toml names, or the file that BBS_TARGETS says, with the one that is in use"
    " and whether its files can be read.\n\nFlags count first; --target NAME takes a target whole. Then the environment counts,"
    "\nthen the target that BBS_TARGET names, and last the file's default, unless flags or environment say an address.",
    peer=Peer.NOBODY,
    own_flags=(Flag("names", "only their names", Kind.BOOL), TARGET, OUTPUT),
)

COMMANDS: Final[tuple[Command, ...]] = (CELL, CELLS, LRP, TARGETS)

BY_NAME: Final[Mapping[str, Command]] = {command.name: command for command in COMMANDS}
