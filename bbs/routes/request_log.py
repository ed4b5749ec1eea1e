"""A line when a request begins and one when it ends, in the log and in the access log.

spec: metrics-and-logs.md §3.1, §4; api.md §5. Its methods are for `bbs.http.Hooks`.
"""

import os
from functools import lru_cache, partial
from typing import Final

from bbs.http.endpoints import Call, Route
from bbs.log import LagerSink, Level, LineWriters, Logger, cut, go_json, json_text
from bbs.routes.certificates import certificate_data

COMPONENT: Final = "bbs-access"
PEERS_MAX: Final = 16_384
"""Connections whose part of a line is remembered, about 500 bytes each: more than the server lets in."""


class AccessLogPathInvalid(Exception):
    """The access log cannot be opened; the text is Go's."""


class AccessLog:
    """Appends to a file, always in the epoch format and at info, whatever becomes of the log's level.

    The file is never opened anew: rotate it with copytruncate. Its sessions are numbered on their own, and not as those of
    the log, which counts other things than requests as well.
    """

    def __init__(self, sink: LagerSink) -> None:
        self._sink = sink
        self._requests = 0

    def begin(self, route: Route, call: Call) -> None:
        self._requests += 1
        call.access_session = self._requests
        self._sink.emit_rendered(
            Level.INFO,
            f"{COMPONENT}.request.serving",
            source=COMPONENT,
            data=f"{{{self._data(route, call)}}}",
        )

    def end(self, route: Route, call: Call, duration_ns: int) -> None:
        data = f'{{"duration":{duration_ns},{self._data(route, call)}}}'
        self._sink.emit_rendered(Level.INFO, f"{COMPONENT}.request.done", source=COMPONENT, data=data)

    def _data(self, route: Route, call: Call) -> str:
        """The keys of `request_data` in their order, without the braces. Put together as text, with the part about the
        connection remembered: every request has two of these lines, and the log's way of making JSON is for any data.
        """
        peer = _peer_json(call.remote_addr, call.client_certificate_der)
        request = json_text(cut(call.target))
        return f'"method":"{route.method}",{peer},"request":{request},"session":"{call.access_session}"'


def open_access_log(path: str, writers: LineWriters) -> AccessLog:
    """Open ``path`` for appending; made, if it is not there, for its owner to write and for all to read.

    ``writers`` write it and close it in the end: it may be a pipe, or its disk may hang.

    Raises:
      AccessLogPathInvalid: it can't be opened.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except ValueError as error:  # a NUL in it
        raise AccessLogPathInvalid(f"open {path}: invalid argument") from error
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise AccessLogPathInvalid(f"open {path}: {reason[0].lower()}{reason[1:]}") from error
    writer = writers.open("access_log", descriptor, closes_descriptor=True)
    sink = LagerSink(writer)
    writer.notice = partial(sink.dropped_notice, COMPONENT)
    return AccessLog(sink)


class RequestLog:
    """Numbers the requests, and tells of each at debug."""

    def __init__(self, log: Logger, *, access_log: AccessLog | None = None) -> None:
        self._log = log
        self._access_log = access_log

    def begin(self, route: Route, call: Call) -> None:
        call.session = self._log.next_number()
        if self._access_log is not None:
            self._access_log.begin(route, call)
        if self._log.enabled(Level.DEBUG):
            self._session(route, call).debug("serving")

    def end(self, route: Route, call: Call, duration_ns: int) -> None:
        if self._access_log is not None:
            self._access_log.end(route, call, duration_ns)
        if self._log.enabled(Level.DEBUG):
            self._session(route, call).debug("done")

    def _session(self, route: Route, call: Call) -> Logger:
        return self._log.descendant("request", str(call.session), request_data(route, call))


def request_data(route: Route, call: Call) -> dict[str, object]:
    """What both logs say of a request. The keys are in the order of upstream's lines; `AccessLog._data` repeats it."""
    return {
        "method": route.method,
        "remote_addr": call.remote_addr,
        "request": call.target,
        **certificate_data(call.client_certificate_der),
    }


@lru_cache(maxsize=PEERS_MAX)
def _peer_json(remote_addr: str, der: bytes | None) -> str:
    return go_json({"remote_addr": remote_addr, **certificate_data(der)})[1:-1]
