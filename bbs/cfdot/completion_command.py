"""``cfdot completion SHELL``, which cobra gives to every program that is made with it. Usage texts are cobra's, scripts are ours.

cobra has one for PowerShell, too, and hidden commands that its scripts ask; ours need none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bbs.cfdot.errors import Usage
from bbs.cfdot.flags import Flag, Flags, Kind
from bbs.cfdot.go_values import quote
from bbs.cfdot.table import BY_NAME, Command, Peer

PATHS: Final[Mapping[str, str]] = {
    "bash": "/etc/bash_completion.d/{program}",
    "fish": "~/.config/fish/completions/{program}.fish",
    "zsh": '"${{fpath[1]}}/_{program}"',
}
NO_DESCRIPTIONS: Final = Flag("no-descriptions", "disable completion descriptions", Kind.BOOL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script(Command):
    """The command for one shell, whose name is the second word of its use."""

    @property
    def name(self) -> str:
        return self.use.rpartition(" ")[2]


SHELLS: Final[Mapping[str, Script]] = {
    shell: Script(
        use=f"completion {shell}",
        short=f"Generate the autocompletion script for {shell}",
        long=f"Print a script for {shell} that completes the commands, flags and files of cfdot. Keep it as\n"
        f"{path.format(program='cfdot')}, and start a new shell.",
        peer=Peer.NOBODY,
        own_flags=(NO_DESCRIPTIONS,),
        tells_flags=shell != "bash",
    )
    for shell, path in PATHS.items()
}
COMPLETION: Final = Command(
    use="completion",
    short="Generate the autocompletion script for the specified shell",
    long="Generate the autocompletion script for cfdot for the specified shell.\n"
    "See each sub-command's help for details on how to use the generated script.",
    peer=Peer.NOBODY,
    below=tuple((script.name, script.short) for script in SHELLS.values()),
)


def script_for(command: Command, flags: Flags, program: str) -> str:
    """
    Raises:
      Usage: something follows the shell's name.
    """
    for argument in flags.arguments[:1]:
        raise Usage(f'unknown command {quote(argument)} for "{program} {command.use}"')
    from bbs.cfdot.completion import SCRIPTS
    from bbs.cfdot.completion.model import Completed, Takes, Value, of_flag, of_table

    shells = Value(Takes.WORDS, tuple(SHELLS))
    ours = Completed(COMPLETION.name, COMPLETION.short, tuple(map(of_flag, command.flags)), (shells,))
    commands = sorted([*of_table(BY_NAME.values(), program), ours], key=lambda each: each.name)
    return SCRIPTS[command.name](program, commands, not flags.switch(NO_DESCRIPTIONS.name))
