"""A short soak of a real server: what the load made it open is closed, what it kept is let go.

The same as ``python -m perf soak``, which takes an hour: `--soak-s` has it last longer here. Latency is in no check.
"""

import json

import pytest

from perf.soak.run import SAMPLES_MIN, Soak, SoakPlan, measure_soak

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def soak(pytestconfig: pytest.Config) -> Soak:
    load_s: float = pytestconfig.getoption("--soak-s")
    return measure_soak(SoakPlan(load_s=load_s, sample_every_s=load_s / SAMPLES_MIN, cells=5), say=print)


def test_nothing_is_left_open_and_nothing_is_kept(soak: Soak) -> None:
    assert [check for check in soak.checks() if not check.good] == [], soak.report()


def test_every_kind_of_work_was_done_without_an_error(soak: Soak) -> None:
    assert soak.done.troubles == []
    assert min(soak.done.pieces.values()) > 0


def test_the_load_was_there_when_the_server_was_read(soak: Soak) -> None:
    """Otherwise a soak would find nothing because it looked at nothing."""
    loaded = [window.vitals for window in soak.windows]

    assert len(loaded) >= SAMPLES_MIN // 2
    for what in ("tasks", "descriptors", "clients"):
        assert max(getattr(vitals, what) for vitals in loaded) > getattr(soak.after, what), what
    assert max(vitals.cells for vitals in loaded) >= 1
    assert max(vitals.rows["actual_lrps"] for vitals in loaded) >= 100
    assert soak.after.requests > soak.before.requests


def test_its_figures_are_json(soak: Soak) -> None:
    figures = json.loads(json.dumps(soak.as_json(), allow_nan=False))

    assert figures["verdict"] == soak.verdict()
    assert len(figures["windows"]) == len(soak.windows)
