"""What is to be created or changed: JSON on the command line, or in a file that the command line names."""

import os
from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.message import Message

from bbs.cfdot.errors import Invalid
from bbs.cfdot.json_errors import syntax_error, type_error
from bbs.models import pb
from bbs.models.go_json import FieldWrong, from_json

M = TypeVar("M", bound=Message)

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Much more than a BBS would take. Without a bound a path such as ``/dev/zero``, which never ends, would take all memory."""


def read(message_class: type[M], argument: str) -> M:
    """The message that ``argument`` spells, or the file named by it after an ``@``.

    Raises:
      Invalid: the file can't be read, or it is no JSON of this message.
    """
    return _decoded(message_class, _document(argument))


def read_update(argument: str, warn: Callable[[str], None]) -> pb.DesiredLRPUpdate:
    """As `read`. Of a file that is not there upstream tells twice."""
    if argument.startswith("@") and (missing := _missing(argument[1:])):
        warn(missing)
    return read(pb.DesiredLRPUpdate, argument)


def _document(argument: str) -> bytes:
    if not argument.startswith("@"):
        return os.fsencode(argument)
    path = argument[1:]
    if missing := _missing(path):
        raise Invalid(missing)
    try:
        with open(path, "rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        # Go can open a directory, but not read it.
        operation = "read" if isinstance(error, IsADirectoryError) else "open"
        raise Invalid(f"{operation} {path}: {_reason(error)}") from error


def _missing(path: str) -> str:
    """Why there is no such file, in Go's words; '' if there is one."""
    try:
        os.stat(path)
    except OSError as error:
        return f"stat {path}: {_reason(error)}"
    return ""


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


def _decoded(message_class: type[M], document: bytes) -> M:
    if wrong := syntax_error(document):
        raise Invalid(f"Invalid JSON: {wrong}")
    text = document.decode("utf-8", "replace")
    try:
        return from_json(message_class, text)
    except FieldWrong as error:
        raise Invalid(f"Invalid JSON: {type_error(message_class, error, text)}") from error
    except ValueError as error:  # what our reader does not take, though Go's does: very deep nesting
        raise Invalid(f"Invalid JSON: {error}") from error
