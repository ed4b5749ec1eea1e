"""Which answers the tables allow to a request about an instance, from the rows before it.

Written from the tables, not from the code: actual-lrps.md §6, evacuation.md §4-8.
"""

from typing import Final

from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence, Rows
from bbs.models.desired_lrp import RECREATE, DesiredLRP

UNCLAIMED, CLAIMED = ActualLRPState.UNCLAIMED, ActualLRPState.CLAIMED
RUNNING, CRASHED = ActualLRPState.RUNNING, ActualLRPState.CRASHED
NOT_FOUND: Final = "ResourceNotFound"
RESET_NS: Final = 300 * 1_000_000_000

Answer = tuple[str, bool]
"""The error's type, or '', and `keep_container`."""


def claim(rows: Rows, who: InstanceKey) -> str:
    if is_suspect(rows, who):
        return ""
    match rows.ordinary:
        case None:
            return NOT_FOUND
        case lrp if lrp.state is UNCLAIMED or (lrp.state in (CLAIMED, RUNNING) and lrp.instance == who):
            return ""
    return "ActualLRPCannotBeClaimed"


def start(rows: Rows, who: InstanceKey, domain: str) -> str:
    if is_suspect(rows, who) or rows.ordinary is None:
        return ""
    lrp = rows.ordinary
    may = lrp.state in (UNCLAIMED, CLAIMED) or (lrp.state is RUNNING and lrp.instance == who)
    return "" if may and lrp.domain == domain else "ActualLRPCannotBeStarted"


def crash(rows: Rows, who: InstanceKey, desired: DesiredLRP | None, now_ns: int) -> str:
    if is_suspect(rows, who):
        return ""
    lrp = rows.ordinary
    if lrp is None:
        return NOT_FOUND
    if lrp.state not in (CLAIMED, RUNNING) or lrp.instance != who:
        return "ActualLRPCannotBeCrashed"
    is_reset = lrp.state is RUNNING and now_ns - lrp.since_ns > RESET_NS
    restarts_at_once = (1 if is_reset else lrp.crash_count + 1) < 3
    return NOT_FOUND if restarts_at_once and desired is None else ""


def fail(rows: Rows) -> str:
    return "" if rows.ordinary is None or rows.ordinary.state is UNCLAIMED else "ActualLRPCannotBeFailed"


def remove(rows: Rows, who: InstanceKey | None) -> str:
    lrp = rows.ordinary
    return NOT_FOUND if lrp is None or (who is not None and lrp.instance != who) else ""


def retire(rows: Rows) -> str:
    return NOT_FOUND if rows.ordinary is None else ""


def remove_evacuating(rows: Rows, who: InstanceKey) -> str:
    target = holder(rows, who)
    return "" if target is not None and target.presence is Presence.EVACUATING else NOT_FOUND


def evacuate(rows: Rows, who: InstanceKey) -> Answer:
    """Claimed, crashed and stopped alike."""
    return (NOT_FOUND if holder(rows, who) is None else "", False)


def evacuate_running(rows: Rows, who: InstanceKey, desired: DesiredLRP | None, running: int) -> Answer:
    target, lrp = holder(rows, who), rows.ordinary
    if lrp is None or desired is None or (lrp is not target and lrp.state in (RUNNING, CRASHED)):
        return "", False
    if desired.update_strategy == RECREATE:
        return "", target is lrp and running < desired.instances
    if target is None:
        return "", rows.evacuating is None
    if target.presence is Presence.ORDINARY and rows.evacuating is not None:
        same = (rows.evacuating.domain, rows.evacuating.instance, rows.evacuating.net_info)
        if same == (lrp.domain, lrp.instance, lrp.net_info):
            return "ResourceExists", True
    return "", True


def holder(rows: Rows, who: InstanceKey) -> ActualLRP | None:
    for row in (rows.ordinary, rows.evacuating, rows.suspect):
        if row is not None and row.instance == who:
            return row
    return None


def is_suspect(rows: Rows, who: InstanceKey) -> bool:
    target = holder(rows, who)
    return target is not None and target.presence is Presence.SUSPECT
