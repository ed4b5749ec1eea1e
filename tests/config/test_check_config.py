"""``bbs check-config FILE`` and the command lines around it (spec: config.md §1, §2)."""

import json
from pathlib import Path
from typing import Any

import pytest

from bbs.commands.cli import main
from bbs.commands.entry import FlagWrong, HelpWanted, config_path
from bbs.config import checks
from bbs.config.upstream import decode
from tests.daemons import CERT_NAMES
from tests.made_once import copied_certs

Changes = dict[str, Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Changes:
    paths = copied_certs(tmp_path_factory.mktemp("certs") / "copied").paths()
    certs = dict(zip(CERT_NAMES, map(str, paths), strict=True))
    return {
        "health_address": "127.0.0.1:8890", "debug_address": "127.0.0.1:17017", "uuid": "a", "log_level": "info",
        "ca_file": certs["ca"], "cert_file": certs["server"], "key_file": certs["server_key"],
        "locket_address": "127.0.0.1:8891", "locket_ca_cert_file": certs["ca"],
        "locket_client_cert_file": certs["client"], "locket_client_key_file": certs["client_key"],
        "lock_ttl": "15s", "lock_retry_interval": "5s", "report_interval": "1m", "database_driver": "postgres",
        "database_connection_string": "postgres://u:hush@h/d", "db_connection_timeout": "30s",
        "encryption_keys": {"l": "hush"}, "active_key_label": "l", "auctioneer_address": "https://a:9016",
        "update_workers": 1, "convergence_workers": 1, "task_callback_workers": 1, "communication_timeout": "10s",
        "converge_repeat_interval": "30s", "kick_task_duration": "30s", "expire_pending_task_duration": "30m",
        "expire_completed_task_duration": "2m",
    }  # fmt: skip


def check(tmp_path: Path, config: Changes, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    file = tmp_path / "bbs.json"
    file.write_text(json.dumps(config))
    code = main(["check-config", str(file)])
    printed = capsys.readouterr()
    assert "hush" not in printed.out + printed.err
    return code, printed.out


def test_a_good_file(tmp_path: Path, good: Changes, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = check(tmp_path, good, capsys)

    assert code == 0
    assert printed == f"{tmp_path / 'bbs.json'}: a server starts with this\n"


@pytest.mark.parametrize(
    ("changes", "action", "exit_code"),
    [
        ({"log_level": ""}, "", 2),
        ({"redact_secrets": True, "redact_patterns": ["("]}, "", 2),
        ({"loggregator": {"loggregator_ca_path": "nope"}}, "failed-to-initialize-metron-client", 1),
        ({"health_address": "x"}, "failed-invalid-health-address", 2),
        ({"health_address": "x:nope"}, "failed-invalid-health-port", 2),
        ({"encryption_keys": {}}, "cannot-setup-encryption", 2),
        ({"active_key_label": "other"}, "cannot-setup-encryption", 2),
        ({"database_connection_string": ""}, "no-database-configured", 2),
        ({"database_driver": "oracle"}, "invalid-driver-name", 2),
        ({"database_driver": "mysql"}, "invalid-db-connection-string", 2),
        ({"database_connection_string": "sslmode=nope password=hush"}, "invalid-db-connection-string", 2),
        ({"sql_ca_cert_file": "nope"}, "failed-to-read-sql-ca-file", 2),
        (
            {"rep_ca_cert": "a", "rep_client_cert": "b", "rep_client_key": "c"},
            "new-rep-client-factory-failed",
            2,
        ),
        ({"auctioneer_address": ""}, "auctioneer-address-validation-failed", 2),
        ({"auctioneer_client_key": "nope"}, "failed-to-construct-auctioneer-client", 2),
        ({"access_log_path": "/nope/access.log"}, "invalid-access-log-path", 1),
        ({"access_log_path": "/"}, "invalid-access-log-path", 1),
        ({"key_file": "nope"}, "tls-configuration-failed", 2),
        ({"locket_address": ""}, "invalid-locket-config", 2),
        ({"locket_ca_cert_file": ""}, "failed-to-create-locket-client", 2),
        ({"uuid": ""}, "invalid-uuid", 2),
        ({"report_interval": "0s"}, "", 2),
        ({"task_callback_workers": 0}, "exited-with-failure", 1),
        ({"debug_address": "127.0.0.1"}, "exited-with-failure", 1),
        ({"listen_address": "0.0.0.0:nope"}, "exited-with-failure", 1),
        ({"listen_address": "0.0.0.0:99999"}, "exited-with-failure", 1),
        ({"listen_address": f"0.0.0.0:{'9' * 5000}"}, "exited-with-failure", 1),
        ({"listen_address": "banana"}, "exited-with-failure", 1),
        ({"listen_address": "\0"}, "exited-with-failure", 1),
        ({"listen_address": "a\0b:80"}, "exited-with-failure", 1),
        ({"listen_address": "0.0.0.0:8\0"}, "exited-with-failure", 1),
        ({"listen_address": "127.0.0.1:8890"}, "exited-with-failure", 1),
        ({"listen_address": ":17017"}, "exited-with-failure", 1),
        ({"debug_address": "a b:80"}, "exited-with-failure", 1),
        ({"debug_address": "\0:80"}, "exited-with-failure", 1),
        ({"health_address": "\0:80"}, "failed-invalid-health-address", 2),
        ({"health_address": "[::1:80"}, "failed-invalid-health-address", 2),
        ({"access_log_path": "/tmp/a\0b"}, "invalid-access-log-path", 1),
        ({"access_log_path": f"/tmp/{'a' * 5000}"}, "invalid-access-log-path", 1),
        ({"ca_file": "a\0b"}, "tls-configuration-failed", 2),
        ({"ca_file": "/dev/zero"}, "tls-configuration-failed", 2),
        ({"cert_file": "/dev/zero"}, "tls-configuration-failed", 2),
        ({"sql_ca_cert_file": "/dev/zero"}, "failed-to-parse-sql-ca", 2),
        ({"cert_file": "a\0b"}, "tls-configuration-failed", 2),
        ({"sql_ca_cert_file": "a\0b"}, "failed-to-read-sql-ca-file", 2),
        ({"locket_client_key_file": "a\0b"}, "failed-to-create-locket-client", 2),
        ({"auctioneer_ca_cert": "a\0b"}, "failed-to-construct-auctioneer-client", 2),
        ({"auctioneer_address": "banana"}, "auctioneer-address-validation-failed", 2),
        ({"auctioneer_address": "https://"}, "auctioneer-address-validation-failed", 2),
        ({"auctioneer_address": "https://a b"}, "auctioneer-address-validation-failed", 2),
        ({"auctioneer_address": "https://a:99999"}, "auctioneer-address-validation-failed", 2),
        ({"auctioneer_address": "https://[::1"}, "auctioneer-address-validation-failed", 2),
        ({"auctioneer_address": "https://u:hush@\0"}, "auctioneer-address-validation-failed", 2),
        ({"auctioneer_address": "https://a?b=c"}, "auctioneer-address-validation-failed", 2),
        ({"locket_address": "banana"}, "failed-to-create-locket-client", 2),
        ({"locket_address": "a:99999"}, "failed-to-create-locket-client", 2),
        ({"locket_address": "a\0b:1"}, "failed-to-create-locket-client", 2),
        ({"locket_address": "a:0"}, "failed-to-create-locket-client", 2),
        ({"locket_address": "unix:/run/locket"}, "failed-to-create-locket-client", 2),
        ({"uuid": "a\0b"}, "invalid-uuid", 2),
        ({"uuid": "a" * 256}, "invalid-uuid", 2),
        ({"report_interval": "-1s"}, "", 2),
        ({"health_check_interval": "-1s", "enable_db_health_check": True}, "", 2),
        ({"task_callback_workers": -1}, "exited-with-failure", 1),
        ({"task_callback_workers": (1 << 63) - 1}, "exited-with-failure", 1),
        (
            {"encryption_keys": {"l\0": "hush"}, "active_key_label": "l\0"},
            "cannot-setup-encryption",
            2,
        ),
        ({"database_connection_string": "postgres://u:hush@h\0/d"}, "invalid-db-connection-string", 2),
        ({"database_connection_string": "user=u\0 host=h"}, "invalid-db-connection-string", 2),
        ({"database_connection_string": "host=a..b"}, "invalid-db-connection-string", 2),
        ({"database_connection_string": f"port={'9' * 5000}"}, "invalid-db-connection-string", 2),
        ({"database_connection_string": f"connect_timeout={'9' * 5000}"}, "invalid-db-connection-string", 2),
        ({"redact_secrets": True, "redact_patterns": [f"a{{{'9' * 5000}}}"]}, "", 2),
    ],
)
def test_one_thing_is_wrong(
    tmp_path: Path,
    good: Changes,
    capsys: pytest.CaptureFixture[str],
    changes: Changes,
    action: str,
    exit_code: int,
) -> None:
    bad = {**good, **changes}
    code, printed = check(tmp_path, bad, capsys)

    assert code == 1
    assert next(iter(changes)).split(".")[0].split("_")[0] in printed
    assert "1 error" in printed
    (problem,) = checks.problems(decode(json.dumps(bad).encode()).config)
    assert (problem.action, problem.exit_code) == (action, exit_code)


@pytest.mark.parametrize(
    "changes",
    [
        {"loggregator_api_port": -1},
        {"loggregator_api_port": 99999},
        {"loggregator_api_host": "a\0b"},
        {"loggregator_api_host": "a b"},
    ],
)
def test_where_metrics_cannot_go(
    tmp_path: Path, good: Changes, capsys: pytest.CaptureFixture[str], changes: Changes
) -> None:
    files = {
        "loggregator_ca_path": good["ca_file"],
        "loggregator_cert_path": good["locket_client_cert_file"],
        "loggregator_key_path": good["locket_client_key_file"],
    }

    code, printed = check(tmp_path, {**good, "loggregator": {**files, **changes}}, capsys)
    assert code == 1
    assert f"error: loggregator.{next(iter(changes))}: " in printed
    # Nothing is sent, so it does not matter where.
    assert check(tmp_path, {**good, "loggregator": changes}, capsys)[0] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"listen_address": ""},
        {"listen_address": "[::1]:80"},
        {"listen_address": "[fe80::1%lo]:80"},
        {"listen_address": ":http"},
        {"health_address": "localhost:http"},
        {"locket_address": ":8891"},
        {"locket_address": "dns:///locket:8891"},
        {"locket_address": "[::1]:8891"},
        {"auctioneer_address": "http://[::1]:9016"},
        {"encryption_keys": {"l": "hush\0", "\0": "hush"}},
        {"uuid": "\u00e9" * 255},
        {"session_name": "\0"},
        {"health_check_interval": "-1s"},
        {"locket_client_keepalive_time": (1 << 63) - 1, "locket_client_keepalive_timeout": -(1 << 63)},
    ],
)
def test_what_upstream_takes_is_taken(
    tmp_path: Path, good: Changes, capsys: pytest.CaptureFixture[str], changes: Changes
) -> None:
    code, printed = check(tmp_path, {**good, **changes}, capsys)

    assert code == 0, printed


def test_problems_come_in_the_order_of_upstreams_start() -> None:
    steps = [problem.step for problem in checks.problems(decode(b"{}").config)]

    assert steps == sorted(steps)
    assert len(steps) >= 9


def mysql(parameters: str = "", **changes: Any) -> Changes:
    return {
        "database_driver": "mysql",
        "database_connection_string": f"u:hush@tcp(h)/d{parameters}",
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"lock_tll": "1s"}, "lock_tll is unknown and ignored; did you mean lock_ttl?"),
        ({"consul_cluster": "x"}, "consul_cluster is of an older release and ignored"),
        ({"advertise_url": "x"}, "advertise_url is no URL"),
        ({"lock_ttl": "500ms"}, "never becomes master"),
        (
            {"enable_dashboard": True, "debug_address": ""},
            "enable_dashboard has no effect without debug_address",
        ),
        ({"enable_dashbord": True}, "did you mean enable_dashboard?"),
        ({"lock_retry_interval": "20s"}, "is not below lock_ttl"),
        ({"db_connection_timeout": "0"}, "no cell is ever found"),
        ({"convergence_workers": 0}, "does nothing"),
        ({"converge_repeat_interval": "0"}, "without a pause"),
        ({"rep_ca_cert": "x"}, "one is missing"),
        ({"auctioneer_address": "https://a/"}, "ends with a slash"),
        ({"max_data_string_length": 5}, "upstream dies of it"),
        ({"loggregator": {"loggregator_use_v2_api": True}}, "is of an older release and ignored"),
        ({"Rep_Require_TLS": True}, "is of an older release and ignored"),
        ({"db_read_timeout": "1s"}, "say statement_timeout in database_connection_string"),
        ({"db_write_timeout": "1s"}, "say statement_timeout in database_connection_string"),
        ({"converge_repeat_interval": "-1s"}, "converge_repeat_interval is negative: convergence runs"),
        ({"lock_retry_interval": "-1s"}, "lock_retry_interval is negative: the lock is lost"),
        ({"report_interval": "1ns"}, "is below one second"),
        ({"health_check_failure_threshold": -1}, "the database is never checked"),
        ({"health_check_timeout": "-1s", "enable_db_health_check": True}, "each check fails"),
        ({"locket_client_keepalive_timeout": -1}, "is broken off"),
        ({"loggregator": {"BatchFlushInterval": 100}}, "it is a number of nanoseconds"),
        ({f"k{n}": 1 for n in range(200)}, "100 more keys are unknown and ignored"),
        (mysql(db_read_timeout="1m"), "db_read_timeout is 10 seconds at most here"),
        (
            mysql(db_write_timeout="1m"),
            "db_write_timeout has no effect: db_read_timeout is for all of a crossing",
        ),
        (mysql(sql_enable_identity_verification=True), "has no effect without sql_ca_cert_file"),
        (mysql("?sql_mode=ANSI"), "has a parameter sql_mode, which has no effect, here as upstream"),
        ({"k" * 100_000: 1}, f"{'k' * 100}... is unknown and ignored"),
    ],
)
def test_cautions_do_not_keep_a_server_from_starting(
    tmp_path: Path, good: Changes, capsys: pytest.CaptureFixture[str], changes: Changes, text: str
) -> None:
    code, printed = check(tmp_path, {**good, **changes}, capsys)

    assert code == 0
    assert text in printed


def test_an_access_log_that_can_be_made_is_not_made(
    tmp_path: Path, good: Changes, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = check(tmp_path, {**good, "access_log_path": str(tmp_path / "access.log")}, capsys)

    assert code == 0
    assert not (tmp_path / "access.log").exists()


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", str(tmp_path / "nope")]) == 2
    assert "no such file or directory" in capsys.readouterr().err
    assert main(["check-config", "/dev/zero"]) == 2
    assert "it has more than 16777216 bytes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("-config", "f"), ("-config=f",), ("--config", "f"), ("--config=f",), ("-config", "x", "-config=f"),
        ("-config", "f", "rest", "-nope"), ("-config", "f", "--", "-nope"),
    ],
)  # fmt: skip
def test_spellings_of_the_one_flag(arguments: tuple[str, ...]) -> None:
    assert config_path(arguments) == "f"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("-nope",), "flag provided but not defined: -nope"),
        (("-config",), "flag needs an argument: -config"),
        (("---config",), "bad flag syntax: ---config"),
    ],
)
def test_command_lines_that_are_not_upstreams(arguments: tuple[str, ...], error: str) -> None:
    with pytest.raises(FlagWrong, match=error):
        config_path(arguments)


@pytest.mark.parametrize("flag", ["-h", "-help"])
def test_help(flag: str) -> None:
    with pytest.raises(HelpWanted):
        config_path((flag,))
