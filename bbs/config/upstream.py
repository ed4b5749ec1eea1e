"""Upstream's configuration file: every key of it and two of ours, decoded as Go decodes it. spec: config.md §1 and §2

A field is named for its key. Durations are ``int`` nanoseconds, whatever the key is called, and their fields end in
``_ns``; counts of seconds are what they are upstream, plain integers. What is absent is zero or empty: upstream has no
defaults here, and where a zero means something else, whoever uses the value says so.

Decoding keeps going after a wrong value, so that all of them can be told at once; `load` is for those who want none.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar, cast, get_type_hints

from bbs.config.errors import ConfigUnreadable
from bbs.config.go_json_values import (
    Object,
    Reader,
    Value,
    WrongValue,
    clean,
    first_value,
    folded,
    kind_of,
    read_bool,
    read_duration,
    read_int,
    read_text,
    read_text_map,
    read_texts,
    read_time_format,
    read_uint,
)

Nanoseconds = Annotated[int, read_duration]
Unsigned = Annotated[int, read_uint]
TimeFormatName = Annotated[str, read_time_format]
Texts = Annotated[tuple[str, ...] | None, read_texts]
TextMap = Annotated[Mapping[str, str], read_text_map]

FILE_BYTES_MAX: Final = 16 * 1024 * 1024

# The one key that is not named for its field: Go had no other name for it.
BATCH_FLUSH_INTERVAL: Final = "BatchFlushInterval"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteConfig:
    """Names of routes (spec: metrics-and-logs.md §2.3), not validated; None is as good as empty."""

    request_count: Texts = None
    request_latency: Texts = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvancedMetrics:
    enabled: bool = False
    route_config: RouteConfig = RouteConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggregatorConfig:
    """Where metrics go. Without any of the three paths: nowhere."""

    loggregator_api_host: str = ""
    loggregator_api_port: int = 0
    loggregator_ca_path: str = ""
    loggregator_cert_path: str = ""
    loggregator_key_path: str = ""
    loggregator_job_deployment: str = ""
    loggregator_job_name: str = ""
    loggregator_job_index: str = ""
    loggregator_job_ip: str = ""
    loggregator_job_origin: str = ""
    loggregator_source_id: str = ""
    loggregator_instance_id: str = ""
    loggregator_batch_max_size: Unsigned = 0
    batch_flush_interval_ns: int = 0
    loggregator_app_metric_exclusion_filter: Texts = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """The file. Secrets are left out of its representation."""

    # Process, API server
    session_name: str = ""
    listen_address: str = ""
    health_address: str = ""
    debug_address: str = ""
    advertise_url: str = ""
    access_log_path: str = ""
    require_ssl: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    communication_timeout_ns: Nanoseconds = 0
    desired_lrp_creation_timeout_ns: Nanoseconds = 0
    max_task_retries: int = 0
    update_workers: int = 0
    convergence_workers: int = 0
    task_callback_workers: int = 0
    debug_lrp_start_heartbeats: bool = False
    report_interval_ns: Nanoseconds = 0
    uuid: str = ""

    # Convergence and tasks
    converge_repeat_interval_ns: Nanoseconds = 0
    kick_task_duration_ns: Nanoseconds = 0
    expire_pending_task_duration_ns: Nanoseconds = 0
    expire_completed_task_duration_ns: Nanoseconds = 0

    # Database
    database_driver: str = ""
    database_connection_string: str = field(default="", repr=False)
    max_open_database_connections: int = 0
    max_idle_database_connections: int = 0
    max_database_connection_lifetime_ns: Nanoseconds = 0
    db_connection_timeout_ns: Nanoseconds = 0
    db_read_timeout_ns: Nanoseconds = 0
    db_write_timeout_ns: Nanoseconds = 0
    sql_ca_cert_file: str = ""
    sql_enable_identity_verification: bool = False
    enable_db_health_check: bool = False
    health_check_timeout_ns: Nanoseconds = 0
    health_check_failure_threshold: int = 0
    health_check_interval_ns: Nanoseconds = 0

    # Encryption
    encryption_keys: TextMap = field(default_factory=dict, repr=False)
    active_key_label: str = ""

    # Log
    log_level: str = ""
    time_format: TimeFormatName = "unix-epoch"
    redact_secrets: bool = False
    redact_patterns: Texts = None
    max_data_string_length: int = 0

    # Locket
    locket_address: str = ""
    locket_ca_cert_file: str = ""
    locket_client_cert_file: str = ""
    locket_client_key_file: str = ""
    locket_client_keepalive_time: int = 0
    locket_client_keepalive_timeout: int = 0
    lock_ttl_ns: Nanoseconds = 0
    lock_retry_interval_ns: Nanoseconds = 0

    # Peers
    auctioneer_address: str = ""
    auctioneer_ca_cert: str = ""
    auctioneer_client_cert: str = ""
    auctioneer_client_key: str = ""
    auctioneer_require_tls: bool = False
    rep_ca_cert: str = ""
    rep_client_cert: str = ""
    rep_client_key: str = ""
    rep_client_session_cache_size: int = 0

    # These are no keys of upstream's, which ignores what it does not know. Zero: `bbs.lifecycle.desired_lrps.INSTANCES_MAX`.
    desired_lrp_instances_max: Unsigned = 0
    enable_dashboard: bool = False

    # Metrics
    advanced_metrics: AdvancedMetrics = AdvancedMetrics()
    loggregator: LoggregatorConfig = LoggregatorConfig()

    def __post_init__(self) -> None:
        object.__setattr__(self, "encryption_keys", MappingProxyType(dict(self.encryption_keys)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A value of the wrong type or range. ``key`` is dotted for nested ones; ``explanation`` does not repeat a value that may
    be secret (`WrongValue`).
    """

    key: str
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A file, decoded as far as it goes. In ``config`` what is in ``wrong`` keeps its zero, or what the key said before.
    ``unknown`` keys are as the file spells them, ``repeated`` ones as they should be spelt; both dotted if nested.
    """

    config: UpstreamConfig
    wrong: tuple[Wrong, ...]
    unknown: tuple[str, ...]
    repeated: tuple[str, ...]
    present: frozenset[str]
    """Known keys that are there, as they should be spelt."""


def load(path: str) -> UpstreamConfig:
    """The configuration in the file at ``path``, which is relative to the working directory.

    Raises:
      ConfigUnreadable: there is no file, no JSON in it, or a value of the wrong type; upstream panics then.
    """
    found = decode(read_file(path))
    if found.wrong:
        raise ConfigUnreadable(f"json: {found.wrong[0].key} {found.wrong[0].explanation}")
    return found.config


def read_file(path: str) -> bytes:
    """What is in the file at ``path``.

    Raises:
      ConfigUnreadable: it cannot be read, in Go's words, or is larger than `FILE_BYTES_MAX`.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except IsADirectoryError as error:
        raise ConfigUnreadable(f"read {path}: is a directory") from error
    except ValueError as error:  # a NUL in it
        raise ConfigUnreadable(f"open {path!r}: invalid argument") from error
    except OSError as error:
        raise ConfigUnreadable(f"open {path}: {os.strerror(error.errno or 0).lower()}") from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigUnreadable(
            f"read {path}: it has more than {FILE_BYTES_MAX} bytes, so it is no configuration"
        )
    return content


def decode(content: bytes) -> Decoded:
    """Decode a file. What is wrong with single values is in the result, not raised.

    Raises:
      ConfigUnreadable: it is not JSON, or not an object.
    """
    value = first_value(content)
    if value is None:
        value = Object()  # to Go, null leaves everything as it is
    if not isinstance(value, Object):
        raise ConfigUnreadable(f"json: the configuration must be an object, is {kind_of(value)}")
    decoding = _Decoding()
    config = decoding.decode(UpstreamConfig(), value, prefix="")
    return Decoded(
        config=config,
        wrong=tuple(decoding.wrong),
        unknown=tuple(dict.fromkeys(decoding.unknown)),
        repeated=tuple(dict.fromkeys(decoding.repeated)),
        present=frozenset(decoding.present),
    )


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    field: str
    read: Reader | None
    """None for a nested object."""


def _keys(record: type) -> dict[str, _Key]:
    """The keys of a record, each under what Go compares it by (`folded`), so that any spelling finds it."""
    hints = get_type_hints(record, include_extras=True)
    keys = {}
    for setting in fields(record):
        hint = hints[setting.name]
        name = _key_name(setting.name)
        keys[folded(name)] = _Key(name, setting.name, _reader(hint))
    return keys


def _key_name(field_name: str) -> str:
    return BATCH_FLUSH_INTERVAL if field_name == "batch_flush_interval_ns" else field_name.removesuffix("_ns")


def _reader(hint: Any) -> Reader | None:
    if hasattr(hint, "__metadata__"):
        return cast("Reader", hint.__metadata__[0])
    return {str: read_text, bool: read_bool, int: read_int}.get(hint)


_KEYS: Final[Mapping[type, Mapping[str, _Key]]] = {
    record: _keys(record) for record in (UpstreamConfig, AdvancedMetrics, RouteConfig, LoggregatorConfig)
}

KNOWN_KEYS: Final = {record: tuple(key.name for key in keys.values()) for record, keys in _KEYS.items()}
"""The keys of each object, as they should be spelt."""

Record = TypeVar("Record")


class _Decoding:
    """One pass over a file, collecting what is odd on the way."""

    def __init__(self) -> None:
        self.wrong: list[Wrong] = []
        self.unknown: list[str] = []
        self.repeated: list[str] = []
        self.present: set[str] = set()

    def decode(self, before: Record, members: Iterable[tuple[str, Value]], *, prefix: str) -> Record:
        """``before`` with what ``members`` say, in their order: the last of several wins, nested objects add up."""
        record = type(before)
        keys = _KEYS[cast("Any", record)]
        values = {setting.name: getattr(before, setting.name) for setting in fields(cast("Any", before))}
        seen = set()
        for spelling, value in members:
            name = clean(spelling)
            key = keys.get(folded(name))
            if key is None:
                self.unknown.append(prefix + name)
                continue
            path = prefix + key.name
            if key.name in seen:
                self.repeated.append(path)
            seen.add(key.name)
            self.present.add(path)
            try:
                values[key.field] = self._value(key, value, values[key.field], path)
            except WrongValue as error:
                self.wrong.append(Wrong(key=path, explanation=str(error)))
        return record(**values)

    def _value(self, key: _Key, value: Value, before: object, path: str) -> object:
        if key.read is not None:
            return key.read(value, before)
        if value is None:
            return before
        if not isinstance(value, Object):
            raise WrongValue(f"must be an object, is {kind_of(value)}")
        return self.decode(before, value, prefix=f"{path}.")
