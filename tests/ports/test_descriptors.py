"""What goes on when somebody opens more connections than the process has descriptors for."""

import resource
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from bbs.ports import descriptors
from tests.daemons import daemon, free_port, surroundings
from tests.databases import SomeDatabase
from tests.listening import is_all_read
from tests.waiting import wait_until

FEW: int = 256


@pytest.mark.parametrize("available", [240, 256, 1024, 4096, 100_000, descriptors.UNLIMITED])
@pytest.mark.parametrize("wanted", [100, 10_000, 1_000_000])
def test_the_shares_fit_into_the_limit(available: int, wanted: int) -> None:
    shares = descriptors.shares(available, api_wanted=wanted)
    others = descriptors.HEALTH + descriptors.DEBUG + descriptors.DATABASE + descriptors.FILES

    assert shares.api + shares.peers + others <= available
    assert descriptors.API_MIN <= shares.api <= wanted
    assert 0 < shares.peers <= descriptors.PEERS_MAX


def test_a_usual_limit_leaves_what_was_wanted() -> None:
    shares = descriptors.shares(100_000, api_wanted=10_000)

    assert shares == descriptors.Shares(api=10_000, peers=descriptors.PEERS_MAX)


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for each in opened:
        each.close()


@pytest.mark.slow
async def test_a_flood_of_idle_connections_stops_neither_health_nor_writes_nor_the_database(
    tmp_path: Path, some_database: SomeDatabase, sockets: list[socket.socket]
) -> None:
    def with_few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW // 2, FEW))

    async with surroundings(tmp_path, some_database) as around:
        config = around.config("a", debug_address=f"127.0.0.1:{free_port()}", communication_timeout="10s")
        async with daemon(around, config, preexec_fn=with_few_descriptors) as bbs, bbs.client() as client:
            await bbs.logs("started")
            lowered = bbs.data_of("connections-max-lowered")
            assert lowered["descriptors"] == FEW
            assert lowered["connections-max"] < FEW
            await client.upsert_domain("before", ttl_s=0)

            for name in ("listen_address", "health_address", "debug_address"):
                host, _, number = config[name].rpartition(":")
                port = int(number)
                for _ in range(300):
                    sockets.append(socket.create_connection((host, port), timeout=5))
                await wait_until(partial(is_all_read, port), within_s=10, what=f"{name} has accepted them")

            for number in range(5):
                assert await bbs.health_status() == 200
                async with httpx.AsyncClient(trust_env=False) as http:
                    page = await http.get(f"http://{config['debug_address']}/debug/pprof/cmdline")
                assert page.status_code == 200
                await client.upsert_domain(f"flooded-{number}", ttl_s=0)
                await some_database.end_writer_session()
                await client.upsert_domain(f"reconnected-{number}", ttl_s=0)

            assert "accept-failed" not in bbs.messages()
            assert await bbs.stop() == 0
