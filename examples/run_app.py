"""Desire an app, wait until all its instances run, and remove it.

    python -m examples.run_app

Which BBS: see `examples.connect`. It needs cells, such as those of `bbs demo`.
"""

import secrets

import trio

from bbs.client import ActualLRPState, Added, BBSClient, Changed, UpdateStrategy, pb
from examples.connect import connected

PATIENCE_S = 60.0


# --8<-- [start:app]
def an_app(process_guid: str, *, instances: int) -> pb.DesiredLRP:
    lrp = pb.DesiredLRP(
        process_guid=process_guid,
        domain="examples",
        root_fs="preloaded:cflinuxfs4",
        instances=instances,
        memory_mb=64,
        disk_mb=128,
        action=pb.Action(run_action=pb.RunAction(path="/bin/sleep", args=["3600"], user="vcap")),
        update_strategy=UpdateStrategy.ROLLING,
    )
    lrp.metric_tags["source_id"].static = process_guid
    return lrp


async def run(client: BBSClient, lrp: pb.DesiredLRP) -> dict[int, pb.ActualLRP]:
    """Desire an app. Returns its instances by index, once all of them run."""
    running: dict[int, pb.ActualLRP] = {}
    async with client.watch() as fleet:
        await client.desire_lrp(lrp)  # within the watch, so that no change is missed
        async for change in fleet:
            match change:
                case Added(pb.ActualLRP() as row) | Changed(_, pb.ActualLRP() as row):
                    if row.actual_lrp_key.process_guid == lrp.process_guid:
                        running.pop(row.actual_lrp_key.index, None)  # it may have crashed meanwhile
                        if row.state == ActualLRPState.RUNNING:
                            running[row.actual_lrp_key.index] = row
                        elif row.placement_error:
                            print(f"no cell takes instance {row.actual_lrp_key.index}: {row.placement_error}")
            if len(running) == lrp.instances:
                break
    return running


# --8<-- [end:app]


# --8<-- [start:main]
async def main() -> None:
    app = an_app(f"app-{secrets.token_hex(4)}", instances=3)
    async with connected() as client:
        with trio.fail_after(PATIENCE_S):
            instances = await run(client, app)
        for index, lrp in sorted(instances.items()):
            print(f"{app.process_guid}/{index} runs on {lrp.actual_lrp_instance_key.cell_id}")
        await client.update_desired_lrp(app.process_guid, pb.DesiredLRPUpdate(instances=1))
        await client.remove_desired_lrp(app.process_guid)


# --8<-- [end:main]

if __name__ == "__main__":
    trio.run(main)
