"""What a pass over LRPs tells of itself: its numbers, and its lines in the log (spec: metrics-and-logs.md)."""

from dataclasses import replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from bbs.convergence.lrp_pass import AUCTIONS_LOGGED_MAX
from bbs.log import Level
from bbs.models.actual_lrp import ActualLRPState
from bbs.models.errors import UnknownError
from bbs.peers.interfaces import PeerUnavailable
from tests.convergence.lrp_bench import LRPBench, desired, domain, open_lrp_bench
from tests.faulty_peers import PeerFault
from tests.lifecycle.notation import N, read_row
from tests.log_lines import Lines
from tests.records import actual_lrp


async def test_the_numbers_are_those_after_the_work(autojump_clock: MockClock, bench: LRPBench) -> None:
    crashed = [
        actual_lrp("x", index, state=ActualLRPState.CRASHED, crash_count=200, domain="other")
        for index in (0, 1)
    ]
    await bench.given(
        domain(),
        desired("p", n=3),
        replace(read_row("O RUN a@c1 e#0"), index=1),
        replace(read_row("O CLA b@c1 e#0"), index=2),
        *crashed,
    )

    await bench.convergence.converge()

    found = bench.convergence.statistics()
    assert (found.unclaimed, found.claimed, found.running, found.crashed) == (1, 1, 1, 2)
    assert (found.crashing_desired, found.desired, found.present_cells) == (1, 3, 3)


async def test_the_duration_is_that_up_to_the_numbers(autojump_clock: MockClock, bench: LRPBench) -> None:
    bench.peers.faults = [PeerFault(call="request_lrp_auctions", takes_s=100)]
    bench.faults.write_s = 2.0
    await bench.given(desired())
    began = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.convergence.converge)
        await trio.sleep(50)
        assert bench.peers.called_at_s("request_lrp_auctions") == [pytest.approx(began + 2.0)]
        assert bench.convergence.statistics().passes == 1, "counted before the auctions are asked for"

    assert trio.current_time() - began == pytest.approx(102)
    assert bench.convergence.statistics().duration_s == pytest.approx(2.0)


async def test_without_workers_there_is_only_counting(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_lrp_bench(workers=0, log=lines.logger()) as bench:
        await bench.given(desired(n=2), read_row("O RUN a@c9 e#0"), read_row("E RUN x@c9 f#0"))

        await bench.convergence.converge()

        assert list(bench.rows().values()) == [read_row("O RUN a@c9 e#0")], "pruning is no work item"
        assert not bench.peers.requests
        assert bench.convergence.statistics().missing == 1
    failed = "error converge-lrps.failed-constructing-throttler error max_workers num_works"
    assert failed in lines.table()


async def test_what_the_log_says(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_lrp_bench(log=lines.logger()) as bench:
        bench.peers.faults = [PeerFault(call="request_lrp_auctions", error=partial(PeerUnavailable, "500"))]
        await bench.given(
            domain("gone", N),
            desired("missing"),
            desired("stale"),
            replace(read_row("O UNC - e#0 since=N-1m"), process_guid="stale"),
            desired("crashed"),
            replace(read_row("O CRA - e#0 cc=3 since=N-1m"), process_guid="crashed"),
            desired("lost"),
            replace(read_row("O RUN a@c9 e#0"), process_guid="lost"),
        )

        await bench.convergence.converge()

    said = [(line["message"], line["data"]) for line in lines.lines]
    starts = {
        (message.removeprefix("bbs.converge-lrps."), data["reason"], data["process_guid"], data["index"])
        for message, data in said
        if message.endswith("creating-start-request")
    }
    assert starts == {
        (f"{part}.creating-start-request", reason, guid, 0)
        for part, reason, guid in (
            ("db-converge-lrps.lrp-instance-counts", "missing-instance", "missing"),
            ("db-converge-lrps.stale-unclaimed-actual-lrps", "stale-unclaimed-lrp", "stale"),
            ("db-converge-lrps.crashed-actual-lrps", "crashed-instance", "crashed"),
            ("keys-with-missing-cells", "missing-cell", "lost"),
        )
    }
    data_of = dict(said)
    pruned = data_of["bbs.converge-lrps.db-converge-lrps.prune-domains.pruning-domain"]
    assert (pruned["domain"], pruned["expire-at"]) == ("gone", N)
    detected = "bbs.converge-lrps.db-converge-lrps.actual-lrps-with-missing-cells.detected-missing-cells"
    assert data_of[detected]["cell_ids"] == ["c9"]
    failed = data_of["bbs.converge-lrps.failed-to-request-starts"]
    assert (failed["error"], failed["start_requests_count"], len(failed["lrp_start_auctions"])) == (
        "500",
        4,
        4,
    )
    assert len(failed["lrp_start_auctions"]) <= AUCTIONS_LOGGED_MAX


async def test_a_passs_lines_in_their_order(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_lrp_bench(log=lines.logger(Level.DEBUG)) as bench:
        await bench.given(
            domain("d"),
            domain("gone", N),
            desired("missing"),
            desired("stale"),
            replace(read_row("O UNC - e#0 since=N-1m"), process_guid="stale"),
            desired("crashed"),
            replace(read_row("O CRA - e#0 cc=3 since=N-1m"), process_guid="crashed"),
            desired("lost"),
            replace(read_row("O RUN a@c9 e#0"), process_guid="lost"),
            desired("lost again"),
            replace(read_row("O RUN a@c9 e#0"), process_guid="lost again"),
            replace(read_row("S RUN b@c8 f#0"), process_guid="lost again"),
            desired("back"),
            replace(read_row("O UNC - e#0 since=N"), process_guid="back"),
            replace(read_row("S RUN b@c1 f#0"), process_guid="back"),
            replace(read_row("O UNC - e#0 since=N"), process_guid="undesired"),
            replace(read_row("S RUN b@c8 f#0"), process_guid="undesired too"),
        )

        await bench.convergence.converge()

    unclaiming = ["info db-unclaim-actual-lrp.starting key", "info db-unclaim-actual-lrp.complete key"]
    expected = f"""
        debug listing-cells
        debug succeeded-listing-cells
        info  db-converge-lrps.starting
        info  db-converge-lrps.prune-domains.pruning-domain domain expire-at
        info  db-converge-lrps.stale-unclaimed-actual-lrps.creating-start-request index process_guid reason
        info  db-converge-lrps.actual-lrps-with-missing-cells.detected-missing-cells cell_ids
        info  db-converge-lrps.lrp-instance-counts.creating-start-request index process_guid reason
        info  db-converge-lrps.crashed-actual-lrps.creating-start-request index process_guid reason
        info  db-converge-lrps.complete
        info  retire-actual-lrp.db-remove-actual-lrp.starting index process_guid retiring_lrp_count
        info  retire-actual-lrp.db-remove-actual-lrp.complete index process_guid retiring_lrp_count
        info  db-create-unclaimed-actual-lrps.starting key
        info  db-create-unclaimed-actual-lrps.complete key
        {unclaiming[0]}
        {unclaiming[1]}
        DISPLACED
        info  suspect-keys-with-existing-cells.promote-suspect-actual-lrp.starting index process_guid
        info  suspect-keys-with-existing-cells.promote-suspect-actual-lrp.complete index process_guid
        debug suspect-keys-to-retire.db-remove-suspect-actual-lrp.starting lrp_key
        debug suspect-keys-to-retire.db-remove-suspect-actual-lrp.complete lrp_key
    """
    before, after = (
        [" ".join(line.split()) for line in part.strip().splitlines()] for part in expected.split("DISPLACED")
    )
    told = [line.replace(" converge-lrps.", " ") for line in lines.table()]
    displaced = [line for line in told if " keys-with-missing-cells." in line]
    assert [line for line in told if line not in displaced] == before + after
    # Which of the two comes first is up to Trio.
    prefix = "keys-with-missing-cells."
    assert sorted(displaced) == sorted(
        [
            f"debug {prefix}found-suspect-lrp-unclaiming key",
            *(line.replace("db-", f"{prefix}db-") for line in unclaiming),
            f"info {prefix}db-change-actual-lrp-presence.starting from key to",
            f"info {prefix}db-change-actual-lrp-presence.finished from key to",
            f"info {prefix}create-unclaimed-actual.db-create-unclaimed-actual-lrps.starting key",
            f"info {prefix}create-unclaimed-actual.db-create-unclaimed-actual-lrps.complete key",
            f"info {prefix}creating-start-request index process_guid reason",
        ]
    )


async def test_cells_that_cannot_be_listed_are_logged(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_lrp_bench(log=lines.logger()) as bench:
        bench.cells = UnknownError("locket is away")
        await bench.convergence.converge()

    [line] = lines.lines
    assert (line["message"], line["data"]["error"]) == (
        "bbs.converge-lrps.failed-listing-cells",
        "locket is away",
    )
