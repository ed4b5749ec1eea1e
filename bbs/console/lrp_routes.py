"""The routes of a DesiredLRP as a person reads them. Pure.

Each router's value is JSON of its own. Of a router that we do not know only the name is told: its value may hold secrets, as
the private key of ``diego-ssh`` is one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bbs.models import pb
from bbs.models.internal_routes import INTERNAL_ROUTER


def readable(desired: pb.DesiredLRP) -> list[str]:
    """A line for each route, by router."""
    lines: list[str] = []
    for router, value in sorted(desired.routes.routes.items()):
        lines += _of_router(router, value)
    return lines


def _of_router(router: str, value: bytes) -> list[str]:
    read = READERS.get(router)
    if read is None:
        return [f"{router} ({len(value)} bytes)"]
    try:
        return list(read(json.loads(value)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [f"{router} ({len(value)} bytes that are no routes of this router)"]


def _http(value: Any) -> Iterator[str]:
    for route in value or ():
        names = ", ".join(map(str, route["hostnames"]))
        yield f"http {names} to port {route['port']}"


def _tcp(value: Any) -> Iterator[str]:
    for route in value or ():
        yield f"tcp {route['external_port']} to port {route['container_port']}"


def _internal(value: Any) -> Iterator[str]:
    for route in value or ():
        yield f"internal {route['hostname']}"


def _ssh(value: Any) -> Iterator[str]:
    if value:
        yield f"ssh to port {value['container_port']}"


READERS: Final[Mapping[str, Callable[[Any], Iterator[str]]]] = {
    "cf-router": _http,
    "tcp-router": _tcp,
    INTERNAL_ROUTER: _internal,
    "diego-ssh": _ssh,
}
