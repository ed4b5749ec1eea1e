"""The commands, their flags, and what is checked before they are carried out, as `bbs.cfdot.table` has upstream's. Pure."""

from collections.abc import Mapping
from typing import Final

from bbs.cfdot.flags import Flag, Kind
from bbs.cfdot.table import OUTPUT, Command, Peer
from bbs.cfdot.target import TARGET

COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        use="targets",
        short="List the named targets",
        long="List the targets that ~/.config/bbs/targets.toml names, or the file that BBS_TARGETS says, with the one that is in use"
        " and whether its files can be read.\n\nFlags count first; --target NAME takes a target whole. Then the environment counts,"
        "\nthen the target that BBS_TARGET names, and last the file's default, unless flags or environment say an address.",
        peer=Peer.NOBODY,
        own_flags=(Flag("names", "only their names", Kind.BOOL), TARGET, OUTPUT),
    ),
)

BY_NAME: Final[Mapping[str, Command]] = {command.name: command for command in COMMANDS}
