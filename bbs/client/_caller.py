"""A unary call: attempts, and what the outcome of each means (spec: client.md §3)."""

import time
from dataclasses import replace
from typing import Final, TypeVar

import trio
from google.protobuf.message import DecodeError, Message

from bbs.client._errors import (
    EndpointNotFound,
    NotMaster,
    TLSWanted,
    TransportError,
    TransportTimeout,
    UnexpectedStatus,
)
from bbs.client._http import Headers, Request, Response, Transport, awaited_headers
from bbs.client._log import Log
from bbs.client._routes import Route
from bbs.models import pb
from bbs.models.errors import BBSError, InvalidProtobufMessage, InvalidResponse, RequestTimeout, RouterError
from bbs.models.wire import encode

ATTEMPT_PAUSE_S: Final = 0.5
PROTOBUF: Final = "application/x-protobuf"

SAID_BYTES_MAX: Final = 1000
SAID_WITHIN_S: Final = 1.0
HTTPS_ONLY: Final = "Client sent an HTTP request to an HTTPS server."
"""What Go's servers, and ours, answer in the clear to those who do not speak TLS."""

R = TypeVar("R", bound=Message)


class Caller:
    """Makes unary calls. Any failure of an exchange is tried again, whether or not the server acted on it."""

    def __init__(
        self, transport: Transport, *, base_url: str, attempts: int, request_timeout_s: float, log: Log
    ) -> None:
        self._transport = transport
        self.base_url = base_url
        self._attempts = attempts
        self._timeout_s = request_timeout_s
        self.log = log

    async def exchange(self, route: Route[R], message: Message | None, *, trace_id: str) -> R:
        """The server's response, which may well be a refusal.

        Raises:
          BBSError: the last attempt got no proper response: RequestTimeout, RouterError, InvalidResponse (of which
            EndpointNotFound is one), InvalidProtobufMessage.
          TransportError: the last attempt got none at all.
        Cancellation:
          The server may or may not have acted on the call.
        """
        log = self.log.session("do-request")
        request = self._request(route, message, trace_id=trace_id)
        failure: BBSError | TransportError | None = None
        for attempt in range(1, self._attempts + 1):
            log.debug("creating-request", {"attempt": attempt, "request_name": route.name})
            log.debug("doing-request", {"attempt": attempt, "request_path": route.path})
            began_ns = time.perf_counter_ns()
            try:
                response, _ = await self._attempt(route, request)
            except (BBSError, TransportError) as error:
                log.error("failed-doing-request", error=error)
                failure = error
                # Also after the last attempt, as upstream: callers that loop are held back by it.
                await trio.sleep(ATTEMPT_PAUSE_S)
            else:
                duration_ns = time.perf_counter_ns() - began_ns
                log.debug("complete", {"request_path": route.path, "duration_in_ns": duration_ns})
                return response
        assert failure is not None
        raise failure

    async def ask_once(
        self, route: Route[R], message: Message | None, *, headers: Headers
    ) -> tuple[R, Response]:
        """The server's message, which may well be a refusal, and the response that it came in. One attempt, with ``headers``
        beside those of every call.

        Raises, and is cancelled, as `exchange`.
        """
        request = self._request(route, message, trace_id="")
        return await self._attempt(route, replace(request, headers=(*request.headers, *headers)))

    def _request(self, route: Route[R], message: Message | None, *, trace_id: str) -> Request:
        return Request(
            method="POST",
            url=self.base_url + route.path,
            headers=(("Content-Type", PROTOBUF), ("X-Vcap-Request-Id", trace_id)),
            body=b"" if message is None else encode(message),
        )

    async def _attempt(self, route: Route[R], request: Request) -> tuple[R, Response]:
        head_arrived = False
        with trio.move_on_after(self._timeout_s):
            try:
                response, lease = await self._transport.open(request)
            except TransportTimeout as error:
                raise RequestTimeout(str(error)) from error
            head_arrived = True
            try:
                message = await _understand(route, response)
                await lease.release()
                return message, response
            finally:
                await lease.discard()  # nothing to do if it was released
        if head_arrived:
            raise InvalidResponse(
                "failed to read body: context deadline exceeded "
                "(Client.Timeout or context cancellation while reading body)"
            )
        raise RequestTimeout(awaited_headers(request))


async def _understand(route: Route[R], response: Response) -> R:
    """The message in a response, or the error that stands for what came instead. The first rule that fits decides."""
    router_error = response.header("X-Cf-Routererror")
    if router_error is not None:
        raise RouterError(router_error)
    if response.media_type == PROTOBUF:
        try:
            body = await response.read()
        except TransportError as error:
            raise InvalidResponse(f"failed to read body: {error}") from error
        try:
            return route.response.FromString(body)
        except DecodeError as error:
            raise InvalidProtobufMessage(f"failed to unmarshal proto: {error}") from error
    if response.status == 404:
        raise EndpointNotFound
    if response.status > 299:
        raise await _refused(response)
    # Whatever this is, upstream's clients take it for a success that says nothing.
    return route.response()


async def _refused(response: Response) -> UnexpectedStatus:
    """What an answer without a message means."""
    said = await _said(response)
    if response.status == 421:
        return NotMaster(said, response.header("X-Bbs-Master") or "")
    if response.status == 400 and said.startswith(HTTPS_ONLY):
        return TLSWanted(response.status, said)
    return UnexpectedStatus(response.status, said)


async def _said(response: Response) -> str:
    """The text of an answer, as far as it comes soon: the status is what counts."""
    if response.media_type not in ("", "text/plain"):
        return ""
    text = b""
    with trio.move_on_after(SAID_WITHIN_S):
        try:
            while len(text) < SAID_BYTES_MAX and (piece := await response.read_some()):
                text += piece
        except TransportError:
            pass
    return text[:SAID_BYTES_MAX].decode("utf-8", "replace").strip()


def raise_refusal(response: Message) -> None:
    """Raise the refusal that ``response`` carries, if it does. An error whose fields are all zero is one too: it takes no
    bytes beyond its presence.
    """
    if response.HasField("error"):
        error: pb.Error = response.error  # type: ignore[attr-defined]  # every response but ping's has it
        raise BBSError.from_wire(error)
