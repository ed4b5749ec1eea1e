"""Have a task run once, wait for its end, take note of its result, and delete it.

    python -m examples.run_task

Which BBS: see `examples.connect`. It needs cells, such as those of `bbs demo`.
"""

import secrets

import trio

from bbs.client import BBSClient, TaskState, pb
from examples.connect import connected

PATIENCE_S = 60.0
POLL_S = 1.0

# --8<-- [start:task]
DEFINITION = pb.TaskDefinition(
    root_fs="preloaded:cflinuxfs4",
    memory_mb=64,
    disk_mb=128,
    action=pb.Action(run_action=pb.RunAction(path="/bin/true", user="vcap")),
    result_file="/tmp/result",
)


async def wait_for_end(client: BBSClient, task_guid: str) -> pb.Task:
    while True:
        task = await client.task_by_guid(task_guid)
        if task.state == TaskState.Completed:
            return task
        await trio.sleep(POLL_S)


async def main() -> None:
    task_guid = f"task-{secrets.token_hex(4)}"
    async with connected() as client:
        await client.desire_task(task_guid=task_guid, domain="examples", definition=DEFINITION)
        with trio.fail_after(PATIENCE_S):
            task = await wait_for_end(client, task_guid)
        took_s = (task.first_completed_at - task.created_at) / 1e9
        print(f"{task_guid} took {took_s:.1f} s: {task.failure_reason if task.failed else task.result}")
        await client.resolving_task(task_guid)  # of several who take note, one succeeds
        await client.delete_task(task_guid)


# --8<-- [end:task]

if __name__ == "__main__":
    trio.run(main)
