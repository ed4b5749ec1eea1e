"""Metric tags: names and values under which an instance's metrics appear.

A DesiredLRP's tags may stand for something that differs from instance to instance (its index, its guid). An ActualLRP has
the text that each of them is for it.
"""

from typing import Final

from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import MetricTag, MetricTags

INDEX: Final = 1
INSTANCE_GUID: Final = 2


def resolved(tags: MetricTags, lrp: ActualLRP) -> tuple[tuple[str, str], ...]:
    """The names and values that ``tags`` have for ``lrp``, sorted by name, as an ActualLRP holds them."""
    return tuple([(name, _value(tag, lrp)) for name, tag in tags])


def _value(tag: MetricTag, lrp: ActualLRP) -> str:
    if not tag.dynamic:
        return tag.static
    if tag.dynamic == INDEX:
        return str(lrp.index)
    if tag.dynamic == INSTANCE_GUID:
        return lrp.instance.instance_guid
    # A dynamic number that only a newer version knows: validation lets it pass beside a static text, which then counts.
    return tag.static
