"""Values that are neither files nor addresses: levels, patterns, keys, the database, names, numbers, durations."""

from collections.abc import Iterator

from bbs.config.checks.problem import (
    DATABASE,
    ENCRYPTION,
    EXIT_FAILED,
    LOGGER,
    MEMBERS,
    TICKERS,
    UUID,
    Problem,
)
from bbs.config.upstream import UpstreamConfig
from bbs.log import Level, PatternInvalid, data_processors
from bbs.store.crypto import BadKeys, Keyring
from bbs.store.dsn import BadConnectionString, parse_dsn

UUID_CHARS_MAX = 255
"""The column that Locket keeps an owner in (spec: locking-and-presence.md §1)."""

CALLBACK_WORKERS_MAX = 100_000
"""Each is a task of its own, about 4 kB, for as long as the server is master."""


def logger(config: UpstreamConfig) -> Iterator[Problem]:
    try:
        Level.from_config(config.log_level)
    except ValueError as error:
        yield Problem(
            step=LOGGER,
            action="",
            error=str(error),
            key="log_level",
            advice="use debug, info, error or fatal",
        )
    try:
        data_processors(
            max_data_string_length=config.max_data_string_length,
            redact_secrets=config.redact_secrets,
            redact_patterns=config.redact_patterns,
        )
    except PatternInvalid as error:
        yield Problem(
            step=LOGGER,
            action="",
            error=str(error),
            key="redact_patterns",
            advice="mend the pattern, or leave the key out for the default ones",
        )


def encryption(config: UpstreamConfig) -> Iterator[Problem]:
    advice = "encryption_keys maps labels to passphrases, and active_key_label names one of them"
    error = ""
    try:
        Keyring(config.encryption_keys, config.active_key_label)
    except BadKeys as bad:
        error = str(bad)
    else:
        if "\0" in config.active_key_label:
            error = "The active key label contains a NUL character"
            advice = "choose another label: Postgres, which keeps it, takes no NUL"
    if error:
        yield Problem(
            step=ENCRYPTION,
            action="cannot-setup-encryption",
            error=error,
            key="encryption_keys, active_key_label",
            advice=advice,
        )


def database(config: UpstreamConfig) -> Iterator[Problem]:
    driver, text = config.database_driver, config.database_connection_string
    if not driver or not text:
        yield Problem(
            step=DATABASE,
            action="no-database-configured",
            error="no database configured",
            key="database_driver" if not driver else "database_connection_string",
            advice="set database_driver to postgres, and database_connection_string to its URL",
        )
        return
    if driver != "postgres":
        known = "this server works with Postgres only" if driver == "mysql" else "unknown driver"
        yield Problem(
            step=DATABASE,
            action="invalid-driver-name",
            error=f"{known}: {driver}",
            key="database_driver",
            advice="set it to postgres",
            data=(("driver-name", driver),),
        )
        return
    try:
        parse_dsn(text)
    except BadConnectionString as error:
        yield Problem(
            step=DATABASE,
            action="invalid-db-connection-string",
            error=str(error),
            key="database_connection_string",
            advice="give postgres://user:password@host:port/database, or libpq's key=value form",
        )


def uuid(config: UpstreamConfig) -> Iterator[Problem]:
    error = ""
    if not config.uuid:
        error = "invalid-uuid-from-config"
    elif "\0" in config.uuid:
        error = "it contains a NUL character, which Locket does not take"
    elif len(config.uuid) > UUID_CHARS_MAX:
        error = f"it has {len(config.uuid)} characters, and Locket takes {UUID_CHARS_MAX}"
    if error:
        yield Problem(
            step=UUID,
            action="invalid-uuid",
            error=error,
            key="uuid",
            advice="give a text that no other instance has, such as the BOSH instance id",
        )


def tickers(config: UpstreamConfig) -> Iterator[Problem]:
    intervals = [("report_interval", config.report_interval_ns)]
    if config.enable_db_health_check:
        # Zero is the default here.
        intervals.append(("health_check_interval", config.health_check_interval_ns or 1))
    for key, interval_ns in intervals:
        if interval_ns <= 0:
            yield Problem(
                step=TICKERS,
                action="",
                error="non-positive interval for NewTicker",
                key=key,
                advice='give a duration above zero, such as "1m"',
            )


def workers(config: UpstreamConfig) -> Iterator[Problem]:
    given, error = config.task_callback_workers, ""
    if given < 1:
        error = f"must provide positive maxWorkers; provided {given}"
    elif given > CALLBACK_WORKERS_MAX:
        error = f"must provide at most {CALLBACK_WORKERS_MAX} maxWorkers; provided {given}"
    if error:
        yield Problem(
            step=MEMBERS,
            action="exited-with-failure",
            error=error,
            key="task_callback_workers",
            advice="give a number above zero, such as 1000",
            exit_code=EXIT_FAILED,
        )
