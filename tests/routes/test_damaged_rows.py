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
from bbs.store.backend import DroppedRow
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec, Policy
from bbs.store.memory_backend import Disk
from tests.fuzzing import examples
from tests.records import desired_lrp
from tests.routes.conftest import KEYRING
from tests.routes.fuzz_bench import REQUESTS, Fuzzed, fuzzed
from tests.routes.test_message_fuzz import ROWS
from tests.store.damage import odd_values

HEALTHY = desired_lrp("healthy")
Values = tuple[Any, ...]


@st.composite
def damaged_rows(draw: st.DrawFn) -> list[tuple[Codec, Values]]:
    """Rows of any table, in each of which some columns are damaged; the key is, too, now and then."""
    rows = []
    for record in draw(st.lists(st.sampled_from(ROWS), min_size=1, max_size=4)):
        codec = CODECS[type(record)]
        values = list(codec.encode(record, KEYRING))
        for at in draw(st.sets(st.integers(0, len(values) - 1), min_size=1, max_size=3)):
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
@examples(25)
@given(rows=damaged_rows())
def test_any_rows_are_served(rows: list[tuple[Codec, Values]]) -> None:
    trio.run(serve, rows)
