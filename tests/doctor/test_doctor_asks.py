"""``bbs doctor`` beside servers that run, and beside what is broken."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from bbs.client import ClientConfig
from bbs.commands.cli import main
from bbs.config.upstream import decode, read_file
from bbs.doctor.asking import Where, find_out
from bbs.doctor.report import judged
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.codecs import CODECS
from bbs.store.database import database_at
from bbs.store.migrations import SCHEMA_VERSION
from bbs.store.schema import KEY_LABEL_ID, VERSION_ID
from bbs.sync.locket.client import LocketSettings
from tests.daemons import Neighbours, Surroundings, daemon, end, free_port
from tests.databases import ON_BOTH, SomeDatabase
from tests.forked_starts import Ended, ForkedStarts
from tests.made_once import copied_certs
from tests.peers.peer_server import peer_server
from tests.records import desired_message

pytestmark = pytest.mark.slow

DOCTOR_S = 120.0
OF_THE_DATABASE = ("database", "schema", "encryption-key", "readable-rows")


class Said:
    """What it said of each check."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.is_healthy = report["healthy"]
        self._checks = {check["name"]: check for check in report["checks"]}

    def verdicts(self, *but: str) -> dict[str, str]:
        return {name: check["verdict"] for name, check in self._checks.items() if name not in but}

    def of(self, name: str) -> tuple[str, str]:
        return self._checks[name]["verdict"], self._checks[name]["reason"]


async def run_doctor(starts: ForkedStarts, *arguments: str) -> Ended:
    """In a process of its own."""
    return await trio.to_thread.run_sync(starts.start, "doctor", *arguments)


async def doctor(around: Neighbours, config: dict[str, Any]) -> Said:
    """What it would say, found out in this process."""
    file = around.tmp_path / "doctor.json"
    file.write_text(json.dumps(config))
    with trio.fail_after(DOCTOR_S):
        facts = await find_out(decode(read_file(str(file))), Where())
    return Said(json.loads(judged(facts).as_json()))


async def as_client(around: Surroundings, config: dict[str, Any]) -> Said:
    """What it would say from elsewhere, with a client's certificate and no configuration."""
    certs = around.certs
    files = certs.client_files
    bbs = ClientConfig.with_files(f"https://{config['listen_address']}", files, attempts=1)
    locket = LocketSettings(address=around.locket_address, tls=files)
    with trio.fail_after(DOCTOR_S):
        facts = await find_out(None, Where(bbs=bbs, locket=locket))
    return Said(json.loads(judged(facts).as_json()))


@ON_BOTH
async def test_it_says_how_a_deployment_is(around: Surroundings, starts: ForkedStarts) -> None:
    # One pass at the start, and none in the middle of the test.
    config = around.config("a", debug_address=f"127.0.0.1:{free_port()}", converge_repeat_interval="1h")
    standby_config = around.config("b", debug_address=f"127.0.0.1:{free_port()}")
    async with daemon(around, config) as master:
        await master.logs("started")
        await master.logs("encryptor.encryption-finished")
        async with daemon(around, standby_config) as standby:
            await standby.logs("read-ahead")

            file = around.tmp_path / "healthy.json"
            file.write_text(json.dumps(config))
            ended = await run_doctor(starts, "-config", str(file), "--json")
            assert (ended.exit_code, ended.stderr) == (0, ""), ended.stdout
            healthy = Said(json.loads(ended.stdout))
            beside_standby = await doctor(around, standby_config)
            assert healthy.is_healthy
            assert healthy.of("database")[0] in ("ok", "caution")
            busy = ("database", "standby-lag", "requests")
            assert healthy.verdicts(*busy) == dict.fromkeys(healthy.verdicts(*busy), "ok"), (
                "but for the database's time, which a busy machine may take"
            )
            assert healthy.of("standby-lag")[0] == healthy.of("requests")[0] == "skipped"
            url = f"https://{config['listen_address']}"
            assert healthy.of("master")[1].startswith(
                f"the master is at {url} (uuid a): the process beside us, for "
            )
            assert healthy.of("schema") == ("ok", f"version {SCHEMA_VERSION}, as it should be")
            assert healthy.of("encryption-key")[1].startswith('all is sealed with "label"')

            assert beside_standby.of("master") == (
                "ok",
                f"the master is at {url} (uuid a); since when, its own health port says",
            )
            assert beside_standby.of("process")[1].startswith("runs: this process is not the master")
            assert "behind the database" in beside_standby.of("standby-lag")[1]
            assert await standby.stop() == 0

        # Two instances in a domain that nobody declares, one of them on a cell that is not there.
        async with master.client() as client:
            await client.desire_lrp(desired_message("p", instances=2))
            claimed = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="gone")
            await client.claim_actual_lrp(pb.ActualLRPKey(process_guid="p", index=0, domain="d"), claimed)
        beside, from_afar = await doctor(around, config), await as_client(around, config)
        for name in ("locket", "domains", "cells", "suspects", "instances"):
            assert from_afar.of(name) == beside.of(name), "rows say the same, wherever they come from"
        assert beside.of("cells")[0] == "wrong"
        assert from_afar.of("requests") == ("ok", f"{url} answers them, as the master")
        assert from_afar.of("master")[1].startswith(f"the master is at {url} (uuid a)")
        assert from_afar.of("certificates")[0] == "ok"
        of_the_server = "process", "standby-lag", "subscribers"
        for name in (*of_the_server, "configuration", *OF_THE_DATABASE, "auctioneer"):
            verdict, reason = from_afar.of(name)
            assert verdict == "skipped"
            assert reason.startswith("not looked at, since no ")
        other_keys = {
            **config,
            "encryption_keys": {"label": "another", "next": "k"},
            "active_key_label": "next",
        }
        sick = await doctor(around, other_keys)
        assert sick.of("encryption-key") == ("caution", 'the rotation from "label" to "next" is not done')
        verdict, reason = sick.of("readable-rows")
        assert verdict == "wrong"
        assert reason.endswith("or are damaged: 2 of actual_lrps, 1 of desired_lrps")
        assert await master.stop() == 0

    await forget(around, ActualLRPKey("p", 1, Presence.ORDINARY))
    before = await everything_stored(around)
    nobody_runs = await doctor(around, config)
    assert await everything_stored(around) == before
    assert nobody_runs.verdicts()["master"] == nobody_runs.verdicts()["process"] == "wrong"
    verdict, reason = nobody_runs.of("domains")
    assert verdict == "wrong"
    assert reason.startswith("not fresh, though LRPs are in them: d;")
    assert nobody_runs.of("instances") == ("caution", "1 missing, and will be made and placed (p 1)")
    assert nobody_runs.of("cells") == (
        "wrong",
        "1 with instances on them do not announce themselves: gone. The next pass makes 1 of their instances suspect and"
        " has replacements placed",
    )


async def everything_stored(around: Surroundings) -> list[Any]:
    async with open_asyncio_loop(null_logger()):
        tables = database_at(around.database.url).tables()
        try:
            labels = [await tables.configuration(name) for name in (VERSION_ID, KEY_LABEL_ID)]
            rows = [await tables.page(record_class, ()) for record_class in CODECS]
        finally:
            await tables.aclose()
    assert sum(map(len, rows)) == 2  # the desired LRP and what is left of its instances
    return [labels, rows]


async def forget(around: Surroundings, key: ActualLRPKey) -> None:
    """Have a row's instance lost, as no server of ours loses one."""
    codec = CODECS[ActualLRP]
    async with open_asyncio_loop(null_logger()):
        tables = database_at(around.database.url).tables()
        try:
            await tables.delete(codec, [codec.key_values(key)])
        finally:
            await tables.aclose()


@pytest.fixture
def neighbours(tmp_path: Path) -> Neighbours:
    """Nobody of whom is there."""
    nowhere = f"127.0.0.1:{free_port()}"
    url = f"postgres://u:s3cret@{nowhere}/diego?sslmode=disable"
    database = SomeDatabase("postgres", url, url)
    return Neighbours(tmp_path, copied_certs(tmp_path / "certs"), database, nowhere, f"http://{nowhere}")


async def test_whoever_is_away_is_told_of_in_words(neighbours: Neighbours, starts: ForkedStarts) -> None:
    config = neighbours.config("a", debug_address=f"127.0.0.1:{free_port()}")
    file = neighbours.tmp_path / "away.json"
    file.write_text(json.dumps(config))

    ended = await run_doctor(starts, "-config", str(file))

    text = ended.stdout
    assert ended.exit_code == 1
    for name in ("locket", "master", "process", "standby-lag", "database", "subscribers", "auctioneer"):
        assert f"\nWRONG    {name} " in text, text
    for name in ("schema", "encryption-key", "readable-rows", "domains", "cells", "suspects", "instances"):
        assert f"\nskipped  {name} " in text, text
    assert text.endswith("\nnot healthy: 7 of 17 checks; 8 not made\n")
    assert "s3cret" not in text
    assert ended.stderr == ""


async def test_a_configuration_that_is_refused_is_told_and_what_it_breaks_left_out(
    neighbours: Neighbours,
) -> None:
    async with peer_server() as auctioneer:
        config = neighbours.config(
            "a",
            active_key_label="none",
            locket_ca_cert_file="/nowhere/ca.crt",
            auctioneer_address=auctioneer.address,
        )
        said = await doctor(neighbours, config)

    verdict, reason = said.of("configuration")
    assert verdict == "wrong"
    assert "active_key_label" in reason
    assert said.of("certificates") == (
        "wrong",
        "locket_ca_cert_file: /nowhere/ca.crt can't be read: No such file or directory",
    )
    refused = ("skipped", "not asked: the configuration has to be put right first")
    assert said.of("locket") == said.of("master") == said.of("database") == refused
    assert said.of("process")[0] == "wrong"
    assert said.of("auctioneer")[0] == "ok"


async def test_an_interrupt_ends_it_without_a_word() -> None:
    """While it waits for a BBS that takes connections and says nothing."""
    [silent] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{silent.socket.getsockname()[1]}"
    async with silent:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "bbs", "doctor", "--bbsURL", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            with trio.fail_after(DOCTOR_S):
                async with await silent.accept():
                    process.send_signal(signal.SIGINT)
                    assert process.stdout is not None
                    said = b""
                    while piece := await process.stdout.receive_some():
                        said += piece
                    assert (await process.wait(), said) == (130, b"")
        finally:
            await end(process)


@pytest.mark.parametrize("text", [None, "{"], ids=["missing", "no JSON"])
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bbs.json"
    if text is not None:
        file.write_text(text)

    assert main(["doctor", "-config", str(file)]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"bbs doctor: {file}: ")
    assert told.err.count("\n") == 1


FILES = ("--caCertFile", __file__, "--clientCertFile", __file__, "--clientKeyFile", __file__)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "BBS URL not set. Please specify one with the '--bbsURL' flag"),
        (("--bbsURL", "bbs"), "The URL 'bbs' does not have an 'https' scheme."),
        (("--bbsURL", "https://bbs"), "--caCertFile must be specified"),
        (
            ("--bbsURL", "https://bbs", *FILES[:2]),
            "--clientCertFile and --clientKeyFile must both be specified",
        ),
        (("--bbsURL", "https://bbs", *FILES[:5], "/nowhere"), "key file '/nowhere' doesn't exist"),
    ],
)
def test_whoever_does_not_say_whom_to_ask_is_told_how(
    given: tuple[str, ...],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("BBS_URL", "CA_CERT_FILE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE", "SKIP_CERT_VERIFY"):
        monkeypatch.delenv(variable, raising=False)

    assert main(["doctor", *given]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"bbs doctor: {says}")
    assert told.err.endswith("\nBeside a server, give its configuration: -config FILE.\n")


def test_the_environment_says_whom_to_ask_as_for_other_commands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("BBS_URL", f"http://{nowhere}")
    monkeypatch.delenv("LOCKET_API_LOCATION", raising=False)

    assert main(["doctor"]) == 1

    told = capsys.readouterr().out
    assert f"WRONG    requests        no answer from http://{nowhere}: " in told
    assert told.endswith("not healthy: 1 of 17 checks; 16 not made\n")
