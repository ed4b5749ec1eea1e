"""How the process' file descriptors are shared out, so that no kind of connection takes another's.

Connections of API clients come in any number. What must go on beside a flood of them has a share of its own: probes of
the health port, operators at the debug port, the database, files and the log, calls to peers. The API gets what is left.
"""

import resource
from dataclasses import dataclass, replace
from typing import Final

from bbs.http.limits import Limits
from bbs.log import Logger

HEALTH: Final = 64
"""Connections to the health port."""

DEBUG: Final = 64
"""Connections to the debug port. A browser opens up to six to one server, and keeps one of them for what the dashboard is sent
as it happens: ten people who look at it, and beside them Prometheus and whoever takes a profile."""

DATABASE: Final = 8
"""Sessions with the database: the writer (or, in a standby, the reader), the audit, the health check, the note of the key's
label, and each of them once more while it is being replaced."""

FILES: Final = 72
"""Everything else: standard streams, log files, listeners, the event loops' own, gRPC's connections to Locket and
Loggregator, certificates while they are read, the socket of a client that is being turned away. An idle process of ours
has about 40."""

PEERS_MAX: Final = 4096
"""Connections to reps, the auctioneer and callback receivers. Enough for a callback on each of 1,000 workers, and two
idle connections to each of 1,000 reps."""

API_MIN: Final = 16
"""Connections for the API, and for peers, however small the process' limit is. With so small a limit the process will run
out of descriptors, and the system's errors say so; with a share of 0 it would just turn everybody away."""

UNLIMITED: Final = 1 << 20
"""What an infinite limit counts as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Connections that the API port and the calls to peers may have open at once."""

    api: int
    peers: int


def shares(descriptors: int, *, api_wanted: int) -> Shares:
    """Share out ``descriptors``, the process' limit. What the fixed shares above leave is for peers (at most a quarter)
    and for the API (at most ``api_wanted``).
    """
    left = descriptors - HEALTH - DEBUG - DATABASE - FILES
    peers = max(API_MIN, min(PEERS_MAX, left // 4))
    return Shares(api=max(API_MIN, min(api_wanted, left - peers)), peers=peers)


def claim(limits: Limits, *, log: Logger) -> tuple[Limits, Shares]:
    """Raise the process' limit as far as it may, as Go's runtime does. Returns ``limits`` with their ``connections_max``
    lowered if the limit demands it, which is logged, and the shares.
    """
    descriptors = _raised_limit()
    fitting = shares(descriptors, api_wanted=limits.connections_max)
    if fitting.api < limits.connections_max:
        log.info(
            "connections-max-lowered",
            {
                "configured": limits.connections_max,
                "connections-max": fitting.api,
                "descriptors": descriptors,
            },
        )
    return replace(limits, connections_max=fitting.api), fitting


def _raised_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # not on this system: then the limit is what it was
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft
