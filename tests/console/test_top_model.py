"""What ``bbs top`` makes of readings and records, without a server and a terminal."""

import math

import pytest
from rich.text import Text

from bbs.client import Added, Changed, Removed
from bbs.console.debug_port import debug_url
from bbs.console.readings import Between, NotMetrics, read
from bbs.console.tallies import Tallies, Uneven
from bbs.console.top_view import NO_DEBUG, Seen, duration, lines
from bbs.models import pb
from bbs.words.latencies import group_of, quantile

INF = math.inf


@pytest.mark.parametrize(
    ("buckets", "q", "told"),
    [
        ({}, 0.5, None),
        ({1.0: 0.0, INF: 0.0}, 0.5, None),
        ({1.0: 10.0, INF: 10.0}, 0.5, 0.5),
        ({1.0: 5.0, 2.0: 10.0, INF: 10.0}, 0.5, 1.0),
        ({1.0: 5.0, 2.0: 10.0, INF: 10.0}, 0.75, 1.5),
        ({1.0: 0.0, 2.0: 0.0, 4.0: 4.0, INF: 4.0}, 0.5, 3.0),
        ({1.0: 1.0, INF: 100.0}, 0.99, INF),
    ],
)
def test_quantiles(buckets: dict[float, float], q: float, told: float | None) -> None:
    assert quantile(buckets, q) == told


def page(count: int, fast: int, events: int) -> str:
    name = "bbs_request_duration_seconds"
    return (
        f"# TYPE {name} histogram\n"
        f'{name}_bucket{{le="0.1",route="StartActualLRP_r0"}} {fast}\n'
        f'{name}_bucket{{le="+Inf",route="StartActualLRP_r0"}} {count}\n'
        f'{name}_count{{route="StartActualLRP_r0"}} {count}\n'
        f'{name}_sum{{route="StartActualLRP_r0"}} 1\n'
        "# TYPE bbs_events_published gauge\n"
        f"bbs_events_published {events}\n"
    )


def test_rates_and_quantiles_are_of_the_time_between() -> None:
    between = Between(read(page(100, 0, 50), at_s=10), read(page(120, 20, 70), at_s=20))

    latency = between.latency("bbs_request_duration_seconds", "StartActualLRP_r0")
    assert (latency.per_s, latency.p50_s) == (2.0, 0.05)
    assert between.per_s("bbs_events_published") == 2.0
    assert between.per_s("bbs_no_such_thing") is None
    assert between.latency("bbs_no_such_thing").p99_s is None


def test_counters_of_a_server_that_was_started_anew_begin_at_zero() -> None:
    between = Between(read(page(100, 100, 50), at_s=10), read(page(10, 10, 5), at_s=20))

    assert between.latency("bbs_request_duration_seconds", "StartActualLRP_r0").per_s == 1.0
    assert between.per_s("bbs_events_published") == 0.5


@pytest.mark.parametrize("text", ["", "<html>", "a b c d", "bbs_x{ 1"])
def test_other_pages(text: str) -> None:
    with pytest.raises(NotMetrics):
        read(text, at_s=0)


@pytest.mark.parametrize(
    ("route", "group"),
    [
        ("ActualLRPs_r0", "instances"),
        ("EvacuateRunningActualLRP_r1", "instances"),
        ("DesireDesiredLRP_r2", "desired LRPs"),
        ("DesireTask_r2", "tasks"),
        ("Domains", "cells, domains"),
        ("Ping", "other"),
    ],
)
def test_groups(route: str, group: str) -> None:
    assert group_of(route) == group


@pytest.mark.parametrize(("seconds", "told"), [(None, "-"), (0.0005, "0.5ms"), (1.5, "1.50s"), (INF, ">30s")])
def test_durations(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("", ""),
        ("127.0.0.1:17017", "http://127.0.0.1:17017/metrics"),
        ("http://host:1/", "http://host:1/metrics"),
        ("http://host:1/metrics", "http://host:1/metrics"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    assert debug_url(address, "/metrics") == url


def row(state: str, cell_id: str = "") -> pb.ActualLRP:
    return pb.ActualLRP(state=state, actual_lrp_instance_key=pb.ActualLRPInstanceKey(cell_id=cell_id))


def instance(guid: str, index: int, presence: int = pb.ActualLRP.ORDINARY) -> pb.ActualLRP:
    key = pb.ActualLRPKey(process_guid=guid, index=index)
    return pb.ActualLRP(actual_lrp_key=key, state="RUNNING", presence=pb.ActualLRP.Presence.Name(presence))


def test_what_is_missing_extra_and_not_desired_is_counted_as_it_changes() -> None:
    tallies = Tallies()
    app = pb.DesiredLRP(process_guid="app", instances=3)
    tallies.begin([app, instance("app", 0), instance("app", 7), instance("gone", 0)])
    tallies.begin([instance("gone", 0, pb.ActualLRP.SUSPECT), instance("app", 1, pb.ActualLRP.EVACUATING)])
    assert tallies.uneven() == Uneven(missing=2, extra=1, not_desired=2)

    tallies.take(Changed(app, pb.DesiredLRP(process_guid="app", instances=1)))
    tallies.take(Removed(instance("gone", 0)))
    tallies.take(Changed(instance("app", 7), instance("app", 7)))
    assert tallies.uneven() == Uneven(missing=0, extra=1, not_desired=1)

    tallies.take(Removed(instance("app", 7)))
    tallies.take(Removed(instance("gone", 0, pb.ActualLRP.SUSPECT)))
    assert tallies.uneven() == Uneven()


def test_tallies_follow_changes() -> None:
    tallies = Tallies()
    tallies.begin([row("CLAIMED", "a"), pb.DesiredLRP(instances=3), pb.Task(state="Running")])
    tallies.take(Changed(row("CLAIMED", "a"), row("RUNNING", "a")))
    tallies.take(Added(row("RUNNING", "b")))
    tallies.take(Removed(row("RUNNING", "b")))

    assert +tallies.instances == {"RUNNING": 1}
    assert (tallies.wanted, tallies.processes, +tallies.tasks) == (3, 1, {"Running": 1})
    assert (tallies.cells_with_instances(), tallies.changes) == (frozenset("a"), 3)


def seen(**fields: object) -> Seen:
    tallies = Tallies()
    tallies.begin([row("RUNNING", "gone\x1b[2J"), row("CRASHED"), pb.DesiredLRP(instances=2)])
    of = {
        "target": "https://a",
        "clock": "12:00:00",
        "tallies": tallies,
        "changes_per_s": 0.5,
        "cells": frozenset(["b"]),
        "domains": ["d"],
        **fields,
    }
    return Seen(**of)  # type: ignore[arg-type]  # fields of several types in one dictionary


def texts(seen: Seen) -> list[str]:
    shown = list(lines(seen))
    assert all(
        isinstance(line, Text) and "\x1b" not in line.plain and "\n" not in line.plain for line in shown
    )
    return [line.plain for line in shown]


def test_a_frame_without_metrics_has_states_and_says_what_is_missing() -> None:
    shown = texts(seen(stale="connection refused"))

    assert "states are as last known: connection refused" in shown
    assert "instances  1 crashed  1 running  (of 2 desired, 1 processes, 1 missing)" in shown
    assert "cells      1 present, 1 missing: gone\ufffd[2J" in shown
    assert shown[-1] == NO_DEBUG


def test_a_frame_with_metrics() -> None:
    shown = texts(seen(between=Between(read(page(100, 0, 50), at_s=10), read(page(120, 20, 70), at_s=20))))

    assert "instances                     2.0   50.0ms   99.0ms" in shown
    assert "  StartActualLRP_r0           2.0   50.0ms   99.0ms" in shown
    assert any(line.startswith("events sent") and line.endswith("2.0/s") for line in shown)
