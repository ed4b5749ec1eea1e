"""Internal routes: the host names that an app has inside the platform's own network.

A DesiredLRP holds them as raw JSON under one router's name, a list of objects with a ``hostname``; an ActualLRP holds
the names that its cell has reported.
"""

import json
from typing import Final

from bbs.models.desired_lrp import Routes

INTERNAL_ROUTER: Final = "internal-router"

# Nobody looks at numbers, but Python refuses to make an int of very many digits.
_READER: Final = json.JSONDecoder(parse_int=float)


def raw_internal_routes(routes: Routes | None) -> bytes | None:
    """The internal router's value as it is stored, if it has one."""
    return next((value for name, value in routes or () if name == INTERNAL_ROUTER), None)


def parse_internal_routes(raw: bytes | None) -> tuple[str, ...] | None:
    """The host names in order; ``None`` when there is no value, or it is the JSON ``null``.

    Read as Go reads it: keys in any case, unknown keys ignored. A host name that is missing or ``null`` is empty. Bytes
    that are not UTF-8, and halves of surrogate pairs, become replacement characters.

    Raises:
      ValueError: not a list of objects with a textual host name.
    """
    if raw is None:
        return None
    routes = _READER.decode(raw.decode(errors="replace"))
    if routes is None:
        return None
    if not isinstance(routes, list):
        raise ValueError("internal routes must be a list")
    return tuple(_hostname(route) for route in routes)


def _hostname(route: object) -> str:
    if route is None:
        return ""
    if not isinstance(route, dict):
        raise ValueError("an internal route must be an object")
    hostname = ""
    for key, value in route.items():
        if key.lower() == "hostname" and value is not None:
            if not isinstance(value, str):
                raise ValueError("a host name must be a string")
            hostname = value
    if hostname.isascii():
        return hostname
    # JSON can spell half a surrogate pair (``\ud800``), which neither UTF-8 nor Postgres can hold.
    return hostname.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
