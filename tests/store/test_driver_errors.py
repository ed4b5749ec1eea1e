"""What an error of the server's says about what was asked."""

import asyncpg
import pytest

from bbs.store.backend import BackendUnavailable, StatementRejected
from bbs.store.driver_errors import meaning

FULL = {"C": "53100", "M": "could not write to file: No space left on device"}


def test_a_full_disk_is_an_answer() -> None:
    error = asyncpg.PostgresError.new({"S": "ERROR", "V": "ERROR", **FULL})
    assert isinstance(meaning(error), StatementRejected)


@pytest.mark.parametrize(
    "severity",
    [
        {"S": "PANIC", "V": "PANIC"},
        {"S": "FATAL", "V": "FATAL"},
        {"S": "PANIK", "V": "PANIC"},  # in the server's language
        {"S": "PANIC"},  # a server before 9.6, or a proxy
    ],
)
def test_the_end_of_the_session_is_none_whatever_it_ends_with(severity: dict[str, str]) -> None:
    """It may come in the middle of a commit, which the server finds in its log when it recovers."""
    assert isinstance(meaning(asyncpg.PostgresError.new({**severity, **FULL})), BackendUnavailable)
