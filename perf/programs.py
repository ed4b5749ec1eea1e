"""Where Debian puts servers."""

import shutil
from typing import Final

_SBIN: Final = "/usr/sbin"
"""Not everybody's PATH has it."""


def program(name: str) -> str | None:
    """The path of a program, or None if it is not installed."""
    return shutil.which(name) or shutil.which(name, path=_SBIN)
