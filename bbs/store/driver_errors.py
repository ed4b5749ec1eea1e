"""Translates what the Postgres driver raises into the errors that the store knows.

What the server rejects is about what was asked, and is an answer. Everything else means that the database cannot be
used just now: a broken connection, a server that is starting or full, and also a server, or a proxy before it, that
speaks Postgres so oddly that the driver stumbles (IndexError, AttributeError, ValueError and the like).
"""

import asyncio
import re
from typing import Final

import asyncpg

from bbs.models.errors import BBSError, InvalidRequest, ResourceExists, UnknownError, Unrecoverable
from bbs.store.backend import BackendUnavailable, StatementRejected, WriterLockLost
from bbs.store.schema import SchemaError

# Server errors after which the same batch can be sent again: connection trouble, a rollback for the sake of others, too
# many connections, a statement that was cancelled, a lock not to be had, a server that has become a standby, or
# statements prepared for tables that have since been changed.
_PASSING_CLASSES: Final = ("08", "40", "57P")
_PASSING_STATES: Final = frozenset(("53300", "57014", "55P03", "25006"))
_STATE: Final = re.compile("[0-9A-Z]{5}")

# Raised in the middle of a call by the store's own code.
_OURS: Final = (BackendUnavailable, StatementRejected, SchemaError, WriterLockLost)

# What the driver raises on purpose. The text of any other exception means nothing without its type.
_SPOKEN: Final = (asyncpg.InterfaceError, OSError, TimeoutError)


def meaning(error: Exception | asyncio.CancelledError) -> Exception:
    """The error to raise for ``error``: `StatementRejected`, `BackendUnavailable`, or ``error`` if it is the store's own.

    An `asyncio.CancelledError` is a call that asyncio gave up by itself: Trio's cancellation is another class.
    """
    if isinstance(error, _OURS):
        return error
    if isinstance(error, asyncpg.PostgresError) and not _is_passing(error):
        return StatementRejected(bbs_error(error))
    return BackendUnavailable(words(error))


def words(error: BaseException) -> str:
    """One line for people, never empty. An error of the server reads as upstream's driver words it."""
    if isinstance(error, asyncpg.PostgresError):
        return driver_text(error)
    if isinstance(error, asyncio.CancelledError):
        return "the database driver gave the call up"
    if isinstance(error, _SPOKEN):
        return str(error) or type(error).__name__
    return (
        "the database, or a proxy before it, answered in a way that the driver does not understand "
        f"({type(error).__name__}: {error})"
    )


def _is_passing(error: asyncpg.PostgresError) -> bool:
    state = error.sqlstate or ""
    return (
        # The end of the session, or of the whole server. If it came in the middle of a commit, when the log could not be
        # synced to a full disk, say, the commit may have happened all the same, so this is no answer to what was asked.
        _severity(error) in ("FATAL", "PANIC")
        or not _STATE.fullmatch(state)  # no answer of Postgres', whoever gave it
        or state.startswith(_PASSING_CLASSES)
        or state in _PASSING_STATES
        or isinstance(error, asyncpg.InvalidCachedStatementError)
    )


def _severity(error: asyncpg.PostgresError) -> str:
    """In English, whatever language the server speaks to us."""
    severity: str | None = getattr(error, "severity_en", None) or getattr(error, "severity", None)
    return severity or "ERROR"


def driver_text(error: asyncpg.PostgresError) -> str:
    """A server error as upstream's driver words it (spec: storage.md §6)."""
    severity = getattr(error, "severity", None) or "ERROR"
    text = (error.args[0] if error.args else "") or "no reason given"
    return f"{severity}: {text} (SQLSTATE {error.sqlstate or 'unknown'})"


def bbs_error(error: asyncpg.PostgresError) -> BBSError:
    """What a request is answered with after a server error (spec: storage.md §6)."""
    match error.sqlstate:
        case "23505":
            return ResourceExists()
        case "22001":
            return InvalidRequest()
        case "42P01":
            return Unrecoverable.because(driver_text(error))
        case _:
            return UnknownError(driver_text(error))
