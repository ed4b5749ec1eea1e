"""What the dashboard costs, tiny, on real servers: nobody looks and ten do, at rest, with writes, and with a cell lost."""

import json

import pytest

from perf.dashboard.measured import measure_dashboard

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def test_each_condition_is_measured_with_and_without_viewers() -> None:
    said: list[str] = []
    account = measure_dashboard(
        lrps=40, cells=4, lost_cells=1, rate=40, seconds=0.3, windows=1, say=said.append
    )

    assert [each.name for each in account.conditions] == [
        f"{what}, {who}"
        for what in ("at rest", "writes", "1 cells lost, writes")
        for who in ("nobody looks", "ten look")
    ]
    looked_at = [each for each in account.conditions if each.name.endswith("ten look")]
    assert all(len(each.bytes_per_s()) == 10 for each in looked_at)
    written = [window for each in account.conditions[2:] for window in each.windows]
    assert all(window.writes_per_s > 0 for window in written)
    assert "one app" in account.report()
    assert len(json.loads(json.dumps(account.as_json(), allow_nan=False))["conditions"]) == 6


def test_cells_of_which_none_would_be_left_are_refused() -> None:
    with pytest.raises(ValueError, match="some stay"):
        measure_dashboard(lrps=40, cells=2, lost_cells=2, rate=1, seconds=1, windows=1, say=print)
