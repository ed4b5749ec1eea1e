"""From request bytes to answer bytes, the same for every unary RPC.

An answer is protobuf in one piece or, for a list, in slices that are sent one after another. Records bring their own
wire bytes, so a list is a join; no message object is made for it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import trio
from google.protobuf.message import Message

from bbs.concurrency.turns import TimedTurns, sliced
from bbs.http.endpoints import Answer, Call, Unary
from bbs.models.errors import BBSError, Failure, Unrecoverable, as_refusal
from bbs.models.validation import validate
from bbs.models.wire import decode, frame
from bbs.routes.bodies import (
    READERS,
    can_be_read_at_once,
    must_not_be_too_large,
    must_not_have_too_many_fields,
)
from bbs.routes.handler_log import HandlerLog

SUCCESS: Final = b""
"""A response without an error and without a payload."""

ERROR_FIELD: Final = 1

RECORDS_BETWEEN_LOOKS: Final = 64
"""Records joined between two looks at the clock: about 2 ms of work when none of them was encoded before."""

SLICE_BYTES: Final = 256 * 1024
"""A piece of a long answer. Larger ones gain nothing, smaller ones cost TLS throughput (design: Reads)."""

RequestT = TypeVar("RequestT", bound=Message)
RecordT = TypeVar("RecordT")


def error_response(error: BBSError) -> bytes:
    """Any response message that carries ``error``: its presence means failure, even when all its fields are zero."""
    return frame(ERROR_FIELD, error.to_wire().SerializeToString())


class RefusedBeside(Exception):
    """A refusal by a handler whose answer says something ``beside`` the error, as bytes of the response."""

    def __init__(self, error: BBSError, beside: bytes) -> None:
        super().__init__(str(error))
        self.error = error
        self.beside = beside


class RPC(Generic[RequestT]):
    """A handler that decodes, validates, and hands the request and its `Call` to ``handle``.

    ``on_unrecoverable`` is told of a refusal that this process cannot recover from; the answer still goes out.
    ``is_allowed`` raises a BBSError for a valid request that we refuse all the same, as if it were not valid.
    ``beside_invalid`` goes with the error that answers a request that can't be read or is not valid, and
    ``on_invalid`` is told of it, with as much of the request as could be read; it says whether it told others.
    """

    __slots__ = (
        "_beside_invalid", "_handle", "_is_allowed", "_log", "_on_invalid", "_on_unrecoverable", "_request_class",
    )  # fmt: skip

    def __init__(
        self,
        request_class: type[RequestT],
        handle: Callable[[RequestT, Call], Awaitable[Answer]],
        *,
        on_unrecoverable: Callable[[Unrecoverable], None],
        beside_invalid: bytes = b"",
        is_allowed: Callable[[RequestT], None] | None = None,
        on_invalid: Callable[[RequestT, BBSError], bool] | None = None,
        log: HandlerLog | None = None,
    ) -> None:
        self._request_class = request_class
        self._handle = handle
        self._on_unrecoverable = on_unrecoverable
        self._beside_invalid = beside_invalid
        self._is_allowed = is_allowed
        self._on_invalid = on_invalid
        self._log = log

    def logged(self, log: HandlerLog) -> "RPC[RequestT]":
        """The same, with its lines in the log."""
        return RPC(
            self._request_class,
            self._handle,
            on_unrecoverable=self._on_unrecoverable,
            beside_invalid=self._beside_invalid,
            is_allowed=self._is_allowed,
            on_invalid=self._on_invalid,
            log=log,
        )

    async def __call__(self, call: Call) -> Answer:
        log = self._log
        if can_be_read_at_once(self._request_class, call.body):
            request, error = self._read(call.body)
        else:
            request, error = await trio.to_thread.run_sync(self._read_large, call.body, limiter=READERS)
        if error is not None:
            app_is_told = self._on_invalid is None or self._on_invalid(request, error)
            if log is not None:
                log.invalid(call, error, app_is_told=app_is_told)
            return error_response(error) + self._beside_invalid
        said = None if log is None else log.begin(call, request)
        try:
            answer = await self._handle(request, call)
        except (Failure, RefusedBeside) as refused:
            reason, beside = (
                (refused.error, refused.beside)
                if isinstance(refused, RefusedBeside)
                else (as_refusal(refused), b"")
            )
            if log is not None:
                log.refused(call, request, reason, said)
            if isinstance(reason, Unrecoverable):
                self._on_unrecoverable(reason)
            return error_response(reason) + beside
        else:
            if said is not None:
                said.committed()
            return answer
        finally:
            if said is not None:
                said.end()

    def _read(self, body: bytes) -> tuple[RequestT, BBSError | None]:
        """The request, or as much of it as could be read and what is wrong with it."""
        request = self._request_class()
        try:
            request = decode(self._request_class, body)
            validate(request)
            if self._is_allowed is not None:
                self._is_allowed(request)
        except BBSError as error:
            return request, error
        return request, None

    def _read_large(self, body: bytes) -> tuple[RequestT, BBSError | None]:
        try:
            must_not_be_too_large(self._request_class, body)
            must_not_have_too_many_fields(self._request_class, body)
        except BBSError as error:
            return self._request_class(), error
        return self._read(body)


def rpc(
    request_class: type[RequestT],
    handle: Callable[[RequestT, Call], Awaitable[Answer]],
    *,
    on_unrecoverable: Callable[[Unrecoverable], None],
    beside_invalid: bytes = b"",
    is_allowed: Callable[[RequestT], None] | None = None,
    on_invalid: Callable[[RequestT, BBSError], bool] | None = None,
) -> Unary:
    """An endpoint of an `RPC`."""
    return Unary(
        RPC(
            request_class,
            handle,
            on_unrecoverable=on_unrecoverable,
            beside_invalid=beside_invalid,
            is_allowed=is_allowed,
            on_invalid=on_invalid,
        )
    )


async def joined(records: Sequence[RecordT], framed: Callable[[RecordT], bytes]) -> list[bytes]:
    """The bytes of a list response, made without holding the event loop for long.

    ``records`` is a snapshot that nobody changes meanwhile; ``framed`` gives a record's bytes as a list element.
    """
    if len(records) <= RECORDS_BETWEEN_LOOKS:
        return [b"".join(map(framed, records))]
    slices: list[bytes] = []
    pending: list[bytes] = []
    size = 0
    turns = TimedTurns()
    for some in sliced(records, RECORDS_BETWEEN_LOOKS):
        piece = b"".join(map(framed, some))
        pending.append(piece)
        size += len(piece)
        if size >= SLICE_BYTES:
            slices.append(b"".join(pending))
            pending.clear()
            size = 0
        await turns.checkpoint_if_due()
    slices.append(b"".join(pending))
    return slices
