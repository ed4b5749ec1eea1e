"""What the server's parts tell of themselves beyond upstream's metrics: queues, subscribers, connections."""

from collections.abc import Callable, Mapping
from functools import partial

from bbs.acts.effects import Effects
from bbs.convergence.audit import AuditStatistics
from bbs.http.listener import HTTPServer
from bbs.log import LineStatistics
from bbs.metrics.metrics import Gauge
from bbs.models.events import Hub
from bbs.peers.interfaces import TaskCallbacks
from bbs.store.store import Store
from bbs.sync.hubs.hub import EventHubs


def gauges(
    *,
    store: Store,
    audit: Callable[[], AuditStatistics],
    effects: Effects,
    http: HTTPServer,
    hubs: EventHubs,
    callbacks: TaskCallbacks,
    lines: Callable[[], Mapping[str, LineStatistics]],
) -> dict[str, Gauge]:
    """The gauges by their names for Prometheus, without the prefix ``bbs_``. Each is asked when the page is made, and not
    before, so they cost nothing while nobody looks.

    ``lines`` gives the log's streams by name; those that exist at this call get gauges.
    """
    in_store, in_effects, in_http, in_hubs = (
        store.statistics,
        effects.statistics,
        http.statistics,
        hubs.statistics,
    )
    found: dict[str, Gauge] = {
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
        "connections": ("Open connections", lambda: in_http().connections),
        "streams": ("Open event streams", lambda: in_http().streams),
        "refused_connections": ("Connections over the limit, since the start", lambda: in_http().turned_away),
        "events_published": ("Events that had a receiver, since the start", lambda: in_hubs().published),
        "subscribers_cut_off": ("Subscribers that were too slow, since the start", lambda: in_hubs().cut_off),
        "queued_rep_calls": ("Calls to reps that wait", lambda: in_effects().queued),
        "dropped_rep_calls": ("Calls to reps dropped, since the start", lambda: in_effects().dropped),
        "failed_peer_calls": ("Calls to peers that failed, since the start", lambda: in_effects().failed),
        "queued_callbacks": ("Task callbacks that wait", lambda: callbacks.statistics().queued),
    }
    for hub in Hub:
        text = f"Subscribers of the {hub.name.lower()} events"
        found[f"subscribers_{hub.name.lower()}"] = (text, partial(_subscribers, hubs, hub))
    for stream in lines():
        found |= _of_lines(stream, partial(_lines_of, lines, stream))
    return found


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
