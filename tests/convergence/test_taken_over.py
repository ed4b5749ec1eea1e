"""What follows from rows alone is what the request that changed them told."""

import pytest

from bbs.convergence.taken_over import announcements_of
from bbs.lifecycle import actual_lrps
from bbs.lifecycle.restart import CRASH_RESET_NS
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence, Rows
from bbs.models.events import Event, Hub
from bbs.models.outcome import Announcement, Row, put
from bbs.store.tables import Tables
from tests.records import A_AT_C1, actual_lrp

NOW_NS = 1_000_000
RUNNING = actual_lrp(state=ActualLRPState.RUNNING, instance=A_AT_C1, since_ns=NOW_NS)
EVACUATING = actual_lrp(
    presence=Presence.EVACUATING,
    state=ActualLRPState.RUNNING,
    instance=InstanceKey(instance_guid="before", cell_id="c0"),
)


def committed(*rows: ActualLRP) -> Tables:
    tables = Tables()
    tables.apply(map(put, rows))
    return tables


def told(announcements: tuple[Announcement, ...]) -> list[list[Event]]:
    return [
        [event for announcement in announcements for event in announcement.events(hub)]
        for hub in (Hub.INSTANCE, Hub.GROUP)
    ]


def names(announcements: tuple[Announcement, ...]) -> list[str]:
    return [event.name for event in told(announcements)[0]]


@pytest.mark.parametrize("others", [(), (EVACUATING,)], ids=["alone", "beside an evacuating one"])
@pytest.mark.parametrize(
    ("count", "reason"), [(0, ""), (1, "another"), (1, "exited"), (2, "exited"), (3, "exited"), (9, "exited")]
)
def test_a_crash_is_told_as_the_request_tells_it(
    count: int, reason: str, others: tuple[ActualLRP, ...]
) -> None:
    """Up to the third the instance is placed again at once, and its row is never CRASHED."""
    lrp = actual_lrp(
        state=ActualLRPState.RUNNING,
        instance=A_AT_C1,
        since_ns=NOW_NS,
        crash_count=count,
        crash_reason=reason,
    )
    outcome = actual_lrps.crash(
        Rows(ordinary=lrp, evacuating=others[0] if others else None),
        A_AT_C1,
        "exited",
        is_desired=True,
        now_ns=NOW_NS + 1,
    )

    announcements = announcements_of(committed(lrp, *others))(outcome.rows)

    assert told(announcements) == told(tuple(outcome.announcements))
    assert "actual_lrp_crashed" in names(announcements)


def test_an_instance_that_is_put_up_for_auction_has_not_crashed() -> None:
    lrp = actual_lrp(
        state=ActualLRPState.RUNNING, instance=A_AT_C1, crash_count=2, crash_reason="exited", since_ns=NOW_NS
    )
    unclaimed = actual_lrp(crash_count=2, crash_reason="exited")

    announcements = announcements_of(committed(lrp))((put(unclaimed),))

    assert "actual_lrp_crashed" not in names(announcements)


def test_a_crash_that_looks_as_the_last_one_is_not_told() -> None:
    """It was forgotten since, and happens anew with the same words: the row is as if the instance had been put up for auction."""
    lrp = actual_lrp(
        state=ActualLRPState.RUNNING, instance=A_AT_C1, crash_count=1, crash_reason="exited", since_ns=NOW_NS
    )
    outcome = actual_lrps.crash(
        Rows(ordinary=lrp), A_AT_C1, "exited", is_desired=True, now_ns=NOW_NS + CRASH_RESET_NS + 1
    )

    announcements = announcements_of(committed(lrp))(outcome.rows)

    assert "actual_lrp_crashed" not in names(announcements)


def test_rows_that_change_together_are_no_crash() -> None:
    crashed = actual_lrp(state=ActualLRPState.UNCLAIMED, crash_count=1, crash_reason="exited")
    rows: tuple[Row, ...] = (put(crashed), Row(put(EVACUATING).key, None))

    announcements = announcements_of(committed(RUNNING, EVACUATING))(rows)

    assert "actual_lrp_crashed" not in names(announcements)
