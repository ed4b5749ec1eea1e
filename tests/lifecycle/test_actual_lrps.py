"""What the vectors cannot show of claims, starts, crashes and failures (spec: actual-lrps.md §6)."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.lifecycle import actual_lrps
from bbs.lifecycle.rows import StartReport
from bbs.models.actual_lrp import ActualLRP, InstanceKey, Rows
from bbs.models.errors import BBSError, InvalidRequest
from bbs.models.events import ActualLRPCrashed, ActualLRPInstanceChanged, Hub
from bbs.models.outcome import Outcome

from .notation import HOLDER_STATES, N, read_row, read_rows
from .test_actual_lrp_vectors import start_report

LONG = "x" * 1024


def instance_events(outcome: Outcome) -> list[object]:
    return [event for announcement in outcome.announcements for event in announcement.events(Hub.INSTANCE)]


def test_C17_a_crash_is_told_with_its_whole_reason() -> None:
    instance = InstanceKey(instance_guid="a", cell_id="c1")

    outcome = actual_lrps.crash(read_rows("O RUN a@c1 e#2"), instance, LONG, is_desired=True, now_ns=N)

    crashed = instance_events(outcome)[0]
    assert isinstance(crashed, ActualLRPCrashed)
    assert crashed.after.crash_reason == LONG


def test_a_failed_placement_is_told_with_its_whole_reason() -> None:
    outcome = actual_lrps.fail(read_rows("O UNC - e#0"), LONG, now_ns=N)

    (changed,) = instance_events(outcome)
    assert isinstance(changed, ActualLRPInstanceChanged)
    assert changed.after.placement_error == LONG


@pytest.mark.parametrize(
    "request_",
    [
        lambda name: actual_lrps.claim(
            read_rows("O UNC - e#0"), InstanceKey(instance_guid=name, cell_id="c"), now_ns=N
        ),
        lambda name: actual_lrps.claim(
            read_rows("O UNC - e#0"), InstanceKey(instance_guid="g", cell_id=name), now_ns=N
        ),
        lambda name: started(start_report(f"{name}@c1")),
        lambda name: started(start_report(f"a@{name}")),
        lambda name: started(start_report("a@c1", f"domain={name}")),
        lambda name: started(start_report("a@c1", f"az={name}")),
        lambda name: started(replace(start_report("a@c1"), process_guid=name)),
    ],
    ids=[
        "claim-guid",
        "claim-cell",
        "start-guid",
        "start-cell",
        "start-domain",
        "start-zone",
        "start-process",
    ],
)
def test_a_name_that_does_not_fit_its_column_is_refused(request_: Callable[[str], Outcome]) -> None:
    assert request_("x" * 255).rows

    with pytest.raises(InvalidRequest, match="the request received is invalid"):
        request_("x" * 256)


def started(report: StartReport) -> Outcome:
    return actual_lrps.start(Rows(), report, now_ns=N, epoch="new")


ROWS = st.builds(
    Rows,
    st.sampled_from([None, *(read_row(f"O {holder} e#3") for holder in HOLDER_STATES)]),
    st.sampled_from([None, read_row("E RUN a@c1 f#1"), read_row("E RUN x@c3 f#1")]),
    st.sampled_from([None, read_row("S CLA a@c1 s#1"), read_row("S RUN x@c9 s#2")]),
)
WHO = st.sampled_from(["a@c1", "b@c2", "x@c9"])


@given(ROWS, WHO, st.sampled_from(["claim", "start", "crash", "fail", "remove"]))
def test_a_written_row_is_newer_and_a_row_that_stays_is_not_written(rows: Rows, who: str, verb: str) -> None:
    report = start_report(who)
    try:
        outcome = {
            "claim": lambda: actual_lrps.claim(rows, report.instance, now_ns=N),
            "start": lambda: actual_lrps.start(rows, report, now_ns=N, epoch="new"),
            "crash": lambda: actual_lrps.crash(rows, report.instance, "boom", is_desired=True, now_ns=N),
            "fail": lambda: actual_lrps.fail(rows, "full", now_ns=N),
            "remove": lambda: actual_lrps.remove(rows, report.instance),
        }[verb]()
    except BBSError:
        return

    before = {lrp.key: lrp for lrp in rows.present()}
    for (_, key), record in outcome.rows:
        if record is None:
            assert key in before
            continue
        assert isinstance(record, ActualLRP)
        assert record.since_ns == N
        old = before.get(record.key)
        if old is None:
            assert (record.tag.epoch, record.tag.index) == ("new", 0)
        else:
            assert record.tag == old.tag.next()
    assert len(outcome.announcements) == bool(outcome.rows), "what changes is told, and nothing else is"
