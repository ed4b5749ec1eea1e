"""Follow a fleet: what is there, and then each change once, until Ctrl-C.

    python -m examples.watch

Which BBS: see `examples.connect`.
"""

import trio

from bbs.client import Added, Changed, Presence, Removed, TaskState, pb
from examples.connect import connected


# --8<-- [start:watch]
async def main() -> None:
    async with connected() as client, client.watch(tasks=True) as fleet:
        print(f"{len(fleet.desired_lrps)} apps, {len(fleet.actual_lrps)} instances, {len(fleet.tasks)} tasks")
        async for change in fleet:
            match change:
                case Added(pb.ActualLRP() as lrp):
                    print(f"{name(lrp)} is new: {lrp.state}")
                case Changed(pb.ActualLRP() as before, pb.ActualLRP() as lrp) if before.state != lrp.state:
                    print(
                        f"{name(lrp)} was {before.state}, is {lrp.state} on {lrp.actual_lrp_instance_key.cell_id}"
                    )
                case Removed(pb.ActualLRP() as lrp):
                    print(f"{name(lrp)} is gone")
                case Added(pb.Task() as task) | Changed(_, pb.Task() as task):
                    print(f"{task.task_guid} is {TaskState(task.state).name}")


def name(lrp: pb.ActualLRP) -> str:
    """While its cell is evacuated, or missing, an instance may be there twice."""
    name = f"{lrp.actual_lrp_key.process_guid}/{lrp.actual_lrp_key.index}"
    return name if lrp.presence == Presence.ORDINARY else f"{name} ({Presence(lrp.presence).name.lower()})"


# --8<-- [end:watch]

if __name__ == "__main__":
    trio.run(main)
