"""A client of the BBS that the environment names, for all examples, and the first thing to do with it.

    python -m examples.connect

BBS_URL is where it is. If that is an https URL, CA_CERT_FILE, CLIENT_CERT_FILE and CLIENT_KEY_FILE are PEM files, as
`cfdot` has them. `bbs demo` prints what to set.
"""

import os
from contextlib import AbstractAsyncContextManager

import trio

from bbs.client import BBSClient


# --8<-- [start:connect]
def connected() -> AbstractAsyncContextManager[BBSClient]:
    return BBSClient.connect(
        os.environ.get("BBS_URL", "http://127.0.0.1:8889"),
        ca_file=os.environ.get("CA_CERT_FILE"),
        cert_file=os.environ.get("CLIENT_CERT_FILE"),
        key_file=os.environ.get("CLIENT_KEY_FILE"),
    )


async def main() -> None:
    async with connected() as client:
        print("is master" if await client.ping() else "does not answer, or is no master")
        for cell in await client.cells():
            print(
                f"{cell.cell_id} in {cell.zone}: {cell.capacity.memory_mb} MB, {cell.capacity.containers} containers"
            )


# --8<-- [end:connect]

if __name__ == "__main__":
    trio.run(main)
