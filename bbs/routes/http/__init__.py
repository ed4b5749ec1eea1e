"""The HTTP half of the routes: knows requests, answers and streams, and nothing of the BBS.

Handlers take a `Call`. A `RouteTable` of `Route`s is served by an `HTTPServer`, through both of its lanes alike.
"""

from bbs.routes.http.endpoints import (
    Answer,
    Call,
    CannotOpenStream,
    EventStream,
    EventStreamEndpoint,
    Peer,
    Route,
    RouteTable,
    StreamEnded,
    StreamSource,
    Unary,
    UnaryEndpoint,
)
from bbs.routes.http.limits import DEFAULT_LIMITS, Limits
from bbs.routes.http.listener import Hooks, HTTPServer, ListenerStatistics
from bbs.routes.http.sockets import EVERY_INTERFACE, bind_socket, open_listeners, start_listening

__all__ = [
    "DEFAULT_LIMITS",
    "EVERY_INTERFACE",
    "Answer",
    "Call",
    "CannotOpenStream",
    "EventStream",
    "EventStreamEndpoint",
    "HTTPServer",
    "Hooks",
    "Limits",
    "ListenerStatistics",
    "Peer",
    "Route",
    "RouteTable",
    "StreamEnded",
    "StreamSource",
    "Unary",
    "UnaryEndpoint",
    "bind_socket",
    "open_listeners",
    "start_listening",
]
