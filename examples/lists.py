"""What runs where: lists with filters, states and times.

    python -m examples.lists

Which BBS: see `examples.connect`.
"""

from collections import Counter
from datetime import UTC, datetime

import trio

from bbs.client import ActualLRPState
from examples.connect import connected


# --8<-- [start:lists]
async def main() -> None:
    async with connected() as client:
        for domain in await client.domains():
            desired = await client.desired_lrp_scheduling_infos(domain=domain)
            print(f"{domain}: {sum(info.instances for info in desired)} instances are desired")

        for cell in await client.cells():
            lrps = await client.actual_lrps(cell_id=cell.cell_id)
            states = Counter(ActualLRPState(lrp.state) for lrp in lrps)
            tasks = await client.tasks(cell_id=cell.cell_id)
            print(f"{cell.cell_id}: {states[ActualLRPState.RUNNING]} running, {len(tasks)} tasks")

        for lrp in await client.actual_lrps():
            if lrp.state != ActualLRPState.RUNNING:
                key, since = lrp.actual_lrp_key, datetime.fromtimestamp(lrp.since / 1e9, UTC)
                print(
                    f"{key.process_guid}/{key.index}: {lrp.state} since {since:%H:%M:%S} UTC; {lrp.placement_error}"
                )


# --8<-- [end:lists]

if __name__ == "__main__":
    trio.run(main)
