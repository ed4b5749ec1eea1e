"""When an update changes an app's metric tags (spec: desired-lrps.md §6)."""

from bbs.models.desired_lrp import MetricTags
from bbs.models.metric_tags import INDEX, INSTANCE_GUID, resolved

__all__ = ["INDEX", "INSTANCE_GUID", "are_updated", "resolved"]


def are_updated(*, stored: MetricTags, update: MetricTags) -> bool:
    """Whether an update changes the tags; one without any leaves them alone (spec: desired-lrps.md §6)."""
    return bool(update) and update != stored
