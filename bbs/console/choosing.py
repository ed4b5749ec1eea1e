"""Which named target is in use, and what a command finds in the environment because of it.

What a flag says counts first, and ``--target`` is one: its target is taken whole, and the environment is not looked at, so that
nobody who says ``--target prod`` talks to what ``BBS_URL`` says. Without it the environment counts, variable by variable, and
then the target that ``BBS_TARGET`` names. The file's default stands in only where neither flags nor environment say an
address: whoever names another server does not mean the default's certificates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bbs.cfdot.flags import Flags
from bbs.cfdot.target import BBS_URL, LOCKET_LOCATION, TARGET
from bbs.console.targets import NamedTarget, Targets, read_targets

NAME_VARIABLE: Final = "BBS_TARGET"
ADDRESSES: Final[Mapping[str, str]] = {BBS_URL.name: "BBS_URL", LOCKET_LOCATION.name: "LOCKET_API_LOCATION"}
"""Flags that say an address, and the variables that do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """``target`` is ``None`` if no named target is in use. ``because`` says what made it so, for people."""

    target: NamedTarget | None
    because: str


def choose(targets: Targets, flags: Flags, environment: Mapping[str, str]) -> Choice:
    """
    Raises:
      Invalid: no target has the name that is asked for.
    """
    if name := _given(flags, TARGET.name):
        return Choice(targets.named(name), f"--{TARGET.name}")
    if name := environment.get(NAME_VARIABLE, ""):
        return Choice(targets.named(name), NAME_VARIABLE)
    if address := _address(flags, environment):
        return Choice(None, address)
    if targets.default:
        return Choice(targets.by_name[targets.default], "default")
    return Choice(None, "no default")


def settings(flags: Flags, environment: Mapping[str, str]) -> Mapping[str, str]:
    """What a command takes for its environment. The file is not read where no name is asked for, and an address is given.

    Raises:
      Invalid: the file is wrong, or no target has the name that is asked for.
    """
    is_asked = _given(flags, TARGET.name) or environment.get(NAME_VARIABLE, "")
    if not is_asked and _address(flags, environment):
        return environment
    target = choose(read_targets(environment), flags, environment).target
    if target is None:
        return environment
    if _given(flags, TARGET.name):
        return target.variables
    return {**target.variables, **{name: value for name, value in environment.items() if value}}


def _given(flags: Flags, name: str) -> str:
    return flags.text(name) if name in flags.defined else ""


def _address(flags: Flags, environment: Mapping[str, str]) -> str:
    """What says an address, if anything does."""
    for flag, variable in ADDRESSES.items():
        if _given(flags, flag):
            return f"--{flag}"
        if environment.get(variable, ""):
            return variable
    return ""
