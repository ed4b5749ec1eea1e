"""A Locket served by this process: reps register with it as with upstream's (spec: locking-and-presence.md §1).

gRPC runs its handlers in threads; they all hand over to Trio's, which alone touches the table. So the table needs no
lock, those who observe it are told in their own thread, and the server itself may use the same table without gRPC. The
price, a turn of the event loop per call, is small: a thousand cells call two hundred times a second.
"""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import trio
from google.protobuf.message import Message

from bbs.log import Logger
from bbs.models.pb import locket_pb2 as pb
from bbs.sync.locket.client import Code, LocketError, Resource
from bbs.sync.locket.table import Change, LocketTable, expire_on_time
from bbs.tls.contexts import TLSFiles
from bbs.tls.grpc_credentials import grpc, server_credentials

SERVICE: Final = "models.Locket"

THREADS: Final = 4
"""Threads for gRPC's handlers, which do nothing but wait for Trio's thread to do their work."""

CALLS_MAX: Final = 2_000
"""Calls at once, most of them waiting for a thread. Beyond it gRPC refuses them."""

GRACE_S: Final = 1.0
"""How long calls under way may go on when the block ends."""

PING_INTERVAL_MIN_S: Final = 5
"""How often a client may ping. Diego's clients do so every 10 s while they wait, and with gRPC's default of five minutes
the server would close their connections for it."""

RequestT = TypeVar("RequestT", bound=Message)


@asynccontextmanager
async def embedded_locket(
    table: LocketTable, address: str = "127.0.0.1:0", *, tls: TLSFiles | None = None, log: Logger
) -> AsyncIterator[str]:
    """Serve ``table`` until the block ends; gives the address with its port. No ``tls``: plain text, for anyone.

    What is due is dropped on time. Nothing outlasts the process: those who register come back within their period.

    Raises:
      TLSFilesInvalid: a file can't be used.
      OSError: the address is taken, or not ours.
    """
    log = log.session("locket")
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="locket")
    server = grpc.server(
        threads,
        options=[
            ("grpc.so_reuseport", 0),  # an address that is taken is an error
            ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MIN_S * 1000),
        ],
        maximum_concurrent_rpcs=CALLS_MAX,
    )
    server.add_generic_rpc_handlers((_handlers(table),))
    bound = _bind(server, address, tls)
    server.start()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expire_on_time, table)
            with table.observed(lambda change: _tell(change, log)):
                log.info("serving", {"address": bound})
                yield bound
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):  # bounded by the grace
            await trio.to_thread.run_sync(server.stop(GRACE_S).wait)
            await trio.to_thread.run_sync(threads.shutdown)


def _bind(server: grpc.Server, address: str, tls: TLSFiles | None) -> str:
    try:
        if tls is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, server_credentials(tls))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}") from error
    return f"{address.rpartition(':')[0]}:{port}"


def _tell(change: Change, log: Logger) -> None:
    resource = change.resource
    about = {"key": resource.key, "owner": resource.owner, "type": resource.type}
    log.info("registered" if change.is_present else "released-or-expired", about)


def _handlers(table: LocketTable) -> grpc.GenericRpcHandler:
    token = trio.lowlevel.current_trio_token()

    def method(
        request_class: type[RequestT], act: Callable[[RequestT], Message]
    ) -> "grpc.RpcMethodHandler[RequestT, Message]":
        def attempt(request: RequestT) -> Message | LocketError:
            try:
                return act(request)
            except LocketError as error:
                # A value from here on: raised across threads, its traceback would keep the server until garbage is
                # collected, and with it gRPC's threads.
                return error.with_traceback(None)

        def handle(request: RequestT, context: grpc.ServicerContext) -> Message:
            answer = trio.from_thread.run_sync(attempt, request, trio_token=token)
            if isinstance(answer, LocketError):
                context.abort(grpc.StatusCode[Code(answer.code).name], answer.description)
            return answer

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=request_class.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )

    def lock(request: pb.LockRequest) -> pb.LockResponse:
        table.lock(Resource.from_wire(request.resource), ttl_s=request.ttl_in_seconds)
        return pb.LockResponse()

    def fetch(request: pb.FetchRequest) -> pb.FetchResponse:
        return pb.FetchResponse(resource=table.fetch(request.key).to_wire())

    def release(request: pb.ReleaseRequest) -> pb.ReleaseResponse:
        table.release(Resource.from_wire(request.resource))
        return pb.ReleaseResponse()

    def fetch_all(request: pb.FetchAllRequest) -> pb.FetchAllResponse:
        found = table.fetch_all(request.type_code)
        return pb.FetchAllResponse(resources=[resource.to_wire() for resource in found])

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Lock": method(pb.LockRequest, lock),
            "Fetch": method(pb.FetchRequest, fetch),
            "Release": method(pb.ReleaseRequest, release),
            "FetchAll": method(pb.FetchAllRequest, fetch_all),
        },
    )
