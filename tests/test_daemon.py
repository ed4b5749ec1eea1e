"""``bbs -config FILE``: start, standby, takeover, end (spec: config.md §4-6, locking-and-presence.md §3)."""

import signal
import ssl

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from bbs.client import TransportError
from bbs.models.errors import BBSError
from bbs.tls.contexts import TLSFiles
from bbs.tls.development import make_development_certs
from tests.daemons import Daemon, Surroundings, daemon, end, free_port, start_locket
from tests.databases import ON_BOTH
from tests.listening import connections_with_something_unread
from tests.made_once import copied_certs
from tests.metrics.agent import agent
from tests.records import desired_message
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


async def domains(bbs: Daemon) -> list[str]:
    async with bbs.client() as client:
        return sorted(await client.domains())


async def upsert(bbs: Daemon, domain: str) -> None:
    async with bbs.client() as client:
        await client.upsert_domain(domain, ttl_s=0)


async def test_a_first_start_and_a_clean_stop(around: Surroundings) -> None:
    async with daemon(around, around.config("a", debug_address="127.0.0.1:0")) as bbs:
        await bbs.logs("started")

        assert await bbs.health_status() == 200
        await upsert(bbs, "cf-apps")
        assert await domains(bbs) == ["cf-apps"]
        assert await bbs.stop() == 0

        assert_order(
            bbs.messages(),
            "starting",
            "report-interval",
            "locket-lock.started",
            "locket-lock.acquired-lock",
            "task-completion-workpool.started",
            "migration-manager.starting",
            "migration-manager.running-migration",
            "migration-manager.completed-migration",
            "migration-manager.finished-migrations",
            "encryptor.starting",
            "encryptor.encryption-started",
            "hub-maintainer.started",
            "converger-process.started",
            "started",
            "migration-manager.migration-interrupt",
            "locket-lock.signalled",
            "locket-lock.released-lock",
            "locket-lock.completed",
            "exited",
        )
        assert "encryptor.encryption-finished" in bbs.messages()
        assert bbs.data_of("report-interval") == {"value": "1m0s"}
        assert bbs.data_of("locket-lock.signalled")["signal"] == signal.SIGTERM
        assert bbs.other == []


async def test_what_is_said_of_a_start_and_a_stop(around: Surroundings) -> None:
    config = around.config("a", log_level="info", enable_db_health_check=True)
    async with daemon(around, config) as bbs:
        await bbs.logs("started")
        await bbs.logs("encryptor.encryption-finished")
        assert await bbs.stop() == 0

    messages = bbs.messages()
    stop = messages.index("db-stat-metron-notifier.completed")
    # Reading, migrating and sealing have lines of their own, beside those of the members.
    work = ("encryptor.encryption", "loaded", "migration-manager.running", "migration-manager.completed")
    assert [message for message in messages[:stop] if not message.startswith(work)] == [
        "starting",
        "report-interval",
        "db-health-check-runner.waiting-for-db-migrations",
        "file-descriptor-notifier.starting",
        "file-descriptor-notifier.started",
        "lock-held-metrics-notifier.started",
        "locket-lock.started",
        "locket-lock.acquired-lock",
        "set-lock-held-metron-notifier.started",
        "task-completion-workpool.starting",
        "task-completion-workpool.started",
        "migration-manager.starting",
        "migration-manager.finished-migrations",
        "db-health-check-runner.starting",
        "encryptor.starting",
        "hub-maintainer.started",
        "metrics-notifier.starting",
        "metrics-notifier.started",
        "periodic-count-metrics-notifier.started",
        "converger-process.started",
        "db-stat-metron-notifier.starting",
        "started",
    ]
    assert messages[stop:] == [
        "db-stat-metron-notifier.completed",
        "converger-process.done",
        "periodic-count-metrics-notifier.finished",
        "metrics-notifier.finished",
        "hub-maintainer.finished",
        "encryptor.exited",
        "migration-manager.migration-interrupt",
        "migration-manager.exited",
        "task-completion-workpool.finished",
        "set-lock-held-metron-notifier.exited",
        "locket-lock.signalled",
        "locket-lock.released-lock",
        "locket-lock.completed",
        "lock-held-metrics-notifier.finished",
        "file-descriptor-notifier.finished",
        "db-health-check-runner.exiting",
        "exited",
    ]
    assert bbs.data_of("db-stat-metron-notifier.starting")["interval"] == 60_000_000_000


def assert_order(messages: list[str], *expected: str) -> None:
    """Each expected message comes after the one before it."""
    rest = iter(messages)
    for message in expected:
        assert message in rest, (message, messages)


@ON_BOTH
async def test_a_standby_is_not_there_to_clients_and_takes_over_from_a_master_that_stops(
    around: Surroundings,
) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        await upsert(first, "from-first")
        async with daemon(around, around.config("b")) as second:
            await second.logs("read-ahead")
            assert await second.health_status() == 200
            assert not second.api_is_open()

            assert await first.stop() == 0
            await second.logs("started")
            assert await domains(second) == ["from-first"]
            await upsert(second, "from-second")

            async with daemon(around, around.config("a")) as third:
                await third.logs("read-ahead")
                assert await second.stop() == 0
                await third.logs("started")
                assert await domains(third) == ["from-first", "from-second"]


async def test_a_standby_that_is_stopped_never_was_master(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        async with daemon(around, around.config("b")) as second:
            await second.logs("locket-lock.started")
            await second.logs("read-ahead")

            assert await second.stop() == 0

            assert_order(
                second.messages(),
                "locket-lock.started",
                "locket-lock.signalled",
                "locket-lock.failed-to-release-lock",
                "started",
                "exited",
            )
            assert "lock-collision" in second.data_of("locket-lock.failed-to-release-lock")["error"]
        assert await domains(first) == []


@ON_BOTH
async def test_a_standby_takes_over_from_a_master_that_was_killed(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        await upsert(first, "acknowledged")
        async with daemon(around, around.config("b")) as second:
            await second.logs("read-ahead")

            first.process.kill()

            await second.logs("started")
            assert await domains(second) == ["acknowledged"]


async def test_a_port_is_closed_until_there_is_something_to_answer(around: Surroundings) -> None:
    """Clients try again when they are refused, and tell their users of a 503."""
    tls = ssl.create_default_context(cafile=str(around.certs.ca_cert))
    tls.load_cert_chain(around.certs.client_cert, around.certs.client_key)
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        async with first.client() as client:
            for number in range(20):
                await client.desire_lrp(desired_message(f"p-{number}", instances=100))
        async with daemon(around, around.config("b")) as second:
            await second.logs("locket-lock.started")
            first.process.kill()
            answers: list[str] = []
            async with httpx.AsyncClient(trust_env=False, verify=tls) as http:

                async def is_answered() -> bool:
                    try:
                        response = await http.post(f"https://{second.config['listen_address']}/v1/ping")
                    except httpx.ConnectError:
                        answers.append("refused")
                    else:
                        answers.append(str(response.status_code))
                    return answers[-1] != "refused"

                await wait_until(is_answered, within_s=60, what="the next master answers", every_s=0.002)

    assert answers[0] == "refused"
    assert answers[-1] == "200"


@ON_BOTH
async def test_no_write_of_a_master_that_slept_through_its_lock_lands(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        await upsert(first, "before")
        async with daemon(around, around.config("b")) as second, first.client() as client:
            await second.logs("read-ahead")
            await client.ping()  # a connection that is open when the process stops
            first.process.send_signal(signal.SIGSTOP)
            await second.logs("started")
            await upsert(second, "meanwhile")

            async def write_late() -> None:
                with pytest.raises((BBSError, TransportError)):
                    await client.upsert_domain("too-late", ttl_s=0)

            async def read_late() -> None:
                async with first.client() as other:
                    with pytest.raises((BBSError, TransportError)):
                        await other.domains()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write_late)
                nursery.start_soon(read_late)
                port = int(first.config["listen_address"].rpartition(":")[2])
                await wait_until(
                    lambda: connections_with_something_unread(port) == 2,
                    within_s=30,
                    what="both are in the sleeper's sockets",
                )
                first.process.send_signal(signal.SIGCONT)
                assert await first.exit_code() == 1
            assert "exited-with-failure" in first.messages()

            assert await domains(second) == ["before", "meanwhile"]
            assert await second.stop() == 0
        async with daemon(around, around.config("c")) as third:
            await third.logs("started")
            assert await domains(third) == ["before", "meanwhile"]


@ON_BOTH
async def test_a_standby_outlives_locket_and_becomes_master_when_it_is_back(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        async with daemon(around, around.config("b")) as second:
            await second.logs("read-ahead")
            await end(around.locket)
            assert await first.exit_code() == 1
            await second.logs("locket-lock.failed-to-acquire-lock")

            around.locket, _ = await start_locket(around.certs, around.locket_address)

            await second.logs("started")
            assert await second.stop() == 0


async def test_a_restart_with_the_same_uuid_works_at_once(around: Surroundings) -> None:
    config = around.config("a")
    for _ in range(2):
        async with daemon(around, config) as bbs:
            await bbs.logs("started")
            await upsert(bbs, "d")
            bbs.process.kill()
            await bbs.exit_code()


async def test_keys_are_rotated_by_restarts(around: Surroundings) -> None:
    old, both, new = {"old": "1"}, {"old": "1", "new": "2"}, {"new": "2"}
    for keys, label in ((old, "old"), (both, "new"), (new, "new")):
        config = around.config("a", encryption_keys=keys, active_key_label=label)
        async with daemon(around, config) as bbs:
            await bbs.logs("started")
            if label == "old":
                async with bbs.client() as client:
                    await client.desire_lrp(desired_message("p"))
            if keys == both:
                bbs.process.send_signal(signal.SIGINT)  # obeyed once all is sealed anew
                assert await bbs.exit_code() == 0
                assert bbs.data_of("encryptor.encryption-finished")["existing-key-label"] == "old"
                continue
            async with bbs.client() as client:
                assert [lrp.process_guid for lrp in await client.desired_lrps()] == ["p"]
            assert await bbs.stop() == 0


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        pytest.param(
            {"new": "2"}, "Existing encryption key version (old) is not among the known keys", id="missing"
        ),
        pytest.param({"old": "mistyped"}, 'under "old"', id="wrong"),
    ],
)
async def test_keys_that_do_not_fit_end_it_before_anything_is_lost(
    around: Surroundings, keys: dict[str, str], error: str
) -> None:
    async with daemon(
        around, around.config("a", encryption_keys={"old": "1"}, active_key_label="old")
    ) as bbs:
        await bbs.logs("started")
        async with bbs.client() as client:
            await client.desire_lrp(desired_message("p"))
        assert await bbs.stop() == 0

    config = around.config("a", encryption_keys=keys, active_key_label=next(iter(keys)))
    async with daemon(around, config) as bbs:
        assert await bbs.exit_code() == 1
        assert error in bbs.data_of("exited-with-failure")["error"]
        assert "mistyped" not in str(bbs.lines)

    async with daemon(
        around, around.config("a", encryption_keys={"old": "1"}, active_key_label="old")
    ) as bbs:
        await bbs.logs("started")
        async with bbs.client() as client:
            assert len(await client.desired_lrps()) == 1


async def test_certificates_are_replaced_on_a_hangup(around: Surroundings) -> None:
    debug = f"127.0.0.1:{free_port()}"
    async with daemon(around, around.config("a", debug_address=debug, enable_dashboard=True)) as bbs:
        await bbs.logs("started")
        assert bbs.data_of("dashboard") == {"url": f"http://{debug}/dashboard/"}
        old = ssl.create_default_context()
        old.load_cert_chain(around.certs.client_cert, around.certs.client_key)
        async with bbs.client() as client:
            await client.ping()
            others = copied_certs(around.tmp_path / "others", of="strangers")
            for ours, theirs in zip(around.certs.paths(), others.paths(), strict=True):
                ours.write_bytes(theirs.read_bytes())
            bbs.process.send_signal(signal.SIGHUP)
            await bbs.logs("certificates.reloaded")
            await client.ping()  # on the connection that was open before
        assert await domains(bbs) == []  # with the new CA on both sides
        # A client that trusts the new CA already, but has the certificate of the old one still.
        old.load_verify_locations(around.certs.ca_cert)
        new = ssl.create_default_context(cafile=around.certs.ca_cert)
        new.load_cert_chain(around.certs.client_cert, around.certs.client_key)
        async with (
            httpx.AsyncClient(trust_env=False, verify=old) as http,
            httpx.AsyncClient(trust_env=False, verify=new) as renewed,
        ):
            with pytest.raises(httpx.TransportError):
                await http.post(f"https://{bbs.config['listen_address']}/v1/ping")
            # The debug port speaks TLS with the same certificates, and plain HTTP.
            with pytest.raises(httpx.TransportError):
                await http.get(f"https://{debug}/metrics")
            assert (await renewed.get(f"https://{debug}/metrics")).status_code == 200
            assert (await renewed.get(f"http://{debug}/metrics")).status_code == 200
        await wait_until(
            lambda: any("tls: failed to verify certificate" in line for line in bbs.other),
            within_s=10,
            what="operators read of it",
        )

        around.certs.server_cert.write_text("nonsense")
        bbs.process.send_signal(signal.SIGHUP)
        await bbs.logs("certificates.failed-to-reload")
        assert await domains(bbs) == []


async def test_both_kinds_of_requests_are_in_the_access_log(around: Surroundings) -> None:
    path = around.tmp_path / "access.log"
    async with daemon(around, around.config("a", access_log_path=str(path))) as bbs:
        await bbs.logs("started")
        assert await domains(bbs) == []
        assert await bbs.stop() == 0

    assert path.read_text().count('"message":"bbs-access.request.done"') == 1
    assert '"request":"/v1/domains/list"' in path.read_text()


async def test_metrics_reach_a_real_agent_and_the_debug_port(around: Surroundings) -> None:
    certs = make_development_certs(around.tmp_path / "metron", hosts=("metron",))
    tls = TLSFiles(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)
    with agent(tls) as running:
        config = around.config(
            "a",
            report_interval="200ms",
            debug_address=f"127.0.0.1:{free_port()}",
            loggregator={
                "loggregator_api_port": running.port,
                "loggregator_ca_path": str(certs.ca_cert),
                "loggregator_cert_path": str(certs.client_cert),
                "loggregator_key_path": str(certs.client_key),
                "loggregator_job_origin": "bbs",
                "loggregator_source_id": "bbs-source",
            },
        )
        async with daemon(around, config) as bbs:
            await bbs.logs("started")
            await upsert(bbs, "d")
            await running.until(20)
            async with httpx.AsyncClient(trust_env=False) as http:
                page = (await http.get(f"http://{config['debug_address']}/metrics")).text
                rep_failures = (await http.get(f"http://{config['debug_address']}/rep-failures")).text
                level = await http.post(f"http://{config['debug_address']}/log-level", content="error")
            assert (level.status_code, rep_failures) == (200, "{}")
            assert await bbs.stop() == 0

    envelopes = running.envelopes()
    names = {name for envelope in envelopes for name in [*envelope.gauge.metrics, envelope.counter.name]}
    assert {
        "LockHeld", "OpenFileDescriptors", "BBSMasterElected", "MigrationDuration", "EncryptionDuration",
        "RequestCount", "RequestLatency",
    } <= names  # fmt: skip
    assert {envelope.source_id for envelope in envelopes} == {"bbs-source"}
    assert {envelope.tags["origin"] for envelope in envelopes} == {"bbs"}
    families = {family.name for family in text_string_to_metric_families(page)}
    assert {"bbs_lock_held", "bbs_request_duration_seconds", "bbs_batch_rows", "bbs_lrps_running"} <= families
    assert "exited" not in bbs.messages()  # the log was down to errors by then
