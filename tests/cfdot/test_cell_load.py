"""A rep's account of its cell in short, whatever it says."""

import json
from typing import Any

import pytest

from bbs.cfdot.cell_load import Amount, CellLoad, read_load

STATE: dict[str, Any] = {
    "cell_id": "c",
    "Zone": "z1",
    "TotalResources": {"MemoryMB": 1000, "DiskMB": 2000, "Containers": 50},
    "AvailableResources": {"MemoryMB": 600, "DiskMB": 2000, "Containers": 47},
    "LRPs": [{}, {}],
    "Tasks": None,
    "StartingContainerCount": 1,
    "Evacuating": True,
}
LOAD = CellLoad(
    cell_id="c",
    zone="z1",
    memory=Amount(400, 1000),
    disk=Amount(0, 2000),
    containers=Amount(3, 50),
    lrps=2,
    tasks=0,
    starting=1,
    is_evacuating=True,
)


def test_all_that_it_says() -> None:
    assert read_load(json.dumps(STATE)) == LOAD
    assert (LOAD.memory.told("M"), LOAD.containers.told()) == ("400/1000M", "3/50")


@pytest.mark.parametrize(
    "state", ["", "no", "[]", "null", "7", "[" * 100_000, '{"cell_id":7,"Zone":[],"LRPs":{}}']
)
def test_what_is_no_account_says_nothing(state: str) -> None:
    load = read_load(state)
    assert (load.cell_id, load.zone, load.memory.told(), load.is_evacuating) == ("", "", "", False)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("AvailableResources", None, "?/1000M"),
        ("AvailableResources", {"MemoryMB": True}, "?/1000M"),
        ("TotalResources", {"MemoryMB": "1000"}, ""),
        ("TotalResources", [], ""),
        ("AvailableResources", {"MemoryMB": 1100}, "?/1000M"),
    ],
)
def test_a_part_that_is_not_as_it_should_be(key: str, value: Any, told: str) -> None:
    load = read_load(json.dumps(STATE | {key: value}))
    assert load.memory.told("M") == told
    assert (load.zone, load.lrps) == ("z1", 2)
