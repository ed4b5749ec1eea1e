"""Apps for the page: a list by process guid, page by page, and one app with its reasons.

What a page of the list costs follows from what it shows. An app may have 100,000 instances: of such a one only so many are
counted by state, and looked at for reasons, as are shown.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from bbs.concurrency.turns import TimedTurns
from bbs.dashboard.troubles import Wrong, processes_with
from bbs.lifecycle.domains import is_fresh
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, Presence
from bbs.models.desired_lrp import DesiredLRP
from bbs.store.indexes import index_at
from bbs.store.tables import Tables
from bbs.words.app import App
from bbs.words.reasons import headline, is_as_desired, reasons

PAGE: Final = 50
"""Apps to a page of the list."""

INSTANCES_PAGE: Final = 100
"""Indices of one app to a page."""

COUNTED_MAX: Final = 1_000
"""Instances of one app that are counted by state."""


async def apps(
    tables: Tables, *, prefix: str = "", after: str = "", wrong: Wrong | None = None
) -> dict[str, object]:
    """The apps whose process guid begins with ``prefix`` and comes behind ``after``, and of which ``wrong`` is true, if given."""
    if wrong is None:
        found = _by_guid(tables, prefix, after)
    else:
        found = await processes_with(wrong, tables, count=PAGE + 1, prefix=prefix, after=after)
    rows, turns = [], TimedTurns()
    for guid in found[:PAGE]:
        rows.append(_row(tables, guid))
        await turns.checkpoint_if_due()
    return {
        "apps": rows,
        "next": found[PAGE - 1] if len(found) > PAGE else None,
    }


def app(
    tables: Tables, guid: str, *, cells: Mapping[str, pb.CellPresence], start: int = 0, now_ns: int
) -> dict[str, object]:
    """One app, with its indices from ``start`` on."""
    desired = tables.desired_lrps.rows.get(guid)
    by_place = tables.actual_lrps.by_process_guid.by_place(guid)
    window = range(start, start + INSTANCES_PAGE)
    is_large = len(by_place) > INSTANCES_PAGE or (desired is not None and desired.instances > INSTANCES_PAGE)
    rows = list(tables.actual_lrps.by_process_guid[guid]) if not is_large else _rows_at(tables, guid, window)
    # The row is without what a page has no use for: run info has environment variables, and so secrets.
    known = App(
        process_guid=guid,
        desired=None if desired is None else _scheduling(desired),
        rows=[lrp.message() for lrp in rows],
        fresh_domains={
            domain.name for domain in tables.domains.rows.values() if is_fresh(domain, now_ns=now_ns)
        },
        cells=cells,
        seen_ns=now_ns,
    )
    found = reasons(known, window if is_large else None)
    why: dict[int, str] = {}
    for reason in found:
        if reason.index is not None:
            why[reason.index] = f"{why[reason.index]}; {reason.text}" if reason.index in why else reason.text
    last = index_at(max(by_place, default=-1))
    last = max(last, desired.instances - 1 if desired is not None else -1)
    return {
        "known": known.is_known,
        "guid": guid,
        "desired": None if desired is None else _desired(desired),
        "headline": headline(known) if not is_large else _headline_of_large(desired, by_place),
        "as_desired": is_as_desired(found) if not is_large else None,
        "instances": list(_instances(rows, why)),
        "about_all": [reason.text for reason in found if reason.index is None],
        "next": start + INSTANCES_PAGE if is_large and last >= start + INSTANCES_PAGE else None,
    }


def states(rows: Iterable[ActualLRP]) -> dict[str, int]:
    """How many there are in each state; of the first `COUNTED_MAX` only."""
    counted = Counter(lrp.state.value for lrp in islice(rows, COUNTED_MAX))
    return {state.value: counted[state.value] for state in ActualLRPState}


def _by_guid(tables: Tables, prefix: str, after: str) -> list[str]:
    """All that are desired. What only has instances left is found as a trouble."""
    found: list[str] = []
    for guid in tables.desired_lrps.rows.irange(
        minimum=max(prefix, after), inclusive=(not after or prefix > after, True)
    ):
        if not guid.startswith(prefix) or len(found) > PAGE:
            break
        found.append(guid)
    return found


def _row(tables: Tables, guid: str) -> dict[str, object]:
    desired = tables.desired_lrps.rows.get(guid)
    rows = tables.actual_lrps.by_process_guid.by_place(guid)
    first = next(iter(rows.values()), None)
    domain = desired.domain if desired is not None else first.domain if first is not None else ""
    return {
        "guid": guid,
        "domain": domain,
        "desired": None if desired is None else desired.instances,
        "states": states(rows.values()) if len(rows) <= COUNTED_MAX else None,
        "memory_mb": 0 if desired is None else desired.memory_mb,
    }


def _rows_at(tables: Tables, guid: str, window: range) -> list[ActualLRP]:
    return [lrp for index in window for lrp in tables.actual_lrps.rows_at(guid, index) if lrp is not None]


def _scheduling(desired: DesiredLRP) -> pb.DesiredLRP:
    """What reasons are worked out from: no more than a scheduling info has, and how long a start may take."""
    run_info = pb.DesiredLRPRunInfo.FromString(desired.run_info)
    return pb.DesiredLRP(
        process_guid=desired.process_guid,
        domain=desired.domain,
        instances=desired.instances,
        start_timeout_ms=run_info.start_timeout_ms,
    )


def _desired(desired: DesiredLRP) -> dict[str, object]:
    return {
        "domain": desired.domain,
        "instances": desired.instances,
        "memory_mb": desired.memory_mb,
        "disk_mb": desired.disk_mb,
        "rootfs": desired.rootfs,
        "placement_tags": list(desired.placement_tags or ()),
        "changes": desired.tag.index,
    }


def _instances(rows: Iterable[ActualLRP], why: Mapping[int, str]) -> Iterator[dict[str, object]]:
    """The rows, and what there is to say of an index behind its first one; an index without a row is told of all the same."""
    told = dict(why)
    for lrp in rows:
        yield {**instance(lrp), "why": told.pop(lrp.index, "")}
    for index, text in sorted(told.items()):
        yield {"index": index, "state": "", "why": text}


def instance(lrp: ActualLRP) -> dict[str, object]:
    return {
        "guid": lrp.process_guid,
        "index": lrp.index,
        "state": lrp.state.value,
        "presence": "" if lrp.presence is Presence.ORDINARY else lrp.presence.name.lower(),
        "cell": lrp.instance.cell_id,
        "zone": lrp.availability_zone,
        "since_ns": lrp.since_ns,
        "crashes": lrp.crash_count,
    }


def _headline_of_large(desired: DesiredLRP | None, rows: Mapping[int, ActualLRP]) -> str:
    wanted = 0 if desired is None else desired.instances
    some = f" of the first {COUNTED_MAX}" if len(rows) > COUNTED_MAX else ""
    running = states(rows.values())[ActualLRPState.RUNNING]
    return f"{len(rows)} rows for {wanted} desired instances; {running}{some} run"
