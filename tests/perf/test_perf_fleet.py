"""The wait for a fleet, tiny, on a real server: every step is measured."""

import json

import pytest

from perf.fleet import measure_fleet

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def test_each_step_is_measured() -> None:
    said: list[str] = []
    account = measure_fleet(lrps=24, cells=3, say=said.append)

    placed, evacuated, lost = account.steps
    assert placed.instances == 24
    assert 0 < evacuated.instances < 24
    assert evacuated.instances < lost.instances <= 24, "it has what the evacuated one had, too"
    assert all(step.seconds > 0 and step.server_cpu_s > 0 for step in account.steps)
    assert "a cell is evacuated" in account.report()
    assert len(json.loads(json.dumps(account.as_json(), allow_nan=False))["steps"]) == 3


def test_too_few_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        measure_fleet(lrps=1, cells=2, say=print)
