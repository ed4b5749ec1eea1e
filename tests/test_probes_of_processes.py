"""``/active``, ``/ready`` and ``/live`` on the health port of masters, standbys, followers and of ``bbs serve``."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemons import Daemon, Surroundings, daemon, end
from tests.databases import ON_POSTGRES
from tests.demo_fleet import serving
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

FOLLOW = ("-m", "bbs", "follow")
WITHIN_S = 60.0
READY = (200, {"ready": True})
LIVE = (200, {"live": True})


def known_as(bbs: Daemon) -> dict[str, str]:
    return {"owner": bbs.config["uuid"], "url": f"https://{bbs.config['listen_address']}"}


async def is_active(bbs: Daemon, *, since_s: float) -> None:
    """It says that it has been the master since some time after ``since_s``."""
    status, says = await bbs.probe("/active")
    assert status == 200
    became = datetime.fromisoformat(says["master"].pop("since")).timestamp()
    assert int(since_s) <= became <= time.time()
    assert says == {"active": True, "master": known_as(bbs)}


async def becomes(bbs: Daemon, path: str, expected: tuple[int, dict[str, Any]]) -> None:
    async def does() -> bool:
        return await bbs.probe(path) == expected

    await wait_until(does, within_s=WITHIN_S, what=f"{path} is {expected}")


@ON_POSTGRES
async def test_probes_tell_a_master_from_its_standby_and_its_follower(around: Surroundings) -> None:
    began_s = time.time()
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        referred = (503, {"active": False, "master": {**known_as(first), "since": None}})
        async with (
            daemon(around, around.config("b")) as standby,
            daemon(around, around.config("f"), program=FOLLOW) as follower,
        ):
            await standby.logs("read-ahead")
            await follower.logs("current")

            await is_active(first, since_s=began_s)
            await becomes(standby, "/active", referred)
            await becomes(follower, "/active", referred)
            assert await first.probe("/ready") == await follower.probe("/ready") == READY
            assert await standby.probe("/ready") == (
                503,
                {"ready": False, "reason": "this process is not the master, and only the master answers"},
            )
            for bbs in (first, standby, follower):
                assert await bbs.probe("/live") == LIVE
                assert await bbs.health_status() == 200

            stopped_s = time.time()
            assert await first.stop() == 0
            await standby.logs("started")
            await is_active(standby, since_s=stopped_s)
            assert await standby.probe("/ready") == READY
            await becomes(
                follower, "/active", (503, {"active": False, "master": {**known_as(standby), "since": None}})
            )

            # Nobody knows who is master when Locket is gone. The standby's lock is lost with it, and so is that process.
            await end(around.locket)
            assert await standby.exit_code() == 1
            nobody = {"owner": None, "url": None, "since": None}
            await becomes(follower, "/active", (503, {"active": False, "master": nobody}))
            assert await follower.probe("/ready") == READY
            assert await follower.probe("/live") == LIVE


async def test_a_server_of_its_own_is_active(tmp_path: Path, database_url: str) -> None:
    began_s = time.time()
    async with (
        serving(tmp_path, database_url) as bbs,
        httpx.AsyncClient(trust_env=False, timeout=WITHIN_S, base_url=f"http://{bbs.health_address}") as http,
    ):
        active = await http.get("/active")
        assert active.status_code == 200
        says = json.loads(active.content)
        assert datetime.fromisoformat(says["master"].pop("since")).timestamp() >= int(began_s)
        assert says == {"active": True, "master": {"owner": None, "url": bbs.url}}
        assert (await http.get("/ready")).json() == {"ready": True}
        assert (await http.get("/live")).json() == {"live": True}
