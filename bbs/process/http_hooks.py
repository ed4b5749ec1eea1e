"""What the log and the metrics hear of requests, and of trouble with connections."""

from bbs.http.endpoints import Call, EventStream, Peer, Route
from bbs.http.handshakes import tell_on_stderr
from bbs.http.listener import Hooks
from bbs.log import Logger
from bbs.metrics.requests import RequestCounts
from bbs.routes.request_log import RequestLog


def http_hooks(requests: RequestLog, counts: RequestCounts, *, log: Logger) -> Hooks:
    """The hooks of the API's server. A bug is told at fatal, which goes out at every log level, and ends its request or its
    connection only: the process goes on.
    """

    def on_bug(bug: Exception, call: Call) -> None:
        log.fatal("handler-failed", error=bug, request=call.target, remote_addr=call.remote_addr)

    def on_connection_failed(failure: Exception, peer: Peer) -> None:
        log.fatal("connection-failed", error=failure, remote_addr=peer.remote_addr)

    def on_accept_failed(failure: OSError) -> None:
        log.error("accept-failed", error=failure)

    def on_request_end(route: Route, call: Call, duration_ns: int) -> None:
        requests.end(route, call, duration_ns)
        counts.ended(route.name, duration_ns, is_stream=isinstance(route.endpoint, EventStream))

    return Hooks(
        on_bug=on_bug,
        on_connection_failed=on_connection_failed,
        on_accept_failed=on_accept_failed,
        on_request_begin=requests.begin,
        on_request_end=on_request_end,
        on_handshake_failed=tell_on_stderr,
    )
