"""Header lines of ours that an answer carries besides those that HTTP needs, and what they may not be.

A line break or a header of HTTP's own in one of them would change where the answer ends. Names are in the spelling that Go
gives them, which is the one that Quart's answers get as well, so both lanes send the same bytes.
"""

import re
from collections.abc import Callable
from typing import Final

_HTTPS_OWN: Final = r"(?!(?:Connection|Content-Length|Content-Type|Date|Transfer-Encoding|Trailer|Upgrade):)"
_NAME: Final = r"[A-Z][a-z]*+(?:-[A-Z][a-z]*+)*+"
_NAME_FORM: Final = re.compile(_HTTPS_OWN + _NAME + ":")
_LINES_FORM: Final = re.compile(rf"(?:{_HTTPS_OWN}{_NAME}: [!-~](?:[ -~]*[!-~])?\r\n)*".encode())
_UNSPEAKABLE: Final = re.compile(r"[^ -~]")


def checked_lines(ask: Callable[[], bytes]) -> Callable[[], bytes]:
    """``ask``, whose result is checked: ``Name: value\\r\\n`` for each header. One that is given again is not checked again.

    Raises:
      ValueError: so does the function returned, if it is anything else.
    """
    known = b""

    def lines() -> bytes:
        nonlocal known
        asked = ask()
        if asked is not known:
            if not _LINES_FORM.fullmatch(asked):
                raise ValueError(f"no header lines of ours: {asked!r:.200}")
            known = asked
        return asked

    return lines


def pairs(lines: bytes) -> tuple[tuple[str, str], ...]:
    """Names and values of lines that have been checked."""
    split = (line.partition(": ") for line in lines.decode("ascii").split("\r\n")[:-1])
    return tuple((name, value) for name, _, value in split)


def checked_pair(name: str, value: str) -> tuple[str, str]:
    """A header with a value from elsewhere, in which whatever is not printable ASCII has become ``?``.

    Raises:
      ValueError: an answer may not have a header of this name, or not in this spelling.
    """
    if not _NAME_FORM.fullmatch(f"{name}:"):
        raise ValueError(f"no header of ours: {name!r:.200}")
    return name, _UNSPEAKABLE.sub("?", value).strip(" ")
