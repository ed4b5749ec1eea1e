"""Cells as Locket tells of them: spec: locking-and-presence.md §4, §5."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bbs.log import Logger
from bbs.models import pb
from bbs.models.errors import BBSError, ResourceNotFound, Type, as_refusal
from bbs.peers.interfaces import Cell
from bbs.routes.answers import error_response
from bbs.sync.locket import presences
from bbs.sync.locket.client import LocketError, Resource
from bbs.sync.locket.presences import Presences
from bbs.sync.locket.table import LocalLocket, LocketTable
from tests.log_lines import Lines

EXAMPLE = (
    '{"cell_id":"cell-0","rep_address":"http://10.0.16.4:1800","zone":"z1","capacity":{"memory_mb":16384,'
    '"disk_mb":65536,"containers":250},"rootfs_provider_list":[{"name":"preloaded","properties":["cflinuxfs4"]},'
    '{"name":"extra"}],"placement_tags":["iso"],"optional_placement_tags":["opt"],'
    '"rep_url":"https://cell-0.cell.service.cf.internal:1801","annotations":{"k":"v"}}'
)
EXAMPLE_CELL = pb.CellPresence(
    cell_id="cell-0",
    rep_address="http://10.0.16.4:1800",
    zone="z1",
    capacity=pb.CellCapacity(memory_mb=16384, disk_mb=65536, containers=250),
    rootfs_providers=[pb.Provider(name="preloaded", properties=["cflinuxfs4"]), pb.Provider(name="extra")],
    placement_tags=["iso"],
    optional_placement_tags=["opt"],
    rep_url="https://cell-0.cell.service.cf.internal:1801",
    annotations={"k": "v"},
)


class World:
    def __init__(self, *, deadline_s: float = 1) -> None:
        self.table = LocketTable(trio.current_time)
        self.locket = LocalLocket(self.table)
        self.cells = Presences(self.locket, deadline_s=deadline_s)

    def announce(self, key: str, value: str) -> None:
        self.table.lock(Resource.presence(key, owner="rep", value=value), ttl_s=15)


async def test_every_field_reaches_the_wire(log: Logger) -> None:
    world = World()
    world.announce("cell-0", EXAMPLE)

    assert pb.CellsResponse.FromString(b"".join(await world.cells.list_wire(log=log))).cells == [EXAMPLE_CELL]
    assert await world.cells.cell_by_id("cell-0", log=log) == Cell(
        cell_id="cell-0", rep_url=EXAMPLE_CELL.rep_url
    )


async def test_a_lone_cell_is_these_bytes(log: Logger) -> None:
    world = World()
    world.announce("c1", '{"cell_id":"c1"}')

    assert b"".join(await world.cells.list_wire(log=log)).hex() == "12040a026331"


async def test_cells_go_by_the_id_that_they_tell_and_the_later_one_wins(log: Logger) -> None:
    world = World()
    world.announce("key-1", '{"cell_id":"c1","zone":"z1"}')
    world.announce("key-2", '{"cell_id":"c1","zone":"z2"}')
    world.table.lock(Resource.lock("bbs", owner="bbs-1"), ttl_s=15)

    assert await world.cells.present_cells(log=log) == {"c1"}
    [cell] = pb.CellsResponse.FromString(b"".join(await world.cells.list_wire(log=log))).cells
    assert cell.zone == "z2"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "expected JSON, is empty"),
        ("{", "expected JSON, which ends too early"),
        ("{'cell_id':'c'}", "expected JSON, is none from character 2 on"),
        ("[]", "expected an object, is an array"),
        ('{"cell_id":7}', "cell_id: expected a string, is an integer"),
        (
            '{"capacity":{"memory_mb":2147483648}}',
            "capacity.memory_mb: expected an integer from -2147483648 to 2147483647, is another one",
        ),
        (
            '{"rootfs_provider_list":[{"properties":{}}]}',
            "rootfs_provider_list[0].properties: expected an array, is an object",
        ),
    ],
)
async def test_what_cannot_be_read_is_told_and_passed_over(
    log: Logger, lines: Lines, value: str, reason: str
) -> None:
    world = World()
    world.announce("good", '{"cell_id":"good"}')
    world.announce("bad", value)

    assert await world.cells.present_cells(log=log) == {"good"}
    assert lines.messages == ["bbs.cells.failed-to-unmarshal-presence"]
    assert lines.data_of("bbs.cells.failed-to-unmarshal-presence") == {
        "session": "1",
        "key": "bad",
        "error": reason,
    }
    with pytest.raises(BBSError) as refused:
        await world.cells.cell_by_id("bad", log=log)
    assert refused.value.wire_type == Type.UnknownError
    assert str(refused.value) == f"presence of bad: {reason}"
    told = lines.data_of("bbs.cell-by-id.failed-to-unmarshal-presence")
    assert (told["cell-id"], told["error"]) == ("bad", reason)


async def test_null_is_a_cell_without_a_name(log: Logger) -> None:
    world = World()
    world.announce("c1", "null")

    assert await world.cells.present_cells(log=log) == {""}


async def test_no_cells_are_no_error(log: Logger) -> None:
    world = World()

    assert await world.cells.present_cells(log=log) == set()
    assert await world.cells.list_wire(log=log) == ()
    with pytest.raises(ResourceNotFound):
        await world.cells.cell_by_id("c1", log=log)


Lookup = Callable[[Presences, Logger], Any]

LOOKUPS = [
    pytest.param(lambda cells, log: cells.present_cells(log=log), "cells.failed-to-fetch-cells-from-locket", {}, id="ids"),
    pytest.param(lambda cells, log: cells.list_wire(log=log), "cells.failed-to-fetch-cells-from-locket", {}, id="list"),
    pytest.param(lambda cells, log: cells.cell_by_id("c1", log=log), "cell-by-id.failed-to-fetch-presence-from-locket",
                 {"cell-id": "c1"}, id="one"),
]  # fmt: skip


@pytest.mark.parametrize(("lookup", "message", "data"), LOOKUPS)
async def test_when_locket_is_away_nobody_can_say(
    log: Logger, lines: Lines, lookup: Lookup, message: str, data: dict[str, str]
) -> None:
    world = World()
    world.locket.unreachable = True

    with pytest.raises(LocketError) as refused:
        await lookup(world.cells, log)

    text = "rpc error: code = Unavailable desc = Locket is unreachable"
    assert lines.messages == [f"bbs.{message}"]
    assert lines.data_of(f"bbs.{message}").items() >= {**data, "error": text}.items()
    answer = pb.CellsResponse.FromString(error_response(as_refusal(refused.value)))
    assert answer == pb.CellsResponse(error=pb.Error(type=Type.UnknownError, message=text))


@pytest.mark.parametrize(("lookup", "message", "data"), LOOKUPS)
async def test_a_deadline_of_zero_has_passed(
    log: Logger, autojump_clock: MockClock, lookup: Lookup, message: str, data: dict[str, str]
) -> None:
    world = World(deadline_s=0)
    world.announce("c1", "{}")

    with pytest.raises(LocketError, match=r"code = DeadlineExceeded desc = context deadline exceeded$"):
        await lookup(world.cells, log)


async def test_a_presence_is_read_once_as_long_as_it_does_not_change(
    log: Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def from_json(message_class: type[pb.CellPresence], text: str) -> pb.CellPresence:
        read.append(text)
        return pb.CellPresence(cell_id=text)

    monkeypatch.setattr(presences, "from_json", from_json)
    world = World()
    world.announce("1", "c1")
    world.announce("2", "c2")
    for _ in range(3):
        assert await world.cells.present_cells(log=log) == {"c1", "c2"}
    world.announce("2", "c2 again")
    assert await world.cells.present_cells(log=log) == {"c1", "c2 again"}

    assert read == ["c1", "c2", "c2 again"]
    world.announce("2", "c2")
    assert await world.cells.present_cells(log=log) == {"c1", "c2"}
    assert read[3:] == ["c2"], "what nobody announces any more is forgotten"
