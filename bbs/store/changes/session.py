"""A session with Postgres on Trio, without threads: libpq does the talking, Trio the waiting on its socket.

asyncpg, which everything else goes through, does not speak the replication protocol. libpq does, and its calls that do not
block are all that is used of psycopg here.

A session that is broken, or in which a call was cancelled, is closed: nobody can know what is still on its way in it. Only a
statement that the server has refused leaves it as it was.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import psycopg
import trio
from psycopg import pq
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PollingStatus
from psycopg.pq.abc import PGconn, PGresult

from bbs.store.backend import BackendUnavailable

Fields: TypeAlias = tuple[str | None, ...]
"""A row, each value as text."""

_ROWS: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY)


class Refused(Exception):
    """The server has refused a statement. ``state`` is its SQLSTATE."""

    def __init__(self, state: str, text: str) -> None:
        super().__init__(f"{text} (SQLSTATE {state})")
        self.state = state


class CopyEnded(Exception):
    """The server has ended a copy, and with it the session. The text is the server's, if it gave a reason."""


class Notice:
    """What the server says beside its answers: its SQLSTATE and words."""

    def __init__(self, result: PGresult) -> None:
        self.state = _field(result, DiagnosticField.SQLSTATE)
        self.text = _text(result)


class Session:
    """Made by `open_session`. One task at a time may run statements; during a copy one may receive and another one send.

    Raises, in each of its methods:
      BackendUnavailable: the connection is broken, or has been closed.
    """

    def __init__(self, connection: PGconn) -> None:
        self._connection = connection
        self._descriptor = connection.socket
        self._is_closed = False
        self.on_notice: Callable[[Notice], None] = lambda notice: None
        connection.nonblocking = 1
        connection.notice_handler = lambda result: self.on_notice(Notice(result))

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def server_version(self) -> int:
        """As Postgres counts: 180001 is 18.1."""
        return self._connection.server_version

    @property
    def server_process(self) -> int:
        return self._connection.backend_pid

    def quoted(self, name: str) -> str:
        """As an identifier in a statement."""
        return '"' + name.replace('"', '""') + '"'

    async def fetch(self, statement: str, *, within_s: float) -> list[Fields]:
        """Run a statement without parameters, by the simple protocol: a session for replication knows no other. Returns its
        rows, of the last one if there are several.

        Raises:
          Refused: by the server, in whose words.
          BackendUnavailable: also if it took longer than ``within_s``.
        Cancellation:
          Closes the session.
        """
        async with self._in_use(f"no answer within {within_s:g} s", within_s):
            last: PGresult | None = None
            self._connection.send_query(statement.encode())
            while (result := await self._result()) is not None:
                if last is None or last.status in _ROWS:
                    last = result
        assert last is not None, "each statement has a result"
        if last.status not in _ROWS:
            raise Refused(_field(last, DiagnosticField.SQLSTATE), _text(last))
        return [
            tuple(_decoded(last.get_value(row, column)) for column in range(last.nfields))
            for row in range(last.ntuples)
        ]

    async def start_copy(self, statement: str, *, within_s: float) -> None:
        """Run a statement that begins a copy in both directions.

        Raises, and when cancelled:
          as `fetch`.
        """
        async with self._in_use(f"no answer within {within_s:g} s", within_s):
            self._connection.send_query(statement.encode())
            result = await self._result()
        assert result is not None, "each statement has a result"
        if result.status != ExecStatus.COPY_BOTH:
            text = _text(result)
            state = _field(result, DiagnosticField.SQLSTATE)
            self.close()
            raise Refused(state, text)

    def receive_nowait(self) -> bytes | None:
        """The next message of the copy, if it is here already.

        Raises:
          CopyEnded: there are no more.
        """
        self._must_be_open()
        try:
            length, data = self._connection.get_copy_data(1)
            if length > 0:
                return bytes(data)
            if length == 0:
                return None
            result = self._connection.get_result()
            text = "" if result is None or result.status in _ROWS else _text(result)
        except psycopg.Error as error:
            self.close()
            raise BackendUnavailable(_words(error)) from error
        self.close()
        raise CopyEnded(text or "the server has ended it")

    async def wait_received(self, *, within_s: float) -> None:
        """Wait until more of the copy has come, though perhaps less than a message.

        Raises:
          BackendUnavailable: also if nothing has come within ``within_s``.
        Cancellation:
          Closes the session.
        """
        async with self._in_use(f"the server has been silent for {within_s:g} s", within_s):
            await trio.lowlevel.wait_readable(self._descriptor)
            self._connection.consume_input()

    async def send(self, message: bytes, *, within_s: float) -> None:
        """Send a message of the copy.

        Raises:
          BackendUnavailable: also if it does not go out within ``within_s``.
        Cancellation:
          Closes the session.
        """
        async with self._in_use(f"the server has taken nothing for {within_s:g} s", within_s):
            while self._connection.put_copy_data(message) == 0:
                await trio.lowlevel.wait_writable(self._descriptor)
            await self._flush()

    def close(self) -> None:
        """Close it at once, without waiting for the server; those who wait for something get `BackendUnavailable`. A second
        call does nothing.
        """
        if not self._is_closed:
            self._is_closed = True
            # Also if libpq has closed it already, which it does when it finds the connection broken: another task may wait for
            # the same descriptor, which somebody else is given next.
            trio.lowlevel.notify_closing(self._descriptor)
            self._connection.finish()

    async def _flush(self) -> None:
        while self._connection.flush():
            await trio.lowlevel.wait_writable(self._descriptor)

    async def _result(self) -> PGresult | None:
        await self._flush()
        while self._connection.is_busy():
            await trio.lowlevel.wait_readable(self._descriptor)
            self._connection.consume_input()
        return self._connection.get_result()

    def _must_be_open(self) -> None:
        if self._is_closed:
            raise BackendUnavailable("the session is closed")

    @asynccontextmanager
    async def _in_use(self, late: str, within_s: float) -> AsyncIterator[None]:
        self._must_be_open()
        try:
            with trio.fail_after(within_s):
                yield
            # Closed by another task, while this one was about to go on.
            self._must_be_open()
        except (psycopg.Error, trio.ClosedResourceError, trio.TooSlowError) as error:
            self.close()
            raise BackendUnavailable(
                late if isinstance(error, trio.TooSlowError) else _words(error)
            ) from error
        except BaseException:
            self.close()
            raise


async def open_session(conninfo: bytes, *, within_s: float) -> Session:
    """Connect, to a server whose names have been looked up (libpq would block while it does that).

    Raises:
      BackendUnavailable: in libpq's words or the server's, which do not show the password.
    Cancellation:
      Gives the attempt up.
    """
    connection = pq.PGconn.connect_start(conninfo)
    try:
        with trio.fail_after(within_s):
            await trio.lowlevel.checkpoint()
            while connection.status != ConnStatus.BAD:
                match connection.connect_poll():
                    case PollingStatus.OK:
                        return Session(connection)
                    case PollingStatus.READING:
                        await trio.lowlevel.wait_readable(connection.socket)
                    case PollingStatus.WRITING:
                        await trio.lowlevel.wait_writable(connection.socket)
                    case _:
                        break
        raise BackendUnavailable(_one_line(connection.get_error_message("utf-8")))
    except trio.TooSlowError as error:
        connection.finish()
        raise BackendUnavailable(f"no session within {within_s:g} s") from error
    except BaseException:
        connection.finish()
        raise


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _field(result: PGresult, field: DiagnosticField) -> str:
    return (result.error_field(field) or b"").decode(errors="replace")


def _text(result: PGresult) -> str:
    """What the server says, with its hint, in one line."""
    fields = (DiagnosticField.MESSAGE_PRIMARY, DiagnosticField.MESSAGE_DETAIL, DiagnosticField.MESSAGE_HINT)
    said = [text for text in (_field(result, field) for field in fields) if text]
    # Without fields it is libpq that speaks: the connection broke.
    return ". ".join(said) or _one_line(result.get_error_message("utf-8")) or "no reason given"


def _words(error: BaseException) -> str:
    if isinstance(error, trio.ClosedResourceError):
        return "the session is closed"
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(text.split())
