"""What ``bbs`` offers an operator at a terminal beside upstream's commands. They are found, and their flags read, as those are."""

from bbs.console.calls import MORE

__all__ = ["MORE"]
