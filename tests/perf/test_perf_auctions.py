"""The auctioneer that counts: it counts what it is sent."""

import ssl

import trio

from bbs.log import null_logger
from bbs.peers.auctioneer import HTTPAuctioneer
from bbs.peers.http import HTTPClient
from bbs.peers.interfaces import LRPStart
from perf.auctioneer import Counts, counting_auctioneer
from tests.records import task

CALL_MAX_S = 10.0

START = LRPStart(
    process_guid="p",
    domain="d",
    indices=(0, 1),
    placement_tags=None,
    volume_drivers=None,
    rootfs="r",
    memory_mb=1,
    disk_mb=1,
    max_pids=1,
)


async def test_calls_connections_and_auctions_are_counted(client_tls: ssl.SSLContext) -> None:
    with counting_auctioneer() as counting:
        http = HTTPClient(tls=client_tls, timeout_s=CALL_MAX_S)
        auctioneer = HTTPAuctioneer(counting.address, http=http)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(
                    lambda: auctioneer.request_lrp_auctions([START] * 3, trace_id="", log=null_logger())
                )
        before = counting.counts()
        await auctioneer.request_task_auctions([task(), task("u")], trace_id="", log=null_logger())
        await http.aclose()

        assert before == Counts(calls=2, connections=2, auctions=6)
        assert counting.counts() - before == Counts(calls=1, connections=0, auctions=2)
