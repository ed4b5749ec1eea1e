"""Asks one server, on one connection, how late it is, and whether it knows of what a token is for. Blocks."""

import re
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from perf.load import Credentials

ANSWER_MAX_S: Final = 30.0
"""More than a follower waits for what it is asked to know of."""

RECEIVE_BYTES: Final = 16 * 1024

_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_STALENESS: Final = re.compile(rb"\r\nx-bbs-staleness-ms: (\d+)\r\n", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class AskFailed(Exception):
    """The server closed the connection, or did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer to a ping. ``staleness_ms`` is None from somebody who is no follower. ``at_s`` is when it came, by
    `time.monotonic`, which all processes of a machine share.
    """

    status: int
    staleness_ms: int | None
    took_s: float
    at_s: float

    @property
    def is_good(self) -> bool:
        return self.status == 200


class Asker:
    """A context manager: one connection."""

    def __init__(self, credentials: Credentials) -> None:
        target = credentials.target()
        self._ping = target.post("/v1/ping")
        self._socket = target.connect()
        self._socket.setblocking(True)
        self._socket.settimeout(ANSWER_MAX_S)
        self._sent_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, at_least: str = "") -> Told:
        """Ping, and have the answer wait until the server knows of what the token ``at_least`` is for.

        Raises:
          AskFailed, OSError: there is no answer.
        """
        self.send(at_least)
        return self.receive()

    def send(self, at_least: str = "") -> None:
        header = f"\r\nX-Bbs-At-Least: {at_least}\r\n".encode("ascii")
        self._sent_s = time.monotonic()
        self._socket.sendall(self._ping.replace(b"\r\n", header, 1) if at_least else self._ping)

    def receive(self) -> Told:
        received = b""
        while (head_ends := received.find(b"\r\n\r\n") + 4) < 4 or len(received) < head_ends + _length(
            received
        ):
            try:
                piece = self._socket.recv(RECEIVE_BYTES)
            except TimeoutError:
                raise AskFailed(f"no answer within {ANSWER_MAX_S:.0f} s") from None
            if not piece:
                raise AskFailed("the server closed the connection")
            received += piece
        at_s = time.monotonic()
        status, staleness = _STATUS.match(received), _STALENESS.search(received)
        return Told(
            status=int(status[1]) if status is not None else 0,
            staleness_ms=int(staleness[1]) if staleness is not None else None,
            took_s=at_s - self._sent_s,
            at_s=at_s,
        )


def _length(received: bytes) -> int:
    found = _LENGTH.search(received)
    return 0 if found is None else int(found[1])


def ask_all(askers: Sequence[Asker], at_least: str = "") -> list[Told]:
    """Ask all of them at once; their answers in the order in which they come."""
    for asker in askers:
        asker.send(at_least)
    waiting = list(askers)
    told = []
    while waiting:
        ready, _, _ = select.select(waiting, [], [], ANSWER_MAX_S)
        if not ready:
            raise AskFailed(f"no answer within {ANSWER_MAX_S:.0f} s")
        for asker in ready:
            waiting.remove(asker)
            told.append(asker.receive())
    return told
