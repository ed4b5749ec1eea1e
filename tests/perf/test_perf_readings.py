"""Medians, ratios, tables and pages from figures made up; and how what is measured is read."""

import gc
import json
import math
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bbs
from bbs.models import pb
from perf import page
from perf.__main__ import _points
from perf.beds import ServerSpec
from perf.machine import Moment, facts, why_not_quiet
from perf.observed import LAYOUT, note_collections
from perf.page import NoPlots, as_html
from perf.peers import Counts
from perf.probe import Probe, mean_of, parse, quantile_of
from perf.readings import Outcome, Parts, Reading, median_parts, medians, one_after_the_other, ratios
from perf.report import as_text
from perf.rows import NotAList, count_rows
from perf.streams import MARK, _Stream
from perf.workloads import field_of_state


def claims(per_s: float, *, server_s: float = 0.1) -> Reading:
    parts = Parts(server_s=server_s, database_s=0.01)
    values = {"req/s": per_s, "p50 ms": 1.0, "p99 ms": 1e3 / per_s, "max ms": 20.0}
    return Reading(step="claim", values=values, parts=parts, work=100)


def outcome() -> Outcome:
    found = Outcome(servers=["a", "b"], rounds=3, facts={"server a": "our own"})
    found.add("life", None, "a", [claims(100)])
    found.add("life", None, "b", [claims(150)])
    for per_s in (300, 200):
        found.add("life", None, "a", [claims(per_s)])
        found.add("life", None, "b", [claims(per_s / 2)])
    return found


def test_medians_are_of_each_value_over_the_rounds() -> None:
    rounds = [claims(100, server_s=0.3), claims(300, server_s=0.1), claims(200, server_s=0.2)]

    assert medians(rounds) == {"req/s": 200, "p50 ms": 1.0, "p99 ms": 5.0, "max ms": 20.0}
    assert median_parts(rounds)["server_us"] == pytest.approx(2_000)
    assert math.isnan(median_parts(rounds)["batch"])  # was never known


def test_a_step_that_was_taken_in_parts_has_the_rate_of_the_whole() -> None:
    """100 requests at 100/s and 100 at 300/s: 200 in 1.33 s."""
    whole = one_after_the_other([claims(100, server_s=0.1), claims(300, server_s=0.3)])

    assert whole.values["req/s"] == pytest.approx(150)
    assert whole.values["p99 ms"] == 10.0
    assert whole.work == 200
    assert whole.parts.server_s == pytest.approx(0.4)


def test_ratios_are_to_the_first_server() -> None:
    by_server = {"a": [claims(100)], "b": [claims(150), claims(250)]}

    assert ratios(by_server, ["a", "b"]) == {"a": 1.0, "b": 2.0}
    assert ratios({"b": [claims(1)]}, ["a", "b"]) == {}  # a took no part


def test_the_report_has_a_line_per_server_and_marks_what_is_worse() -> None:
    text = as_text(outcome())

    assert "- server a: our own" in text
    a, b = (line for line in text.splitlines() if line.startswith("| claim"))
    assert a.split()[-2] == "1.00"
    assert "0.75 (worse)" in b
    assert "batch" not in text.split("\n\n")[-1]  # nobody knows it, so it has no column


@pytest.mark.parametrize("troubles", [[], ["life, b: 3 instead of 4"]])
def test_troubles_are_told_and_make_the_outcome_bad(troubles: list[str]) -> None:
    found = outcome()
    found.troubles = troubles

    assert found.good == (not troubles)
    assert [line for line in as_text(found).splitlines() if line.startswith("TROUBLE")] == [
        f"TROUBLE: {trouble}" for trouble in troubles
    ]


def test_the_figures_are_json_without_nan() -> None:
    (scenario,) = json.loads(json.dumps(outcome().as_json(), allow_nan=False))["scenarios"]

    (step,) = scenario["steps"]
    assert step["servers"]["a"]["rounds"][0]["req/s"] == 100
    assert step["servers"]["a"]["median_parts"]["batch"] is None


@pytest.mark.parametrize("points", [[None], [10, 100]])
def test_a_page_stands_alone_and_shows_every_step(points: list[float | None]) -> None:
    pytest.importorskip("matplotlib")
    found = outcome()
    found.readings = {("life", point): found.readings["life", None] for point in points}
    found.troubles = ["<b>"]

    text = as_html(found)

    assert text.count("<svg") == 1
    assert text.count("<table>") == len(points)
    assert "&lt;b&gt;" in text
    assert "src=" not in text


def test_without_matplotlib_it_is_said_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(NoPlots, match=r"bbs\[perf\]"):
        page.require_plots()


@given(st.lists(st.sampled_from(["CLAIMED", "UNCLAIMED", "RUNNING", "CRASHED"]), max_size=30))
def test_rows_are_counted_as_a_decoder_does(states: list[str]) -> None:
    rows = [pb.ActualLRP(state=state) for state in states]
    body = pb.ActualLRPsResponse(actual_lrps=rows).SerializeToString()

    assert count_rows(body) == len(states)
    assert count_rows(body, holding=field_of_state("CLAIMED")) == states.count("CLAIMED")


@pytest.mark.parametrize(
    "body",
    [
        pb.ActualLRPsResponse(error=pb.Error(message="boom")).SerializeToString(),
        pb.ActualLRPsResponse(actual_lrps=[pb.ActualLRP(state="RUNNING")]).SerializeToString()[:-1],
        pb.PingResponse(available=True).SerializeToString(),
        b"\x12",
    ],
    ids=["an error", "cut short", "not a list", "no length"],
)
def test_what_is_no_list_is_not_counted(body: bytes) -> None:
    with pytest.raises(NotAList):
        count_rows(body)


PAGE = """# HELP bbs_batch_rows Rows
bbs_batch_rows_count {count}
bbs_batch_rows_sum {sum}
bbs_lag_bucket{{le="0.001"}} {fast}
bbs_lag_bucket{{le="0.05"}} {all}
bbs_lag_bucket{{le="+Inf"}} {all}
"""


def test_the_metrics_page_is_read_as_what_changed_on_it() -> None:
    before = parse(PAGE.format(count=10, sum=1000, fast=100, all=100))
    after = parse(PAGE.format(count=14, sum=1012, fast=150, all=200))

    assert mean_of(before, after, "bbs_batch_rows") == 3.0
    assert math.isnan(mean_of(before, before, "bbs_batch_rows"))
    assert quantile_of(before, after, "bbs_lag", 0.5) == 0.001
    assert quantile_of(before, after, "bbs_lag", 0.99) == 0.05
    assert math.isnan(quantile_of(before, before, "bbs_lag", 0.99))


def test_the_longest_collection_is_that_since_it_was_last_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "collections"
    callbacks = list(gc.callbacks)
    note_collections(file)
    try:
        gc.collect()
        probe = Probe(collections=file)

        assert probe.longest_collection_ms() > 0
    finally:
        gc.callbacks[:] = callbacks
    assert probe.longest_collection_ms() == 0
    assert LAYOUT.unpack(file.read_bytes())[0] >= 1


def test_the_auctioneer_counts_instances_not_calls() -> None:
    counts = Counts()

    counts.note("/v1/lrps", json.dumps([{"indices": [0, 1]}, {"indices": [7]}]).encode())
    counts.note("/v1/lrps", b"null")
    counts.note("/v1/tasks", b"[{}, {}]")
    counts.note("/v1/lrps/guid/instances/other/stop", b"")

    assert (counts.lrp_calls, counts.instances, counts.largest) == (2, 3, 3)
    assert (counts.task_calls, counts.tasks, counts.rep_calls) == (1, 2, 1)


@given(st.integers(0, 20), st.lists(st.integers(1, 40), max_size=40))
def test_events_are_counted_however_they_are_cut(events: int, cuts: list[int]) -> None:
    text = b"id: 1\nevent: x\n" + MARK + b" ZGF0YTo=\n\n"
    rest, stream = text * events, _Stream(None)  # type: ignore[arg-type]  # it is not read from
    for cut in cuts:
        piece, rest = rest[:cut], rest[cut:]
        stream.take(piece)
    stream.take(rest)

    assert stream.events == events


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("own", ServerSpec()),
        ("mariadb --no-fast-lane", ServerSpec(flags=("--no-fast-lane",), on_mariadb=True)),
        (
            "own --no-fast-lane --batch-rows-max 1",
            ServerSpec(flags=("--no-fast-lane", "--batch-rows-max", "1")),
        ),
        ("https://a:1", ServerSpec(url="https://a:1", known={"ca": "F"})),
        ("https://a:1,ca=G,pid=7", ServerSpec(url="https://a:1", known={"ca": "G", "pid": "7"})),
    ],
)
def test_a_server_is_named_by_a_line_of_text(text: str, expected: ServerSpec) -> None:
    assert ServerSpec.parse(text, defaults={"ca": "F"}) == expected


@pytest.mark.parametrize("text", ["owner", "own@/nowhere", "ftp://a", "https://a,lock=b", "https://a,pid="])
def test_a_server_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ServerSpec.parse(text)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["growth=50,10", "fan-out=7"], {"growth": (10, 50), "fan-out": (7,)}),
    ],
)
def test_points_are_given_by_scenario(texts: list[str], expected: dict[str, tuple[int, ...]]) -> None:
    assert _points(texts) == expected


@pytest.mark.parametrize("text", ["10", "life=10", "growth", "growth=", "growth=a", "growth=0,1"])
def test_points_of_nothing_that_grows_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"--points {text}: SCENARIO=")):
        _points([text])


def test_what_others_use_of_the_machine_is_what_is_left_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = Moment(clock_s=100, all_s=50, ours_s=20), Moment(clock_s=110, all_s=65, ours_s=31)

    assert now.others_since(before) == pytest.approx(0.4)
    assert (
        Moment(clock_s=110, all_s=60, ours_s=31).others_since(before) == 0
    )  # clocks tick at different times


@pytest.mark.parametrize(("load", "told"), [(0.25, False), (0.75, True)])
def test_a_machine_that_is_not_quiet_is_told_of(
    monkeypatch: pytest.MonkeyPatch, load: float, told: bool
) -> None:
    monkeypatch.setattr("perf.machine.cores", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))

    assert bool(why_not_quiet()) == told


def test_what_is_measured_is_said_with_its_versions() -> None:
    found = facts()

    assert found["bbs"].startswith(bbs.__version__)
    assert "cores" in found["machine"]
