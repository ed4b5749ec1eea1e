"""``bbs -config FILE``: upstream's server. spec: config.md §4-6"""

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

import trio

from bbs.commands import configured
from bbs.commands.configured import Assembled, check, fail_start
from bbs.commands.configured_parts import (
    SECOND_NS,
    access_log_of,
    connected_to_locket,
    metrics_of,
    settings_of,
)
from bbs.config import checks
from bbs.config.go_duration import format_duration
from bbs.config.upstream import UpstreamConfig
from bbs.http.limits import Limits
from bbs.log import LagerSink, Logger, StandardStreams
from bbs.peers.opened import AuctioneerSettings, open_peers
from bbs.ports import descriptors
from bbs.ports.advertised import advertised_url, is_url
from bbs.process.process import Process
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable, StatementRejected
from bbs.store.crypto import Keyring
from bbs.sync.locket.lock import Lock
from bbs.sync.locket.master import MasterLookup
from bbs.sync.locket.presences import Presences
from bbs.tls.contexts import TLSFiles
from bbs.tls.reloading import Certificate, Certificates, client_certificate, server_certificate

BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def run(path: str) -> int:
    """Be upstream's server with the configuration at ``path``; returns the exit code."""
    return configured.run(path, _assembled, name="bbs")


@asynccontextmanager
async def _assembled(
    config: UpstreamConfig,
    sink: LagerSink,
    log: Logger,
    streams: StandardStreams,
    until_stopped: trio.CancelScope,
) -> AsyncIterator[Assembled]:
    """Everything that comes before the first member, step by step (spec: config.md §4, phase A).

    Raises:
      StartFailed: a step failed, and its reason is in the log.
    """
    assembled = Assembled()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_asyncio_loop(log))
        check(config, log, after=checks.LOGGER, through=checks.METRICS)
        metrics = await metrics_of(config, log, stack)
        check(config, log, after=checks.METRICS, through=checks.DATABASE)
        where = checks.configured_database(config)
        keyring = Keyring(config.encryption_keys, config.active_key_label)
        # Only to find out whether the database is there, and to make the one table that upstream makes at this step. It is
        # closed again: the process connects when it needs to, as standby and as master.
        probe = where.backend(keyring)
        try:
            await probe.prepare()
        except BackendUnavailable as error:
            fail_start(log, "sql-failed-to-connect", str(error))
        except StatementRejected as error:
            fail_start(log, "sql-failed-create-configurations-table", str(error))
        finally:
            await probe.aclose()
        check(config, log, after=checks.DATABASE, through=checks.AUCTIONEER)
        access_log = access_log_of(config, log, streams)
        check(config, log, after=checks.AUCTIONEER, through=checks.SERVER_TLS)
        check(config, log, after=checks.SERVER_TLS, through=checks.LOCKET)
        locket = await connected_to_locket(config, log, stack)
        check(config, log, after=checks.LOCKET, through=checks.UUID)
        log.info("report-interval", value=format_duration(config.report_interval_ns))
        check(config, log, after=checks.UUID, through=checks.MEMBERS)

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
        assembled.certificates = Certificates(
            [server, *certificates], read_once=checks.files_read_once(config), log=log
        )
        metrics.certificates_end_s = assembled.certificates.end_s
        assembled.server = Process(
            replace(settings_of(config), limits=limits),
            database=where,
            keyring=keyring,
            tls=server.context,
            peers=peers,
            lock=Lock(
                locket,
                owner=config.uuid,
                value=config.advertise_url
                if is_url(config.advertise_url)
                else await advertised_url(
                    config.listen_address or ":0", tls=True, seen_by=config.locket_address
                ),
                ttl_s=config.lock_ttl_ns // SECOND_NS,
                retry_interval_s=config.lock_retry_interval_ns / SECOND_NS,
                log=log,
                stop_signal=lambda: assembled.stop_signal,
                now_s=_seconds_since_boot,
            ),
            master=MasterLookup(locket),
            sink=sink,
            lines=streams.writers.statistics,
            metrics=metrics,
            access_log=access_log,
            log=log,
            until_stopped=until_stopped,
        )
        yield assembled


def _seconds_since_boot() -> float:
    """A clock that also counts while the process, or the whole machine, is asleep: the lock's time runs out in Locket then,
    too, and `time.monotonic` would not notice.
    """
    return time.clock_gettime(BOOT_CLOCK)
