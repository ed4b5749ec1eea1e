"""``bbs -config FILE``: upstream's server, from its configuration to its exit code. spec: config.md §4-6

In phase A everything is checked and connected that can be, in upstream's order. Nobody is answered yet, not even the health
port, and a signal ends the process at once by its default action: there is nothing to finish, and a handler of ours would
only have to wait out the step under way, ten seconds for a Locket that is away. In phase B the members run, and signals stop
them in order.

The order of checks matters: an operator who has made two mistakes is told upstream's first one, with its exit code. So
checks are made in portions (`_check`), between the steps that open connections.
"""

import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import trio

from bbs.commands.last_words import dump_stacks_on_quit, exited_with_failure, unraisable_errors_told
from bbs.concurrency.causes import first_of, root_cause
from bbs.concurrency.members import Member, failures, run_members, trace
from bbs.config import checks
from bbs.config.errors import ConfigInvalid
from bbs.config.go_duration import format_duration
from bbs.config.upstream import UpstreamConfig, load
from bbs.http.limits import Limits
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.log import (
    LagerSink,
    Level,
    Logger,
    StandardStreams,
    TimeFormat,
    data_processors,
    root_logger,
    standard_streams,
)
from bbs.metrics.emitter import Emitter
from bbs.metrics.loggregator import LoggregatorSettings, open_loggregator
from bbs.metrics.metrics import Metrics, Reporting
from bbs.models.errors import Failure
from bbs.peers.opened import AuctioneerSettings, open_peers
from bbs.ports import descriptors
from bbs.ports.listen import ListenFailed
from bbs.process.key_rotation import KeyLabelUnknown
from bbs.process.process import Process
from bbs.process.settings import Settings, TaskSettings
from bbs.routes.request_log import AccessLogPathInvalid, open_access_log
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable, StatementRejected, WriterLockLost
from bbs.store.crypto import Keyring
from bbs.store.health_check import HealthCheckFailed, HealthCheckSettings
from bbs.store.key_check import KeysDoNotFit
from bbs.store.schema import SchemaError
from bbs.sync.locket.client import GRPCLocket, LocketSettings, LocketUnreachable, open_locket
from bbs.sync.locket.lock import Lock, LockLost
from bbs.sync.locket.presences import Presences
from bbs.tls.contexts import TLSFiles, TLSFilesInvalid
from bbs.tls.reloading import Certificate, Certificates, client_certificate, server_certificate

SECOND_NS: Final = 1_000_000_000

BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

PHASE_A_WRITE_S: Final = 1.0
"""How long a step of phase A waits until its line is out. A line that only waits to be written would be lost when a signal
ends the process. Readers that are there take microseconds; without any the start is late by this much, once.
"""

EXPECTED: Final = (
    BackendUnavailable,
    StatementRejected,
    Failure,
    HealthCheckFailed,
    KeyLabelUnknown,
    KeysDoNotFit,
    ListenFailed,
    LockLost,
    SchemaError,
    WriterLockLost,
)
"""Failures of members whose text says it all. Any other is a bug, and the log needs its traceback as well."""


class StartFailed(Exception):
    """The server does not start, and has said why."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


def run(path: str) -> int:
    """Be upstream's server with the configuration at ``path``; returns the exit code."""
    _name_process("bbs")
    dump_stacks_on_quit()
    with standard_streams(log="stdout") as streams:
        return _run_beside(streams, path)


def _run_beside(streams: StandardStreams, path: str) -> int:
    try:
        config = load(path)
        for problem in checks.problems(config):
            if problem.step > checks.LOGGER:
                break
            raise ConfigInvalid(f"{problem.error} ({problem.key}: {problem.advice})")
    except ConfigInvalid as invalid:
        print(f"panic: {invalid}", file=sys.stderr, flush=True)
        return checks.EXIT_FATAL
    # There was no log before: its level and format are in the file. So what was wrong until here went to standard error.
    streams.log.write_through(PHASE_A_WRITE_S)
    sink = LagerSink(
        streams.log,
        min_level=Level.from_config(config.log_level),
        time_format=TimeFormat.from_config(config.time_format),
        processors=data_processors(
            max_data_string_length=config.max_data_string_length,
            redact_secrets=config.redact_secrets,
            redact_patterns=config.redact_patterns,
        ),
    )
    streams.log.notice = partial(sink.dropped_notice, config.session_name)
    log = root_logger(config.session_name, sink)
    log.info("starting")
    with unraisable_errors_told(log):
        try:
            return trio.run(_run, config, sink, log, streams)
        except BaseException as failure:
            # The end of the process, whatever it was: nothing is left that a failure could leave half done.
            start_failed = first_of(StartFailed, failure)
            if start_failed is not None:
                return start_failed.exit_code
            exited_with_failure(log, str(root_cause(failure)), bug=failure)
            return checks.EXIT_FAILED


async def _run(config: UpstreamConfig, sink: LagerSink, log: Logger, streams: StandardStreams) -> int:
    until_stopped = trio.CancelScope()
    async with (
        _assembled(config, sink, log, streams, until_stopped) as assembled,
        trio.open_nursery() as nursery,
    ):
        # Phase B begins. The handler comes before the first member, so that no signal finds a member that nobody stops.
        await nursery.start(_obey_signals, assembled, until_stopped)
        streams.log.write_behind()
        exits = await run_members(
            [Member("certificates", assembled.certificates.watch), *assembled.process.members()],
            until_stopped=until_stopped,
            on_started=lambda: log.info("started"),
        )
        nursery.cancel_scope.cancel()
    went_wrong = failures(exits)
    if went_wrong:
        bugs = [failure for failure in went_wrong if not isinstance(root_cause(failure), EXPECTED)]
        exited_with_failure(log, trace(exits), bug=bugs[0] if bugs else None)
        return checks.EXIT_FAILED
    log.info("exited")
    return 0


class _Assembled:
    """A process with everything around it that phase A has opened. ``stop_signal`` is the last one that came, for the log."""

    def __init__(self) -> None:
        self.stop_signal: int = signal.SIGINT
        self.process: Process
        self.certificates: Certificates


@asynccontextmanager
async def _assembled(
    config: UpstreamConfig,
    sink: LagerSink,
    log: Logger,
    streams: StandardStreams,
    until_stopped: trio.CancelScope,
) -> AsyncIterator[_Assembled]:
    """Everything that comes before the first member, step by step (spec: config.md §4, phase A).

    Raises:
      StartFailed: a step failed, and its reason is in the log.
    """
    assembled = _Assembled()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_asyncio_loop(log))
        _check(config, log, after=checks.LOGGER, through=checks.METRICS)
        metrics = await _metrics(config, log, stack)
        _check(config, log, after=checks.METRICS, through=checks.DATABASE)
        where = checks.configured_database(config)
        keyring = Keyring(config.encryption_keys, config.active_key_label)
        # Only to find out whether the database is there, and to make the one table that upstream makes at this step. It is
        # closed again: the process connects when it needs to, as standby and as master.
        probe = where.backend(keyring)
        try:
            await probe.prepare()
        except BackendUnavailable as error:
            _fail_start(log, "sql-failed-to-connect", str(error))
        except StatementRejected as error:
            _fail_start(log, "sql-failed-create-configurations-table", str(error))
        finally:
            await probe.aclose()
        _check(config, log, after=checks.DATABASE, through=checks.AUCTIONEER)
        access_log = None
        if config.access_log_path:
            try:
                access_log = open_access_log(config.access_log_path, streams.writers)
            except AccessLogPathInvalid as error:
                log.error("invalid-access-log-path", {"access-log-path": config.access_log_path}, error=error)
                raise StartFailed(checks.EXIT_FAILED) from error
        _check(config, log, after=checks.AUCTIONEER, through=checks.SERVER_TLS)
        _check(config, log, after=checks.SERVER_TLS, through=checks.LOCKET)
        locket = await _connected_to_locket(config, log, stack)
        _check(config, log, after=checks.LOCKET, through=checks.UUID)
        log.info("report-interval", value=format_duration(config.report_interval_ns))
        _check(config, log, after=checks.UUID, through=checks.MEMBERS)

        certificates: list[Certificate] = []

        # Each client's certificate is also watched: files that change are read again (`Certificates.watch`).
        def contexts(files: TLSFiles) -> Callable[[], ssl.SSLContext]:
            certificates.append(client_certificate(files))
            return certificates[-1].context

        server = server_certificate(checks.server_files(config))
        lookup_s = config.db_connection_timeout_ns / SECOND_NS
        limits, shares = descriptors.claim(Limits(), log=log)
        peers = await stack.enter_async_context(
            open_peers(
                auctioneer=AuctioneerSettings(
                    address=config.auctioneer_address,
                    tls=checks.auctioneer_files(config),
                    require_tls=config.auctioneer_require_tls,
                ),
                identity=checks.server_files(config),
                reps_tls=checks.rep_files(config),
                cells=Presences(locket, deadline_s=lookup_s),
                communication_timeout_s=config.communication_timeout_ns / SECOND_NS,
                callback_workers=config.task_callback_workers,
                connections_max=shares.peers,
                contexts=contexts,
            )
        )
        assembled.certificates = Certificates([server, *certificates], log=log)
        assembled.process = Process(
            replace(_settings(config), limits=limits),
            database=where,
            keyring=keyring,
            tls=server.context,
            peers=peers,
            lock=Lock(
                locket,
                owner=config.uuid,
                ttl_s=config.lock_ttl_ns // SECOND_NS,
                retry_interval_s=config.lock_retry_interval_ns / SECOND_NS,
                log=log,
                stop_signal=lambda: assembled.stop_signal,
                now_s=_seconds_since_boot,
            ),
            sink=sink,
            lines=streams.writers.statistics,
            metrics=metrics,
            access_log=access_log,
            log=log,
            until_stopped=until_stopped,
        )
        yield assembled


async def _metrics(config: UpstreamConfig, log: Logger, stack: AsyncExitStack) -> Metrics:
    given, advanced = config.loggregator, config.advanced_metrics
    loggregator = await stack.enter_async_context(
        open_loggregator(
            LoggregatorSettings(
                tls=checks.loggregator_files(config),
                api_host=given.loggregator_api_host,
                api_port=given.loggregator_api_port,
                batch_max_size=given.loggregator_batch_max_size,
                batch_flush_interval_s=given.batch_flush_interval_ns / SECOND_NS,
            ),
            log=log,
        )
    )
    emitter = Emitter(
        loggregator,
        origin=given.loggregator_job_origin,
        source_id=given.loggregator_source_id,
        instance_id=given.loggregator_instance_id,
        log=log,
    )
    routes = advanced.route_config
    reporting = Reporting(
        report_interval_s=config.report_interval_ns / SECOND_NS,
        request_count=(routes.request_count or ()) if advanced.enabled else (),
        request_latency=(routes.request_latency or ()) if advanced.enabled else (),
    )
    return Metrics(emitter, reporting, log=log)


async def _connected_to_locket(config: UpstreamConfig, log: Logger, stack: AsyncExitStack) -> GRPCLocket:
    settings = LocketSettings(
        address=checks.locket_target(config.locket_address),
        tls=checks.locket_files(config),
        keepalive_time_s=config.locket_client_keepalive_time,
        keepalive_timeout_s=config.locket_client_keepalive_timeout,
    )
    try:
        return await stack.enter_async_context(open_locket(settings, log=log))
    except (LocketUnreachable, TLSFilesInvalid) as error:
        _fail_start(log, "failed-to-create-locket-client", str(error))


def _settings(config: UpstreamConfig) -> Settings:
    health_check = HealthCheckSettings()
    return Settings(
        listen_address=config.listen_address or ":0",
        health_address=config.health_address,
        debug_address=config.debug_address or None,
        update_workers=config.update_workers,
        desired_lrp_instances_max=config.desired_lrp_instances_max or INSTANCES_MAX,
        convergence_workers=config.convergence_workers,
        debug_lrp_start_heartbeats=config.debug_lrp_start_heartbeats,
        health_check=HealthCheckSettings(
            timeout_s=config.health_check_timeout_ns / SECOND_NS or health_check.timeout_s,
            failure_threshold=config.health_check_failure_threshold or health_check.failure_threshold,
            interval_s=config.health_check_interval_ns / SECOND_NS or health_check.interval_s,
        )
        if config.enable_db_health_check
        else None,
        tasks=TaskSettings(
            max_task_retries=config.max_task_retries,
            task_callback_workers=config.task_callback_workers,
            communication_timeout_s=config.communication_timeout_ns / SECOND_NS,
            converge_repeat_interval_s=config.converge_repeat_interval_ns / SECOND_NS,
            kick_task_duration_s=config.kick_task_duration_ns / SECOND_NS,
            expire_pending_task_duration_s=config.expire_pending_task_duration_ns / SECOND_NS,
            expire_completed_task_duration_s=config.expire_completed_task_duration_ns / SECOND_NS,
        ),
    )


def _check(config: UpstreamConfig, log: Logger, *, after: int, through: int) -> None:
    """Make the checks of the steps behind ``after``, up to ``through``, and tell the first problem as upstream does.

    Raises:
      StartFailed: there is one.
    """
    # The checks of earlier steps are made again on the way, which does nothing but read files, and not told of again.
    for problem in checks.problems(config):
        if problem.step > through:
            return
        if problem.step <= after:
            continue
        if not problem.action:
            print(f"panic: {problem.error}", file=sys.stderr, flush=True)
        elif problem.exit_code == checks.EXIT_FAILED:
            log.error(problem.action, dict(problem.data), error=problem.error)
        else:
            if problem.action == "failed-to-create-locket-client":
                log.error("failed-to-open-tls-config", error=problem.error)
            _fail_start(log, problem.action, problem.error, dict(problem.data))
        raise StartFailed(problem.exit_code)


def _fail_start(log: Logger, action: str, error: str, data: dict[str, object] | None = None) -> NoReturn:
    """Upstream's fatal end: a line in the log, and on standard error what Go's panic begins with, which scripts look for.

    Raises:
      StartFailed: always.
    """
    log.fatal(action, data, error=error or None)
    print(f"panic: {error or action}", file=sys.stderr, flush=True)
    raise StartFailed(checks.EXIT_FATAL)


async def _obey_signals(
    assembled: _Assembled,
    until_stopped: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """SIGINT and SIGTERM stop the server, the first of them for good; SIGHUP has certificates read again."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                assembled.certificates.reload()
            else:
                assembled.stop_signal = number
                until_stopped.cancel()


def _seconds_since_boot() -> float:
    """A clock that also counts while the process, or the whole machine, is asleep: the lock's time runs out in Locket then,
    too, and `time.monotonic` would not notice.
    """
    return time.clock_gettime(BOOT_CLOCK)


def _name_process(name: str) -> None:
    """What ``ps`` and ``lsof`` call this process; upstream's scripts look for it (spec: config.md §5)."""
    with suppress(OSError):  # not Linux
        Path("/proc/self/comm").write_text(name)
