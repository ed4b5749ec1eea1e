"""No secret leaves a running server but to whom it is meant for: not in logs, dumps, metrics, pages, errors or the database.

What is logged on purpose, as upstream does, is in `docs/security.md`.
"""

import base64
import json
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import trio
from google.protobuf.message import Message

from bbs.client._routes import StreamRoute
from bbs.commands.check_config import check_config
from bbs.models import pb
from bbs.store.mysql.literals import literal
from bbs.tls.contexts import TLSFiles
from bbs.tls.development import make_development_certs
from tests.canaries import Canary, found, told
from tests.daemons import Daemon, Surroundings, daemon, free_port
from tests.databases import ON_BOTH, ON_POSTGRES, SomeDatabase
from tests.made_once import copied_certs
from tests.metrics.agent import agent
from tests.peers.peer_server import peer_server
from tests.records import desired_message, task_definition
from tests.routes.test_every_route import CALLED
from tests.waiting import wait_until

PASSPHRASE, OLD_PASSPHRASE, DATABASE_PASSWORD, ENVIRONMENT = map(
    Canary.named, ("passphrase", "old passphrase", "database password", "environment variable")
)
IMAGE, VARIABLE, MOUNT, FILE, ROUTE, ARGUMENT, DOWNLOAD = TENANTS = tuple(
    map(Canary.named, ("image password", "variable", "mount", "file", "route key", "argument", "download"))
)

STREAMS = tuple(route for route in CALLED.values() if isinstance(route, StreamRoute))
UNARY = tuple(route.path for route in CALLED.values() if not isinstance(route, StreamRoute))

TOLD_TO_CLIENTS = {
    "/v1/desired_lrps/list.r3",
    "/v1/desired_lrps/get_by_process_guid.r3",
    "/v1/desired_lrp_scheduling_infos/list",
    "/v1/desired_lrp_scheduling_infos/get_by_process_guid",
    "/v1/desired_lrp_routing_infos/list",
    "/v1/tasks/list.r3",
    "/v1/tasks/get_by_task_guid.r3",
    "/v1/tasks/start",
    "/v1/events.r1",
    "/v1/events/lrp_instances.r1",
    "/v1/events/tasks.r1",
}
"""Who may call the API may ask for what tenants have desired: these answers are made of it."""


def test_whatever_form_a_secret_has_it_is_found() -> None:
    canary = Canary.named("x")
    text = canary.text.encode()
    for output in (
        b"before" + text + b"behind",
        text[:-5],
        base64.b64encode(text),
        base64.b64encode(b"1" + text),
        base64.urlsafe_b64encode(b"12" + text + b"3"),
        text.hex().encode(),
        quote(canary.text).encode(),
        json.dumps(canary.text).encode(),
        repr(text).encode(),
    ):
        assert found([canary, Canary.named("y")], output) == {"x"}, output
    assert found([canary], b"nothing of it") == set()


def test_a_private_key_is_found_in_its_file(tmp_path: Path) -> None:
    certs = copied_certs(tmp_path / "certs")
    server, client = Canary.of_key(certs.server_key), Canary.of_key(certs.client_key)

    assert found([server, client], certs.server_key.read_bytes()) == {"server.key"}
    assert found([server, client], certs.server_cert.read_bytes()) == set()


def action() -> pb.Action:
    run = pb.RunAction(
        path="/bin/app",
        user="vcap",
        args=[ARGUMENT.text],
        env=[pb.EnvironmentVariable(name="VCAP_SERVICES", value=VARIABLE.text)],
    )
    download = pb.DownloadAction(
        artifact="droplet",
        to="/",
        user="vcap",
        cache_key="k",
        **{"from": f"https://user:{quote(DOWNLOAD.text)}@blobs/droplet"},
    )
    return pb.Action(
        serial_action=pb.SerialAction(
            actions=[pb.Action(run_action=run), pb.Action(download_action=download)]
        )
    )


def secrets_of_a_tenant() -> dict[str, Any]:
    """What a DesiredLRP and a task both have."""
    return {
        "image_username": "u",
        "image_password": IMAGE.text,
        "environment_variables": [pb.EnvironmentVariable(name="TOKEN", value=VARIABLE.text)],
        "volume_mounts": [
            pb.VolumeMount(
                driver="nfs",
                container_dir="/data",
                mode="rw",
                shared=pb.SharedDevice(volume_id="v", mount_config=json.dumps({"password": MOUNT.text})),
            )
        ],
        "volume_mounted_files": [pb.File(path="binding", content=FILE.text)],
    }


def lrp(process_guid: str, **fields: Any) -> pb.DesiredLRP:
    message = desired_message(
        process_guid,
        **secrets_of_a_tenant(),
        setup=action(),
        monitor=action(),
        sidecars=[pb.Sidecar(action=action(), disk_mb=1, memory_mb=1)],
        routes=routes(),
    )
    message.action.CopyFrom(action())
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def routes(cut_short: int = 0) -> pb.ProtoRoutes:
    ssh = json.dumps({"container_port": 2222, "private_key": ROUTE.text}).encode()
    ssh = ssh[: len(ssh) - cut_short]
    return pb.ProtoRoutes(routes={"diego-ssh": ssh, "cf-router": ssh, "internal-router": ssh})


def task(callback: str, **fields: Any) -> pb.TaskDefinition:
    definition = task_definition(**secrets_of_a_tenant(), completion_callback_url=callback)
    definition.action.CopyFrom(action())
    for name, value in fields.items():
        setattr(definition, name, value)
    return definition


KEY = pb.ActualLRPKey(process_guid="p", index=0, domain="d")
INSTANCE = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="a-cell-that-is-not-there")
NET = pb.ActualLRPNetInfo(address="10.0.0.1", instance_address="10.0.0.2")


def requests(callback: str) -> list[tuple[str, Message]]:
    """Calls with secrets in them, and those that have the server do something about what they have left."""
    return [
        ("/v1/domains/upsert", pb.UpsertDomainRequest(domain="d")),
        ("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=lrp("p", instances=2))),
        ("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=lrp("p"))),  # exists
        ("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=lrp("invalid", memory_mb=-1, domain=""))),
        ("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=lrp("not a guid"))),
        *(
            ("/v1/desired_lrp/update", pb.UpdateDesiredLRPRequest(process_guid=guid, update=update))
            for guid in ("p", "absent", "")
            for update in (
                pb.DesiredLRPUpdate(routes=routes(), image_username="u", image_password=IMAGE.text),
                pb.DesiredLRPUpdate(routes=routes(cut_short=3)),
                pb.DesiredLRPUpdate(instances=-1, routes=routes(), image_password=IMAGE.text),
            )
        ),
        ("/v1/desired_lrps/get_by_process_guid.r3", pb.DesiredLRPByProcessGuidRequest(process_guid="p")),
        (
            "/v1/desired_lrp_scheduling_infos/get_by_process_guid",
            pb.DesiredLRPByProcessGuidRequest(process_guid="p"),
        ),
        (
            "/v1/actual_lrps/start.r1",
            pb.StartActualLRPRequest(
                actual_lrp_key=KEY, actual_lrp_instance_key=INSTANCE, actual_lrp_net_info=NET, Routable=True
            ),
        ),
        (
            "/v1/actual_lrps/crash",
            pb.CrashActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=INSTANCE, error_message="e"),
        ),
        (
            "/v1/actual_lrps/evacuate_claimed",
            pb.EvacuateClaimedActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=INSTANCE),
        ),
        *(
            (
                "/v1/tasks/desire.r2",
                pb.DesireTaskRequest(task_guid=guid, domain="d", task_definition=definition),
            )
            for guid, definition in (
                ("t", task(callback)),
                ("t", task(callback)),  # exists
                ("u", task(callback)),
                ("pending", task(callback)),
                ("invalid", task(callback, memory_mb=-1, root_fs="")),
                ("not a guid", task(callback)),
            )
        ),
        ("/v1/tasks/get_by_task_guid.r3", pb.TaskByGuidRequest(task_guid="t")),
        ("/v1/tasks/start", pb.StartTaskRequest(task_guid="t", cell_id="c")),
        ("/v1/tasks/complete", pb.CompleteTaskRequest(task_guid="t", cell_id="c", result="r")),
        ("/v1/tasks/cancel", pb.TaskGuidRequest(task_guid="u")),
        ("/v1/actual_lrps/retire", pb.RetireActualLRPRequest(actual_lrp_key=KEY)),
    ]  # fmt: skip


def damaged(message: Message) -> list[bytes]:
    """Bodies with secrets in them that are no message."""
    body = message.SerializeToString()
    return [body[:-7], body[: len(body) // 2], b"\xff\xff" + body, b"\x0b" + body]


PAGES = (
    "debug/pprof/", "debug/pprof/goroutine?debug=1", "debug/pprof/goroutine?debug=2", "debug/pprof/heap",
    "debug/pprof/allocs", "debug/pprof/threadcreate", "debug/pprof/block", "debug/pprof/trace",
    "debug/pprof/cmdline", "debug/pprof/symbol", "debug/pprof/profile?seconds=0.3", "metrics", "log-level", "nothing",
)  # fmt: skip


def said(bbs: Daemon) -> bytes:
    """Standard output and standard error."""
    return "\n".join([*(json.dumps(line, ensure_ascii=False) for line in bbs.lines), *bbs.other]).encode()


def with_password(database: SomeDatabase) -> SomeDatabase:
    """The same, with a password. Postgres, which trusts everybody here, does not look at it."""
    password, quoted = DATABASE_PASSWORD.text, quote(DATABASE_PASSWORD.text, safe="")
    if database.on_postgres:
        url = string = database.url.replace("postgres@/", f"postgres:{quoted}@/", 1)
    else:
        name = database.name
        database.administer(f"ALTER USER {name}@localhost IDENTIFIED BY {literal(password)}")
        string = database.connection_string.replace(f"{name}@", f"{name}:{password}@", 1)
        url = database.url.replace(f"{name}@", f"{name}:{quoted}@", 1)
    return replace(database, connection_string=string, url=url)


REFUSALS = {"postgres": b"not currently accepting", "mysql": b"this account is locked"}
"""What is said of a database that lets nobody in."""


def keys_of(around: Surroundings) -> list[Canary]:
    return [Canary.of_key(around.certs.server_key), Canary.of_key(around.certs.client_key)]


SERVERS = (PASSPHRASE, OLD_PASSPHRASE, DATABASE_PASSWORD, ENVIRONMENT)


@ON_BOTH
@pytest.mark.slow
async def test_no_secret_is_told(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    around.database = with_password(around.database)
    monkeypatch.setenv("SOME_TOKEN", ENVIRONMENT.text)
    monkeypatch.setenv("PGPASSWORD", ENVIRONMENT.text)
    access_log = around.tmp_path / "access.log"
    tls = ssl.create_default_context(cafile=str(around.certs.ca_cert))
    tls.load_cert_chain(around.certs.client_cert, around.certs.client_key)
    metron = make_development_certs(around.tmp_path / "metron", hosts=("metron",))
    metron_files = TLSFiles(ca_file=metron.ca_cert, cert_file=metron.server_cert, key_file=metron.server_key)
    servers = [*SERVERS, *keys_of(around), Canary("metron.key", Canary.of_key(metron.client_key).words)]
    outputs: dict[str, bytes] = {}
    answers: dict[str, bytes] = {}

    with agent(metron_files) as metrics:
        async with peer_server() as peers:
            config = around.config(
                "a",
                encryption_keys={"label": PASSPHRASE.text, "old": OLD_PASSPHRASE.text},
                access_log_path=str(access_log),
                debug_address=f"127.0.0.1:{free_port()}",
                auctioneer_address=peers.address,
                converge_repeat_interval="500ms",
                report_interval="200ms",
                enable_db_health_check=True,
                health_check_interval="200ms",
                health_check_failure_threshold=100_000,
                loggregator={
                    "loggregator_api_port": metrics.port,
                    "loggregator_ca_path": str(metron.ca_cert),
                    "loggregator_cert_path": str(metron.client_cert),
                    "loggregator_key_path": str(metron.client_key),
                },
            )
            api, debug = f"https://{config['listen_address']}", f"http://{config['debug_address']}"
            async with daemon(around, config) as bbs:
                await bbs.logs("started")
                async with (
                    httpx.AsyncClient(trust_env=False, verify=tls, timeout=60) as http,
                    trio.open_nursery() as streams,
                ):
                    client = Client(api, http, answers)
                    for route in STREAMS:
                        await streams.start(client.follow, route)
                    calls = requests(peers.address)
                    for path, message in calls:
                        await client.ask(path, message.SerializeToString())
                    for called in UNARY:
                        for body in (b"", *damaged(calls[1][1])):
                            await client.ask(called, body)
                    # One auction of LRPs, three of tasks, two callbacks.
                    await peers.wait_for_requests(6)
                    await wait_until(
                        lambda: b"event: " in answers["/v1/events.r1"], within_s=30, what="events"
                    )
                    # It is told of first, and deleted then.
                    await wait_until(
                        partial(has_rows, around.database, "tasks", 1), within_s=30, what="one task"
                    )
                    outputs |= await at_rest(around.database)

                    async with around.database.away():
                        late = pb.DesireLRPRequest(desired_lrp=lrp("late"))
                        streams.start_soon(client.ask, "/v1/desired_lrp/desire.r2", late.SerializeToString())
                        await wait_until(
                            lambda: REFUSALS[around.database.driver] in said(bbs),
                            within_s=30,
                            what="the failure is told",
                        )
                    await client.ask("/v1/desired_lrps/list.r3", b"")

                    for page in PAGES:
                        answer = await http.get(f"{debug}/{page}")
                        outputs[f"/{page}"] = str(answer.headers).encode() + answer.content
                    await metrics.until(50)
                    streams.cancel_scope.cancel()
                bbs.process.send_signal(signal.SIGQUIT)
                assert await bbs.exit_code() == 2
        outputs["log and stack dump"] = said(bbs)
        outputs["access log"] = access_log.read_bytes()
        outputs["peers"] = b"\n".join(sent.head + b"\n" + sent.body for sent in peers.sent)
        outputs["Loggregator"] = b"".join(batch.SerializeToString() for batch in metrics.batches)

    assert [name for name, output in outputs.items() if not output] == []
    assert b"SIGQUIT: quit" in outputs["log and stack dump"]
    assert told([*servers, *TENANTS], outputs) == {}
    assert told(servers, answers) == {}
    assert told(TENANTS, answers).keys() <= TOLD_TO_CLIENTS
    # All was planted: whoever may read it, can.
    assert found(TENANTS, b"".join(answers.values())) == {canary.name for canary in TENANTS}


@dataclass(frozen=True)
class Client:
    """Keeps what it is answered, by path."""

    api: str
    http: httpx.AsyncClient
    answers: dict[str, bytes]

    async def ask(self, path: str, body: bytes) -> None:
        answer = await self.http.post(self.api + path, content=body)
        self._keep(path, str(answer.headers).encode() + answer.content)

    async def follow(
        self, route: StreamRoute, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with self.http.stream(route.method, self.api + route.path) as stream:
            task_status.started()
            async for piece in stream.aiter_raw():
                # What an event holds is base64 of its own, and may be cut anywhere.
                self._keep(route.path, piece)

    def _keep(self, path: str, answer: bytes) -> None:
        self.answers[path] = self.answers.get(path, b"") + answer


async def has_rows(database: SomeDatabase, table: str, count: int) -> bool:
    return await database.execute(f"SELECT COUNT(*) FROM {table}") == [(count,)]


async def at_rest(database: SomeDatabase) -> dict[str, bytes]:
    """Every row of every table, as text."""
    tables = await database.execute(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema IN ('public', '{database.name}')"
    )
    rows = {table: await database.execute(f"SELECT * FROM {table}") for [table] in tables}
    assert len(rows["desired_lrps"]) == len(rows["tasks"]) == 1
    return {
        f"table {table}": "\n".join(" ".join(map(str, row)) for row in content).encode()
        for table, content in rows.items()
        if content
    }


@ON_POSTGRES
@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"database_connection_string": "postgres://u:{}@127.0.0.1:1/d"}, id="nobody there"),
        pytest.param({"database_connection_string": "postgres://u:{}@localhost.invalid/d"}, id="no such host"),
        pytest.param({"database_connection_string": "{url}_absent"}, id="no such database"),
        pytest.param({"database_connection_string": "{url}", "encryption_keys": {"label": "other"}}, id="wrong key"),
        pytest.param({"database_connection_string": "postgres://u:{}@h:port/d"}, id="no URL"),
    ],
)  # fmt: skip
async def test_a_server_that_does_not_start_tells_no_secret(
    around: Surroundings, changes: dict[str, Any]
) -> None:
    keys = {"label": PASSPHRASE.text, "old": OLD_PASSPHRASE.text}
    if "encryption_keys" in changes:  # something that only these keys can read
        async with daemon(around, around.config("a", encryption_keys=keys)) as bbs:
            await bbs.logs("started")
            async with bbs.client() as client:
                await client.desire_lrp(lrp("p"))
            assert await bbs.stop() == 0
    name = around.database.name
    url = with_password(around.database).url
    password = quote(DATABASE_PASSWORD.text, safe="")
    connection = changes["database_connection_string"]
    if "absent" in connection:
        connection = url.replace(name, f"{name}_absent")
    changes = {
        **changes,
        "database_connection_string": connection.replace("{url}", url).replace("{}", password),
    }
    async with daemon(around, around.config("a", **{"encryption_keys": keys, **changes})) as bbs:
        assert await bbs.exit_code() in (1, 2)

    assert bbs.messages()
    assert found([*SERVERS, *TENANTS, *keys_of(around)], said(bbs)) == set()


BROKEN_CONFIGURATIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "good": lambda config: config,
    "one bracket short": lambda config: json.dumps(config)[:-1],
    "a passphrase without quotes": lambda config: json.dumps(config).replace(
        json.dumps(PASSPHRASE.text), PASSPHRASE.text
    ),
    "a password without quotes": lambda config: json.dumps(config).replace(
        json.dumps(config["database_connection_string"]), config["database_connection_string"]
    ),
    "a passphrase for all keys": lambda config: config | {"encryption_keys": PASSPHRASE.text},
    "passphrases in a list": lambda config: config | {"encryption_keys": [PASSPHRASE.text]},
    "a list for a passphrase": lambda config: config | {"encryption_keys": {"label": [PASSPHRASE.text]}},
    "a key that is not active": lambda config: config | {"active_key_label": "none"},
    "a list for a connection": lambda config: config | {
        "database_connection_string": [DATABASE_PASSWORD.text]
    },
    "a password with a slash": lambda config: config | {
        "database_connection_string": f"postgres://u:{DATABASE_PASSWORD.text}@h/d"
    },
    "a keyword password without quotes": lambda config: config | {
        "database_connection_string": f"host=h user=u password={DATABASE_PASSWORD.text}"
    },
    "a quote that does not end": lambda config: config | {
        "database_connection_string": f"host=h user=u password='{DATABASE_PASSWORD.text}"
    },
    "a key in place of a certificate": lambda config: config | {"cert_file": config["key_file"]},
    "a key in place of the CA": lambda config: config | {"ca_file": config["key_file"]},
    "a service file with the password only": lambda config: config | {
        "database_connection_string": f"service=s servicefile={config['services']}"
    },
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN_CONFIGURATIONS)
def test_a_check_of_a_configuration_tells_no_secret(
    broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certs = copied_certs(tmp_path / "certs")
    services = tmp_path / "services"
    services.write_text(f"password={DATABASE_PASSWORD.text}\n")
    password = quote(DATABASE_PASSWORD.text, safe="")
    config = {
        "uuid": "a", "health_address": "127.0.0.1:0", "listen_address": "127.0.0.1:0", "locket_address": "h:1",
        "database_driver": "postgres", "database_connection_string": f"postgres://u:{password}@h/d",
        "encryption_keys": {"label": PASSPHRASE.text, "old": OLD_PASSPHRASE.text}, "active_key_label": "label",
        "ca_file": str(certs.ca_cert), "cert_file": str(certs.server_cert), "key_file": str(certs.server_key),
        "locket_ca_cert_file": str(certs.ca_cert), "locket_client_cert_file": str(certs.client_cert),
        "locket_client_key_file": str(certs.client_key), "auctioneer_address": "https://h:1", "services": str(services),
    }  # fmt: skip
    made = BROKEN_CONFIGURATIONS[broken](config)
    file = tmp_path / "bbs.json"
    file.write_text(made if isinstance(made, str) else json.dumps(made, ensure_ascii=False))

    check_config(str(file))

    printed = capsys.readouterr()
    output = (printed.out + printed.err).encode()
    keys = [Canary.of_key(certs.server_key), Canary.of_key(certs.client_key)]
    assert output
    assert found([*SERVERS, *keys], output) == set()
