"""``bbs follow`` as a process beside a master, with Locket and certificates, as operators run it."""

import ssl
from typing import Any

import httpx
import pytest

from bbs.client import BBSClient
from bbs.models import pb
from bbs.models.wire import encode
from tests.daemons import Daemon, Surroundings, daemon
from tests.databases import ON_POSTGRES
from tests.records import desired_message
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

FOLLOW = ("-m", "bbs", "follow")
WITHIN_S = 30.0


def tls_of(bbs: Daemon) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(bbs.certs.ca_cert))
    context.load_cert_chain(bbs.certs.client_cert, bbs.certs.client_key)
    return context


async def post(bbs: Daemon, path: str, request: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(verify=tls_of(bbs), trust_env=False) as http:
        body = b"" if request is None else encode(request)
        return await http.post(
            f"https://{bbs.config['listen_address']}{path}", content=body, headers=named, timeout=60
        )


def follower_config(around: Surroundings, name: str = "follower", **changes: Any) -> dict[str, Any]:
    return around.config(name, **changes)


@ON_POSTGRES
async def test_it_serves_what_the_master_has_and_refers_writes_to_it(around: Surroundings) -> None:
    async with daemon(around, around.config("master")) as master:
        await master.logs("started")
        async with (
            master.client() as client,
            daemon(around, follower_config(around), program=FOLLOW) as follower,
            follower.client() as reader,
        ):
            await client.upsert_domain("d", ttl_s=0)
            await client.desire_lrp(desired_message("p", instances=3))
            await follower.logs("current")

            read = await post(follower, "/v1/ping")
            assert read.status_code == 200
            assert int(read.headers["X-Bbs-Staleness-Ms"]) < 60_000
            assert read.headers["X-Bbs-At-Least"].startswith("1:")

            await client.desire_lrp(desired_message("q"))
            await wait_until(
                lambda: knows(reader, "q"), within_s=WITHIN_S, what="the follower has what was written last"
            )
            assert list(await reader.domains()) == ["d"]
            for lists in (
                "actual_lrps",
                "desired_lrps",
                "desired_lrp_scheduling_infos",
                "desired_lrp_routing_infos",
            ):
                assert sorted(map(encode, await getattr(reader, lists)())) == sorted(
                    map(encode, await getattr(client, lists)())
                )

            refused = await post(
                follower, "/v1/desired_lrp/remove", pb.RemoveDesiredLRPRequest(process_guid="p")
            )
            url = f"https://{master.config['listen_address']}"
            assert refused.status_code == 421
            assert refused.headers["X-Bbs-Master"] == url
            assert refused.text == (
                f"this is a follower, which only reads: the master is at {url} (uuid {master.config['uuid']})\n"
            )
            assert len(await client.desired_lrps()) == 2

            assert await follower.health_status() == 200
            assert await follower.stop() == 0
            assert await master.stop() == 0


async def knows(client: BBSClient, process_guid: str) -> bool:
    return process_guid in [lrp.process_guid for lrp in await client.desired_lrps()]
