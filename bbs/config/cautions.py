"""What a server starts with and an operator hardly meant: for ``bbs check-config``. spec: config.md §2"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches

from bbs.config.go_json_values import folded
from bbs.config.upstream import KNOWN_KEYS, UpstreamConfig
from bbs.ports.advertised import is_url
from bbs.store.database import STATEMENT_S
from bbs.store.dsn import BadConnectionString
from bbs.store.mysql.dsn import parse_mysql_dsn

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000

UNKNOWN_TOLD_MAX = 100
"""Unknown keys that are told one by one. For each, a search for the key that was meant takes a fraction of a millisecond."""

KEY_SHOWN_CHARS_MAX = 100

# Keys of releases before those we stand in for. Files have kept them, and they are no misspellings.
OLD_KEYS = frozenset(
    (
        "consul_cluster",
        "rep_require_tls",
        "cell_registrations_locket_enabled",
        "locks_locket_enabled",
        "skip_consul_lock",
        "loggregator_use_v2_api",
    )
)


@dataclass(frozen=True, slots=True)
class Caution:
    key: str
    text: str


def cautions(config: UpstreamConfig, *, unknown: Iterable[str], repeated: Iterable[str]) -> Iterator[Caution]:
    """``unknown`` are the keys of the file that nobody reads, ``repeated`` those that stand there more than once."""
    unknown = tuple(unknown)
    for key in unknown[:UNKNOWN_TOLD_MAX]:
        yield Caution(_shown(key), _about_unknown(key))
    if len(unknown) > UNKNOWN_TOLD_MAX:
        yield Caution(f"{len(unknown) - UNKNOWN_TOLD_MAX} more keys", "are unknown and ignored")
    for key in repeated:
        yield Caution(key, "stands there more than once: the last one counts")
    if config.advertise_url and not is_url(config.advertise_url):
        yield Caution("advertise_url", "is no URL: followers are told of listen_address")
    if config.desired_lrp_creation_timeout_ns:
        yield Caution("desired_lrp_creation_timeout", "has no effect, here as upstream")
    yield from _database(config)
    for key, given in (
        ("max_open_database_connections", config.max_open_database_connections),
        ("max_idle_database_connections", config.max_idle_database_connections),
        ("max_database_connection_lifetime", config.max_database_connection_lifetime_ns),
    ):
        if given:
            yield Caution(
                key, "has no effect: this server writes through one connection and reads from memory"
            )
    yield from _lock(config)
    yield from _workers(config)
    yield from _intervals(config)
    reps = (config.rep_ca_cert, config.rep_client_cert, config.rep_client_key)
    if any(reps) and not all(reps):
        yield Caution(
            "rep_ca_cert, rep_client_cert, rep_client_key",
            "one is missing, so the others are ignored: reps are called without a certificate of ours",
        )
    if config.auctioneer_address.endswith("/"):
        yield Caution("auctioneer_address", "ends with a slash, which makes paths like //v1/lrps")
    if not config.debug_address:
        yield Caution("debug_address", "is not set: no log-level changes at run time, and no page of metrics")
        if config.enable_dashboard:
            yield Caution(
                "enable_dashboard",
                'has no effect without debug_address, where the dashboard would be; set it to "127.0.0.1:17017"',
            )
    if 0 < config.max_data_string_length < 12:
        yield Caution(
            "max_data_string_length", "leaves no room for the mark of what was cut; upstream dies of it"
        )


def _database(config: UpstreamConfig) -> Iterator[Caution]:
    if config.database_driver == "mysql":
        yield from _mysql(config)
        return
    for key, timeout_ns in (
        ("db_read_timeout", config.db_read_timeout_ns),
        ("db_write_timeout", config.db_write_timeout_ns),
    ):
        if timeout_ns:
            yield Caution(
                key,
                "has no effect with Postgres: this server gives each statement ten seconds; for less, say"
                " statement_timeout in database_connection_string",
            )
    for key, given in (
        ("sql_ca_cert_file", config.sql_ca_cert_file),
        ("sql_enable_identity_verification", config.sql_enable_identity_verification),
    ):
        if given:
            yield Caution(
                key,
                "has no effect with Postgres: say it in database_connection_string (sslmode, sslrootcert)",
            )


def _mysql(config: UpstreamConfig) -> Iterator[Caution]:
    if config.db_read_timeout_ns > STATEMENT_S * SECOND_NS:
        yield Caution("db_read_timeout", f"is {STATEMENT_S:g} seconds at most here, for each crossing")
    if config.db_write_timeout_ns:
        yield Caution("db_write_timeout", "has no effect: db_read_timeout is for all of a crossing")
    if config.sql_enable_identity_verification and not config.sql_ca_cert_file:
        yield Caution("sql_enable_identity_verification", "has no effect without sql_ca_cert_file")
    with suppress(BadConnectionString):  # which is an error, and no caution
        for name in parse_mysql_dsn(config.database_connection_string).unknown:
            yield Caution(
                "database_connection_string",
                f"has a parameter {_shown(name)}, which has no effect, here as upstream",
            )


def _lock(config: UpstreamConfig) -> Iterator[Caution]:
    ttl_ns, retry_ns = config.lock_ttl_ns, config.lock_retry_interval_ns
    if ttl_ns < SECOND_NS:
        yield Caution(
            "lock_ttl",
            'is below one second, which Locket refuses: this server never becomes master; use "15s"',
        )
    elif retry_ns >= ttl_ns:
        yield Caution(
            "lock_retry_interval", 'is not below lock_ttl: the lock expires between renewals; use "5s"'
        )
    if retry_ns <= 0:
        what = _how_little(retry_ns)
        yield Caution("lock_retry_interval", f'{what}: the lock is lost at its first renewal; use "5s"')
    if config.db_connection_timeout_ns <= 0:
        what = _how_little(config.db_connection_timeout_ns)
        yield Caution(
            "db_connection_timeout",
            f'{what}: it bounds the calls to Locket too, so no cell is ever found; use "30s"',
        )
    if config.locket_client_keepalive_timeout < 0:
        yield Caution(
            "locket_client_keepalive_timeout",
            "is negative: a call that lasts as long as the keep-alive time is broken off; use 20",
        )


def _workers(config: UpstreamConfig) -> Iterator[Caution]:
    if config.update_workers < 1:
        what = _how_little(config.update_workers)
        yield Caution("update_workers", f"{what}: desired instances are created by convergence only")
    if config.convergence_workers < 1:
        what = _how_little(config.convergence_workers)
        yield Caution("convergence_workers", f"{what}: convergence finds out what to do, and does nothing")


def _intervals(config: UpstreamConfig) -> Iterator[Caution]:
    for key, given, what in (
        ("converge_repeat_interval", config.converge_repeat_interval_ns, "convergence runs without a pause"),
        (
            "kick_task_duration",
            config.kick_task_duration_ns,
            "every completed task is called back in each pass",
        ),
        (
            "expire_pending_task_duration",
            config.expire_pending_task_duration_ns,
            "pending tasks fail in the next pass",
        ),
        (
            "expire_completed_task_duration",
            config.expire_completed_task_duration_ns,
            "completed tasks go in the next pass",
        ),
        (
            "communication_timeout",
            config.communication_timeout_ns,
            "a peer that hangs holds its caller for ever",
        ),
    ):
        if given <= 0:
            yield Caution(key, f"{_how_little(given)}: {what}")
    if 0 < config.report_interval_ns < SECOND_NS:
        yield Caution("report_interval", 'is below one second: metrics are all this server does; use "1m"')
    if config.enable_db_health_check and config.health_check_timeout_ns < 0:
        yield Caution(
            "health_check_timeout",
            'is negative: each check fails, and the server with the first round; use "5s"',
        )
    if config.health_check_failure_threshold < 0:
        yield Caution("health_check_failure_threshold", "is negative: the database is never checked")
    flush_ns = config.loggregator.batch_flush_interval_ns
    if flush_ns and flush_ns < 10 * MILLISECOND_NS:
        yield Caution(
            "loggregator.BatchFlushInterval",
            "is below 10 ms, and taken for that; it is a number of nanoseconds: 100000000 is a tenth of a second",
        )


def _how_little(given: int) -> str:
    return "is negative" if given < 0 else "is zero"


def _shown(key: str) -> str:
    return key if len(key) <= KEY_SHOWN_CHARS_MAX else f"{key[:KEY_SHOWN_CHARS_MAX]}..."


def _about_unknown(key: str) -> str:
    name = key.rpartition(".")[2]
    if folded(name) in OLD_KEYS:
        return "is of an older release and ignored"
    if len(name) > KEY_SHOWN_CHARS_MAX:
        return "is unknown and ignored"
    known = [key for keys in KNOWN_KEYS.values() for key in keys]
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.8)
    return "is unknown and ignored" + (f"; did you mean {close[0]}?" if close else "")
