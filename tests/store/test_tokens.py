"""Tokens as clients show them, and the choice of the place that they name."""

from typing import Any, cast

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.process.at_least import at_least_line
from bbs.store.commit_tokens import CommitTokens, end_of_records
from bbs.store.tokens import Token


@given(timeline=st.integers(0, 2**32 - 1), position=st.integers(0, 2**64 - 1))
def test_a_token_is_read_as_it_was_written(timeline: int, position: int) -> None:
    token = Token(timeline, position)

    assert Token.parse(str(token)) == token


def test_a_position_is_written_as_postgres_writes_it() -> None:
    assert str(Token(1, 0x16B3748)) == "1:0/16B3748"
    assert Token.parse("12:a/0B") == Token(12, 10 << 32 | 11)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0/16B3748",
        "1:",
        "1:0",
        "1:0/",
        "1:/1",
        ":0/1",
        "-1:0/1",
        "+1:0/1",
        "1_0:0/1",
        "1:0/1_0",
        "1:0x0/1",
        "1:0/123456789",
        "1:123456789/0",
        "12345678901:0/1",
        " 1:0/1",
        "1:0/1 ",
        "1:0/1\n",
        "1:0/G",
        "1:0/1, 1:0/2",
        "\u0661:0/1",
        "1:0/1" * 1000,
    ],
)
def test_what_is_no_token_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="is no token of a write: these look like 1:0/16B3748") as failure:
        Token.parse(text)

    assert len(str(failure.value)) < 150


@pytest.mark.parametrize(
    ("timeline", "position", "is_reached"),
    [
        (2, 99, False),
        (2, 100, True),
        (2, 101, True),
        (1, 10**9, False),
        (3, 0, True),
        (10, 99, True),
    ],
)
def test_positions_are_compared_on_one_timeline(timeline: int, position: int, is_reached: bool) -> None:
    assert Token(2, 100).is_reached_by(timeline, position) is is_reached


# -- which place it is


class Server:
    """Stands for a session. ``written`` and ``inserted`` are where its log ends."""

    def __init__(self) -> None:
        self.level: str | None = "logical"
        self.timeline = "0000000B"
        self.written, self.inserted = 1000, 2000
        self.is_asynchronous = False
        self.is_followed = True
        self.failure: Exception | None = None

    async def fetchval(self, statement: str, **_: object) -> Any:
        if "walfile" in statement:
            return self.timeline
        return self.is_followed if "slots" in statement else self.level == "logical"

    async def fetchrow(self, statement: str) -> tuple[int, int, bool]:
        if self.failure is not None:
            raise self.failure
        return self.written, self.inserted, self.is_asynchronous


async def begun(server: Server) -> CommitTokens:
    tokens = CommitTokens()
    await tokens.begin(cast(Any, server))
    return tokens


@pytest.mark.parametrize(
    ("before", "since", "position"),
    [(False, False, 1000), (True, False, 2000), (False, True, 2000), (True, True, 2000)],
)
async def test_only_what_was_committed_synchronously_is_surely_written(
    before: bool, since: bool, position: int
) -> None:
    tokens = await begun(server := Server())
    assert tokens.latest == Token(11, 1000)

    server.is_asynchronous = since
    await tokens.committed(cast(Any, server), asynchronously=before, is_followed=True)

    assert tokens.latest == Token(11, position)


@pytest.mark.parametrize("level", ["replica", "minimal", None])
async def test_where_nobody_can_follow_there_is_no_token(level: str | None) -> None:
    server = Server()
    server.level = level
    server.failure = AssertionError("it is not to be asked")
    tokens = await begun(server)

    assert not tokens.can_be_told
    assert tokens.latest is None


async def test_while_nobody_follows_there_is_no_token_and_nothing_is_asked() -> None:
    server = Server()
    server.is_followed = False
    server.failure = AssertionError("it is not to be asked")
    assert (await begun(server)).latest is None

    tokens = await begun(Server())
    assert tokens.latest is not None
    server.failure = AssertionError("it is not to be asked")
    await tokens.committed(cast(Any, server), asynchronously=False, is_followed=False)
    assert tokens.latest is None


async def test_a_server_that_does_not_say_where_has_committed_all_the_same() -> None:
    tokens = await begun(server := Server())
    server.failure = asyncpg.InsufficientPrivilegeError("permission denied")
    await tokens.committed(cast(Any, server), asynchronously=False, is_followed=True)

    assert tokens.latest is None
    assert not tokens.can_be_told


@pytest.mark.parametrize("failure", [asyncpg.AdminShutdownError("bye"), ConnectionResetError()])
async def test_a_commit_whose_session_breaks_behind_it_is_done_again(failure: Exception) -> None:
    tokens = await begun(server := Server())
    server.failure = failure

    with pytest.raises(type(failure)):
        await tokens.committed(cast(Any, server), asynchronously=False, is_followed=True)


@pytest.mark.parametrize(
    ("inserted", "end"),
    [
        (8192 * 5 + 24, 8192 * 5),
        (8192 * 5 + 32, 8192 * 5 + 32),
        (8192 * 5, 8192 * 5),
        (8192 * 5 - 8, 8192 * 5 - 8),
        (8192 * 5 + 40, 8192 * 5 + 40),
    ],
)
def test_nobody_waits_for_the_end_of_a_pages_header(inserted: int, end: int) -> None:
    assert end_of_records(inserted) == end


# -- the header's line


def test_the_line_is_that_of_the_present_token() -> None:
    present: list[Token | None] = [None]
    line = at_least_line(lambda: present[-1])
    assert line() == b""

    present.append(Token(1, 0x16B3748))
    assert line() == b"X-Bbs-At-Least: 1:0/16B3748\r\n"
    assert line() is line()

    present.append(Token(2, 1))
    assert line() == b"X-Bbs-At-Least: 2:0/1\r\n"

    present.append(None)
    assert line() == b""
