"""``bbs shadow`` as a process, beside a master of ours in another one, or beside one that lies."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from bbs.client import Event, InternalBBSClient, RowsOf
from bbs.models import pb
from tests.canaries import Canary, found
from tests.daemons import Daemon, Surroundings, daemon, free_port
from tests.databases import ON_POSTGRES
from tests.records import desired_message, task_definition
from tests.shadow.falsifying import Lies, falsifying
from tests.shadow.fleet import app_life, task_life
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

WITHIN_S = 60.0
SHADOW = ("-m", "bbs", "shadow", "--interval-s", "0.1", "--events-grace-s", "1")


@dataclass
class Beside:
    """A shadow's process, and the file for its report."""

    daemon: Daemon
    file: Path

    def rounds(self) -> list[dict[str, Any]]:
        return [line["data"] for line in self.daemon.lines if line["message"].endswith("shadow-round")]

    async def makes_rounds(self, more: int = 2) -> None:
        """Wait until it has begun and ended so many rounds from now on, but for the one under way."""
        enough = len(self.rounds()) + more + 1
        await wait_until(lambda: len(self.rounds()) >= enough, within_s=WITHIN_S, what="rounds")

    async def told(self, key: str) -> dict[str, Any]:
        """Wait for the line about that difference."""

        def lines() -> list[dict[str, Any]]:
            return [
                line["data"]
                for line in self.daemon.lines
                if line["message"].endswith("shadow-difference") and key in line["data"]["key"]
            ]

        await wait_until(lines, within_s=WITHIN_S, what=f"a difference in {key}")
        return lines()[0]

    async def report(self) -> tuple[int, Any]:
        """Stop it: its exit code, and its report."""
        code = await self.daemon.stop()
        return code, json.loads(self.file.read_text())


@asynccontextmanager
async def shadow(around: Surroundings, url: str, *more: str, **changes: Any) -> AsyncIterator[Beside]:
    file = around.tmp_path / "report"
    program = (*SHADOW, "--compare", url, "--report", str(file), "--json", *more)
    async with daemon(around, around.config("shadow", **changes), program=program) as process:
        yield Beside(process, file)


@asynccontextmanager
async def master(around: Surroundings) -> AsyncIterator[tuple[Daemon, InternalBBSClient]]:
    """One without passes, which would find that none of the fleet's cells exists."""
    config = around.config("master", converge_repeat_interval="1h")
    async with daemon(around, config) as process:
        await process.logs("started")
        async with process.client() as client:
            yield process, client


def differing(report: Any) -> dict[str, int]:
    return {
        part["name"]: part["different"] for part in report["lists"] + report["streams"] if part["different"]
    }


def examples(report: Any, name: str) -> Any:
    return next(part["examples"] for part in report["lists"] + report["streams"] if part["name"] == name)


@ON_POSTGRES
async def test_a_fleet_in_motion_is_told_the_same(around: Surroundings) -> None:
    async with master(around) as (process, client):
        await client.upsert_domain("d", ttl_s=0)
        for number in range(20):
            await client.desire_lrp(desired_message(f"quiet-{number}"))
        async with shadow(around, f"https://{process.config['listen_address']}") as beside:
            await beside.makes_rounds(0)
            for number in range(3):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(app_life, client, f"a{number}")
                    nursery.start_soon(app_life, client, f"b{number}")
                    nursery.start_soon(task_life, client, f"task-{number}")
                await beside.makes_rounds(0)
            await beside.makes_rounds(1)
            code, report = await beside.report()

    assert differing(report) == {}, json.dumps(report, indent=1)
    assert code == 0
    assert report["complete_rounds"] == report["rounds"] >= 2
    assert {
        part["name"]: part["rows"] > 0 for part in report["lists"] if part["name"] not in ("cells", "tasks")
    } == dict.fromkeys(
        ("actual LRPs", "actual LRP groups", "desired LRPs", "scheduling infos", "routing infos", "domains"),
        True,
    )
    assert all(part["matched"] > 0 and part["voids"] == {} for part in report["streams"])
    assert report["lateness_s"]["count"] > 0


SECRET = Canary.named("a tenant's secret")


def secretive(process_guid: str, **fields: Any) -> pb.DesiredLRP:
    lrp = desired_message(process_guid, annotation=SECRET.text, **fields)
    lrp.environment_variables.add(name="PASSWORD", value=SECRET.text)
    lrp.routes.routes["diego-ssh"] = json.dumps({"private_key": SECRET.text}).encode()
    return lrp


def falsified(which: RowsOf, rows: list[bytes]) -> list[bytes]:
    """A field changed in one row, a secret in another, one left out, and one made up."""
    match which:
        case RowsOf.ACTUAL_LRPS:
            lrps = [pb.ActualLRP.FromString(row) for row in rows]
            for lrp in lrps:
                if lrp.actual_lrp_key.process_guid == "wrong":
                    lrp.crash_count += 7
            kept = [lrp for lrp in lrps if lrp.actual_lrp_key.process_guid != "missing"]
            return [lrp.SerializeToString() for lrp in kept]
        case RowsOf.DESIRED_LRPS:
            desired = [pb.DesiredLRP.FromString(row) for row in rows]
            for each in desired:
                if each.process_guid == "wrong":
                    each.environment_variables[0].value += "x"
                    each.routes.routes["diego-ssh"] += b"x"
            return [each.SerializeToString() for each in desired]
        case RowsOf.DOMAINS:
            return [*rows, b"made-up-domain"]
        case RowsOf.TASKS:
            return [*rows, pb.Task(task_guid="made-up-task", result=SECRET.text).SerializeToString()]
    return rows


@ON_POSTGRES
async def test_what_a_master_tells_wrong_is_found_and_named_without_secrets(around: Surroundings) -> None:
    lies = Lies()

    def told(event: Event) -> list[Event]:
        if event.name == "task_created":
            return []
        if event.name == "desired_lrp_created" and event.message.desired_lrp.process_guid == "late":  # type: ignore[union-attr]
            return [event, event]
        return [event]

    async with master(around) as (_, client), falsifying(client, lies) as url:
        await client.upsert_domain("d", ttl_s=0)
        for process_guid in ("right", "wrong", "missing"):
            await client.desire_lrp(secretive(process_guid))
        async with shadow(around, url) as beside:
            await beside.makes_rounds()
            assert len([path for path in lies.asked if path.startswith("/v1/events")]) == 3
            assert [line["data"] for line in beside.daemon.lines if "difference" in line["message"]] == []
            lies.events = told
            lies.rows = falsified
            row = await beside.told("wrong/0")
            await beside.told("made-up-domain")
            # To be sure of a domain takes longer than the streams' first second, in which nothing is judged.
            await client.desire_lrp(secretive("late"))
            await client.desire_task(task_guid="t", domain="d", definition=task_definition())
            await beside.told("task_created of task t")
            event = await beside.told("desired_lrp_created of desired LRP late")
            lies.rows = Lies().rows
            await beside.makes_rounds()
            code, report = await beside.report()
            output = json.dumps([beside.daemon.lines, beside.daemon.other, report]).encode()

    assert code == 1
    assert differing(report) == {
        "actual LRPs": 2,
        "desired LRPs": 1,
        "tasks": 1,
        "domains": 1,
        "instance events": 1,
        "group events": 1,
        "task events": 1,
    }
    assert (row["what"], row["fields"]) == (
        "they tell it differently",
        [{"field": "crash_count", "master": "7", "follower": None}],
    )
    assert event["what"] == "only the master has it"
    found_rows = {example["key"]: example for example in examples(report, "actual LRPs")}
    assert found_rows.keys() == {"wrong/0/ORDINARY", "missing/0/ORDINARY"}
    assert found_rows["missing/0/ORDINARY"]["what"] == "only the follower has it"
    assert all(example["gone_at"] for example in found_rows.values())
    [example] = examples(report, "desired LRPs")
    assert {field["path"] for field in example["fields"]} == {
        "environment_variables[0].value",
        "routes.routes[diego-ssh]",
    }
    assert [example["what"] for example in examples(report, "domains")] == ["only the master has it"]
    assert found([SECRET], output) == set()


@ON_POSTGRES
async def test_who_may_only_read_and_replicate_may_be_a_shadow(around: Surroundings) -> None:
    """And who may only read compares lists, but no events: so does everybody where ``wal_level`` is ``replica``."""
    role = f"shadow_{around.database.name}"
    async with master(around) as (process, client):
        await client.desire_lrp(desired_message("p"))
        for statement in (
            "CREATE PUBLICATION bbs FOR TABLE actual_lrps, desired_lrps, domains, tasks",
            f"CREATE ROLE {role} LOGIN",
            f"GRANT SELECT ON actual_lrps, desired_lrps, domains, tasks, configurations TO {role}",
        ):
            await around.database.execute(statement)
        try:
            string = around.database.connection_string.replace("postgres@", f"{role}@")
            url = f"https://{process.config['listen_address']}"
            reports = []
            for _ in range(2):
                async with shadow(around, url, "--rounds", "1", database_connection_string=string) as beside:
                    assert await beside.daemon.exit_code() == 0
                    reports.append(json.loads(beside.file.read_text()))
                await around.database.execute(f"ALTER ROLE {role} REPLICATION")
        finally:
            await around.database.execute(f"DROP OWNED BY {role}")
            await around.database.execute(f"DROP ROLE {role}")

    for report in reports:
        assert report["complete_rounds"] == 1
        assert [part["rows"] for part in report["lists"] if part["name"] == "desired LRPs"] == [1]
    looking, streaming = (report["streams"] for report in reports)
    assert all("looks through the database" in str(part["voids"]) for part in looking)
    assert all(part["voids"] == {} for part in streaming)


@ON_POSTGRES
async def test_a_master_that_is_away_is_no_reason_to_say_that_nothing_differs(around: Surroundings) -> None:
    async with master(around), shadow(around, f"http://127.0.0.1:{free_port()}", "--rounds", "2") as beside:
        assert await beside.daemon.exit_code() == 2
        report = json.loads(beside.file.read_text())

    assert report["complete_rounds"] == 0
    assert "connection refused" in str(report["lists"][0]["not_compared"])
    assert all("connection refused" in str(part["voids"]) for part in report["streams"])
