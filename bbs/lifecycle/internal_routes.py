"""When an update changes an app's internal routes (spec: desired-lrps.md §6)."""

from bbs.models.desired_lrp import Routes
from bbs.models.internal_routes import INTERNAL_ROUTER, parse_internal_routes, raw_internal_routes

__all__ = ["INTERNAL_ROUTER", "are_updated", "parse_internal_routes", "raw_internal_routes"]


def are_updated(*, stored: Routes | None, raw: bytes | None) -> bool:
    """Whether an update that replaces the routes counts as changing the internal ones (spec: desired-lrps.md §6).

    ``raw`` is the internal router's value in the update, byte for byte, or ``None``. Upstream compares it with the stored
    text, so the same routes in another spelling count as a change, and so does an update without internal routes even
    where there were none before. Either costs no more than a call to each cell that changes nothing there.
    """
    return raw is None or raw != raw_internal_routes(stored)
