"""Write docs/protocol-reference.md from the route table and the .proto files: a part of ``make proto``.

python tools/protocol_page.py [--into FILE]
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, it would see only its own folder

from bbs.client import _routes as client_routes
from bbs.http.endpoints import EventStream, Route
from bbs.log import null_logger
from bbs.peers.stub import StubPeers
from bbs.routes.answers import RPC
from bbs.service import Service
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from tools.proto_comments import Enum, Message, read_protos
from tools.protocol_routes import ROUTES, Told

PAGE: Final = Path(__file__).resolve().parent.parent / "docs/protocol-reference.md"

SECTIONS: Final = (
    ("server and cells", r"Ping|Cells"),
    ("domains", r"Domains|UpsertDomain"),
    ("DesiredLRPs", r".*DesiredLRP.*|UpdateDesireLRP"),
    ("ActualLRPs, read", r"ActualLRPs.*|ActualLRPGroups.*"),
    ("ActualLRPs, changed", r"(Claim|Start|Crash|Fail|Remove|Retire)ActualLRP.*"),
    ("evacuation", r"Evacuate.*|RemoveEvacuating.*"),
    ("tasks", r"Tasks?(_r2)?|TaskBy.*|\w+Task"),
    ("event streams", r".*EventStream.*"),
)
"""Headings, and the names of the routes below each. A route is below the first that fits."""

PROTOS: Final = (
    "error", "ping", "cells", "domain", "desired_lrp_requests", "desired_lrp", "actual_lrp_requests", "actual_lrp", "evacuation",
    "task_requests", "task", "events", "actions", "modification_tag", "environment_variables", "security_group", "check_definition",
    "image_layer", "cached_dependency", "volume_mount", "file", "network", "certificate_properties", "sidecar", "log_rate_limit",
    "metric_tags",
)  # fmt: skip
"""In the order of the page."""

HEAD: Final = """\
# Protocol reference

Every route and every message, written by `make proto` from `bbs/routes/table.py` and the `.proto` files of `bbs/models/pb`.
[The protocol](protocol.md) says how requests and answers travel, and has examples.

Besides what is told here, any route may answer [`InvalidRequest`](#errortype) (the body can't be read, a field breaks a rule, a text is
too long for its column), `UnknownError` (the database is away for too long, or a peer) and `Unrecoverable` (the database lacks a table).
"""


def page() -> str:
    messages = read_protos(PROTOS)
    return "\n".join([HEAD, *_routes(route_table()), "## Messages", "", *_messages(messages)]).rstrip() + "\n"


def route_table() -> Sequence[Route]:
    """The server's own, of a service that is never run."""
    backend = MemoryBackend(Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None)
    service = Service(
        backend, peers=StubPeers().as_peers(), log=null_logger(), on_unrecoverable=lambda error: None
    )
    return service.routes.routes


def _routes(routes: Sequence[Route]) -> Iterator[str]:
    left = list(routes)
    for heading, names in SECTIONS:
        yield from (f"## Routes: {heading}", "")
        here = [route for route in left if re.fullmatch(names, route.name)]
        left = [route for route in left if route not in here]
        for route in here:
            yield from _route(route, ROUTES[route.name])
    assert not left, left


def _route(route: Route, told: Told) -> Iterator[str]:
    yield from (f"### {route.name}", "", f"`{route.method} {route.path}`", "")
    if told.instead:
        yield from (f"**Deprecated**: {_to(told.instead)} is in its place.", "")
    yield from (told.does, "")
    if isinstance(route.endpoint, EventStream):
        request = _to(told.request) if told.request else "none"
        yield from (f"Request: {request}. Answer: a [stream of events](protocol.md#event-streams).", "")
        return
    handle = route.endpoint.handle
    request = _to(handle.request_class.__name__) if isinstance(handle, RPC) else "none"
    yield from (f"Request: {request}. Response: {_to(_responses()[_without_revision(route.name)])}.", "")
    if told.errors:
        yield from ("| Error | When |", "| --- | --- |")
        yield from (f"| `{name}` | {when} |" for name, when in told.errors)
        yield ""


def _responses() -> Mapping[str, str]:
    """The name of the response by that of the route: those that the client calls."""
    routes = [route for route in vars(client_routes).values() if isinstance(route, client_routes.Route)]
    return {_without_revision(route.name): route.response.__name__ for route in routes}


def _without_revision(name: str) -> str:
    return re.sub(r"_r\d$", "", name)


def _messages(messages: Sequence[Message | Enum]) -> Iterator[str]:
    names = {each.name for each in messages}
    for each in messages:
        yield from (f"### {each.name}", "")
        if isinstance(each, Message) and each.is_deprecated:
            yield from ("**Deprecated.**", "")
        if each.comment:
            yield from (each.comment, "")
        yield from _fields(each, names) if isinstance(each, Message) else _values(each)
        yield ""


def _fields(message: Message, names: set[str]) -> Iterator[str]:
    yield from ("| No. | Field | Type | Meaning |", "| ---: | --- | --- | --- |")
    for field in message.fields:
        type_name = f"{field.label} {field.type}".strip()
        if field.message in names:
            type_name = type_name.replace(field.message, _to(field.message))
        # A map's `<` and `>` would be taken for HTML.
        type_name = type_name.replace("<", "&lt;").replace(">", "&gt;")
        yield f"| {field.number} | `{field.name}` | {type_name} | {_meaning(field.comment, field.is_deprecated)} |"


def _values(enum: Enum) -> Iterator[str]:
    yield from ("| No. | Value | Meaning |", "| ---: | --- | --- |")
    for value in enum.values:
        yield f"| {value.number} | `{value.name}` | {_meaning(value.comment, value.is_deprecated)} |"


def _meaning(comment: str, is_deprecated: bool) -> str:
    text = comment.replace("|", "\\|")
    return f"*Deprecated.* {text}".strip() if is_deprecated else text


def _to(name: str) -> str:
    """A link to the heading of that name, as viewers of repositories and the site make anchors."""
    return f"[{name}](#{name.lower().replace('.', '')})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=PAGE)
    parser.parse_args().into.write_text(page())
