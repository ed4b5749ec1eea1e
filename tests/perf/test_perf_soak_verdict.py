"""What a soak judges by: each thing that a server may keep is found, by itself, and what varies without a leak is not."""

from dataclasses import replace
from typing import Any, Final

import pytest

from perf.soak.verdict import (
    BLOCKS_KEPT_MAX,
    GROWTH_BYTES_MAX,
    THREADS_MORE_MAX,
    Check,
    at_rest,
    counted,
    grown,
    kept,
    slope,
)
from perf.soak.vitals import Vitals, connections_in, read_tasks, read_types

BEFORE: Final = Vitals(
    at_s=0.0,
    resident_bytes=100_000_000,
    blocks=400_000,
    objects=100_000,
    uncollectable=0,
    tasks=1_253,
    threads=13,
    descriptors=27,
    clients=0,
    cells=1,
    peers=5,
    sessions=2,
    rows={"tasks": 0, "domains": 1},
    requests=1_000,
    cpu_s=1.0,
    stacks={"init > accept": 3},
    types={"builtins.dict": 10},
)
AFTER: Final = replace(BEFORE, requests=11_000)


def bad(checks: list[Check]) -> list[str]:
    return [check.what for check in checks if not check.good]


def samples(*resident_mb: float) -> list[Vitals]:
    return [
        replace(BEFORE, at_s=15.0 * number, resident_bytes=int(each * 1e6))
        for number, each in enumerate(resident_mb)
    ]


def test_a_server_that_is_as_before_is_steady() -> None:
    assert at_rest(BEFORE, AFTER)
    assert bad([*counted(BEFORE, AFTER), *kept(BEFORE, AFTER), grown(samples(90, 100, 100, 100))]) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"tasks": 1_254}, "tasks"),
        ({"threads": 13 + THREADS_MORE_MAX + 1}, "threads"),
        ({"descriptors": 28}, "descriptors"),
        ({"clients": 1}, "clients"),
        ({"cells": 2}, "cells"),
        ({"sessions": 3}, "sessions"),
        ({"peers": 7, "descriptors": 29}, "peers"),
        ({"rows": {"tasks": 1, "domains": 1}}, "rows of tasks"),
    ],
)
def test_one_more_of_what_is_counted_is_found(change: dict[str, Any], found: str) -> None:
    after = replace(AFTER, **change)

    assert bad(counted(BEFORE, after)) == [found]
    assert not at_rest(BEFORE, after)


def test_idle_connections_to_peers_may_come_and_go() -> None:
    assert bad(counted(BEFORE, replace(AFTER, peers=6, descriptors=28))) == []
    assert bad(counted(BEFORE, replace(AFTER, peers=0, descriptors=22))) == []
    assert bad(counted(BEFORE, replace(AFTER, peers=0, descriptors=27))) == ["descriptors"]


def test_a_task_too_many_is_told_with_where_it_waits() -> None:
    after = replace(AFTER, tasks=1_255, stacks={"init > accept": 3, "init > sleep_forever": 2})

    (told,) = (check.told for check in counted(BEFORE, after) if check.what == "tasks")
    assert told == "+2 init > sleep_forever"


def test_a_block_kept_for_each_request_is_found_with_its_type() -> None:
    requests = 20_000
    after = replace(
        AFTER,
        requests=BEFORE.requests + requests,
        blocks=BEFORE.blocks + requests,
        types={"builtins.dict": 10, "bbs.Head": requests},
    )

    (blocks, _) = kept(BEFORE, after)
    assert not blocks.good
    assert blocks.told == "+20,000 bbs.Head"
    assert bad(kept(BEFORE, replace(AFTER, blocks=BEFORE.blocks + BLOCKS_KEPT_MAX))) == []


def test_garbage_that_cannot_be_collected_is_found() -> None:
    assert bad(kept(BEFORE, replace(AFTER, uncollectable=1))) == ["garbage that cannot be collected"]


def test_memory_may_grow_while_it_warms_up_and_not_after() -> None:
    limit_mb = GROWTH_BYTES_MAX / 1e6

    assert grown(samples(50, 80, *[100] * 8)).good
    assert not grown(samples(*(100 + number * limit_mb / 5 for number in range(10)))).good
    assert grown(samples(*(100 + number * limit_mb / 10 for number in range(10)))).good


def test_a_sample_that_stands_out_is_no_trend() -> None:
    assert grown(samples(*[100] * 9, 150)).good


def test_the_slope_is_that_of_a_line() -> None:
    assert slope([(0, 1), (1, 3), (2, 5), (3, 7)]) == 2


def test_tasks_are_read_with_the_places_where_they_wait() -> None:
    page = (
        "tasks: total 3\n\n2 @\n  init (trio/_run.py:1)\n  accept (bbs/listener.py:2)\n"
        "\n1 @\n  init (trio/_run.py:1)\n\nthreads: total 1\n\nthread MainThread\n  main (x.py:1)\n"
    )

    assert read_tasks(page) == (3, {"init > accept": 2, "init": 1})


def test_types_are_read() -> None:
    page = "gc.objects:\t12\n\ntracked objects by type, frozen ones left out:\n         7 builtins.dict\n         5 a.b.<locals>.C\n"

    assert read_types(page) == {"builtins.dict": 7, "a.b.<locals>.C": 5}


def test_connections_are_those_of_the_process_that_do_not_listen() -> None:
    """/proc/net/tcp has every socket of the machine, ports in hexadecimal."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    row = "   0: 0100007F:{} 0100007F:{} {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0"
    table = "\n".join(
        [
            head,
            row.format("22B9", "0000", "0A", 11),  # listens
            row.format("22B9", "C350", "01", 12),
            row.format("22B9", "C351", "08", 13),  # the peer has closed it
            row.format("C350", "22B9", "01", 14),  # somebody else's
        ]
    )

    found = connections_in(table, ["socket:[11]", "socket:[12]", "socket:[13]", "/dev/null"])

    assert found == [(8_889, 50_000), (8_889, 50_001)]
