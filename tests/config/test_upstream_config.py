"""Upstream's file, as Go's decoder reads it (spec: config.md §1, §2)."""

import json
from pathlib import Path

import pytest

from bbs.config.errors import ConfigUnreadable
from bbs.config.upstream import UpstreamConfig, decode, load


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        pytest.param('{"uuid":"a"}', "uuid", "a", id="a text"),
        pytest.param('{"UUID":"a"}', "uuid", "a", id="a key in another case"),
        pytest.param('{"Lock_TTL":"15s"}', "lock_ttl_ns", 15_000_000_000, id="a duration"),
        pytest.param('{"uuid":"a","UUID":"b"}', "uuid", "b", id="the last of two counts"),
        pytest.param('{"uuid":"a"} trailing', "uuid", "a", id="what follows is ignored"),
        pytest.param('{"consul_cluster":1,"uuid":"a"}', "uuid", "a", id="unknown keys are ignored"),
        pytest.param('{"uuid":null}', "uuid", "", id="null leaves a text"),
        pytest.param('{"update_workers":null}', "update_workers", 0, id="null leaves a number"),
        pytest.param('{"redact_patterns":[]}', "redact_patterns", (), id="an empty list is not absent"),
        pytest.param('{"redact_patterns":null}', "redact_patterns", None, id="a null list is"),
        pytest.param('{"time_format":1}', "time_format", "rfc3339", id="time format as a number"),
        pytest.param(
            '{"time_format":"0"}', "time_format", "unix-epoch", id="time format as a number in a text"
        ),
        pytest.param('{"\u017fe\u017f\u017fion_name":"a"}', "session_name", "a", id="the long s folds"),
        pytest.param('{"loc\u212aet_address":"a"}', "locket_address", "a", id="the Kelvin sign folds"),
        pytest.param('{"acce\u00df_log_path":"a"}', "access_log_path", "", id="the sharp s does not"),
        pytest.param('{"uuid":"a","uuid":null}', "uuid", "a", id="null leaves what came before"),
        pytest.param(
            '{"encryption_keys":{"a":"1","b":"1"},"encryption_keys":{"b":"2"}}',
            "encryption_keys",
            {"a": "1", "b": "2"},
            id="maps add up",
        ),
        pytest.param('{"redact_patterns":["a",null]}', "redact_patterns", ("a", ""), id="null in a list"),
        pytest.param(
            '{"update_workers":9223372036854775807}', "update_workers", (1 << 63) - 1, id="the largest"
        ),
        pytest.param("null", "uuid", "", id="null is an empty configuration"),
        pytest.param(
            '{"encryption_keys":{"a":"\\ud800"}}', "encryption_keys", {"a": "\ufffd"}, id="half a character"
        ),
    ],
)
def test_values(text: str, field: str, value: object) -> None:
    decoded = decode(text.encode())

    assert not decoded.wrong
    assert getattr(decoded.config, field) == value


def test_nested_objects() -> None:
    text = """{"loggregator": {"LOGGREGATOR_API_PORT": 3459, "batchflushinterval": 5},
        "advanced_metrics": {"enabled": true, "route_config": {"request_count": ["Ping"]}}}"""

    config = decode(text.encode()).config

    assert (config.loggregator.loggregator_api_port, config.loggregator.batch_flush_interval_ns) == (3459, 5)
    assert config.advanced_metrics.route_config.request_count == ("Ping",)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"require_ssl":"true"}', "require_ssl"),
        ('{"update_workers":"10"}', "update_workers"),
        ('{"desired_lrp_instances_max":-1}', "desired_lrp_instances_max"),
        ('{"enable_dashboard":"yes"}', "enable_dashboard"),
        ('{"update_workers":1.5}', "update_workers"),
        ('{"update_workers":1.0}', "update_workers"),
        ('{"update_workers":1e3}', "update_workers"),
        ('{"update_workers":true}', "update_workers"),
        ('{"update_workers":9223372036854775808}', "update_workers"),
        ('{"update_workers":' + "9" * 5000 + "}", "update_workers"),
        ('{"uuid":10}', "uuid"),
        ('{"redact_patterns":{}}', "redact_patterns"),
        ('{"encryption_keys":{"a":1}}', "encryption_keys"),
        ('{"loggregator":{"BatchFlushInterval":"1s"}}', "loggregator.BatchFlushInterval"),
        ('{"time_format":0.0}', "time_format"),
        ('{"lock_ttl":10}', "lock_ttl"),
        ('{"lock_ttl":null}', "lock_ttl"),
        ('{"lock_ttl":"5"}', "lock_ttl"),
        ('{"encryption_keys":["a"]}', "encryption_keys"),
        ('{"loggregator":{"loggregator_batch_max_size":-1}}', "loggregator.loggregator_batch_max_size"),
        ('{"loggregator":3}', "loggregator"),
        ('{"time_format":"iso"}', "time_format"),
    ],
)
def test_wrong_types(text: str, key: str) -> None:
    assert [wrong.key for wrong in decode(text.encode()).wrong] == [key]


@pytest.mark.parametrize("text", ["", "   ", "{", '{"uuid":}', "[]", '{"uuid":NaN}', "'x'"])
def test_what_is_not_json_is_unreadable(text: str) -> None:
    with pytest.raises(ConfigUnreadable):
        decode(text.encode())


def test_a_passphrase_with_bytes_that_are_no_text_makes_gos_key() -> None:
    """Go replaces each bad byte; who replaced a run of them at once would derive another key."""
    config = decode(b'{"encryption_keys":{"a":"\xe4\xb8z"}}').config

    assert config.encryption_keys == {"a": "\ufffd\ufffdz"}


def test_a_second_nested_object_adds_to_the_first() -> None:
    text = b'{"loggregator":{"loggregator_api_port":1},"Loggregator":{"loggregator_api_host":"h"}}'

    loggregator = decode(text).config.loggregator

    assert (loggregator.loggregator_api_host, loggregator.loggregator_api_port) == ("h", 1)


def test_odd_keys_are_reported_as_they_are_spelt() -> None:
    found = decode(b'{"uiud":1,"uuid":"a","UUID":"b","loggregator":{"x":{}},"Consul_cluster":""}')

    assert found.unknown == ("uiud", "loggregator.x", "Consul_cluster")
    assert found.repeated == ("uuid",)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigUnreadable, match=r"^open .*: no such file or directory$"):
        load(str(tmp_path / "nope"))


def test_a_wrong_value_is_told_with_its_key_and_without_the_value(tmp_path: Path) -> None:
    file = tmp_path / "c"
    file.write_text('{"encryption_keys":{"label":5}}')

    with pytest.raises(ConfigUnreadable, match="encryption_keys"):
        load(str(file))


def test_every_key_of_upstream_is_known() -> None:
    """All keys of config.md §2.1-2.7, and the two objects of §2.8, §2.9."""
    keys = [
        "session_name",
        "listen_address",
        "health_address",
        "debug_address",
        "advertise_url",
        "access_log_path",
        "require_ssl",
        "ca_file",
        "cert_file",
        "key_file",
        "communication_timeout",
        "desired_lrp_creation_timeout",
        "max_task_retries",
        "update_workers",
        "convergence_workers",
        "task_callback_workers",
        "debug_lrp_start_heartbeats",
        "report_interval",
        "uuid",
        "converge_repeat_interval",
        "kick_task_duration",
        "expire_pending_task_duration",
        "expire_completed_task_duration",
        "database_driver",
        "database_connection_string",
        "max_open_database_connections",
        "max_idle_database_connections",
        "max_database_connection_lifetime",
        "db_connection_timeout",
        "db_read_timeout",
        "db_write_timeout",
        "sql_ca_cert_file",
        "sql_enable_identity_verification",
        "enable_db_health_check",
        "health_check_timeout",
        "health_check_failure_threshold",
        "health_check_interval",
        "encryption_keys",
        "active_key_label",
        "log_level",
        "time_format",
        "redact_secrets",
        "redact_patterns",
        "max_data_string_length",
        "locket_address",
        "locket_ca_cert_file",
        "locket_client_cert_file",
        "locket_client_key_file",
        "locket_client_keepalive_time",
        "locket_client_keepalive_timeout",
        "lock_ttl",
        "lock_retry_interval",
        "auctioneer_address",
        "auctioneer_ca_cert",
        "auctioneer_client_cert",
        "auctioneer_client_key",
        "auctioneer_require_tls",
        "rep_ca_cert",
        "rep_client_cert",
        "rep_client_key",
        "rep_client_session_cache_size",
        "advanced_metrics",
        "loggregator",
    ]

    decoded = decode(json.dumps(dict.fromkeys(keys)).encode())

    assert decoded.unknown == ()
    assert {wrong.explanation.split(",")[0] for wrong in decoded.wrong} == {
        'must be a duration such as "30s"'
    }


def test_secrets_are_not_shown() -> None:
    config = UpstreamConfig(encryption_keys={"l": "hush"}, database_connection_string="postgres://u:hush@h/d")

    assert "hush" not in repr(config)
