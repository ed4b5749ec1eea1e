"""What the driver's errors mean to the store, by number (spec: mysql.md §5)."""

import asyncio

import pytest
from asyncmy.errors import MySQLError

from bbs.models.errors import InvalidRequest, ResourceExists, UnknownError, Unrecoverable
from bbs.store.backend import BackendUnavailable, StatementRejected, WriterLockLost
from bbs.store.mysql.errors import StatementFailed, meaning, words


def error(number: int, text: str = "text", state: str | None = "HY000") -> MySQLError:
    made = MySQLError(number, text)
    made.sqlstate = state
    return made


@pytest.mark.parametrize(
    ("number", "refusal"),
    [
        (1062, ResourceExists),
        (1406, InvalidRequest),
        (1146, Unrecoverable),
        (1142, UnknownError),
        (1366, UnknownError),
        (1390, UnknownError),
        (1264, UnknownError),
        (1267, UnknownError),
    ],
)
def test_what_the_server_rejects_is_an_answer(number: int, refusal: type[Exception]) -> None:
    rejected = meaning(error(number))

    assert isinstance(rejected, StatementRejected)
    assert isinstance(rejected.error, refusal)


@pytest.mark.parametrize(
    "number",
    [
        1213, 1205,  # deadlock, lock wait
        1290, 1792, 1836,  # read-only
        1047, 1020, 1180,  # Galera, a snapshot, a commit
        1040, 1053, 1317, 1927, 1969, 3024,  # full, ending, ended
        2002, 2003, 2006, 2013,  # the connection
    ],
)  # fmt: skip
def test_what_passes_is_tried_again(number: int) -> None:
    assert isinstance(meaning(error(number)), BackendUnavailable)


@pytest.mark.parametrize(
    "failure",
    [OSError("refused"), TimeoutError(), asyncio.CancelledError(), IndexError("x"), MySQLError(), MySQLError(0, "odd")],
)  # fmt: skip
def test_whatever_else_happens_is_a_database_that_is_away(failure: Exception) -> None:
    away = meaning(failure)

    assert isinstance(away, BackendUnavailable)
    assert str(away)


def test_a_statement_of_several_means_what_its_error_does() -> None:
    assert isinstance(meaning(StatementFailed(3, error(1213))), BackendUnavailable)
    rejected = meaning(StatementFailed(3, error(1146)))
    assert isinstance(rejected, StatementRejected)
    assert isinstance(rejected.error, Unrecoverable)


def test_what_the_store_raises_itself_is_left_alone() -> None:
    for own in (WriterLockLost("x"), BackendUnavailable("x"), StatementRejected(InvalidRequest())):
        assert meaning(own) is own


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (error(1205, "Lock wait timeout exceeded; try restarting transaction"), "Error 1205 (HY000): Lock wait timeout exceeded; try restarting transaction"),
        (error(1040, "Too many connections", None), "Error 1040: Too many connections"),
        (error(2013, "Lost connection"), "Lost connection"),
    ],
)  # fmt: skip
def test_errors_read_as_upstreams_driver_words_them(failure: MySQLError, text: str) -> None:
    assert words(failure) == text
