"""The commands, their flags, and what is checked before they are carried out, as `bbs.cfdot.table` has upstream's. Pure."""

from collections.abc import Mapping
from typing import Final

from bbs.cfdot.table import Command

COMMANDS: Final[tuple[Command, ...]] = ()

BY_NAME: Final[Mapping[str, Command]] = {command.name: command for command in COMMANDS}
