"""What the server's parts tell of themselves beyond upstream's metrics: queues, subscribers, connections, changes followed.

Each function gives gauges by their names for Prometheus, without the prefix ``bbs_``. A gauge is asked when the page is made, and
not before, so it costs nothing while nobody looks.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf

import trio

from bbs.acts.effects import Effects
from bbs.convergence.audit import AuditStatistics
from bbs.convergence.loop import PassTimes
from bbs.http.listener import HTTPServer
from bbs.log import LineStatistics
from bbs.metrics.metrics import Gauge
from bbs.models.events import Hub
from bbs.peers.interfaces import TaskCallbacks
from bbs.store.following import Following
from bbs.store.store import Store
from bbs.sync.hubs.hub import EventHubs


def gauges_of_writing(
    *, store: Store, audit: Callable[[], AuditStatistics], effects: Effects, callbacks: TaskCallbacks
) -> dict[str, Gauge]:
    """What only a master has."""
    in_store, in_effects = store.statistics, effects.statistics
    return {
        "staged_rows": ("Rows waiting for the database", lambda: in_store().staged_rows),
        "failed_writes": (
            "Decisions that could not be written, since the start",
            lambda: in_store().failed_outcomes,
        ),
        "write_retries": ("Transactions tried again, since the start", lambda: in_store().retries),
        "rows_taken_over": (
            "Rows that were not in the database as in memory, since the start; should stay at zero",
            lambda: audit().taken_over,
        ),
        "audits_failed": (
            "Comparisons with the database that failed, since the start",
            lambda: audit().failed,
        ),
        "audit_duration_seconds": (
            "What the last comparison with the database took",
            lambda: audit().seconds,
        ),
        "queued_rep_calls": ("Calls to reps that wait", lambda: in_effects().queued),
        "dropped_rep_calls": ("Calls to reps dropped, since the start", lambda: in_effects().dropped),
        "failed_peer_calls": ("Calls to peers that failed, since the start", lambda: in_effects().failed),
        "queued_callbacks": ("Task callbacks that wait", lambda: callbacks.statistics().queued),
    }


def gauges_of_passes(times: Callable[[], PassTimes]) -> dict[str, Gauge]:
    """When convergence passes ran and will run, for whoever runs them."""
    now = trio.current_time
    return {
        "convergence_ended_seconds": (
            "How long ago the last passes ended; infinite before that",
            lambda: inf if (ended_at := times().ended_at) is None else now() - ended_at,
        ),
        "convergence_next_seconds": (
            "In how long the next passes begin; 0 while some run, and where none ever do",
            lambda: 0.0 if (next_at := times().next_at) is None else max(0.0, next_at - now()),
        ),
    }


def gauges_of_serving(
    *, http: HTTPServer, hubs: EventHubs, lines: Callable[[], Mapping[str, LineStatistics]]
) -> dict[str, Gauge]:
    """What everybody has who answers requests. ``lines`` gives the log's streams by name; those that exist at this call get
    gauges.
    """
    in_http, in_hubs = http.statistics, hubs.statistics
    found: dict[str, Gauge] = {
        "connections": ("Open connections", lambda: in_http().connections),
        "streams": ("Open event streams", lambda: in_http().streams),
        "refused_connections": ("Connections over the limit, since the start", lambda: in_http().turned_away),
        "events_published": ("Events that had a receiver, since the start", lambda: in_hubs().published),
        "subscribers_cut_off": ("Subscribers that were too slow, since the start", lambda: in_hubs().cut_off),
    }
    for hub in Hub:
        text = f"Subscribers of the {hub.name.lower()} events"
        found[f"subscribers_{hub.name.lower()}"] = (text, partial(_subscribers, hubs, hub))
    for stream in lines():
        found |= _of_lines(stream, partial(_lines_of, lines, stream))
    return found


def gauges_of_following(following: Following, *, is_master: Callable[[], bool]) -> dict[str, Gauge]:
    """What a follower has, and a standby. A master's memory is never late."""
    of = following.statistics
    return {
        "following_staleness_seconds": (
            "How long ago memory was last known to be what the database is; infinite if it never was",
            lambda: 0.0 if is_master() else trio.current_time() - following.as_of,
        ),
        "following_streams_changes": (
            "Whether changes come as they are committed; if not, tables are looked through again and again",
            lambda: of().is_streaming,
        ),
        "following_behind_bytes": (
            "Bytes of the database's log that are still to come",
            lambda: of().behind_bytes,
        ),
        "following_streams": ("Streams of changes that were begun, since the start", lambda: of().streams),
        "following_transactions": (
            "Transactions that were taken over, since the start",
            lambda: of().transactions,
        ),
        "following_rows": ("Rows that were taken over, since the start", lambda: of().rows),
        "following_unreadable_rows": (
            "Rows in the database that can't be read; should stay at zero",
            lambda: of().unreadable,
        ),
    }


def _of_lines(stream: str, of: Callable[[], LineStatistics]) -> dict[str, Gauge]:
    return {
        f"{stream}_lines_queued_bytes": ("Lines that wait for their reader", lambda: of().queued_bytes),
        f"{stream}_lines_dropped": (
            "Lines dropped since too many waited already, since the start",
            lambda: of().dropped,
        ),
        f"{stream}_lines_lost": ("Lines that could not be written, since the start", lambda: of().lost),
    }


def _lines_of(lines: Callable[[], Mapping[str, LineStatistics]], stream: str) -> LineStatistics:
    return lines()[stream]


def _subscribers(hubs: EventHubs, hub: Hub) -> float:
    return hubs.statistics().subscribers.get(hub, 0)
