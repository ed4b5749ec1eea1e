"""The last call of each cell's rep that failed."""

import json

from bbs.peers.opened import open_peers
from bbs.peers.rep_failures import RepFailure, RepFailures
from bbs.peers.reps import HTTPReps


def test_each_cell_has_its_last_failure_and_their_number() -> None:
    times = iter((10, 20, 30))
    failures = RepFailures(now_ns=lambda: next(times))
    failures.note("c1", call="stop-lrp", reason="refused")
    failures.note("c2", call="cancel-task", reason="no answer")
    failures.note("c1", call="update-lrp", reason="503")

    assert failures.by_cell == {
        "c2": RepFailure(call="cancel-task", at_ns=20, reason="no answer", failures=1),
        "c1": RepFailure(call="update-lrp", at_ns=30, reason="503", failures=2),
    }
    assert list(json.loads(failures.json())) == ["c2", "c1"]
    assert json.loads(failures.json())["c1"] == {
        "call": "update-lrp",
        "at_ns": 30,
        "reason": "503",
        "failures": 2,
    }


def test_those_that_failed_longest_ago_are_forgotten() -> None:
    failures = RepFailures(cells_max=2)
    for cell_id in ("c1", "c2", "c1", "c3"):
        failures.note(cell_id, call="stop-lrp", reason="refused")

    assert {cell_id: failure.failures for cell_id, failure in failures.by_cell.items()} == {"c1": 2, "c3": 1}


async def test_what_reps_note_is_what_peers_tell() -> None:
    async with open_peers(
        auctioneer=None, identity=None, communication_timeout_s=1, callback_workers=1, connections_max=8
    ) as peers:
        assert isinstance(peers.reps, HTTPReps)
        assert peers.reps.failures is peers.rep_failures
