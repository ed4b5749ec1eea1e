"""The BOSH job in ``packaging/bosh``: a manifest made for diego-release's ``bbs`` job gives a file that a server takes.

Templates are Ruby; what renders them is skipped where there is none. What can be said by reading them is not.
"""

import os
import re
import subprocess
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from bbs.commands.cli import main
from bbs.config.upstream import KNOWN_KEYS, decode
from bbs.store.dsn import parse_dsn
from bbs.store.mysql.dsn import parse_mysql_dsn
from tests.packaging.bosh_job import (
    INSTALLED,
    JOB,
    certificates,
    configuration,
    declared,
    deploy,
    full_manifest,
    needs_ruby,
    placed,
    render,
    rendered,
    spec,
    templates,
)
from tests.served_in_thread import served_in_thread

# Today's diego-release: every property of its job and the default. None: the manifest has to give it, or not.
UPSTREAM = {
    "tasks.max_retries": 3,
    "diego.bbs.auctioneer.api_location": "auctioneer.service.cf.internal:9016",
    "diego.bbs.auctioneer.ca_cert": None,
    "diego.bbs.auctioneer.client_cert": None,
    "diego.bbs.auctioneer.client_key": None,
    "diego.bbs.auctioneer.require_tls": False,
    "diego.bbs.debug_addr": "127.0.0.1:17017",
    "diego.bbs.listen_addr": "0.0.0.0:8889",
    "diego.bbs.health_addr": "127.0.0.1:8890",
    "diego.bbs.health_check_timeout": 5,
    "diego.bbs.health_check_interval": 10,
    "diego.bbs.health_check_failure_threshold": 3,
    "diego.bbs.enable_db_health_check": False,
    "diego.bbs.log_level": "info",
    "diego.bbs.debug_lrp_start_heartbeats": False,
    "diego.bbs.enable_access_log": False,
    "diego.bbs.advertisement_base_hostname": "bbs.service.cf.internal",
    "diego.bbs.active_key_label": None,
    "diego.bbs.encryption_keys": [],
    "diego.bbs.ca_cert": None,
    "diego.bbs.server_cert": None,
    "diego.bbs.server_key": None,
    "diego.bbs.sql.db_host": "",
    "diego.bbs.sql.db_port": "",
    "diego.bbs.sql.db_schema": "",
    "diego.bbs.sql.db_username": "",
    "diego.bbs.sql.db_password": "",
    "diego.bbs.sql.db_driver": "mysql",
    "diego.bbs.sql.max_open_connections": 200,
    "diego.bbs.sql.max_idle_connections": 200,
    "diego.bbs.sql.max_connection_lifetime": 90,
    "diego.bbs.sql.db_connection_timeout": "30",
    "diego.bbs.sql.db_read_timeout": "60",
    "diego.bbs.sql.db_write_timeout": "60",
    "diego.bbs.sql.require_ssl": False,
    "diego.bbs.sql.ca_cert": None,
    "diego.bbs.convergence.repeat_interval_in_seconds": 30,
    "diego.bbs.convergence.kick_task_duration_in_seconds": 30,
    "diego.bbs.convergence.expire_completed_task_duration_in_seconds": 120,
    "diego.bbs.convergence.expire_pending_task_duration_in_seconds": 1800,
    "diego.bbs.rep.require_tls": False,
    "diego.bbs.rep.ca_cert": None,
    "diego.bbs.rep.client_cert": None,
    "diego.bbs.rep.client_key": None,
    "diego.bbs.rep.client_session_cache_size": 0,
    "diego.bbs.locket.api_location": "locket.service.cf.internal:8891",
    "diego.bbs.locket.client_keepalive_time": 10,
    "diego.bbs.locket.client_keepalive_timeout": 22,
    "diego.bbs.metrics.advanced_metrics.enabled": False,
    "diego.bbs.metrics.advanced_metrics.route_config.request_count": [],
    "diego.bbs.metrics.advanced_metrics.route_config.request_latency": [],
    "limits.open_files": 100000,
    "diego.bbs.gogc": "",
    "diego.bbs.gomemlimit": "",
    "logging.max_data_string_length": 640,
    "cell_registrations.locket.enabled": True,
    "loggregator.v2_api_port": 3458,
    "loggregator.ca_cert": None,
    "loggregator.cert": None,
    "loggregator.key": None,
    "set_kernel_parameters": True,
    "database.tls.enable_identity_verification": True,
}
OURS = {
    # Older releases have it, and today's is fixed at this.
    "logging.format.timestamp": "rfc3339",
    "diego.bbs.desired_lrp_instances_max": 0,
    "diego.bbs.enable_dashboard": False,
}


def test_the_properties_and_their_defaults_are_upstreams() -> None:
    """A certificate without a default upstream may be empty here: nobody tells the two apart."""
    ours = {name: about.get("default") for name, about in declared().items()}

    assert {name: default if default != "" else UPSTREAM.get(name) for name, default in ours.items()} == {
        **UPSTREAM,
        **OURS,
    }


def test_a_property_is_used_or_said_to_have_no_effect() -> None:
    """Some are both: they reach the configuration, and do nothing there."""
    text = "\n".join(templates().values())
    used = set(re.findall(r'"((?:diego|tasks|database|logging|loggregator|limits)\.[\w.]+)"', text))
    # Two families are asked for by names that are put together.
    used |= {f"diego.bbs.sql.db_{part}" for part in ("username", "password", "host", "port", "schema")}
    routes = "diego.bbs.metrics.advanced_metrics.route_config"
    used |= {f"{routes}.request_count", f"{routes}.request_latency"}
    idle = {name for name, about in declared().items() if about["description"].startswith("No effect")}

    assert used <= set(declared())
    assert set(declared()) - used == idle - used
    assert {"diego.bbs.gogc", "diego.bbs.gomemlimit", "set_kernel_parameters"} <= idle - used


def test_every_template_is_put_somewhere_and_its_certificates_are_where_the_configuration_looks() -> None:
    assert set(placed()) == set(templates())
    text = templates()["bbs.json.erb"]
    named = set(re.findall(r"#\{certs\}/((?:\w+/)?[\w.]+\.(?:crt|key))", text))
    named |= {
        f"{peer}/{file}"
        for peer in ("rep", "auctioneer", "loggregator")
        for file in ("ca.crt", "client.crt", "client.key")
    }
    assert {f"config/certs/{file}" for file in named} == {
        place for place in placed().values() if place.startswith("config/certs/")
    }


def test_the_keys_in_the_template_are_keys_of_the_configuration() -> None:
    keys = set(re.findall(r"^ {4,6}(\w+): ", templates()["bbs.json.erb"], re.MULTILINE))

    known = {key for keys in KNOWN_KEYS.values() for key in keys}
    assert keys <= known
    assert {"locket_address", "encryption_keys", "loggregator"} <= keys


# What a password may be, and would be taken for something else in a URL.
PASSWORDS = [
    "plain",
    "@",
    ":",
    "/",
    "#",
    "?",
    "%",
    "%41",
    "%zz",
    "&",
    "=",
    "+",
    " ",
    "'",
    '"',
    "\\",
    "é",
    "p@s:s/w#o?r%d&=+ '\"`$(x)\\",
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return full_manifest(certificates(tmp_path_factory.mktemp("certs") / "copied"))


@needs_ruby
def test_a_manifest_for_diego_release_gives_what_a_server_starts_with(
    tmp_path: Path, manifest: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = deploy(tmp_path, {**manifest, "diego.bbs.enable_access_log": True})

    assert main(["check-config", str(file)]) == 0, capsys.readouterr().out
    found = decode(file.read_bytes())
    assert (found.unknown, found.wrong) == ((), ())
    config = found.config
    assert config.uuid == "5f2c-instance-guid"
    assert config.encryption_keys == {"key-0": "hush"}
    assert config.db_connection_timeout_ns == 30_000_000_000
    assert config.db_read_timeout_ns == config.db_write_timeout_ns == 60_000_000_000
    assert config.max_database_connection_lifetime_ns == 90_000_000_000
    assert config.max_task_retries == 3
    assert config.max_data_string_length == 640
    assert config.auctioneer_address == "https://auctioneer.service.cf.internal:9016"
    assert config.auctioneer_require_tls
    assert config.loggregator.loggregator_job_name == "diego-api"
    assert config.access_log_path == str(tmp_path / "bbs.access.log")


ODD = "p@s:s/w#o?r%d&=+ '\"`$(x)\\é"
MANIFESTS: dict[str, dict[str, Any]] = {
    "all of it": {},
    "MySQL, verified": {"diego.bbs.sql.db_driver": "mysql"},
    "MySQL, of any name": {
        "diego.bbs.sql.db_driver": "mysql",
        "database.tls.enable_identity_verification": False,
    },
    "MySQL, not encrypted": {"diego.bbs.sql.db_driver": "mysql", "diego.bbs.sql.require_ssl": False},
    "an IPv6 database": {"diego.bbs.sql.db_host": "fd00::5", "diego.bbs.sql.db_port": "5524"},
    "odd characters": {
        "diego.bbs.sql.db_password": ODD,
        "diego.bbs.active_key_label": ODD,
        "diego.bbs.encryption_keys": [
            {"label": "old", "passphrase": "hush"},
            {"label": ODD, "passphrase": ODD},
        ],
    },
    "seconds as texts": {
        "diego.bbs.sql.db_connection_timeout": "15",
        "diego.bbs.health_check_interval": "7",
        "diego.bbs.convergence.repeat_interval_in_seconds": "20",
    },
    "what is off by default": {
        "diego.bbs.enable_access_log": True,
        "diego.bbs.enable_db_health_check": True,
        "diego.bbs.debug_lrp_start_heartbeats": True,
        "diego.bbs.metrics.advanced_metrics.enabled": True,
        "diego.bbs.metrics.advanced_metrics.route_config.request_count": ["StartActualLRP"],
        "diego.bbs.log_level": "debug",
    },
    "what is ours": {"diego.bbs.desired_lrp_instances_max": 5000, "diego.bbs.enable_dashboard": True},
    "no debug port": {"diego.bbs.debug_addr": ""},
}


@needs_ruby
@pytest.mark.parametrize("changes", MANIFESTS.values(), ids=MANIFESTS)
def test_every_file_of_an_instance_is_one_that_is_read(
    tmp_path: Path, manifest: dict[str, Any], changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    properties = {**manifest, **changes}

    file = deploy(tmp_path, properties)

    assert main(["check-config", str(file)]) == 0, capsys.readouterr().out
    found = decode(file.read_bytes())
    assert (found.unknown, found.wrong) == ((), ())
    assert found.config.enable_dashboard is properties.get("diego.bbs.enable_dashboard", False)
    assert found.config.encryption_keys == {
        key["label"]: key["passphrase"] for key in properties["diego.bbs.encryption_keys"]
    }
    assert_runs_with(tmp_path / "config/bpm.yml", open_files=100_000)
    for script in ("drain", "post-start"):
        subprocess.run(["bash", "-n", tmp_path / "bin" / script], check=True)
    for place, name in CERTIFICATES.items():
        assert (tmp_path / "config/certs" / place).read_text() == properties[name] + "\n"


def assert_runs_with(processes_file: Path, *, open_files: int) -> None:
    """As bpm reads it. Go's settings, which the manifest gives, are not in it."""
    assert yaml.safe_load(processes_file.read_text()) == {
        "processes": [
            {
                "name": "bbs",
                "executable": "/var/vcap/packages/bbs-python/bin/bbs",
                "args": ["-config", f"{processes_file.parent}/bbs.json"],
                "limits": {"open_files": open_files},
            }
        ]
    }


CERTIFICATES = {
    "ca.crt": "diego.bbs.ca_cert",
    "server.crt": "diego.bbs.server_cert",
    "server.key": "diego.bbs.server_key",
    "sql/ca.crt": "diego.bbs.sql.ca_cert",
    "rep/ca.crt": "diego.bbs.rep.ca_cert",
    "rep/client.crt": "diego.bbs.rep.client_cert",
    "rep/client.key": "diego.bbs.rep.client_key",
    "auctioneer/ca.crt": "diego.bbs.auctioneer.ca_cert",
    "auctioneer/client.crt": "diego.bbs.auctioneer.client_cert",
    "auctioneer/client.key": "diego.bbs.auctioneer.client_key",
    "loggregator/ca.crt": "loggregator.ca_cert",
    "loggregator/client.crt": "loggregator.cert",
    "loggregator/client.key": "loggregator.key",
}


@needs_ruby
def test_what_a_manifest_must_give_is_enough(
    tmp_path: Path, manifest: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    needed = ("active_key_label", "encryption_keys", "ca_cert", "server_cert", "server_key", "sql.db_")
    given = {
        name: value
        for name, value in manifest.items()
        if name.startswith(tuple(f"diego.bbs.{each}" for each in needed))
    }

    file = deploy(tmp_path, given)

    assert main(["check-config", str(file)]) == 0, capsys.readouterr().out
    assert_runs_with(tmp_path / "config/bpm.yml", open_files=100_000)


def test_monit_starts_and_stops_what_the_job_is_called() -> None:
    """As monit reads it: bpm is told the job's name, and writes that pid file."""
    name = spec()["name"]

    assert (JOB / "monit").read_text().splitlines() == [
        f"check process {name}",
        f"  with pidfile /var/vcap/sys/run/bpm/{name}/{name}.pid",
        f'  start program "/var/vcap/jobs/bpm/bin/bpm start {name}"',
        f'  stop program "/var/vcap/jobs/bpm/bin/bpm stop {name}"',
        "  group vcap",
    ]


@needs_ruby
def test_a_drain_is_over_at_once_also_where_there_is_no_bpm(manifest: dict[str, Any]) -> None:
    """BOSH reads a number from standard output: how long to wait."""
    (script,) = rendered(manifest, "drain")

    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "0\n"


@needs_ruby
@pytest.mark.parametrize("answers", [True, False])
def test_an_instance_has_started_when_its_health_port_answers(
    tmp_path: Path, manifest: dict[str, Any], answers: bool
) -> None:
    """Its 25 seconds pass at once here."""
    sleep = tmp_path / "sleep"
    sleep.write_text("#!/bin/sh\n")
    sleep.chmod(0o755)
    if answers:
        (tmp_path / "ping").touch()
    server = HTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    address = f"127.0.0.1:{server.server_port}"
    with served_in_thread(server):
        (script,) = rendered({**manifest, "diego.bbs.health_addr": address}, "post-start")
        done = subprocess.run(
            ["bash", "-c", script],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "no_proxy": "*"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    if answers:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert f"no answer from http://{address}/ping within 25 tries" in done.stderr


@needs_ruby
def test_without_certificates_for_peers_they_are_called_without(
    tmp_path: Path, manifest: dict[str, Any]
) -> None:
    peers = ("diego.bbs.auctioneer.c", "diego.bbs.rep.", "loggregator.", "diego.bbs.auctioneer.require")
    properties = {name: value for name, value in manifest.items() if not name.startswith(peers)}

    file = deploy(tmp_path, properties)

    assert main(["check-config", str(file)]) == 0
    config = decode(file.read_bytes()).config
    assert config.auctioneer_address == "http://auctioneer.service.cf.internal:9016"
    assert (config.rep_ca_cert, config.auctioneer_ca_cert, config.loggregator.loggregator_ca_path) == (
        "",
    ) * 3


@needs_ruby
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_name_and_a_password_come_out_as_they_went_in(manifest: dict[str, Any], password: str) -> None:
    properties = {
        **manifest,
        "diego.bbs.sql.require_ssl": False,
        "diego.bbs.sql.db_username": f"u{password}",
        "diego.bbs.sql.db_password": password,
        "diego.bbs.sql.db_schema": f"d{password}",
    }

    dsn = parse_dsn(configuration(properties)["database_connection_string"], {})
    assert (dsn.user, dsn.password, dsn.database) == (f"u{password}", password, f"d{password}")
    assert {(attempt.host, attempt.port) for attempt in dsn.attempts} == {
        ("sql-db.service.cf.internal", 5524)
    }
    assert dsn.server_settings == {}


@needs_ruby
@pytest.mark.parametrize(
    ("changes", "query"),
    [
        ({"diego.bbs.sql.require_ssl": False}, ""),
        ({"diego.bbs.sql.ca_cert": ""}, "?sslmode=require"),
        ({}, f"?sslmode=verify-full&sslrootcert={INSTALLED}/certs/sql/ca.crt"),
        (
            {"database.tls.enable_identity_verification": False},
            f"?sslmode=verify-ca&sslrootcert={INSTALLED}/certs/sql/ca.crt",
        ),
    ],
)
def test_required_ssl_is_verified_as_far_as_there_is_something_to_verify_with(
    manifest: dict[str, Any], changes: dict[str, Any], query: str
) -> None:
    url = configuration({**manifest, **changes})["database_connection_string"]
    assert url == f"postgres://diego:hush@sql-db.service.cf.internal:5524/diego{query}"


@needs_ruby
@pytest.mark.parametrize(
    ("changes", "parameters", "ca"),
    [
        ({"diego.bbs.sql.require_ssl": False}, "", ""),
        ({"diego.bbs.sql.ca_cert": ""}, "?tls=skip-verify", ""),
        ({}, "", "/var/vcap/jobs/bbs/config/certs/sql/ca.crt"),
    ],
)  # fmt: skip
def test_mysql_is_connected_to_as_upstream_does(
    manifest: dict[str, Any], changes: dict[str, Any], parameters: str, ca: str
) -> None:
    """Whatever is in the password, which upstream's job does not escape either."""
    password = "p@/:?%41&#(x)"
    changes = {**changes, "diego.bbs.sql.db_driver": "mysql", "diego.bbs.sql.db_password": password}
    config = configuration({**manifest, **changes})

    string = config["database_connection_string"]
    assert string == f"diego:{password}@tcp(sql-db.service.cf.internal:5524)/diego{parameters}"
    assert parse_mysql_dsn(string).password == password
    assert config.get("sql_ca_cert_file", "") == ca


@needs_ruby
@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"diego.bbs.sql.db_driver": "oracle"}, "this server needs mysql or postgres"),
        (
            {"diego.bbs.sql.db_driver": "mysql", "diego.bbs.sql.db_username": "a:b"},
            "diego.bbs.sql.db_username has a colon",
        ),
        (
            {"diego.bbs.sql.db_port": "", "diego.bbs.sql.db_host": ""},
            "without diego.bbs.sql.db_host, diego.bbs.sql.db_port",
        ),
        ({"diego.bbs.rep.client_key": ""}, "rep needs diego.bbs.rep.client_key too"),
        (
            {"diego.bbs.locket.client_keepalive_time": 23},
            "is more than diego.bbs.locket.client_keepalive_timeout",
        ),
        ({"diego.bbs.metrics.advanced_metrics.enabled": True}, "enabled without a route"),
        ({"diego.bbs.metrics.advanced_metrics.enabled": "true"}, "enabled is neither true nor false"),
        (
            {
                "diego.bbs.metrics.advanced_metrics.enabled": True,
                "diego.bbs.metrics.advanced_metrics.route_config.request_count": "Ping",
            },
            "route_config.request_count is not a list",
        ),
        ({"limits.open_files": 0}, "limits.open_files is 0, but has to be positive"),
        ({"limits.open_files": "many"}, 'invalid value for Integer(): "many"'),
        ({"diego.bbs.sql.db_read_timeout": "soon"}, 'invalid value for Integer(): "soon"'),
        ({"diego.bbs.active_key_label": None}, "diego.bbs.active_key_label has no value"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_deployed(
    manifest: dict[str, Any], changes: dict[str, Any], complaint: str
) -> None:
    done = render({**manifest, **changes}, "bbs.json", "bpm.yml")

    assert done.returncode != 0
    assert complaint in done.stderr
    assert "hush" not in done.stderr
