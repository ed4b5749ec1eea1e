"""The commands, their flags, and what is checked before they are carried out, as `bbs.cfdot.table` has upstream's. Pure."""

from collections.abc import Mapping
from typing import Final

from bbs.cfdot.flags import Flag, Kind
from bbs.cfdot.table import ONE_GUID, Command

LRP: Final = Command(
    use="lrp PROCESS_GUID",
    short="Show all about one app, and why it is not as desired",
    long=(
        "Show what is desired of one app, its instances, and in words why they are not as desired and what will be done about it."
        " There is no history: --follow goes on with the events that concern it"
    ),
    own_flags=(Flag("follow", "go on with the app's events, until interrupted", Kind.BOOL, "f"),),
    check=ONE_GUID,
)

COMMANDS: Final[tuple[Command, ...]] = (LRP,)

BY_NAME: Final[Mapping[str, Command]] = {command.name: command for command in COMMANDS}
