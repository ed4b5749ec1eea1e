"""What servers with upstream's configuration are made of: each step of phase A that several of them take (spec: config.md §4)."""

from contextlib import AsyncExitStack
from typing import Final

from bbs.commands.configured import StartFailed, fail_start
from bbs.config import checks
from bbs.config.upstream import UpstreamConfig
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.log import Logger, StandardStreams
from bbs.metrics.emitter import Emitter
from bbs.metrics.loggregator import LoggregatorSettings, open_loggregator
from bbs.metrics.metrics import Metrics, Reporting
from bbs.process.settings import Settings, TaskSettings
from bbs.routes.request_log import AccessLog, AccessLogPathInvalid, open_access_log
from bbs.store.health_check import HealthCheckSettings
from bbs.sync.locket.client import GRPCLocket, LocketSettings, LocketUnreachable, open_locket
from bbs.tls.contexts import TLSFilesInvalid

SECOND_NS: Final = 1_000_000_000


async def metrics_of(config: UpstreamConfig, log: Logger, stack: AsyncExitStack) -> Metrics:
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


async def connected_to_locket(config: UpstreamConfig, log: Logger, stack: AsyncExitStack) -> GRPCLocket:
    settings = LocketSettings(
        address=checks.locket_target(config.locket_address),
        tls=checks.locket_files(config),
        keepalive_time_s=config.locket_client_keepalive_time,
        keepalive_timeout_s=config.locket_client_keepalive_timeout,
    )
    try:
        return await stack.enter_async_context(open_locket(settings, log=log))
    except (LocketUnreachable, TLSFilesInvalid) as error:
        fail_start(log, "failed-to-create-locket-client", str(error))


def access_log_of(config: UpstreamConfig, log: Logger, streams: StandardStreams) -> AccessLog | None:
    if not config.access_log_path:
        return None
    try:
        return open_access_log(config.access_log_path, streams.writers)
    except AccessLogPathInvalid as error:
        log.error("invalid-access-log-path", {"access-log-path": config.access_log_path}, error=error)
        raise StartFailed(checks.EXIT_FAILED) from error


def settings_of(config: UpstreamConfig) -> Settings:
    health_check = HealthCheckSettings()
    return Settings(
        listen_address=config.listen_address or ":0",
        health_address=config.health_address,
        debug_address=config.debug_address or None,
        dashboard=config.enable_dashboard,
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
