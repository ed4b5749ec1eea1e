"""The measurement of convergence passes, on a small fleet: it measures what it says."""

from perf.convergence import INSTANCES_PER_CELL, STEADY_PASSES, ConvergenceAccount, measure_convergence

LRPS = 20 * INSTANCES_PER_CELL


def test_a_small_fleet_is_measured() -> None:
    account = measure_convergence(lrps=LRPS, say=lambda text: None)

    assert account.troubles == []
    assert account.cells == 20
    assert account.vanished == 2 * INSTANCES_PER_CELL
    assert len(account.steady_ms) == STEADY_PASSES
    assert min(account.vanishing_ms, account.vanishing_stalls.turn_ms, account.steady_stalls.turn_ms) > 0


def test_the_report_says_so_in_words() -> None:
    account = ConvergenceAccount(lrps=1000, cells=10, steady_ms=[1.0, 4.0, 2.0], troubles=["late"])

    report = account.report()

    assert report.startswith("1,000 LRPs on 10 cells")
    assert "2.0 (max 4.0)" in report
    assert report.endswith("TROUBLE: late")
