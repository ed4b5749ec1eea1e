"""Scripts that complete command lines in bash, zsh and fish, made from the tables of commands, so that they know what those know.

`model` has what can be completed, in a form that all commands can be brought into; each shell has a module that writes its
script. Flags and commands are in the script itself: Python is started for the names of targets only, which may change.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bbs.cfdot.completion import bash, fish, zsh
from bbs.cfdot.completion.model import Completed

SCRIPTS: Final[Mapping[str, Callable[[str, Sequence[Completed], bool], str]]] = {
    "bash": bash.script,
    "fish": fish.script,
    "zsh": zsh.script,
}
"""By shell. Each takes the program's name, its commands, and whether to tell what they are for, where the shell shows that."""
