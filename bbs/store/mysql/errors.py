"""Translates what the MySQL driver raises into the errors that the store knows (spec: mysql.md §5).

By number: the words and the SQLSTATE of one error differ between MySQL and MariaDB.
"""

import asyncio
from typing import Final

from asyncmy.errors import MySQLError

from bbs.models.errors import BBSError, InvalidRequest, ResourceExists, UnknownError, Unrecoverable
from bbs.store.backend import BackendUnavailable, StatementRejected, WriterLockLost
from bbs.store.schema import SchemaError

DUPLICATE_COLUMN: Final = 1060
NULL_IN_A_KEY: Final = 1048
NO_SUCH_THREAD: Final = 1094
LOCK_WAIT_TIMEOUT: Final = 1205

CLIENT_ERRORS: Final = range(2000, 3000)
"""Numbers that the driver itself gives, all of them about the connection."""

PASSING: Final = frozenset((
    1020,  # somebody else has changed the row since the snapshot
    1021,  # disk full: the server waits for room, or gives up
    1040, 1041, 1203, 1226,  # too many connections, or no memory for one
    1047,  # a Galera node that is not part of its cluster, or not yet
    1053, 1077, 1079,  # the server is ending
    1129, 1152, 1158, 1159, 1160, 1161, 1184,  # the network, as the server sees it
    1180, 1181,  # COMMIT or ROLLBACK failed
    1205, 1213, 1613, 1614,  # a lock was not to be had; a deadlock, or a conflict with another Galera node
    1290, 1792, 1836,  # read-only: a server that is master no longer
    1317, 1927, 1969, 3024, 4031,  # the statement or its session was ended
    1412, 1615,  # the table was changed meanwhile
))  # fmt: skip
"""Errors of the server after which the same can be sent again."""

_OURS: Final = (BackendUnavailable, StatementRejected, SchemaError, WriterLockLost)


class StatementFailed(Exception):
    """One of several statements that were sent together failed with ``error``; those after it were not run."""

    def __init__(self, index: int, error: MySQLError) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error


def number(error: BaseException) -> int | None:
    """The number of an error of the server or the driver."""
    if isinstance(error, MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return None


def is_answer(error: BaseException) -> bool:
    """Whether it is the server's word about what it was asked, and not about the connection."""
    code = number(error)
    return code is not None and code > 0 and code not in CLIENT_ERRORS and code not in PASSING


def meaning(error: Exception | asyncio.CancelledError) -> Exception:
    """The error to raise for ``error``: `StatementRejected`, `BackendUnavailable`, or ``error`` if it is the store's own."""
    if isinstance(error, StatementFailed):
        return meaning(error.error)
    if isinstance(error, _OURS):
        return error
    if is_answer(error):
        return StatementRejected(bbs_error(error))
    return BackendUnavailable(words(error))


def words(error: BaseException) -> str:
    """One line for people, never empty. An error of the server reads as upstream's driver words it."""
    if isinstance(error, MySQLError):
        code = number(error)
        text = str(error.args[-1]) if error.args else ""
        if code is None or code <= 0 or code in CLIENT_ERRORS:
            return text or type(error).__name__
        state = f" ({error.sqlstate})" if error.sqlstate else ""
        return f"Error {code}{state}: {text or 'no reason given'}"
    if isinstance(error, asyncio.CancelledError):
        return "the database driver gave the call up"
    if isinstance(error, OSError | TimeoutError):
        return str(error) or type(error).__name__
    return (
        "the database, or a proxy before it, answered in a way that the driver does not understand "
        f"({type(error).__name__}: {error})"
    )


def bbs_error(error: BaseException) -> BBSError:
    """What a request is answered with after an error of the server."""
    match number(error):
        case 1062:
            return ResourceExists()
        case 1406:
            return InvalidRequest()
        case 1146:
            return Unrecoverable.because(words(error))
        case _:
            return UnknownError(words(error))
