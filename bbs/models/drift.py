"""Whether an instance still has the internal routes and metric tags that are desired for it (spec: convergence.md §3.4).

Both are compared as its cell reported them when it last started.
"""

from functools import lru_cache
from typing import Final

from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.internal_routes import parse_internal_routes, raw_internal_routes
from bbs.models.metric_tags import resolved

ROUTES_REMEMBERED_MAX: Final = 10_000
"""Routes parsed and kept at hand. Every start looks at its app's, and the instances of an app start together."""

_parsed = lru_cache(ROUTES_REMEMBERED_MAX)(parse_internal_routes)


def routes_differ(desired: DesiredLRP, lrp: ActualLRP) -> bool:
    """Whether ``lrp`` lacks a desired host name, or has another number of them; their order means nothing.

    What is desired may be JSON that is not a list of routes: the router's value is stored unread. Then there is nothing
    to send to the cell, so nothing counts as different; otherwise every pass would try again.
    """
    raw = raw_internal_routes(desired.routes)
    stored = lrp.internal_routes or ()
    if raw is None:
        return bool(stored)
    try:
        hostnames = _parsed(raw) or ()
    except (ValueError, RecursionError):
        return False
    return hostnames != stored and (len(hostnames) != len(stored) or not set(hostnames) <= set(stored))


def tags_differ(desired: DesiredLRP, lrp: ActualLRP) -> bool:
    """Whether the tags of ``lrp`` are not those desired, resolved for it.

    ``None`` (its cell reported none) never counts as different, as upstream: a cell too old for tags never reports any,
    and every pass would send them to it again.
    """
    return lrp.metric_tags is not None and lrp.metric_tags != resolved(desired.metric_tags, lrp)
