"""The pages of the dashboard: a document with its styles and scripts, all from here, and the streams that fill it.

There is no build step: what is in ``static`` is what browsers get. It is read once, and asked for anew by its hash.
"""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from importlib.resources import files
from json import dumps
from typing import Final

from quart import request
from quart.wrappers import Response
from quart_trio import QuartTrio

from bbs.dashboard.commands import as_json
from bbs.dashboard.happenings import KINDS, Choice, Happenings
from bbs.dashboard.live import Live, TooManyViewers
from bbs.http.endpoints import StreamSource
from bbs.http.quart_app import stream_of
from bbs.log import Logger

TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PARAMETERS: Final = ("after", "cell", "guid", "prefix", "start", "state", "task", "wrong")
"""What an address may say of a view."""

PARAMETER_MAX: Final = 1_000
"""Characters of one of them; more is cut off. No guid has as many."""

RETRY_S: Final = 10

EVENT_STREAM: Final = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-store"),
)


def add_pages(app: QuartTrio, live: Live, happenings: Happenings, *, log: Logger) -> None:
    assets = _assets()

    @app.route("/dashboard", methods=["GET"])
    @app.route("/dashboard/", methods=["GET"])
    async def document() -> Response:
        return _asset(assets["index.html"], "index.html")

    @app.route("/dashboard/static/<name>", methods=["GET"])
    async def static(name: str) -> Response:
        return _asset(assets[name], name) if name in assets else _text(404, "there is no such file\n")

    @app.route("/dashboard/commands.json", methods=["GET"])
    async def commands() -> Response:
        return Response(dumps(as_json()), content_type="application/json")

    @app.route("/dashboard/live/<view>", methods=["GET"])
    async def look(view: str) -> Response:
        if view not in live.views:
            return _text(404, f"there is no view {view}; there are {', '.join(live.views)}\n")
        return _stream(lambda: live.look(view, _parameters()), log)

    @app.route("/dashboard/events", methods=["GET"])
    async def events() -> Response:
        kinds = frozenset(request.args.getlist("kind")) & frozenset(KINDS)
        words = _parameters()
        choice = Choice(kinds or frozenset(KINDS), words.get("guid", ""), words.get("cell", ""))
        return _stream(lambda: happenings.watch(choice), log)


def _parameters() -> dict[str, str]:
    return {name: request.args[name][:PARAMETER_MAX] for name in PARAMETERS if request.args.get(name)}


def _assets() -> Mapping[str, bytes]:
    return {
        each.name: each.read_bytes()
        for each in files("bbs.dashboard").joinpath("static").iterdir()
        if each.name.rpartition(".")[2] in TYPES
    }


def _asset(content: bytes, name: str) -> Response:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    # Asked for each time, and answered without its content if it is the same: after an upgrade nobody sees half of each.
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    content_type = TYPES[name.rpartition(".")[2]]
    if request.headers.get("If-None-Match") == tag:
        return Response(b"", 304, headers, content_type=content_type)
    return Response(content, headers=headers, content_type=content_type)


def _stream(opened: Callable[[], StreamSource], log: Logger) -> Response:
    if request.method == "HEAD":  # whose answer would never come to its end
        return Response(b"", headers=dict(EVENT_STREAM))
    try:
        return stream_of(opened(), lambda: EVENT_STREAM, on_bug=partial(_tell_of_bug, log))
    except TooManyViewers as error:
        return _too_many(error)


def _tell_of_bug(log: Logger, bug: Exception) -> None:
    log.error("dashboard-stream-failed", error=bug)


def _too_many(error: TooManyViewers) -> Response:
    response = _text(503, f"{error}\n")
    response.headers["Retry-After"] = str(RETRY_S)
    return response


def _text(status: int, text: str) -> Response:
    return Response(text, status, content_type="text/plain; charset=utf-8")
