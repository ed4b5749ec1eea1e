"""Which of two versions of a record is newer (spec: validation.md §8)."""

from bbs.models import pb


def is_succeeded_by(tag: pb.ModificationTag | None, other: pb.ModificationTag) -> bool:
    """Whether whoever holds ``tag`` should take ``other`` instead.

    Another epoch belongs to another record of the same key (removed and made again), and its index says nothing about
    this one; so it always counts as newer, as does a tag that is missing or has no epoch.
    """
    if tag is None or not tag.epoch or not other.epoch:
        return True
    return tag.epoch != other.epoch or tag.index < other.index
