"""Values that are neither files nor addresses: levels, patterns, keys, names, numbers, durations."""

from collections.abc import Iterator

from bbs.config.checks.problem import (
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
