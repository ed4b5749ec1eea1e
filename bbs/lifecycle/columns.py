"""What fits into the text columns of the database (spec: actual-lrps.md §1, storage.md §1).

Upstream leaves it to Postgres to refuse a text. Here many requests share one transaction, so a text that Postgres
would refuse must be found before it can spoil the others' writes.
"""

from typing import Final

from bbs.models.errors import InvalidRequest

TEXT_CHARACTERS_MAX: Final = 255
"""Width of the columns that hold a guid, a domain, a cell's or a zone's name."""

ROOTFS_CHARACTERS_MAX: Final = 1024

REASON_BYTES_MAX: Final = 1024
"""Width of a crash reason, placement error and the like, in bytes: what upstream counts, and never too many characters."""

_CUT_MARK: Final = b"(truncated)"


def must_fit(*texts: str, characters_max: int = TEXT_CHARACTERS_MAX) -> None:
    """Check what is about to be stored.

    Raises:
      InvalidRequest: a text is too long for its column, or contains the one character that Postgres cannot store.
    """
    for text in texts:
        if len(text) > characters_max or "\0" in text:
            raise InvalidRequest


def truncated(reason: str) -> str:
    """``reason`` in the form it is stored: fewer than 1024 bytes as they are, others cut and marked as cut.

    Upstream cuts inside a character if need be, and Postgres then refuses the request; this cuts before it. For the
    same reason NUL characters are left out.
    """
    encoded = reason.replace("\0", "").encode()
    if len(encoded) < REASON_BYTES_MAX:
        return encoded.decode()
    return (encoded[: REASON_BYTES_MAX - len(_CUT_MARK)]).decode(errors="ignore") + _CUT_MARK.decode()
