"""Why an app is not as desired: each way in which it can be so, in words, and when what is done about it."""

import re

import pytest

from bbs.lifecycle.lrp_convergence import STALE_UNCLAIMED_NS
from bbs.lifecycle.restart import RESTARTS_MAX, backoff_ns
from bbs.words.app import App
from bbs.words.reasons import Why, headline, is_as_desired, reasons, told
from tests.console.apps import EVACUATING, SUSPECT, S, app, row

STALE_S = STALE_UNCLAIMED_NS // S
MISSING = "there is no instance; the next convergence pass makes it and asks the auctioneer to place it"
NOT_FRESH = r"domain d is not fresh: .*extra ones are not stopped"


@pytest.mark.parametrize(
    ("seen", "stands"),
    [
        (app(row()), "1 of 1 instance runs"),
        (app(row(0), row(1, cell="cell-2"), instances=2), "2 of 2 instances run"),
        (app(instances=0), "stopped: no instance is desired"),
        (app(instances=None), "nothing is known of it: it is not desired, and has no instances"),
    ],
)
def test_nothing_is_amiss(seen: App, stands: str) -> None:
    assert (reasons(seen), headline(seen)) == ([], stands)


@pytest.mark.parametrize(
    ("seen", "why", "text"),
    [
        # Without a row
        (app(), Why.MISSING, MISSING),
        # Waiting for a cell
        (
            app(row(state="UNCLAIMED", ago_s=12)),
            Why.UNCLAIMED,
            f"unclaimed for 12s: no cell has taken it yet; the first convergence pass in {STALE_S - 12}s or later"
            " asks the auctioneer again",
        ),
        (
            app(row(state="UNCLAIMED", ago_s=10, placement_error="insufficient resources: memory")),
            Why.UNCLAIMED,
            "unclaimed; the last auction was refused 10s ago: insufficient resources: memory; the first convergence pass in"
            f" {STALE_S - 10}s or later asks the auctioneer again",
        ),
        (
            app(row(state="UNCLAIMED", ago_s=STALE_S, crash_count=2, crash_reason="exit 1")),
            Why.UNCLAIMED,
            f"unclaimed for {STALE_S}s: no cell has taken it yet (after 2 crashes, the last one: exit 1); the next convergence"
            " pass asks the auctioneer again",
        ),
        # A clock behind the server's
        (
            app(row(state="UNCLAIMED", ago_s=-5)),
            Why.UNCLAIMED,
            f"unclaimed for 0s: no cell has taken it yet; the first convergence pass in {STALE_S + 5}s or later asks the"
            " auctioneer again",
        ),
        # Crashed
        (
            app(row(state="CRASHED", ago_s=10, crash_count=3, crash_reason="exit 137")),
            Why.CRASHED,
            f"crashed 3 times, the last time 10s ago: exit 137; the first convergence pass in {backoff_ns(3) // S - 10}s or"
            " later has it placed again",
        ),
        (
            app(row(state="CRASHED", ago_s=backoff_ns(5) // S, crash_count=5)),
            Why.CRASHED,
            "crashed 5 times, the last time 2m00s ago; the next convergence pass has it placed again",
        ),
        (
            app(row(state="CRASHED", ago_s=1, crash_count=1)),
            Why.CRASHED,
            "crashed 1 time, the last time 1s ago; the next convergence pass has it placed again",
        ),
        (
            app(row(state="CRASHED", ago_s=999_999, crash_count=RESTARTS_MAX)),
            Why.CRASHED,
            f"crashed {RESTARTS_MAX} times, the last time 11d13h ago; after {RESTARTS_MAX} crashes it is not started again: stop"
            " the app and start it, or desire it anew",
        ),
        # Claimed
        (
            app(row(state="CLAIMED", ago_s=600)),
            Why.CLAIMED,
            "claimed by cell cell-1 for 10m00s, which makes its container and waits until it is healthy",
        ),
        (
            app(row(state="CLAIMED", ago_s=60), start_timeout_ms=60_000),
            Why.CLAIMED,
            "claimed by cell cell-1 for 1m00s, which makes its container and waits until it is healthy",
        ),
        (
            app(row(state="CLAIMED", ago_s=61, crash_count=1), start_timeout_ms=60_000),
            Why.CLAIMED,
            "claimed by cell cell-1 for 1m01s, which makes its container and waits until it is healthy; that is longer than its"
            " start timeout of 1m00s, see the app's log and the cell's rep (after 1 crash)",
        ),
        # On a cell that is not there
        (
            app(row(cell="gone")),
            Why.CELL_MISSING,
            "running on cell gone, which is not announced any more; the next convergence pass makes it suspect and asks the"
            " auctioneer for a replacement",
        ),
        (
            app(row(state="CLAIMED"), cells=()),
            Why.CELL_MISSING,
            "claimed on cell cell-1, which is not announced any more; the next convergence pass makes it suspect and asks the"
            " auctioneer for a replacement",
        ),
        # Another row beside one that is as it should be
        (
            app(row(), row(cell="gone", presence=SUSPECT)),
            Why.SUSPECT,
            "suspect: running on cell gone, which is missing; its replacement runs, and the next convergence pass removes it",
        ),
        (
            app(row(), row(cell="cell-2", presence=SUSPECT)),
            Why.SUSPECT,
            "suspect: running on cell cell-2, which is announced again; the next convergence pass makes it the instance again",
        ),
        (
            app(row(), row(cell="cell-2", presence=EVACUATING)),
            Why.EVACUATING,
            "cell cell-2 is being evacuated and keeps its container until it runs elsewhere",
        ),
        (
            app(row(), row(cell="gone", presence=EVACUATING)),
            Why.EVACUATING,
            "cell gone was being evacuated and is gone; the next convergence pass removes the row",
        ),
        # Too much
        (
            app(row(), instances=0),
            Why.EXTRA,
            "running, though only 0 are desired; the next convergence pass has cell cell-1 stop it",
        ),
        (
            app(row(state="UNCLAIMED"), instances=0),
            Why.EXTRA,
            "unclaimed, though only 0 are desired; the next convergence pass removes it",
        ),
        (
            app(row(), instances=None),
            Why.NOT_DESIRED,
            "running, though nobody desires the app; the next convergence pass has cell cell-1 stop it",
        ),
        (
            app(row(state="CRASHED"), instances=None, fresh=("another",)),
            Why.NOT_DESIRED,
            "crashed, though nobody desires the app; it stays while domain d is not fresh",
        ),
    ],
)
def test_one_thing_is_amiss(seen: App, why: Why, text: str) -> None:
    [reason] = reasons(seen)
    assert (reason.why, reason.index, reason.text) == (why, 0, text)
    assert not is_as_desired([reason])


def test_what_is_left_to_wait_is_rounded_up() -> None:
    lrp = row(state="UNCLAIMED", ago_s=12)
    lrp.since -= 1
    [reason] = reasons(app(lrp))
    assert f"in {STALE_S - 12}s or later" in reason.text


def test_an_instance_that_is_not_ready() -> None:
    lrp = row()
    lrp.routable = False
    [reason] = reasons(app(lrp))
    assert (reason.why, reason.index) == (Why.NOT_ROUTABLE, 0)
    assert "runs on cell cell-1, which says that it is not ready for requests" in reason.text
    # An old server does not say whether it is.
    lrp.ClearField("routable")
    assert reasons(app(lrp)) == []


def test_a_suspect_and_what_replaces_it() -> None:
    suspect = row(cell="gone", presence=SUSPECT)
    waiting, kept = reasons(app(row(state="UNCLAIMED"), suspect))
    assert [waiting.why, kept.why] == [Why.UNCLAIMED, Why.SUSPECT]
    assert kept.text.endswith(
        "it may still serve, and is kept until its replacement runs or the cell is back"
    )
    lost, kept = reasons(app(row(cell="gone too"), suspect))
    assert (lost.why, kept.why) == (Why.CELL_MISSING, Why.SUSPECT)
    assert lost.text.endswith("takes it from there, and a later one has it placed again")
    assert headline(app(row(state="UNCLAIMED"), suspect)) == "1 of 1 instance runs"


def test_a_domain_that_is_not_fresh_is_a_note_and_keeps_what_is_too_much() -> None:
    found = reasons(app(row(), fresh=()))
    assert [reason.why for reason in found] == [Why.DOMAIN_NOT_FRESH]
    assert re.fullmatch(NOT_FRESH, found[0].text)
    assert is_as_desired(found)

    extra, note = reasons(app(row(0), row(1), fresh=()))
    assert (extra.why, extra.index, note.why) == (Why.EXTRA, 1, Why.DOMAIN_NOT_FRESH)
    assert extra.text == "running, though only 1 are desired; it stays while domain d is not fresh"
    assert not is_as_desired([extra, note])


def test_a_hole_beside_an_index_too_many() -> None:
    found = reasons(app(row(0), row(5), instances=2))
    assert [(reason.why, reason.index) for reason in found] == [(Why.MISSING, 1), (Why.EXTRA, 5)]
    assert headline(app(row(0), row(5), instances=2)) == "1 of 2 instances run"


def test_what_many_share_is_one_line() -> None:
    lines = list(told(reasons(app(row(1), row(9, state="CLAIMED"), instances=10, fresh=()))))
    assert lines[0] == f"indices 0, 2-8: {MISSING}"
    assert lines[1].startswith("index 9: claimed")
    assert re.fullmatch(NOT_FRESH, lines[2])
    assert len(lines) == 3


def test_more_instances_than_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbs.words.reasons.INSTANCES_MAX", 3)
    found = reasons(app(instances=4))
    assert [reason.index for reason in found] == [0, 1, 2, None]
    assert found[-1].why is Why.TOO_MANY


@pytest.mark.parametrize(
    ("seen", "stands"),
    [
        (app(row(), instances=None), "not desired, with 1 instance left"),
        (app(row(), instances=0), "stopped: no instance is desired, 1 left"),
        (app(row(state="CLAIMED"), row(1), instances=3), "1 of 3 instances run"),
    ],
)
def test_headlines(seen: App, stands: str) -> None:
    assert headline(seen) == stands


def test_a_row_of_a_cell_without_a_name_is_told_too() -> None:
    """It counts as missing only when there are no cells at all, as in a pass."""
    nameless = row()
    nameless.actual_lrp_instance_key.cell_id = ""
    assert reasons(app(nameless)) == []
    [reason] = reasons(app(nameless, cells=()))
    assert "running on a cell without a name" in reason.text
