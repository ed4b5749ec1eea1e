"""Whatever stands in the database, the server starts, tells of what it cannot read, and serves everything else.

Every column holds anything that its type allows: other states, other JSON, broken envelopes, protobuf that is none.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bbs.http.endpoints import Unary
from bbs.models import pb
from bbs.models.outcome import Record
from bbs.store.backend import DroppedRow
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec, Policy
from bbs.store.memory_backend import Disk
from tests.fuzzing import examples
from tests.records import desired_lrp
from tests.routes.conftest import KEYRING
from tests.routes.fuzz_bench import REQUESTS, Fuzzed, fuzzed
from tests.routes.test_message_fuzz import ROWS
from tests.store.damage import every_odd_value, odd_values

HEALTHY = desired_lrp("healthy")
Values = tuple[Any, ...]


@st.composite
def damaged_rows(draw: st.DrawFn) -> list[tuple[Codec, Values]]:
    """Rows of any table, in each of which some columns are damaged; the key is, too, now and then."""
    rows = []
    for record in draw(st.lists(st.sampled_from(ROWS), min_size=1, max_size=4)):
        codec = CODECS[type(record)]
        values = list(codec.encode(record, KEYRING))
        sealed = [at for at, column in enumerate(codec.columns) if column.sealed]
        places = st.sampled_from([*range(len(values)), *sealed, *sealed])
        for at in draw(st.sets(places, min_size=1, max_size=3)):
            values[at] = draw(odd_values(codec.table, codec.columns[at], KEYRING))
        rows.append((codec, tuple(values)))
    return rows


def disk_with(rows: Sequence[tuple[Codec, Values]]) -> Disk:
    disk = Disk()
    healthy = CODECS[type(HEALTHY)]
    for codec, values in [*rows, (healthy, healthy.encode(HEALTHY, KEYRING))]:
        disk.rows[codec.table][values[: codec.key_columns]] = values
    return disk


async def serve(rows: Sequence[tuple[Codec, Values]]) -> None:
    disk, dropped = disk_with(rows), list[DroppedRow]()
    undecodable = [
        error
        for codec in CODECS.values()
        for error in codec.decode_rows(disk.rows[codec.table].values(), KEYRING)[1]
    ]
    async with fuzzed(disk, on_dropped=dropped.append) as bbs:
        assert {(each.table, each.key) for each in dropped} == {
            (each.table, each.key) for each in undecodable
        }
        for _ in range(2):
            await ask_everything(bbs)
            await bbs.converge()
            bbs.check_log()
        healthy = await bbs.server.ask(
            "/v1/desired_lrps/get_by_process_guid.r3",
            pb.DesiredLRPByProcessGuidRequest(process_guid="healthy"),
            pb.DesiredLRPResponse,
        )
        assert healthy.desired_lrp.process_guid == "healthy"
        left_out = {(each.table, each.key) for each in undecodable if each.policy is Policy.LEAVE_OUT}
        bbs.check_rows(left_out=left_out)


async def ask_everything(bbs: Fuzzed) -> None:
    for route in bbs.server.service.routes.routes:
        if isinstance(route.endpoint, Unary):
            for body in [request.SerializeToString() for request in REQUESTS[route.name]] or [b""]:
                await bbs.ask(route, body)


@pytest.mark.slow
@pytest.mark.parametrize("record_class", CODECS)
async def test_every_column_may_hold_anything(record_class: type[Record]) -> None:
    """One row for each value of each column, all in one database, each under a guid of its own."""
    codec = CODECS[record_class]
    record = next(record for record in ROWS if type(record) is record_class)
    rows = list[tuple[Codec, Values]]()
    for at, column in list(enumerate(codec.columns))[1:]:
        for odd in every_odd_value(codec.table, column, KEYRING):
            values = list(codec.encode(record, KEYRING))
            values[0], values[at] = f"row-{len(rows)}", odd
            rows.append((codec, tuple(values)))
    await serve(rows)


@pytest.mark.slow
@examples(15)
@given(rows=damaged_rows())
def test_any_rows_are_served(rows: list[tuple[Codec, Values]]) -> None:
    trio.run(serve, rows)
