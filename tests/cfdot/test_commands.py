"""Every command against a server of ours, over mutual TLS, with Locket; in this process, as its command line goes."""

import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio
from google.protobuf.message import Message

from bbs.client import (
    InternalBBSClient,
    RunningReport,
)
from bbs.models import pb
from bbs.models.go_json import to_json
from bbs.tls.development import DevelopmentCerts
from tests.cfdot.conftest import Server
from tests.cfdot.rep_server import rep
from tests.daemons import free_port
from tests.records import desired_message, task_definition

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

NOT_FOUND = (
    "Error: BBS error\nType 13: ResourceNotFound\nMessage: the requested resource could not be found\n"
)


def desire(server: Server, guid: str, **fields: object) -> None:
    assert server.tell("create-desired-lrp", to_json(desired_message(guid, **fields))) == []


def start(server: Server, guid: str, *, domain: str) -> None:
    """Have instance 0 run."""

    async def report() -> None:
        async with server.client() as client:
            await client.start_actual_lrp(
                pb.ActualLRPKey(process_guid=guid, index=0, domain=domain),
                pb.ActualLRPInstanceKey(instance_guid=f"{guid}-i", cell_id="c1"),
                RunningReport(net_info=pb.ActualLRPNetInfo(address="10.0.0.1"), routable=True),
            )

    trio.run(report)


Listed = Sequence[Message]


def by_client(server: Server, ask: Callable[[InternalBBSClient], Awaitable[Listed]]) -> list[str]:
    """What the client is answered, in the JSON form that the messages have."""

    async def answer() -> Listed:
        async with server.client() as client:
            return await ask(client)

    return sorted(map(to_json, trio.run(answer)))


def test_domains(server: Server) -> None:
    assert server.tell("set-domain", "d<1>&é", "--ttl", "1h") == []
    assert server.tell("set-domain", "for-ever") == []

    assert {'"d\\u003c1\\u003e\\u0026é"', '"for-ever"'} <= set(server.tell("domains"))


def test_desired_lrps(server: Server, tmp_path: Path) -> None:
    desire(server, "wanted", domain="wanted-d")
    file = tmp_path / "spec.json"
    file.write_text(to_json(desired_message("from-file", domain="wanted-d")))
    assert server.tell("create-desired-lrp", f"@{file}") == []

    lines = server.tell("desired-lrps", "-d", "wanted-d")
    assert sorted(json.loads(line)["process_guid"] for line in lines) == ["from-file", "wanted"]
    assert sorted(lines) == by_client(server, lambda client: client.desired_lrps(domain="wanted-d"))
    assert server.tell("desired-lrp", "wanted") == [line for line in lines if '"wanted"' in line]
    infos = server.tell("desired-lrp-scheduling-infos", "--domain=wanted-d")
    assert sorted(infos) == by_client(
        server, lambda client: client.desired_lrp_scheduling_infos(domain="wanted-d")
    )
    assert server.tell("desired-lrps", "-d", "nobody's") == []

    assert server.tell("update-desired-lrp", "wanted", '{"instances":3,"annotation":"n"}') == []
    updated = json.loads(server.tell("desired-lrp", "wanted")[0])
    assert (updated["instances"], updated["annotation"]) == (3, "n")

    assert server.tell("delete-desired-lrp", "wanted") == []
    ended = server.run("desired-lrp", "wanted")
    assert (ended.code, ended.out, ended.err) == (4, "", NOT_FOUND)


def test_actual_lrps(server: Server) -> None:
    desire(server, "running", domain="running-d", instances=2)
    start(server, "running", domain="running-d")

    def listed(*words: str) -> list[tuple[int, str]]:
        lines = server.tell("actual-lrps", *words)
        return sorted((json.loads(line)["index"], json.loads(line)["state"]) for line in lines)

    assert listed("-d", "running-d") == [(0, "RUNNING"), (1, "UNCLAIMED")]
    assert listed("-p", "running", "-i", "0") == [(0, "RUNNING")]
    assert listed("--process-guid", "running", "--index=1") == [(1, "UNCLAIMED")]
    assert listed("-c", "c1", "-p", "running") == [(0, "RUNNING")]
    assert listed("-p", "running", "-i", "7") == []
    assert sorted(server.tell("actual-lrps", "-p", "running")) == by_client(
        server, lambda client: client.actual_lrps(process_guid="running")
    )
    line = server.tell("actual-lrps", "-p", "running", "-i", "0")[0]
    assert '"presence":"ORDINARY"' in line
    assert '"OptionalRoutable":{"routable":true}' in line

    assert server.tell("retire-actual-lrp", "running", "1") == []
    assert listed("-p", "running") == [(0, "RUNNING")]
    assert server.run("retire-actual-lrp", "nobody's", "1").err == NOT_FOUND


def test_deprecated_groups(server: Server) -> None:
    desire(server, "grouped", domain="grouped-d", instances=2)
    start(server, "grouped", domain="grouped-d")

    listed = server.run("actual-lrp-groups", "-d", "grouped-d")
    by_guid = server.run("actual-lrp-groups-for-guid", "grouped")
    one = server.run("actual-lrp-groups-for-guid", "grouped", "-i", "0")

    deprecated = 'Command "actual-lrp-groups" is deprecated, use "actual-lrps" instead.\n'
    assert (listed.code, listed.err) == (0, deprecated)
    assert by_guid.err == (
        'Command "actual-lrp-groups-for-guid" is deprecated, use "actual-lrps" with the "--process-guid" flag instead.\n'
    )
    assert sorted(listed.lines) == sorted(by_guid.lines)
    assert sorted(listed.lines) == by_client(
        server, lambda client: client.actual_lrp_groups(domain="grouped-d")
    )
    assert one.lines == [line for line in listed.lines if '"state":"RUNNING"' in line]
    assert set(json.loads(one.lines[0])) == {"instance"}


def test_tasks(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    task = pb.Task(task_guid="work", domain="work-d", task_definition=task_definition())
    file.write_text(to_json(task))
    assert server.tell("create-task", f"@{file}") == []

    [line] = server.tell("tasks", "-d", "work-d")
    assert server.tell("task", "work") == [line]
    assert [line] == by_client(server, lambda client: client.tasks(domain="work-d"))
    assert json.loads(line)["state"] == "Pending"
    assert server.tell("tasks", "-c", "c9", "-d", "work-d") == []
    assert server.run("create-task", to_json(task)).err == (
        "Error: BBS error\nType 12: ResourceExists\nMessage: the requested resource already exists\n"
    )
    undone = server.run("delete-task", "work")
    assert (undone.code, undone.err.splitlines()[:2]) == (
        4,
        ["Error: BBS error", "Type 9: InvalidStateTransition"],
    )

    assert server.tell("cancel-task", "work") == []
    assert json.loads(server.tell("task", "work")[0])["state"] == "Completed"
    assert server.tell("delete-task", "work") == []
    assert server.run("task", "work").err == NOT_FOUND


def test_a_task_of_nothing_names_all_that_is_missing(server: Server) -> None:
    ended = server.run("create-task", "{}")

    assert ended == server.run("create-task", "null")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err.endswith(
        "Message: Invalid field: task_guid, Invalid field: domain, Invalid field: task_definition\n"
    )


def test_locks_and_presences(server: Server) -> None:
    assert server.tell("claim-lock", "-k", "my-lock", "-o", "me", "-v", "v<1>", "-t", "60") == []
    assert server.tell("claim-presence", "-k", "p-1", "-o", "p-1", "-t", "60") == []

    [lock] = [line for line in server.tell("locks") if '"my-lock"' in line]
    assert lock == '{"key":"my-lock","owner":"me","value":"v\\u003c1\\u003e","type":"lock","type_code":1}'
    assert '{"key":"p-1","owner":"p-1","type":"presence","type_code":2}' in server.tell("presences")
    taken = server.run("claim-lock", "--key=my-lock", "--owner=another", "--ttl=60")
    assert (taken.code, taken.err) == (4, "Error: rpc error: code = AlreadyExists desc = lock-collision\n")

    assert server.tell("release-lock", "-k", "my-lock", "-o", "me") == []
    assert not [line for line in server.tell("locks") if '"my-lock"' in line]
    assert server.run("release-lock", "-k", "p-1", "-o", "another").code == 4


def test_a_locket_that_nobody_vouches_for(server: Server, certs: DevelopmentCerts) -> None:
    """Trust is looked at, unless the flag says not to."""
    server.tell("claim-presence", "-k", "p-2", "-o", "p-2", "-t", "60")

    unchecked = server.run("presences", "--skipCertVerify", CA_CERT_FILE="/nonexistent")
    assert (unchecked.code, unchecked.err) == (0, "")
    assert '{"key":"p-2","owner":"p-2","type":"presence","type_code":2}' in unchecked.lines
    assert server.run("release-lock", "--skipCertVerify", "-k", "p-2", "-o", "another").err.startswith(
        "Error: rpc error: code = "
    )


def announce(server: Server, cell_id: str, rep_url: str) -> None:
    presence = to_json(pb.CellPresence(cell_id=cell_id, rep_url=rep_url, zone="z1"))
    server.tell("claim-presence", "-k", cell_id, "-o", cell_id, "-v", presence, "-t", "60")


def test_cells_and_their_states(server: Server, server_tls: ssl.SSLContext, certs: DevelopmentCerts) -> None:
    state = '{"cell_id":"c","LRPs":[],"Zone":"\\u003cz\\u003e"}'
    with rep(server_tls) as good:
        announce(server, "good", f"https://127.0.0.1:{good.server_port}")
        announce(server, "gone", f"https://127.0.0.1:{free_port()}")
        [line] = server.tell("cell", "good")
        assert line in server.tell("cells")
        assert json.loads(line)["zone"] == "z1"
        nowhere = server.run("cell", "nowhere")
        assert (nowhere.code, nowhere.err) == (5, "Error: Cell not found\n")
        assert server.run("cell-state", "nowhere").err == "Error: Cell not found\n"

        assert server.tell("cell-state", "good") == [state]
        [(path, trace_id)] = good.asked
        assert (path, len(trace_id)) == ("/state", 32)

        gone = server.run("cell-state", "gone")
        refused = "Rep error: Failed to get cell state for cell gone: Get "
        assert (gone.code, gone.err.startswith(f"Error: {refused}")) == (4, True)
        assert gone.err.endswith("connect: connection refused\n")

        all_of_them = server.run("cell-states")
        assert (all_of_them.code, all_of_them.lines) == (4, [state])
        assert all_of_them.err.startswith(f"Error: {refused}")
        assert all_of_them.err.endswith("refused\n\n")

        unsure = server.run("cell-state", "good", SKIP_CERT_VERIFY="true", CA_CERT_FILE="")
        assert unsure.err.endswith("https scheme not supported since certificates aren't provided\n")
        for status, body, why in (
            (503, b"", "unexpected status code: 503"),
            (200, b"no", "invalid character 'o' in literal null (expecting 'u')"),
            (200, b"", "unexpected end of JSON input"),
        ):
            good.status, good.body = status, body
            wrong = server.run("cell-state", "good")
            assert (wrong.code, wrong.out) == (4, "")
            assert wrong.err == f"Error: Rep error: Failed to get cell state for cell good: {why}\n"


def test_what_goes_wrong_on_the_way(server: Server, certs: DevelopmentCerts, tmp_path: Path) -> None:
    nobody = f"https://127.0.0.1:{free_port()}"
    refused = server.run("domains", "--bbsURL", nobody)
    assert (refused.code, refused.out) == (5, "")
    assert refused.err == (
        f'Error: Post "{nobody}/v1/domains/list": dial tcp {nobody[8:]}: connect: connection refused\n'
    )
    states = server.run("cell-states", "--bbsURL", nobody)
    assert states.code == 4
    assert states.err.startswith("Error: BBS error: Failed to get cell registrations from BBS: Post ")

    (tmp_path / "empty").touch()
    unusable = server.run("domains", "--clientCertFile", str(tmp_path / "empty"))
    assert (unusable.code, unusable.err) == (
        5,
        "Error: failed to load keypair: tls: failed to find any PEM data in certificate input\n",
    )
    for words in (["locks"], ["locks", "--skipCertVerify"]):
        at_lockets = server.run(*words, "--clientCertFile", str(tmp_path / "empty"))
        assert (at_lockets.code, at_lockets.err) == (4, unusable.err)

    another = server.run("domains", "--caCertFile", str(certs.client_cert))
    assert (another.code, another.out) == (5, "")
    assert another.err == (
        f'Error: Post "{server.url}/v1/domains/list":'
        " tls: failed to verify certificate: x509: certificate signed by unknown authority\n"
    )
    unknown = server.run("domains", "--bbsURL", "https://nowhere.invalid:1")
    assert unknown.err.startswith(
        'Error: Post "https://nowhere.invalid:1/v1/domains/list": dial tcp: lookup nowhere.invalid: '
    )
    assert server.run("domains", "--skipCertVerify", CA_CERT_FILE="/nonexistent").code == 0


def test_a_server_that_does_not_answer_in_time(server: Server) -> None:
    """Somebody listens there, but does not shake hands."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        by_flag = server.run("domains", "--bbsURL", url, "--timeout", "1")
        by_environment = server.run("domains", BBS_URL=url, CFDOT_TIMEOUT="1")

    assert by_flag == by_environment
    assert by_flag.code == 4
    assert by_flag.err == (
        f'Error: BBS error\nType 31: Timeout\nMessage: Post "{url}/v1/domains/list": context deadline exceeded'
        " (Client.Timeout exceeded while awaiting headers)\n"
    )
