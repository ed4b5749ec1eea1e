"""The two servers that are compared, and what goes wrong with either."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import trio

from bbs.client import (
    BBSClient,
    ClientConfig,
    Connector,
    EventSourceError,
    InvalidClientConfig,
    InvalidEventPayload,
    TransportError,
    UnrecognizedEventType,
)
from bbs.models.errors import BBSError
from bbs.shadow.events import Side


class Followed(Protocol):
    """The follower in this process."""

    @property
    def has_loaded(self) -> trio.Event:
        """Set once it answers."""

    @property
    def as_of(self) -> float:
        """A moment, by Trio's clock: what was committed before it is in its answers."""

    @property
    def streams(self) -> int:
        """How many streams of changes it has begun. What comes with the beginning of one is told in sum."""

    @property
    def is_streaming(self) -> bool:
        """Whether its events tell of each transaction."""

    @property
    def unreadable(self) -> int:
        """Rows of the database that it can't read."""

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """A `Connector` to its own server."""


class SideFailed(Exception):
    """One of the two gave no answer that could be compared. The text says which, and why."""

    def __init__(self, side: Side, reason: object, *, is_gone: bool) -> None:
        super().__init__(f"the {side}: {reason}")
        self.side = side
        self.is_gone = is_gone
        """Nothing came at all, so another request would most likely fail, too."""


@dataclass(frozen=True, slots=True)
class OneSide:
    """A server, and how to get there: by ``connector``, or by TCP as ``config`` says."""

    side: Side
    config: ClientConfig
    connector: Connector

    @asynccontextmanager
    async def client(self) -> AsyncIterator[BBSClient]:
        async with self._connected(self.config, self.connector) as client:
            yield client

    @asynccontextmanager
    async def client_of_one_stream(self) -> AsyncIterator[BBSClient]:
        """A client whose stream ends when its connection does. Another one would begin without the events in between."""
        config = replace(self.config, stream_reconnects=1, stream_reconnect_pause_s=0.001)
        async with self._connected(config, _once(self.connector)) as client:
            yield client

    @asynccontextmanager
    async def _connected(self, config: ClientConfig, connector: Connector) -> AsyncIterator[BBSClient]:
        async with AsyncExitStack() as stack:
            try:
                client = await stack.enter_async_context(BBSClient.connect(config, connector=connector))
            except InvalidClientConfig as error:  # its files are read anew each time
                raise SideFailed(self.side, error, is_gone=True) from error
            yield client

    @contextmanager
    def failures_named(self) -> Iterator[None]:
        """Raises:
        SideFailed: whatever a call of a client fails with.
        """
        try:
            yield
        except TransportError as error:
            raise SideFailed(self.side, error, is_gone=True) from error
        except BBSError as error:
            raise SideFailed(self.side, error, is_gone=False) from error
        except (InvalidEventPayload, UnrecognizedEventType):
            raise  # of one event
        except EventSourceError as error:
            reason = "the stream has ended" if str(error) == "EOF" else error
            raise SideFailed(self.side, reason, is_gone=True) from error


def _once(connector: Connector) -> Connector:
    has_connected = False

    async def connect(host: str, port: int) -> trio.abc.Stream:
        nonlocal has_connected
        if has_connected:
            raise ConnectionResetError("the connection was lost, and events with it")
        stream = await connector(host, port)
        has_connected = True
        return stream

    return connect
