"""The measurement of what an LRP takes: every part is there, and the parts are what a record's bytes must be at least."""

from perf.memory import MemoryAccount, measure_memory


def test_a_small_fleet_is_measured() -> None:
    account = measure_memory(lrps=200, say=lambda text: None)

    assert min(account.parts.values()) > 0
    assert account.parts["values of routes"] > 800  # the key of the benchmark's route, in base64
    assert account.parts["the rest of the two records"] > 1_000


def test_the_report_adds_up() -> None:
    account = MemoryAccount(lrps=10, parts={"a record": 1000.0, "an index": 234.4})

    assert account.together() == 1234.4
    assert account.report().splitlines()[-1] == "| together |         1,234 |"
