"""Envelopes on their way to a real agent (spec: metrics-and-logs.md §1)."""

import threading
from pathlib import Path

import pytest
import trio

from bbs.log import null_logger
from bbs.metrics.emitter import Emitter
from bbs.metrics.loggregator import QUEUE_MAX, LoggregatorSettings, NoLoggregator, open_loggregator
from bbs.tls.contexts import TLSFiles, TLSFilesInvalid
from bbs.tls.development import make_development_certs
from tests.metrics.agent import Agent, agent
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[TLSFiles, TLSFiles]:
    """The agent's, and the client's."""
    certs = make_development_certs(tmp_path_factory.mktemp("certs"), hosts=("metron",))
    return (
        TLSFiles(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key),
        TLSFiles(ca_file=certs.ca_cert, cert_file=certs.client_cert, key_file=certs.client_key),
    )


def settings(running: Agent, tls: TLSFiles) -> LoggregatorSettings:
    return LoggregatorSettings(
        tls=tls, api_port=running.port, job_origin="bbs", source_id="bbs-source", instance_id="i1"
    )


async def test_envelopes_arrive_as_the_agent_expects_them(files: tuple[TLSFiles, TLSFiles]) -> None:
    with agent(files[0]) as running:
        async with open_loggregator(settings(running, files[1]), log=null_logger()) as loggregator:
            emitter = Emitter(
                loggregator,
                origin="bbs",
                source_id="s",
                instance_id="i1",
                log=null_logger(),
                now_ns=lambda: 7,
            )
            emitter.metric("LockHeld", 1)
            emitter.duration("RequestLatency", 0.5)
            emitter.counter("RequestCount", 0)
            emitter.component("numGoRoutines", 12, "Count")
            emitter.metric("TasksStarted", 3, cell_id="c1")
            emitter.app_log("a-b-c-d-e-f-g", "InvalidRequest", "Invalid field: rootfs")
            metric, duration, counter, component, tagged, log = await running.until(6)

    assert (metric.timestamp, metric.source_id, metric.instance_id, dict(metric.tags)) == (
        7, "s", "i1", {"origin": "bbs"},
    )  # fmt: skip
    assert [(g.unit, g.value) for g in metric.gauge.metrics.values()] == [("Metric", 1.0)]
    assert [(g.unit, g.value) for g in duration.gauge.metrics.values()] == [("nanos", 5e8)]
    assert (counter.counter.name, counter.counter.delta, counter.counter.total) == ("RequestCount", 0, 0)
    assert [(g.unit, g.value) for g in component.gauge.metrics.values()] == [("Count", 12.0)]
    assert dict(tagged.tags) == {"origin": "bbs", "cell-id": "c1"}
    assert log.log.payload == (
        b"Error parsing request for app with guid a-b-c-d-e, InvalidRequest, Invalid field: rootfs"
    )
    assert (log.source_id, log.instance_id, log.log.type) == ("a-b-c-d-e", "", 1)
    assert dict(log.tags) == {"origin": "bbs", "source_type": "DIEGO-API", "source_id": "a-b-c-d-e"}


async def test_a_batch_holds_a_hundred_and_the_rest_goes_in_the_end(
    files: tuple[TLSFiles, TLSFiles],
) -> None:
    with agent(files[0]) as running:
        async with open_loggregator(settings(running, files[1]), log=null_logger()) as loggregator:
            emitter = Emitter(loggregator, log=null_logger())
            for i in range(250):
                emitter.metric("m", i)
        assert [len(batch.batch) for batch in running.batches] == [100, 100, 50]


async def test_an_agent_that_comes_back_gets_what_comes_then(files: tuple[TLSFiles, TLSFiles]) -> None:
    with agent(files[0]) as running:
        async with open_loggregator(settings(running, files[1]), log=null_logger()) as loggregator:
            emitter = Emitter(loggregator, log=null_logger())
            emitter.metric("before", 1)
            await running.until(1)
            await trio.to_thread.run_sync(running.stop)
            running.start()

            def comes_after_one_more() -> bool:
                emitter.metric("after", 1)
                return len(running.envelopes()) >= 2

            await wait_until(
                comes_after_one_more, within_s=20, what="an envelope to the agent that came back"
            )

    assert list(running.envelopes()[-1].gauge.metrics) == ["after"]


async def test_an_agent_that_hangs_or_is_absent_holds_nobody_up(files: tuple[TLSFiles, TLSFiles]) -> None:
    with agent(files[0]) as running:
        running.may_read.clear()
        async with open_loggregator(settings(running, files[1]), log=null_logger()) as loggregator:
            emitter = Emitter(loggregator, log=null_logger())
            for _ in range(3 * QUEUE_MAX):
                emitter.metric("m", 1)
            assert emitter.dropped == 2 * QUEUE_MAX
            await trio.to_thread.run_sync(running.stop)
        with trio.fail_after(5):
            async with open_loggregator(settings(running, files[1]), log=null_logger()) as loggregator:
                Emitter(loggregator, log=null_logger()).metric("m", 1)
        running.start()


async def test_no_thread_is_left(files: tuple[TLSFiles, TLSFiles]) -> None:
    with agent(files[0]) as running:
        before = set(threading.enumerate())
        async with open_loggregator(settings(running, files[1]), log=null_logger()) as loggregator:
            Emitter(loggregator, log=null_logger()).metric("m", 1)
            await running.until(1)
        await wait_until(
            lambda: (
                not any("consume" in thread.name.lower() for thread in set(threading.enumerate()) - before)
            ),
            within_s=10,
            what="gRPC's threads have ended",
        )


async def test_files_that_cannot_be_used_are_an_error_at_once(tmp_path: Path) -> None:
    bad = TLSFiles(ca_file=tmp_path / "ca", cert_file=tmp_path / "cert", key_file=tmp_path / "key")
    with pytest.raises(TLSFilesInvalid):
        async with open_loggregator(LoggregatorSettings(tls=bad), log=null_logger()):
            pass


async def test_without_files_nothing_is_sent() -> None:
    async with open_loggregator(LoggregatorSettings(), log=null_logger()) as loggregator:
        Emitter(loggregator, log=null_logger()).metric("m", 1)
        assert loggregator.dropped == 0


def test_a_guid_that_is_no_apps_gets_no_log() -> None:
    assert not Emitter(NoLoggregator(), log=null_logger()).app_log("a-b", "InvalidRequest", "x")


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("", 0, "localhost:3458"),
        ("", 3459, "127.0.0.1:3459"),
        ("agent", 1, "agent:1"),
        ("agent", 0, "localhost:3458"),
    ],
)
def test_addresses(host: str, port: int, address: str) -> None:
    assert LoggregatorSettings(api_host=host, api_port=port).address == address
