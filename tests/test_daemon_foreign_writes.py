"""An operator repairs rows in the database of a running server, and clients see it after the next convergence pass."""

import pytest
import trio

from tests.daemons import Surroundings, daemon
from tests.records import desired_message
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


async def test_a_row_that_was_started_by_hand_is_seen_and_told(around: Surroundings) -> None:
    config = around.config("a", converge_repeat_interval="300ms")
    async with daemon(around, config) as bbs, bbs.client() as client:
        await bbs.logs("started")
        await client.desire_lrp(desired_message("p"))
        async with await client.subscribe_to_instance_events() as events:
            await around.database.execute(
                "UPDATE actual_lrps SET state = 'RUNNING', instance_guid = 'i', cell_id = 'c'"
            )
            with trio.fail_after(20):
                async for event in events:
                    if event.name == "actual_lrp_instance_changed":
                        break
        rows = await client.actual_lrps()
        assert ("i", "RUNNING") in [(row.actual_lrp_instance_key.instance_guid, row.state) for row in rows]
        assert await bbs.stop() == 0

    assert "database-audit.memory-differed-from-database" in bbs.messages()


@pytest.mark.parametrize(
    ("statement", "indices"),
    [
        ("UPDATE desired_lrps SET instances = 13", range(13)),
        ("UPDATE desired_lrps SET instances = 3", range(3)),
        ("DELETE FROM actual_lrps WHERE instance_index % 2 = 1", range(10)),
    ],
)
async def test_convergence_acts_on_what_was_changed_by_hand(
    around: Surroundings, statement: str, indices: range
) -> None:
    config = around.config("a", converge_repeat_interval="300ms")
    async with daemon(around, config) as bbs, bbs.client() as client:
        await bbs.logs("started")
        await client.desire_lrp(desired_message("p", instances=10))
        await client.upsert_domain(
            desired_message("p").domain, ttl_s=0
        )  # fresh, so that extra instances may go

        await around.database.execute(statement)
        with trio.fail_after(20):
            await bbs.logs("database-audit.memory-differed-from-database")

        async def is_as_desired() -> bool:
            found = sorted(lrp.actual_lrp_key.index for lrp in await client.actual_lrps())
            return found == list(indices)

        # The pass comes after the audit, and has no line of its own that would tell of its end.
        await wait_until(is_as_desired, within_s=20, what=f"the instances are {indices}")
        assert await bbs.stop() == 0
