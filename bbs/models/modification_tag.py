"""Which of two versions of a record is newer (spec: validation.md §8)."""

from bbs.models import pb


def is_succeeded_by(tag: pb.ModificationTag | None, other: pb.ModificationTag) -> bool:
    """Whether whoever holds ``tag`` should take ``other`` instead. Another epoch is another life, so always newer."""
    if tag is None or not tag.epoch or not other.epoch:
        return True
    return tag.epoch != other.epoch or tag.index < other.index
