"""Have a task run once, and be called by the BBS when it is over.

    python -m examples.task_callback

Which BBS: see `examples.connect`. It needs cells, such as those of `bbs demo`, and has to be able to reach this machine.
"""

import secrets
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import request
from quart_trio import QuartTrio

from bbs.client import pb
from examples.connect import connected
from examples.run_task import DEFINITION

PATIENCE_S = 60.0


# --8<-- [start:callback]
async def main() -> None:
    ended, wait_for_end = trio.open_memory_channel[dict[str, Any]](1)
    web = QuartTrio(__name__)

    @web.post("/task-is-over")
    async def task_is_over() -> str:
        await ended.send(await request.get_json())
        return ""  # with status 200; then the BBS deletes the task, and after a 503 or 504 it tries again

    config = Config.from_mapping(bind=["127.0.0.1:0"], loglevel="WARNING")
    async with connected() as client, trio.open_nursery() as nursery:
        [url] = await nursery.start(serve, web, config)
        definition = pb.TaskDefinition(completion_callback_url=f"{url}/task-is-over", annotation="mine")
        definition.MergeFrom(DEFINITION)
        await client.desire_task(
            task_guid=f"task-{secrets.token_hex(4)}", domain="examples", definition=definition
        )
        with trio.fail_after(PATIENCE_S):
            told = await wait_for_end.receive()
        print(f"{told['task_guid']} ({told['annotation']}): {told['failure_reason'] or told['result']}")
        nursery.cancel_scope.cancel()


# --8<-- [end:callback]

if __name__ == "__main__":
    trio.run(main)
