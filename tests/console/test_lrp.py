"""``bbs lrp GUID`` towards a server over TLS: in a pipe, at a terminal, and going on with events."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from bbs.client import InternalBBSClient
from bbs.models import pb
from tests.cfdot.conftest import Server
from tests.cfdot.running import Ended, cfdot
from tests.cfdot.terminals import BBS, WAIT_MAX_S, at_terminal, opened_at_terminal
from tests.console.fleet import RUNNING, announce, as_cells_and_auctioneer, desire, key, on, presence
from tests.store.tcp_proxy import Line, tcp_proxy

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


def bbs(server: Server, *words: str) -> Ended:
    return cfdot(*words, environment=server.environment, program="bbs")


def some_app(server: Server, guid: str) -> None:
    """Index 0 runs, 1 was refused, 2 has crashed with a reason that would steer a terminal, 3 waits."""
    announce(server, presence(f"{guid}-cell"))
    server.tell("set-domain", f"{guid}-domain")
    routes = pb.ProtoRoutes()
    routes.routes["cf-router"] = b'[{"hostnames":["app.example"],"port":8080}]'
    desire(
        server,
        guid,
        instances=4,
        routes=routes,
        annotation="of the shop",
        PlacementTags=["isolated"],
        volume_mounts=[
            pb.VolumeMount(
                driver="nfs",
                container_dir="/data",
                mode="rw",
                shared=pb.SharedDevice(volume_id="v", mount_config="{}"),
            )
        ],
    )
    crash = "exit\x1b[2J 1"
    at = on(f"{guid}-cell")

    def crashing(client: InternalBBSClient) -> Any:
        return client.crash_actual_lrp(key(guid, 2), at, error_message=crash)

    def claiming(client: InternalBBSClient) -> Any:
        return client.claim_actual_lrp(key(guid, 2), at)

    as_cells_and_auctioneer(
        server,
        lambda client: client.start_actual_lrp(key(guid, 0), at, RUNNING),
        lambda client: client.fail_actual_lrp(key(guid, 1), error_message="insufficient resources: memory"),
        *(claiming, crashing) * 3,
    )


def test_one_json_object_in_a_pipe(server: Server) -> None:
    some_app(server, "piped")
    ended = bbs(server, "lrp", "piped")

    assert (ended.code, ended.err) == (0, "")
    [line] = ended.lines
    told = json.loads(line)
    assert told["process_guid"] == "piped"
    assert json.dumps(told["desired"]) == json.dumps(json.loads(server.tell("desired-lrp", "piped")[0]))
    rows = [json.loads(each) for each in server.tell("actual-lrps", "-p", "piped")]
    assert told["actual"] == sorted(rows, key=lambda row: int(row["index"]))
    assert told["domain"] == {"name": "piped-domain", "fresh": True}
    assert told["cells"] == {"piped-cell": {"announced": True, "zone": "z1"}}
    assert (told["as_desired"], told["headline"]) == (False, "1 of 4 instances run")
    assert [(each["why"], each["index"]) for each in told["reasons"]] == [
        ("unclaimed", 1),
        ("crashed", 2),
        ("unclaimed", 3),
    ]
    assert "insufficient resources: memory" in told["reasons"][0]["text"]
    assert "crashed 3 times" in told["reasons"][1]["text"]
    assert "\x1b" not in line


def test_all_of_it_at_a_terminal(server: Server) -> None:
    some_app(server, "seen")
    text = at_terminal(server, "lrp", "seen", COLUMNS="200")

    for words in (
        "1 of 4 instances run",
        "128M",
        "preloaded:cflinuxfs4",
        "seen-domain (fresh)",
        "http app.example to port 8080",
        "isolated",
        "nfs at /data (rw)",
        "of the shop",
        "z7",
        "10.1.2.3:61001",
        "index 1: unclaimed; the last auction was refused ",
        "ago: insufficient resources: memory; the first convergence pass in ",
        "index 2: crashed 3 times, the last time ",
        "index 3: unclaimed for ",
    ):
        assert words in text
    assert "\x1b[32mRUNNING" in text
    assert "\x1b[2J" not in text
    assert "\x1b" not in at_terminal(server, "lrp", "seen", NO_COLOR="1", TERM="dumb")
    assert max(map(len, at_terminal(server, "lrp", "seen", COLUMNS="70", TERM="dumb").splitlines())) <= 70
    assert "CHANGES" not in text
    assert "CHANGES" in at_terminal(server, "lrp", "seen", "-o", "wide", COLUMNS="200")
    assert json.loads(at_terminal(server, "lrp", "seen", "-o", "json"))["process_guid"] == "seen"


def test_a_table_in_a_pipe_has_no_colours_and_no_width(server: Server) -> None:
    desire(server, "plain", annotation="x" * 300)
    ended = bbs(server, "lrp", "plain", "-o", "table")
    assert ended.code == 0
    assert "x" * 300 in ended.out
    assert "\x1b" not in ended.out
    assert "domain plain-domain is not fresh" in ended.out


def test_what_cannot_be_told(server: Server) -> None:
    unknown = bbs(server, "lrp", "nobody's")
    assert (unknown.code, unknown.out) == (4, "")
    assert unknown.err == (
        "Error: Nothing is known of 'nobody's': it is not desired, and there are no instances of it\n"
    )
    assert bbs(server, "lrp").err.startswith(
        "Error: Missing arguments\nUsage:\n  bbs lrp PROCESS_GUID [flags]\n"
    )
    nobody = bbs(server, "lrp", "p", "--bbsURL", "https://127.0.0.1:1")
    assert (nobody.code, nobody.out) == (5, "")
    assert "connection refused" in nobody.err
    following = bbs(server, "lrp", "p", "-f", "--bbsURL", "https://127.0.0.1:1")
    assert following.code == 5
    assert "connection refused" in following.err
    assert "Usage" not in following.err


def test_cfdot_does_not_have_it(server: Server) -> None:
    assert server.run("lrp", "p").err.startswith('Error: unknown command "lrp" for "cfdot"')


@contextmanager
def following(server: Server, *words: str) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [*BBS, "lrp", *words, "--follow"],
        env=dict(server.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def line_of(stream: Any) -> str:
    with trio.fail_after(WAIT_MAX_S):
        line: str = await trio.to_thread.run_sync(stream.readline, abandon_on_cancel=True)
    return line


async def test_events_follow_and_a_lost_stream_is_told(server: Server) -> None:
    """An app of which nothing is known yet can be followed, too."""
    line = Line()
    async with tcp_proxy(int(server.url.rpartition(":")[2]), line) as port:
        with following(server, "followed", "--bbsURL", f"https://127.0.0.1:{port}") as process:
            first = json.loads(await line_of(process.stdout))
            assert (first["desired"], first["actual"]) == (None, [])
            tell = trio.to_thread.run_sync
            await tell(desire, server, "another")
            await tell(desire, server, "followed")
            events = [json.loads(await line_of(process.stdout)) for _ in range(2)]
            assert {event["type"] for event in events} == {
                "desired_lrp_created",
                "actual_lrp_instance_created",
            }

            line.end_connections()
            assert "connecting again in 1 s" in await line_of(process.stderr)
            again = json.loads(await line_of(process.stdout))
            assert again["headline"] == "0 of 1 instance runs"
            await tell(server.tell, "delete-desired-lrp", "followed")
            gone = [json.loads(await line_of(process.stdout))["type"] for _ in range(2)]
            assert set(gone) == {"desired_lrp_removed", "actual_lrp_instance_removed"}


def test_events_in_words_at_a_terminal(server: Server) -> None:
    announce(server, presence("worded-cell"))
    server.tell("set-domain", "worded-domain")
    desire(server, "worded")
    with opened_at_terminal(server, "lrp", "worded", "-f") as terminal:
        terminal.until("index 0: unclaimed for ")
        as_cells_and_auctioneer(
            server, lambda client: client.start_actual_lrp(key("worded", 0), on("worded-cell"), RUNNING)
        )
        assert terminal.until("worded/0 unclaimed -> running on worded-cell (z7)")
        terminal.press(b"\x03")
        terminal.until_it_ends()
        assert terminal.process.returncode == -2
