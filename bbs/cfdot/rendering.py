"""How results are shown. Commands hand over what they were answered, and a renderer makes lines of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, TypeAlias

from google.protobuf.message import Message

from bbs.cfdot.cell_load import CellState
from bbs.cfdot.errors import CommandFailed
from bbs.client import Event
from bbs.models.go_json import quote, to_json

Result: TypeAlias = Message | Event | CellState | str
"""A message of the BBS's or Locket's, an event, a cell's state, or the name of a domain."""


class Renderer(Protocol):
    """All raise BrokenPipeError if nobody reads any more, and CommandFailed if there is no place for what is shown."""

    def show(self, result: Result) -> None:
        """Show one result. It may be held back until `flush`."""

    def flush(self) -> None:
        """Let everything be seen that was shown."""

    def warn(self, text: str) -> None:
        """Say something about a result that is not part of it."""


class JSONLines:
    """Upstream's form: each result is a line of JSON on standard output."""

    def __init__(self, out: BinaryIO, err: BinaryIO) -> None:
        self._out = out
        self._err = err

    def show(self, result: Result) -> None:
        with written():
            self._out.write(json_of(result).encode() + b"\n")

    def flush(self) -> None:
        with written():
            self._out.flush()

    def warn(self, text: str) -> None:
        self._err.write(text.encode() + b"\n")
        self._err.flush()


@contextmanager
def written() -> Iterator[None]:
    """A failure to write ends a command, other than upstream's lists, which lose what could not be written and say nothing."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise CommandFailed(f"write /dev/stdout: {reason}") from error


def json_of(result: Result) -> str:
    match result:
        case str():
            return quote(result)
        case CellState():
            return result.json
        case Event():
            return f'{{"type":{quote(result.name)},"data":{to_json(result.message)}}}'
        case _:
            return to_json(result)
