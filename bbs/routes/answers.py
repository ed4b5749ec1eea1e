"""From request bytes to answer bytes, the same for every unary RPC.

An answer is protobuf in one piece or, for a list, in slices that are sent one after another. Records bring their own
wire bytes, so a list is a join; no message object is made for it.

Errors leave a handler as exceptions and become bytes in `RPC.__call__` only: a refusal (`BBSError`) as it is, trouble
(`bbs.models.errors.Trouble`: the database or a peer) as an UnknownError with its text. Any other exception is a bug and
passes through, and `bbs.http` ends the request.
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
from bbs.routes.handler_log import HandlerLog, Said

SUCCESS: Final = b""
"""A response without an error and without a payload."""

ERROR_FIELD: Final = 1

RECORDS_BETWEEN_LOOKS: Final = 64
"""Records joined between two looks at the clock: about 2 ms of work when none of them was encoded before."""

SLICE_BYTES: Final = 256 * 1024
"""A piece of a long answer, which may have 300 MB: to join it in one go would hold the event loop, and need that much
memory in one stretch. Larger slices gain nothing, smaller ones cost TLS throughput.
"""

RequestT = TypeVar("RequestT", bound=Message)
RecordT = TypeVar("RecordT")


def error_response(error: BBSError) -> bytes:
    """Any response message that carries ``error``: its presence means failure, even when all its fields are zero."""
    return frame(ERROR_FIELD, error.to_wire().SerializeToString())


class RefusedBeside(Exception):
    """A refusal by a handler whose answer says something besides the error: ``beside`` is the response's other fields,
    encoded. It is no `Failure`, so that nobody on the way takes it for the bare refusal and loses these.
    """

    def __init__(self, error: BBSError, beside: bytes) -> None:
        super().__init__(str(error))
        self.error = error
        self.beside = beside


class RPC(Generic[RequestT]):
    """A handler that decodes, validates, and hands the request and its `Call` to ``handle``.

    ``handle`` may raise any `Failure`, or `RefusedBeside`; both become the answer's error.
    ``on_unrecoverable`` is told of a refusal that this process cannot recover from; the answer still goes out.
    ``is_allowed`` raises a BBSError for a valid request that we refuse all the same, as if it were not valid.
    ``beside_invalid`` are encoded fields that go with the error if the request can't be read or is not valid, and
    ``on_invalid`` is told of it, with as much of the request as could be read; it returns whether the developers of the
    app could be told, which is logged.

    Cancellation:
      A large body is read by a thread to its end first. Then as the handler, which gives up waiting, not what is staged.
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

    @property
    def request_class(self) -> type[RequestT]:
        """The message that it takes."""
        return self._request_class

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
        # What the log will say is worked out before the handler decides, from the rows that the decision is going to see:
        # afterwards they are gone. Lines that speak of the outcome are added later, by `tell_decided` and `tell_committed`.
        said = None if log is None else log.begin(call, request)
        try:
            answer = await self._handle(request, call)
        except (Failure, RefusedBeside) as refused:
            return self._refusal(refused, call, request, said)
        else:
            if said is not None:
                said.committed()  # of a read, or of a handler that changed nothing; others have said so themselves
            return answer
        finally:
            if said is not None:
                said.end()

    def _refusal(
        self, refused: Failure | RefusedBeside, call: Call, request: RequestT, said: Said | None
    ) -> bytes:
        """The answer. `__call__` must not keep the reason in a variable: the reason's traceback refers to its frame, and so the
        request would stay in memory until a garbage collection.
        """
        reason, beside = (
            (refused.error, refused.beside)
            if isinstance(refused, RefusedBeside)
            else (as_refusal(refused), b"")
        )
        if self._log is not None:
            self._log.refused(call, request, reason, said)
        if isinstance(reason, Unrecoverable):
            self._on_unrecoverable(reason)
        return error_response(reason) + beside

    def _read(self, body: bytes) -> tuple[RequestT, BBSError | None]:
        """The request, or as much of it as could be read and what is wrong with it."""
        request = self._request_class()
        try:
            request = decode(self._request_class, body)
            validate(request)
            if self._is_allowed is not None:
                self._is_allowed(request)
        except BBSError as error:
            return request, _without_frames(error)
        return request, None

    def _read_large(self, body: bytes) -> tuple[RequestT, BBSError | None]:
        """As `_read`, in a thread. Only here the limits are looked at: what is read at once is far below them.

        Fields are counted before protobuf sees the body, since decoding cannot be interrupted: it would hold the event loop
        up from this thread, too. The count is Python's, and gives way.
        """
        try:
            must_not_be_too_large(self._request_class, body)
            must_not_have_too_many_fields(self._request_class, body)
        except BBSError as error:
            return self._request_class(), _without_frames(error)
        return self._read(body)


def _without_frames(error: BBSError) -> BBSError:
    """What is wrong with a request, to be kept in a variable. Where it was raised is of interest to nobody, as a refusal is logged
    by its text; but by way of the frames there, which have the body, it would refer to whoever keeps it.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


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

    The clock decides when others get a turn. To count records would not do: one that has been encoded before costs next to
    nothing, and one that has not may be large. Any number would be too long a turn for some lists, and too short for others.

    Cancellation:
      Between two slices of work; what was made is dropped.
    """
    return await in_slices(records, lambda some: b"".join(map(framed, some)))


async def in_slices(records: Sequence[RecordT], joined: Callable[[Sequence[RecordT]], bytes]) -> list[bytes]:
    if len(records) <= RECORDS_BETWEEN_LOOKS:
        return [joined(records)]
    slices: list[bytes] = []
    pending: list[bytes] = []
    size = 0
    turns = TimedTurns()
    for some in sliced(records, RECORDS_BETWEEN_LOOKS):
        piece = joined(some)
        pending.append(piece)
        size += len(piece)
        if size >= SLICE_BYTES:
            slices.append(b"".join(pending))
            pending.clear()
            size = 0
        await turns.checkpoint_if_due()
    slices.append(b"".join(pending))
    return slices
