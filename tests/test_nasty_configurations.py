"""Configurations that nobody should write: either the daemon works with them, or it says in a sentence why not."""

from pathlib import Path
from typing import Any

import pytest
import trio

from bbs.config import checks
from tests.daemons import Daemon, daemon, start_that_ends, surroundings
from tests.databases import SomeDatabase
from tests.forked_starts import ForkedStarts

pytestmark = pytest.mark.slow

HUGE = "9223372036854775807ns"
INT_MAX, INT_MIN = (1 << 63) - 1, -(1 << 63)
DURATIONS = (
    "communication_timeout", "desired_lrp_creation_timeout", "converge_repeat_interval", "kick_task_duration",
    "expire_pending_task_duration", "expire_completed_task_duration", "max_database_connection_lifetime",
    "db_connection_timeout", "db_read_timeout", "db_write_timeout", "health_check_timeout",
)  # fmt: skip
INTEGERS = (
    "max_task_retries", "update_workers", "convergence_workers", "max_open_database_connections",
    "max_idle_database_connections", "health_check_failure_threshold", "max_data_string_length",
    "locket_client_keepalive_time", "locket_client_keepalive_timeout", "rep_client_session_cache_size",
)  # fmt: skip
METRICS = {
    "loggregator_job_origin": "\0", "loggregator_source_id": "\0" * 300, "loggregator_instance_id": "\ud800",
    "loggregator_api_host": "::1", "loggregator_api_port": 65535,
}  # fmt: skip


async def works(bbs: Daemon) -> None:
    await bbs.logs("started")
    async with bbs.client() as client:
        await client.upsert_domain("d", ttl_s=0)
        assert await client.domains() == ["d"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(dict.fromkeys(DURATIONS, HUGE), id="durations of 292 years"),
        pytest.param({"report_interval": HUGE, "lock_ttl": HUGE, "lock_retry_interval": HUGE}, id="for ever"),
        pytest.param(
            {"enable_db_health_check": True, "health_check_interval": "1ns", "health_check_timeout": HUGE},
            id="health checks without a pause",
        ),
        pytest.param(
            {"enable_db_health_check": True, "health_check_failure_threshold": -1, "health_check_timeout": "-1s"},
            id="health checks without an attempt",
        ),
        pytest.param(dict.fromkeys(DURATIONS, "-1s"), id="negative durations"),
        pytest.param({"converge_repeat_interval": "0s", "kick_task_duration": "0s"}, id="no pauses"),
        pytest.param(dict.fromkeys(INTEGERS, INT_MAX), id="the largest numbers"),
        pytest.param(dict.fromkeys(INTEGERS, INT_MIN), id="the smallest numbers"),
        pytest.param(
            {"session_name": "\0", "advertise_url": "\0", "max_data_string_length": 1, "redact_secrets": True},
            id="a NUL for a name",
        ),
        pytest.param(
            {"encryption_keys": {"é" * 63: "\0", "\0": ""}, "active_key_label": "é" * 63}, id="odd keys"
        ),
        pytest.param({"uuid": "\U0001f6a2" * 255, "listen_address": "localhost:0"}, id="a uuid of 255 characters"),
        pytest.param(
            {"advanced_metrics": {"enabled": True, "route_config": {"request_count": ["\0", "", "\0"]}}},
            id="metrics of no route",
        ),
        pytest.param(
            {"loggregator": {**METRICS, "BatchFlushInterval": INT_MIN, "loggregator_batch_max_size": 1}},
            id="metrics sent before they are there",
        ),
        pytest.param(
            {"loggregator": {**METRICS, "BatchFlushInterval": INT_MAX, "loggregator_batch_max_size": (1 << 64) - 1}},
            id="metrics never sent",
        ),
    ],
)  # fmt: skip
async def test_it_works_with(changes: dict[str, Any], tmp_path: Path, some_database: SomeDatabase) -> None:
    async with surroundings(tmp_path, some_database) as around:
        config = around.config("nasty") | changes
        if "loggregator" in changes:
            config["loggregator"] = {
                **changes["loggregator"],
                "loggregator_ca_path": config["ca_file"],
                "loggregator_cert_path": config["locket_client_cert_file"],
                "loggregator_key_path": config["locket_client_key_file"],
            }
        async with daemon(around, config) as bbs:
            name = config["session_name"]
            if name == "\0":
                await bbs.logs("\0.started")
            elif config["listen_address"].endswith(":0"):
                await bbs.logs("started")
            else:
                await works(bbs)

            assert await bbs.stop() == 0
            assert bbs.other == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"listen_address": "nowhere.invalid:80"}, "lookup nowhere.invalid: no such host", id="a host"),
        pytest.param({"listen_address": "é..x:80"}, "no such host", id="a host that IDNA does not know"),
        pytest.param({"listen_address": "[fe80::1%nope]:80"}, "no such host", id="a zone"),
        pytest.param({"lock_retry_interval": "-1s"}, "lost lock (request timed out)", id="a negative retry interval"),
        pytest.param(
            {"enable_db_health_check": True, "health_check_timeout": "-1s", "health_check_interval": "1ms"},
            "timed out after -1s",
            id="a negative health check",
        ),
        pytest.param(
            {"database_driver": "postgres", "database_connection_string": "host=localhost port=1 user=u"},
            "Connect call failed",
            id="no database",
        ),
        pytest.param({"listen_address": "0.0.0.0:99999"}, "invalid port", id="a port that is none"),
        pytest.param({"debug_address": "\0:1"}, "invalid character", id="a NUL in an address"),
        pytest.param({"access_log_path": "a\0b"}, "invalid argument", id="a NUL in a path"),
        pytest.param({"locket_address": "banana"}, "missing port", id="no address of Locket's"),
        pytest.param({"task_callback_workers": INT_MAX}, "must provide at most", id="too many workers"),
    ],
)  # fmt: skip
async def test_it_says_why_not(
    changes: dict[str, Any], says: str, starts: ForkedStarts, tmp_path: Path, some_database: SomeDatabase
) -> None:
    async with surroundings(tmp_path, some_database) as around:
        config = {**around.config("nasty"), **changes}
        code, log = await trio.to_thread.run_sync(start_that_ends, starts, around, config)

    assert code in (checks.EXIT_FAILED, checks.EXIT_FATAL)
    told = "\n".join([*(str(line["data"].get("error")) for line in log.lines), *log.other])
    assert says in told
    assert "Traceback" not in told
