"""The deprecated view: up to three rows of one instance seen as a group of two slots (spec: api.md 8.2)."""

from collections.abc import Iterable, Sequence

from bbs.models.actual_lrp import ActualLRP, ActualLRPState, Presence
from bbs.models.events import Group


def group_of(rows: Iterable[ActualLRP]) -> Group:
    """The group that ``rows`` make, all of one process guid, index and domain, given in primary-key order.

    Upstream fills the slots row by row, so which row keeps the instance slot depends on the order.
    """
    instance: ActualLRP | None = None
    evacuating: ActualLRP | None = None
    for lrp in rows:
        if lrp.presence is Presence.EVACUATING:
            evacuating = lrp
        elif instance is None or _displaces(lrp, instance):
            instance = lrp
    return Group(instance=instance, evacuating=evacuating)


def groups_of(rows: Iterable[ActualLRP]) -> list[Group]:
    """A group per process guid, index and domain, in order of first appearance."""
    instances: dict[tuple[str, int, str], list[ActualLRP]] = {}
    for lrp in rows:
        instances.setdefault((lrp.process_guid, lrp.index, lrp.domain), []).append(lrp)
    return [group_of(members) for members in instances.values()]


def group_at(rows: Sequence[ActualLRP]) -> Group | None:
    """The group of one process guid and index, ``None`` without rows. If the rows differ in domain, the first row's."""
    return group_of(lrp for lrp in rows if lrp.domain == rows[0].domain) if rows else None


def alone(lrp: ActualLRP) -> Group:
    """A group of only ``lrp``, in its slot."""
    return Group(evacuating=lrp) if lrp.presence is Presence.EVACUATING else Group(instance=lrp)


def _displaces(lrp: ActualLRP, holder: ActualLRP) -> bool:
    """Whether ``lrp`` takes the instance slot from ``holder``.

    A replacement takes it only once it runs: until then the suspect may still serve. The other way round, a suspect
    that its cell holds takes the slot from any row that does not run.
    """
    running, claimed = ActualLRPState.RUNNING, ActualLRPState.CLAIMED
    if lrp.presence is Presence.ORDINARY:
        return lrp.state is running or (lrp.state is claimed and not holder.state.is_held)
    return lrp.state.is_held and holder.state is not running
