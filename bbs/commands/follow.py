"""``bbs follow``: a server that only reads, from the database of some other master, this server or upstream's.

It has upstream's configuration, the master's as a rule with addresses and certificates of its own. What it has no use for is
checked all the same, so that one file serves both.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

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
from bbs.config.upstream import UpstreamConfig
from bbs.http.limits import Limits
from bbs.log import LagerSink, Logger, StandardStreams
from bbs.peers.opened import open_peers
from bbs.ports import descriptors
from bbs.process.follower import STALENESS_MAX_S, Follower
from bbs.routes.followed import AT_LEAST_MAX_S
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.crypto import Keyring
from bbs.sync.locket.master import MasterLookup
from bbs.sync.locket.presences import Presences
from bbs.tls.reloading import Certificates, server_certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowSettings:
    """What is more than ``staleness_max_s`` old is not told to anybody. A request waits ``at_least_max_s`` at most for what its
    answer is to know of.
    """

    staleness_max_s: float = STALENESS_MAX_S
    at_least_max_s: float = AT_LEAST_MAX_S


def follow(path: str, settings: FollowSettings) -> int:
    """Be a follower with the configuration at ``path``; returns the exit code."""
    return configured.run(path, partial(assembled_follower, settings), name="bbs-follow")


@asynccontextmanager
async def assembled_follower(
    follow_settings: FollowSettings,
    config: UpstreamConfig,
    sink: LagerSink,
    log: Logger,
    streams: StandardStreams,
    until_stopped: trio.CancelScope,
) -> AsyncIterator[Assembled]:
    """As `bbs.commands.configured.Assemble`. The database may be away: it is followed when it is there."""
    assembled = Assembled()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_asyncio_loop(log))
        check(config, log, after=checks.LOGGER, through=checks.METRICS)
        metrics = await metrics_of(config, log, stack)
        check(config, log, after=checks.METRICS, through=checks.AUCTIONEER)
        database = checks.configured_database(config)
        keyring = Keyring(config.encryption_keys, config.active_key_label)
        if database.changes(keyring) is None:
            fail_start(log, "cannot-follow", "only Postgres can be followed; database_driver is not postgres")
        access_log = access_log_of(config, log, streams)
        check(config, log, after=checks.AUCTIONEER, through=checks.LOCKET)
        locket = await connected_to_locket(config, log, stack)
        check(config, log, after=checks.LOCKET, through=checks.MEMBERS)
        limits, shares = descriptors.claim(Limits(), log=log)
        server = server_certificate(checks.server_files(config))
        # Only cells are ever asked for.
        peers = await stack.enter_async_context(
            open_peers(
                auctioneer=None,
                identity=None,
                cells=Presences(locket, deadline_s=config.db_connection_timeout_ns / SECOND_NS),
                communication_timeout_s=config.communication_timeout_ns / SECOND_NS,
                callback_workers=1,
                connections_max=shares.peers,
            )
        )
        assembled.certificates = Certificates([server], read_once=checks.files_read_once(config), log=log)
        metrics.certificates_end_s = assembled.certificates.end_s
        assembled.server = Follower(
            replace(settings_of(config), limits=limits),
            database=database,
            keyring=keyring,
            tls=server.context,
            sink=sink,
            lines=streams.writers.statistics,
            metrics=metrics,
            access_log=access_log,
            peers=peers,
            master=MasterLookup(locket),
            staleness_max_s=follow_settings.staleness_max_s,
            at_least_max_s=follow_settings.at_least_max_s,
            log=log,
        )
        yield assembled
