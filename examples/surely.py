"""Desire an app so that it is desired for sure, even if answers get lost or the server is away for a while.

    python -m examples.surely

Which BBS: see `examples.connect`.
"""

import secrets

import trio

from bbs.client import NO_ANSWER, BBSClient, BBSError, ResourceExists, pb
from examples.connect import connected
from examples.run_app import an_app

PAUSE_S = 1.0
PATIENCE_S = 120.0


# --8<-- [start:surely]
async def desire(client: BBSClient, lrp: pb.DesiredLRP) -> None:
    """Desire an app whose guid and annotation nobody else gives.

    Raises:
      BBSError: the BBS refuses.
    """
    while True:
        try:
            try:
                await client.desire_lrp(lrp)
            except ResourceExists:
                there = await client.desired_lrp_by_process_guid(lrp.process_guid)
                if there.annotation != lrp.annotation:
                    raise  # somebody else's; else it is ours: it was carried out, and the answer was lost
            return
        except NO_ANSWER as error:
            print(f"no answer, trying again: {error}")
            await trio.sleep(PAUSE_S)


async def main() -> None:
    lrp = an_app(f"app-{secrets.token_hex(4)}", instances=1)
    lrp.annotation = secrets.token_hex(16)
    async with connected() as client:
        try:
            with trio.fail_after(PATIENCE_S):  # of the whole, whatever the client's own time-outs are
                await desire(client, lrp)
        except BBSError as refusal:
            raise SystemExit(f"refused: {refusal}") from refusal
        print(f"{lrp.process_guid} is desired")
        await client.remove_desired_lrp(lrp.process_guid)


# --8<-- [end:surely]

if __name__ == "__main__":
    trio.run(main)
