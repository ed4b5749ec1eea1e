"""Whatever a body holds, its route answers with a message, and everything goes on: rows, events, passes, the log.

Bodies are made from the descriptors of each route's request (`tests.routes.message_grammar`).
"""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bbs.http.endpoints import EventStream
from bbs.models.domain import Domain
from bbs.models.outcome import Record
from bbs.models.task import TaskState
from tests.fuzzing import examples
from tests.records import actual_lrp, desired_lrp
from tests.records import task as a_task
from tests.routes.fuzz_bench import REQUESTS, fuzzed
from tests.routes.message_grammar import Grammar
from tests.routes.test_request_lines import CRASHED, DESIRED, EVACUATING, RAN, RUNNING, SUSPECT
from tests.test_secrets import VARIABLE

GRAMMAR = Grammar(
    {
        "process_guid": ["p", "q", "r", "absent"],
        "process_guids": ["p", "q", "absent"],
        "task_guid": ["t", "u", "absent"],
        "domain": ["d", "e"],
        "cell_id": ["c1", "c2", "gone"],
        "instance_guid": ["a", "b", "i"],
        "index": [0, 1, 2],
        "instances": [0, 1, 3],
        "ttl": [0, 1, 60],
        "value": [VARIABLE.text, "v"],
    }
)

ROWS: list[Record] = [
    DESIRED, RUNNING, CRASHED, SUSPECT, EVACUATING, RAN, a_task(), actual_lrp("q"), desired_lrp("q", instances=2),
    a_task(state=TaskState.Completed), a_task("u", state=TaskState.Resolving), Domain(name="d", expire_time_ns=2**62),
]  # fmt: skip


async def test_each_route_is_tried() -> None:
    async with fuzzed() as bbs:
        assert set(REQUESTS) == {route.name for route in bbs.server.service.routes.routes}


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUESTS)
async def test_any_body_is_answered(name: str) -> None:
    async with fuzzed() as bbs:
        [route] = [route for route in bbs.server.service.routes.routes if route.name == name]
        ask = bbs.subscribe if isinstance(route.endpoint, EventStream) else bbs.ask
        bodies = GRAMMAR.bodies(REQUESTS[name]) if REQUESTS[name] else st.binary(max_size=20)

        async def example(rows: list[Record], body: bytes) -> None:
            await bbs.there_are(rows)
            await ask(route, body)
            bbs.check_log()
            bbs.check_rows()

        @examples(6)
        @given(rows=st.lists(st.sampled_from(ROWS), max_size=4), body=bodies)
        def check(rows: list[Record], body: bytes) -> None:
            trio.from_thread.run(example, rows, body)

        for request in REQUESTS[name]:
            whole = request.SerializeToString()
            for body in (whole, whole[:-1], whole[: len(whole) // 2], b"\x0b" + whole, whole + b"\xff\xff"):
                await example([DESIRED, RUNNING, RAN], body)
        await trio.to_thread.run_sync(check)
        await bbs.converge()
        bbs.check_log()
        bbs.check_rows()
