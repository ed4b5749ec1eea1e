"""``bbs doctor`` beside servers that run, and beside what is broken."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

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
from tests.daemons import Surroundings, daemon, end, free_port
from tests.databases import ON_BOTH
from tests.records import desired_message

pytestmark = pytest.mark.slow

DOCTOR_S = 120.0


class Said:
    """What it said of each check."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.is_healthy = report["healthy"]
        self._checks = {check["name"]: check for check in report["checks"]}

    def verdicts(self, *but: str) -> dict[str, str]:
        return {name: check["verdict"] for name, check in self._checks.items() if name not in but}

    def of(self, name: str) -> tuple[str, str]:
        return self._checks[name]["verdict"], self._checks[name]["reason"]


async def run_doctor(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    with trio.fail_after(DOCTOR_S):
        return await trio.run_process(
            [sys.executable, "-m", "bbs", "doctor", *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


async def doctor(around: Surroundings, config: dict[str, Any]) -> Said:
    """What it would say, found out in this process."""
    file = around.tmp_path / "doctor.json"
    file.write_text(json.dumps(config))
    with trio.fail_after(DOCTOR_S):
        facts = await find_out(decode(read_file(str(file))), Where())
    return Said(json.loads(judged(facts).as_json()))


@ON_BOTH
async def test_it_says_how_a_deployment_is(around: Surroundings) -> None:
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
            ended = await run_doctor("-config", str(file), "--json")
            assert (ended.returncode, ended.stderr) == (0, b""), ended.stdout
            healthy = Said(json.loads(ended.stdout))
            beside_standby = await doctor(around, standby_config)
            assert healthy.is_healthy
            assert healthy.of("database")[0] in ("ok", "caution")
            assert healthy.verdicts("database", "standby-lag") == dict.fromkeys(
                healthy.verdicts("database", "standby-lag"), "ok"
            ), "but for the database's time, which a busy machine may take"
            assert healthy.of("standby-lag")[0] == "skipped"
            url = f"https://{config['listen_address']}"
            assert healthy.of("master")[1].startswith(
                f"the master is at {url} (uuid a): the process beside us, for "
            )
            assert healthy.of("schema") == ("ok", f"version {SCHEMA_VERSION}, as it should be")
            assert healthy.of("encryption-key")[1].startswith('all is sealed with "label"')

            assert beside_standby.of("master") == ("ok", f"the master is at {url} (uuid a)")
            assert beside_standby.of("process")[1].startswith("runs: this process is not the master")
            assert "behind the database" in beside_standby.of("standby-lag")[1]
            assert await standby.stop() == 0

        # Two instances in a domain that nobody declares, one of them on a cell that is not there.
        async with master.client() as client:
            await client.desire_lrp(desired_message("p", instances=2))
            claimed = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="gone")
            await client.claim_actual_lrp(pb.ActualLRPKey(process_guid="p", index=0, domain="d"), claimed)
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


async def test_whoever_is_away_is_told_of_in_words(around: Surroundings) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    config = around.config(
        "a", locket_address=nowhere, auctioneer_address=f"http://{nowhere}", debug_address=nowhere
    )
    config["database_driver"] = "postgres"
    config["database_connection_string"] = f"postgres://u:s3cret@{nowhere}/diego?sslmode=disable"
    file = around.tmp_path / "away.json"
    file.write_text(json.dumps(config))

    ended = await run_doctor("-config", str(file))

    text = ended.stdout.decode()
    assert ended.returncode == 1
    for name in ("locket", "master", "process", "standby-lag", "database", "subscribers", "auctioneer"):
        assert f"\nWRONG    {name} " in text, text
    for name in ("schema", "encryption-key", "readable-rows", "domains", "cells", "suspects", "instances"):
        assert f"\nskipped  {name} " in text, text
    assert text.endswith("\nnot healthy: 7 of 16 checks\n")
    assert "s3cret" not in text
    assert ended.stderr == b""


async def test_a_configuration_that_is_refused_is_told_and_what_it_breaks_left_out(
    around: Surroundings,
) -> None:
    config = around.config("a", active_key_label="none", locket_ca_cert_file="/nowhere/ca.crt")

    said = await doctor(around, config)

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


async def test_an_interrupt_ends_it_without_a_word(around: Surroundings) -> None:
    """While it waits for a Locket that takes connections and says nothing."""
    [silent] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = f"127.0.0.1:{silent.socket.getsockname()[1]}"
    file = around.tmp_path / "silent.json"
    file.write_text(json.dumps(around.config("a", locket_address=address)))
    async with silent:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "bbs", "doctor", "-config", str(file)],
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
