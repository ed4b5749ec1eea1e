"""What BOSH and its scripts hold on to: the process' name, its one listening socket, its end, its old files."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from bbs.client import InternalBBSClient
from bbs.models import pb
from tests.daemons import Surroundings, daemon, free_port
from tests.listening import holders_of, listening_sockets
from tests.peers.peer_server import Do, peer_server

pytestmark = pytest.mark.slow

STREAMS = 200
CALLBACKS = 5
STOP_MAX_S = 10
"""Before bpm, at 20 s, asks for stack traces and kills."""


@pytest.mark.parametrize("host", ["0.0.0.0", "", "127.0.0.1"])
async def test_the_api_port_is_one_socket_of_a_process_called_bbs(around: Surroundings, host: str) -> None:
    port = free_port()
    async with daemon(around, around.config("a", listen_address=f"{host}:{port}")) as bbs:
        await bbs.logs("started")

        [(_, inode)] = listening_sockets(port)
        assert holders_of(inode) == [(bbs.process.pid, "bbs")]


async def test_a_stop_waits_for_no_stream_and_no_callback_that_nobody_answers(around: Surroundings) -> None:
    async with peer_server() as peer:
        peer.otherwise = Do.HANG
        # A callback may take as long as this.
        config = around.config("a", communication_timeout="10m", log_level="info")
        async with daemon(around, config) as bbs, AsyncExitStack() as stack:
            await bbs.logs("started")
            client = await stack.enter_async_context(bbs.client())
            for _ in range(STREAMS):
                await stack.enter_async_context(await client.subscribe_to_instance_events())
            for number in range(CALLBACKS):
                await complete_a_task(client, f"task-{number}", f"{peer.address}/done")
            await peer.wait_for_requests(CALLBACKS)

            bbs.process.terminate()
            with trio.fail_after(STOP_MAX_S):
                code = await bbs.exit_code()

            assert code == 0, bbs.lines[-20:]
            assert bbs.messages()[-1] == "exited"


async def complete_a_task(client: InternalBBSClient, guid: str, callback_url: str) -> None:
    definition = pb.TaskDefinition(
        root_fs="preloaded:cflinuxfs4",
        action=pb.Action(run_action=pb.RunAction(path="/bin/true", user="vcap")),
        completion_callback_url=callback_url,
    )
    await client.desire_task(task_guid=guid, domain="d", definition=definition)
    assert await client.start_task(task_guid=guid, cell_id="c1")
    await client.complete_task(task_guid=guid, cell_id="c1", result="r")


OLD_KEYS: dict[str, Any] = {
    # Known, and without effect.
    "advertise_url": "https://bbs-0.bbs.service.cf.internal:8889",
    "require_ssl": True,
    "desired_lrp_creation_timeout": "1m",
    "rep_client_session_cache_size": 0,
    "sql_enable_identity_verification": True,
    "max_open_database_connections": 200,
    "max_idle_database_connections": 200,
    "max_database_connection_lifetime": "90s",
    "db_read_timeout": "10m",
    "db_write_timeout": "10m",
    # Of older releases.
    "consul_cluster": "http://127.0.0.1:8500",
    "skip_consul_lock": True,
    "detect_consul_cell_registrations": False,
    "enable_consul_service_registration": False,
    "locks_locket_enabled": True,
    "cell_registrations_locket_enabled": True,
    "rep_require_tls": True,
    "dropsonde_port": 3457,
    "auctioneer_session_cache_size": 0,
    "etcd_cluster_urls": ["https://etcd.service.cf.internal:4001"],
    "etcd_cert_file": "/nowhere",
    "etcd_client_session_cache_size": 0,
    "loggregator": {
        "loggregator_use_v2_api": False,
        "loggregator_job_deployment": "cf",
        "loggregator_job_name": "diego-api",
        "loggregator_job_index": "0",
        "loggregator_job_ip": "10.0.0.1",
    },
    # As upstream's tests write what is absent.
    "debug_address": "",
    "access_log_path": "",
    "sql_ca_cert_file": "",
    "redact_patterns": None,
    "advanced_metrics": {
        "enabled": False,
        "route_config": {"request_count": None, "request_latency": None},
    },
    "time_format": "unix-epoch",
}


async def test_a_file_with_every_old_key_starts_a_server(around: Surroundings) -> None:
    async with daemon(around, around.config("a", **OLD_KEYS)) as bbs:
        await bbs.logs("started")

        async with bbs.client() as client:
            assert await client.ping()
        assert await bbs.stop() == 0
        assert bbs.other == []
