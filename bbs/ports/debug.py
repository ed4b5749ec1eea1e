"""The debug port: log level, profiles, metrics (spec: metrics-and-logs.md §5), and the dashboard if there is one.

Whoever reaches it may change the log level and see inside the process: it belongs on loopback. The dashboard has a guard of its
own (`bbs.ports.dashboard_guard`).
"""

import re
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NoReturn

import trio
from quart import request
from quart.wrappers import Response
from quart_trio import QuartTrio

from bbs.http.endpoints import Call, Peer, RouteTable
from bbs.http.handshakes import tell_on_stderr
from bbs.http.limits import Limits
from bbs.http.listener import Hooks, HTTPServer
from bbs.log import LagerSink, Level, Logger
from bbs.ports import dashboard_guard, descriptors, profiles
from bbs.ports.listen import ListenFailed, listen, port_of

MetricsPage = Callable[[], tuple[str, bytes]]
"""Returns the content type and the body of ``/metrics``."""

JSONPage = Callable[[], str]

Mount = Callable[[QuartTrio], None]
"""Adds pages to the debug port's application, with GET routes for ``/dashboard`` and below ``/dashboard/``."""

LIMITS: Final = Limits(
    body_bytes_max=64 << 10,
    connections_max=descriptors.DEBUG,
    header_timeout_s=10,
    idle_timeout_s=30,
    stop_grace_s=1,
)

CPU_PROFILE_S: Final = 30.0
CPU_PROFILE_MAX_S: Final = 600.0
CPU_SAMPLES_PER_S: Final = 100.0

ANY_METHOD: Final = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"]

# Upstream's page has changed the meaning of its numbers. Words, and the numbers 0 and 1, mean the same in both generations.
# 2 was error and is warn now, 3 was fatal and is error now, 4 is fatal and is new. `warn` is new too, and silences
# everything upstream. Here 2, 3 and `warn` all mean error, so that no script of either generation silences the errors.
LEVELS: Final[Mapping[str, Level]] = {
    word: level
    for words, level in (
        ("0 d debug", Level.DEBUG),
        ("1 i info", Level.INFO),
        ("2 3 w warn e error", Level.ERROR),
        ("4 f fatal", Level.FATAL),
    )
    for word in words.split()
}

# Up to the last @: a password that has one is a mistake in a URL, but it is still a password.
_URL_PASSWORD: Final = re.compile(r"(://[^\s/:]*:).*(?=@)", re.DOTALL)
_PASSWORD: Final = re.compile(r"(password\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|[^\s&]*)", re.DOTALL)

_INDEX: Final = """<html>
<head><title>/debug/pprof/</title></head>
<body>
<p>/debug/pprof/</p>
<ul>
<li><a href="goroutine?debug=1">goroutine</a>: all tasks, by stack; <a href="goroutine?debug=2">as a tree</a></li>
<li><a href="heap?debug=1">heap</a>: memory, and objects by type; <a href="heap?debug=1&gc=1">after a collection</a></li>
<li><a href="threadcreate?debug=1">threadcreate</a>: all threads</li>
<li><a href="profile?seconds=30">profile</a>: what the CPU is used for, as folded stacks</li>
<li><a href="cmdline">cmdline</a>: how this process was started</li>
</ul>
</body>
</html>
"""

_NOT_MEASURED: Final = "nothing to tell: this runtime has no such profile\n"


async def serve_debug(
    address: str,
    *,
    sink: LagerSink,
    metrics: MetricsPage | None,
    log: Logger,
    rep_failures: JSONPage | None = None,
    dashboard: Mount | None = None,
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
    any_port: bool = False,
    task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve until cancelled. Started, with the port, once the socket listens. Without ``metrics``, no /metrics; without
    ``rep_failures``, no /rep-failures; without ``dashboard``, nothing at /dashboard.

    Plain HTTP is always spoken; with ``tls``, as that of `HTTPServer`, TLS as well, on the same port. With ``any_port`` another
    one is taken if that of ``address`` cannot be had.

    Cancellation:
      Takes effect once the last answer is out, after at most ``LIMITS.stop_grace_s``. A page's stream that has not ended by
      then is cut off: the dashboard had better end its own first.

    Raises:
      AddressInvalid, PortUnknown, ListenFailed: it cannot listen there.
    """
    listeners = await _listen(address, any_port=any_port, log=log)
    server = HTTPServer(
        RouteTable([]),
        tls=tls,
        plain_too=True,
        gate=lambda: True,
        hooks=_hooks(log),
        limits=LIMITS,
        fast_lane=False,
        makes_room=True,
        guard=dashboard_guard.guard if dashboard is not None else None,
    )
    _add_pages(server.app, sink, metrics)
    if rep_failures is not None:
        _add_rep_failures(server.app, rep_failures)
    if dashboard is not None:
        server.app.after_request(_with_dashboards_headers)
        dashboard(server.app)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listeners)
        task_status.started(port_of(listeners))
        await trio.sleep_forever()
    raise AssertionError("cancelled before it gets here")


async def _listen(address: str, *, any_port: bool, log: Logger) -> list[trio.SocketListener]:
    try:
        return await listen(address)
    except ListenFailed as error:
        if not any_port:
            raise
        host = address.rpartition(":")[0]
        listeners = await listen(f"{host}:0")
        log.info(
            "debug-port-moved", {"wanted": address, "address": f"{host}:{port_of(listeners)}"}, error=error
        )
        return listeners


async def _with_dashboards_headers(response: Response) -> Response:
    if dashboard_guard.is_guarded(request.path):
        for name, value in dashboard_guard.HEADERS:
            response.headers[name] = value
        response.headers.setdefault(*dashboard_guard.CACHING)
    return response


def _add_pages(app: QuartTrio, sink: LagerSink, metrics: MetricsPage | None) -> None:
    @app.route("/log-level", methods=ANY_METHOD)
    async def log_level() -> Response:
        """Set the level named in the body; an empty body only asks."""
        word = (await _body()).strip().lower()
        if word:
            level = LEVELS.get(word)
            if level is None:
                return _text(f"Invalid log level: {word}\n", status=400)
            sink.min_level = level
        return _text(f"/log-level was invoked with Level: {sink.min_level.name.lower()}\n")

    @app.route("/block-profile-rate", methods=ANY_METHOD)
    @app.route("/mutex-profile-fraction", methods=ANY_METHOD)
    async def rate() -> Response:
        """Accepted for the sake of scripts: there are no such profiles."""
        given = await _body()
        try:
            int(given)
        except ValueError:
            return _text(f'strconv.Atoi: parsing "{given}": invalid syntax\n', status=400)
        return _text("")

    @app.route("/debug/pprof/", methods=ANY_METHOD)
    async def index() -> Response:
        return Response(_INDEX, content_type="text/html; charset=utf-8")

    @app.route("/debug/pprof/goroutine", methods=ANY_METHOD)
    async def goroutine() -> Response:
        tree = request.args.get("debug") == "2"
        return _text(profiles.task_tree() if tree else profiles.tasks_by_stack())

    @app.route("/debug/pprof/heap", methods=ANY_METHOD)
    @app.route("/debug/pprof/allocs", methods=ANY_METHOD)
    async def heap() -> Response:
        collect = request.args.get("gc", "0") not in ("", "0")  # as Go's: before the reading
        return _text(await trio.to_thread.run_sync(partial(profiles.memory, collect=collect)))

    @app.route("/debug/pprof/threadcreate", methods=ANY_METHOD)
    async def threadcreate() -> Response:
        return _text(profiles.threads() + "\n")

    @app.route("/debug/pprof/block", methods=ANY_METHOD)
    @app.route("/debug/pprof/mutex", methods=ANY_METHOD)
    async def not_measured() -> Response:
        return _text(_NOT_MEASURED)

    @app.route("/debug/pprof/trace", methods=ANY_METHOD)
    async def trace() -> Response:
        return _text(_NOT_MEASURED, status=501)

    @app.route("/debug/pprof/symbol", methods=ANY_METHOD)
    async def symbol() -> Response:
        return _text("num_symbols: 0\n")

    @app.route("/debug/pprof/cmdline", methods=ANY_METHOD)
    async def cmdline() -> Response:
        return _text("\x00".join(map(without_password, sys.orig_argv)))

    sampling = trio.Semaphore(1)

    @app.route("/debug/pprof/profile", methods=ANY_METHOD)
    async def profile() -> Response:
        try:
            duration_s = float(request.args.get("seconds", CPU_PROFILE_S))
        except ValueError:
            duration_s = CPU_PROFILE_S
        if not 0 < duration_s <= CPU_PROFILE_MAX_S:
            return _text(f"seconds must be more than 0 and at most {CPU_PROFILE_MAX_S:g}\n", status=400)
        try:
            sampling.acquire_nowait()
        except trio.WouldBlock:
            return _text("a profile is being taken already\n", status=503)
        try:
            return _text(await _sampled(duration_s))
        finally:
            sampling.release()

    if metrics is not None:

        @app.route("/metrics", methods=["GET"])
        async def metrics_page() -> Response:
            content_type, body = metrics()
            return Response(body, content_type=content_type)


def _add_rep_failures(app: QuartTrio, rep_failures: JSONPage) -> None:
    @app.route("/rep-failures", methods=["GET"])
    async def rep_failures_page() -> Response:
        return Response(rep_failures(), content_type="application/json")


def without_password(argument: str) -> str:
    """A word of the command line with what may be a password replaced: in a URL, and in libpq's ``key=value`` form."""
    return _PASSWORD.sub("\\1...", _URL_PASSWORD.sub("\\1...", argument))


async def _body() -> str:
    body = await request.get_data()
    assert isinstance(body, bytes)
    return body.decode(errors="replace")


async def _sampled(duration_s: float) -> str:
    stop = threading.Event()
    sample = partial(profiles.sample_cpu, duration_s=duration_s, per_s=CPU_SAMPLES_PER_S, stop=stop)
    try:
        return await trio.to_thread.run_sync(sample, abandon_on_cancel=True)
    finally:
        stop.set()  # ends an abandoned thread within a sample


def _text(body: str, *, status: int = 200) -> Response:
    return Response(body, status, content_type="text/plain; charset=utf-8")


def _hooks(log: Logger) -> Hooks:
    def on_bug(bug: Exception, call: Call) -> None:
        raise AssertionError("there are no routes whose handlers could fail")

    def on_connection_failed(failure: Exception, peer: Peer) -> None:
        log.error("debug-connection-failed", error=failure, remote_addr=peer.remote_addr)

    def on_accept_failed(failure: OSError) -> None:
        log.error("accept-failed", error=failure)

    return Hooks(
        on_bug=on_bug,
        on_connection_failed=on_connection_failed,
        on_accept_failed=on_accept_failed,
        on_handshake_failed=tell_on_stderr,
    )
