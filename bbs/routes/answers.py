"""From request bytes to answer bytes, the same for every unary RPC.

An answer is protobuf in one piece or, for a list, in slices that are sent one after another. Records bring their own
wire bytes, so a list is a join; no message object is made for it.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import perf_counter
from typing import Final, TypeVar

import trio
from google.protobuf.message import Message

from bbs.models.errors import BBSError
from bbs.models.validation import validate
from bbs.models.wire import decode, frame
from bbs.routes.http import Call, UnaryEndpoint

SUCCESS: Final = b""
"""A response without an error and without a payload."""

ERROR_FIELD: Final = 1

SLICE_RECORDS: Final = 64
"""Records joined between two looks at the clock: at most about 2 ms of work, when none of them was encoded before."""

HOLD_S: Final = 0.003
"""How long a list may hold the event loop before others get a turn."""

RequestT = TypeVar("RequestT", bound=Message)
Answer = bytes | Sequence[bytes]


def refusal(error: BBSError) -> bytes:
    """Any response message that carries ``error``: its presence means failure, even when all its fields are zero."""
    return frame(ERROR_FIELD, error.to_wire().SerializeToString())


def rpc(request_class: type[RequestT], handle: Callable[[RequestT, str], Awaitable[Answer]]) -> UnaryEndpoint:
    """An endpoint that decodes, validates, and hands the request and the trace id to ``handle``."""

    async def answer(call: Call) -> Answer:
        try:
            request = decode(request_class, call.body)
            validate(request)
            return await handle(request, call.trace_id)
        except BBSError as error:
            return refusal(error)

    return answer


async def join(elements: Iterable[Callable[[], bytes]]) -> list[bytes]:
    """The bytes of a list response, in slices, made without holding the event loop for long."""
    slices: list[bytes] = []
    pending: list[bytes] = []
    began = perf_counter()
    for element in elements:
        pending.append(element())
        if len(pending) == SLICE_RECORDS:
            slices.append(b"".join(pending))
            pending.clear()
            if perf_counter() - began > HOLD_S:
                await trio.lowlevel.checkpoint()
                began = perf_counter()
    slices.append(b"".join(pending))
    return slices
