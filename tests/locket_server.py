"""``python -m tests.locket_server CA CERT KEY [ADDRESS]``: the embedded Locket as a process of its own.

Prints its address, then serves until it is killed.
"""

import sys
from functools import partial

import trio

from bbs.log import null_logger
from bbs.sync.locket.server import embedded_locket
from bbs.sync.locket.table import LocketTable
from bbs.tls.contexts import TLSFiles


async def serve(ca: str, cert: str, key: str, address: str = "127.0.0.1:0") -> None:
    tls = TLSFiles(ca_file=ca, cert_file=cert, key_file=key)
    table = LocketTable(trio.current_time)
    async with embedded_locket(table, address, tls=tls, log=null_logger()) as bound:
        print(bound, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(partial(serve, *sys.argv[1:]))
