"""What a server refuses to start with, in the order in which upstream's comes upon it. spec: config.md §2, §4

The server runs the checks between the steps that open connections, and stops at the first problem. ``bbs check-config``
runs them all. Neither repeats a secret. Keys that no check is about are taken as they are: whatever their value, a server
works with it, as upstream's does; some of them make `bbs.config.cautions` speak.
"""

from collections.abc import Iterator

from bbs.config.checks import addresses, databases, files, values
from bbs.config.checks.addresses import locket_target
from bbs.config.checks.databases import configured_database
from bbs.config.checks.files import (
    auctioneer_files,
    files_read_once,
    locket_files,
    loggregator_files,
    rep_files,
    server_files,
)
from bbs.config.checks.problem import (
    ACCESS_LOG,
    AUCTIONEER,
    DATABASE,
    ENCRYPTION,
    EXIT_FAILED,
    EXIT_FATAL,
    HEALTH_ADDRESS,
    LOCKET,
    LOGGER,
    MEMBERS,
    METRICS,
    REPS,
    SERVER_TLS,
    TICKERS,
    UUID,
    Problem,
)
from bbs.config.upstream import UpstreamConfig

__all__ = [
    "ACCESS_LOG",
    "AUCTIONEER",
    "DATABASE",
    "ENCRYPTION",
    "EXIT_FAILED",
    "EXIT_FATAL",
    "HEALTH_ADDRESS",
    "LOCKET",
    "LOGGER",
    "MEMBERS",
    "METRICS",
    "REPS",
    "SERVER_TLS",
    "TICKERS",
    "UUID",
    "Problem",
    "auctioneer_files",
    "configured_database",
    "files_read_once",
    "locket_files",
    "locket_target",
    "loggregator_files",
    "problems",
    "rep_files",
    "server_files",
]


def problems(config: UpstreamConfig) -> Iterator[Problem]:
    """Everything that keeps a server from starting, as far as can be said without connecting to anybody.

    Reads the files that the configuration names, each when its check is asked for.
    """
    for check in (
        values.logger,
        files.metrics_certificates,
        addresses.loggregator_address,
        addresses.health_address,
        values.encryption,
        databases.database,
        files.rep_certificates,
        addresses.auctioneer_address,
        files.auctioneer_certificates,
        files.access_log,
        files.server_certificates,
        addresses.locket_address,
        files.locket_certificates,
        values.uuid,
        values.tickers,
        addresses.members_addresses,
        values.workers,
    ):
        yield from check(config)
