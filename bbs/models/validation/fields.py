"""The words of violations, and the limits of single fields (spec: validation.md §1, §7)."""

import re
from collections.abc import Iterable
from typing import Final

from bbs.models import pb

ANNOTATION_BYTES_MAX: Final = 10 * 1024
ROUTES_BYTES_MAX: Final = 128 * 1024
FILES_BYTES_MAX: Final = 1024 * 1024

NO_ACTION: Final = "invalid action type"

LOOKED_AT_CHARACTERS_MAX: Final = 16 * 1024
"""A guid or root file system that is longer is refused as it is: its column takes 1,024 at most."""

GUID: Final = re.compile(r"[a-zA-Z0-9_-]+")

UTF8_BYTES_MAX: Final = 4
"""The longest that one character can be in UTF-8."""


def invalid(field: str) -> str:
    return f"Invalid field: {field}"


def is_guid(text: str) -> bool:
    return len(text) <= LOOKED_AT_CHARACTERS_MAX and GUID.fullmatch(text) is not None


def guid(text: str, field: str) -> list[str]:
    return [] if is_guid(text) else [invalid(field)]


def is_annotation_too_long(annotation: str) -> bool:
    return exceeds(annotation, ANNOTATION_BYTES_MAX)


def are_routes_too_long(routes: pb.ProtoRoutes) -> bool:
    """Whether the values of all routes are too long together. Their routers' names do not count."""
    return sum(map(len, routes.routes.values())) > ROUTES_BYTES_MAX


def are_files_too_large(files: Iterable[pb.File]) -> bool:
    """Whether the contents of all files are too long together. Their paths do not count."""
    return sum(len(file.content.encode()) for file in files) > FILES_BYTES_MAX


def is_below_no_limit(limit: pb.LogRateLimit) -> bool:
    """Whether a limit is invalid: -1 means that there is none, less means nothing. An absent limit is valid."""
    return limit.bytes_per_second < -1


def exceeds(text: str, bytes_max: int) -> bool:
    """Whether ``text`` has more than ``bytes_max`` bytes in UTF-8. It is encoded only if its characters leave a doubt."""
    return len(text) * UTF8_BYTES_MAX > bytes_max and len(text.encode()) > bytes_max
