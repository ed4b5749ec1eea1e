"""``bbs follow`` as a process beside a master, with Locket and certificates, as operators run it.

What it says of itself and when it is silent; that memory follows the database is in `tests/store/changes/test_memory_follows.py`.
"""

import ssl
from typing import Any

import asyncpg
import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio_asyncio import aio_as_trio

from bbs.client import Added, BBSClient, EndOfStream, EventSource, Fleet, Removed, TransportError
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.errors import BBSError
from bbs.models.wire import encode
from bbs.store.asyncio_loop import open_asyncio_loop
from tests.daemons import Daemon, Surroundings, daemon, free_port
from tests.databases import ON_POSTGRES
from tests.records import desired_message, task_definition
from tests.store.tcp_proxy import Line, tcp_proxy
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

FOLLOW = ("-m", "bbs", "follow")
WITHIN_S = 30.0


def tls_of(bbs: Daemon) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(bbs.certs.ca_cert))
    context.load_cert_chain(bbs.certs.client_cert, bbs.certs.client_key)
    return context


async def post(bbs: Daemon, path: str, request: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(verify=tls_of(bbs), trust_env=False) as http:
        body = b"" if request is None else encode(request)
        return await http.post(
            f"https://{bbs.config['listen_address']}{path}", content=body, headers=named, timeout=60
        )


async def fetchval(url: str, statement: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async with open_asyncio_loop(null_logger()):
        return await aio_as_trio(ask)()


@ON_POSTGRES
async def test_it_serves_what_the_master_has_and_refers_writes_to_it(around: Surroundings) -> None:
    async with daemon(around, around.config("master")) as master:
        await master.logs("started")
        async with (
            master.client() as client,
            daemon(around, around.config("follower"), program=FOLLOW) as follower,
            follower.client() as reader,
        ):
            await client.upsert_domain("d", ttl_s=0)
            await client.desire_lrp(desired_message("p", instances=3))
            await follower.logs("current")

            read = await post(follower, "/v1/ping")
            assert read.status_code == 200
            assert int(read.headers["X-Bbs-Staleness-Ms"]) < 60_000
            assert read.headers["X-Bbs-At-Least"].startswith("1:")

            await client.desire_lrp(desired_message("q"))
            await wait_until(
                lambda: knows(reader, "q"), within_s=WITHIN_S, what="the follower has what was written last"
            )
            assert list(await reader.domains()) == ["d"]
            for lists in (
                "actual_lrps",
                "desired_lrps",
                "desired_lrp_scheduling_infos",
                "desired_lrp_routing_infos",
            ):
                assert sorted(map(encode, await getattr(reader, lists)())) == sorted(
                    map(encode, await getattr(client, lists)())
                )

            refused = await post(
                follower, "/v1/desired_lrp/remove", pb.RemoveDesiredLRPRequest(process_guid="p")
            )
            url = f"https://{master.config['listen_address']}"
            assert refused.status_code == 421
            assert refused.headers["X-Bbs-Master"] == url
            assert refused.text == (
                f"this is a follower, which only reads: the master is at {url} (uuid {master.config['uuid']})\n"
            )
            assert len(await client.desired_lrps()) == 2

            assert await follower.health_status() == 200
            assert await follower.stop() == 0
            assert await master.stop() == 0


async def knows(client: BBSClient, process_guid: str) -> bool:
    return process_guid in [lrp.process_guid for lrp in await client.desired_lrps()]


async def test_its_streams_tell_what_the_masters_tell(around: Surroundings) -> None:
    async with daemon(around, around.config("master")) as master:
        await master.logs("started")
        async with (
            master.client() as client,
            daemon(around, around.config("follower"), program=FOLLOW) as follower,
            follower.client() as reader,
        ):
            await follower.logs("current")
            async with (
                await client.subscribe_to_instance_events() as told,
                await reader.subscribe_to_instance_events() as followed,
                await client.subscribe_to_task_events() as tasks_told,
                await reader.subscribe_to_task_events() as tasks_followed,
            ):
                key = pb.ActualLRPKey(process_guid="p", index=0, domain="d")
                instance = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c")
                await client.desire_lrp(desired_message("p", domain="d"))
                await client.claim_actual_lrp(key, instance)
                await client.crash_actual_lrp(key, instance, error_message="oops")
                await client.remove_desired_lrp("p")
                await client.desire_task(task_guid="t", domain="d", definition=task_definition())
                await client.cancel_task("t")
                with trio.fail_after(WITHIN_S):
                    for stream, copy, count in ((told, followed, 8), (tasks_told, tasks_followed, 2)):
                        expected = [await named(stream) for _ in range(count)]
                        assert [await named(copy) for _ in range(count)] == expected


async def named(source: EventSource) -> tuple[str, str]:
    event = await source.next()
    return event.name, str(event.key)


@ON_POSTGRES
async def test_who_has_written_reads_it_from_a_follower(around: Surroundings) -> None:
    async with daemon(around, around.config("master")) as master:
        await master.logs("started")
        async with daemon(
            around, around.config("follower"), program=(*FOLLOW, "--at-least-max-s", "0.5")
        ) as follower:
            await follower.logs("current")
            for number in range(20):
                written = await post(
                    master,
                    "/v1/desired_lrp/desire.r2",
                    pb.DesireLRPRequest(desired_lrp=desired_message(f"p{number}")),
                )
                token = written.headers["X-Bbs-At-Least"]
                by_guid = pb.DesiredLRPByProcessGuidRequest(process_guid=f"p{number}")
                read = await post(
                    follower, "/v1/desired_lrps/get_by_process_guid.r3", by_guid, X_Bbs_At_Least=token
                )
                found = pb.DesiredLRPResponse.FromString(read.content)
                assert found.desired_lrp.process_guid == f"p{number}"

            timeline, _ = token.split(":")
            late = await post(follower, "/v1/ping", X_Bbs_At_Least=f"{timeline}:FFFF/0")
            assert late.status_code == 503
            assert late.headers["Retry-After"] == "1"
            assert f"{timeline}:FFFF/0 was asked for; 0.5 s were not enough" in late.text
            wrong = await post(follower, "/v1/ping", X_Bbs_At_Least="yesterday")
            assert wrong.status_code == 400
            assert wrong.text == (
                "X-Bbs-At-Least: 'yesterday' is no token of a write: these look like 1:0/16B3748\n"
            )


@ON_POSTGRES
async def test_what_is_too_old_is_not_told_and_streams_end(around: Surroundings) -> None:
    line = Line()
    async with (
        daemon(around, around.config("master")) as master,
        tcp_proxy(around.database.socket, line) as port,
    ):
        await master.logs("started")
        string = around.database.over_tcp(port).connection_string
        config = around.config("follower", database_connection_string=string)
        async with daemon(around, config, program=(*FOLLOW, "--staleness-max-s", "2")) as follower:
            await follower.logs("current")
            async with follower.client() as reader, await reader.subscribe_to_task_events() as events:
                line.cut()
                await follower.logs("too-far-behind")
                with trio.fail_after(WITHIN_S), pytest.raises(EndOfStream):
                    await events.next()
            assert (await post(follower, "/v1/ping")).status_code == 503
            assert await follower.health_status() == 200  # the process lives, and says so

            async with master.client() as client:
                await client.upsert_domain("meanwhile", ttl_s=0)
            line.mend()
            async with follower.client() as reader:
                await wait_until(
                    lambda: has_domain(reader, "meanwhile"),
                    within_s=60.0,
                    what="it has caught up and answers",
                )


async def has_domain(client: BBSClient, domain: str) -> bool:
    try:
        return domain in await client.domains()
    except (BBSError, TransportError):
        return False


@ON_POSTGRES
async def test_one_that_is_killed_leaves_nothing_and_begins_anew(around: Surroundings) -> None:
    async with daemon(around, around.config("master")) as master, master.client() as client:
        await master.logs("started")
        config = around.config("follower")
        for number in range(2):
            async with daemon(around, config, program=FOLLOW) as follower:
                await follower.logs("current")
                await client.upsert_domain(f"d{number}", ttl_s=0)
                async with follower.client() as reader:
                    await wait_until(
                        lambda reader=reader, number=number: has_domain(reader, f"d{number}"),  # type: ignore[misc]
                        within_s=WITHIN_S,
                        what="it has what was written",
                    )
        slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"

        async def are_gone() -> bool:
            return bool(await fetchval(around.database.url, slots) == 0)

        await wait_until(are_gone, within_s=WITHIN_S, what="its slot is gone")


@ON_POSTGRES
async def test_it_names_the_master_that_has_taken_over(around: Surroundings) -> None:
    remove = pb.RemoveDesiredLRPRequest(process_guid="p")
    async with daemon(around, around.config("first")) as first:
        await first.logs("started")
        async with (
            daemon(around, around.config("second")) as second,
            daemon(around, around.config("follower"), program=FOLLOW) as follower,
        ):
            await second.logs("read-ahead")
            await follower.logs("current")
            assert "(uuid first)" in (await post(follower, "/v1/desired_lrp/remove", remove)).text
            assert await first.stop() == 0
            await second.logs("started")
            async with second.client() as client, follower.client() as reader:
                await client.upsert_domain("by the second", ttl_s=0)
                await wait_until(
                    lambda: has_domain(reader, "by the second"),
                    within_s=WITHIN_S,
                    what="it follows the second",
                )

            async def names_the_second() -> bool:
                return "(uuid second)" in (await post(follower, "/v1/desired_lrp/remove", remove)).text

            await wait_until(names_the_second, within_s=WITHIN_S, what="it refers to the second")
            around.locket.kill()
            await around.locket.wait()

            async def knows_nobody() -> bool:
                refused = await post(follower, "/v1/desired_lrp/remove", remove)
                return refused.status_code == 421 and "Locket knows of no master now" in refused.text

            await wait_until(knows_nobody, within_s=WITHIN_S, what="it can't say who is master")
            assert (await post(follower, "/v1/ping")).status_code == 200


@ON_POSTGRES
async def test_a_watch_of_it_misses_nothing_when_the_master_and_it_are_killed(around: Surroundings) -> None:
    config = around.config("follower")
    known: set[str] = set()

    async def keep(fleet: Fleet) -> None:
        async for change in fleet:
            match change:
                case Added(after=pb.DesiredLRP() as lrp):
                    assert lrp.process_guid not in known
                    known.add(lrp.process_guid)
                case Removed(before=pb.DesiredLRP() as lrp):
                    known.remove(lrp.process_guid)

    async with daemon(around, around.config("first")) as first:
        await first.logs("started")
        async with (
            daemon(around, around.config("second")) as second,
            daemon(around, config, program=FOLLOW) as follower,
        ):
            await second.logs("read-ahead")
            await follower.logs("current")
            async with (
                first.client() as client,
                second.client() as successor,
                follower.client() as reader,
                reader.watch() as fleet,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(keep, fleet)
                for number in range(10):
                    await client.desire_lrp(desired_message(f"p{number}"))
                first.process.kill()
                follower.process.kill()
                await second.logs("started")
                await follower.wait_ended()
                await successor.desire_lrp(desired_message("meanwhile"))
                await successor.remove_desired_lrp("p3")
                async with daemon(around, config, program=FOLLOW) as again:
                    await again.logs("current")
                    await successor.desire_lrp(desired_message("later"))
                    expected = {f"p{number}" for number in range(10)} - {"p3"} | {"meanwhile", "later"}
                    await wait_until(lambda: known == expected, within_s=60.0, what=f"{expected} are known")
                nursery.cancel_scope.cancel()


@pytest.mark.mariadb
@pytest.mark.parametrize("database_kind", ["mariadb"], indirect=True)
async def test_mysql_cannot_be_followed(around: Surroundings) -> None:
    async with daemon(around, around.config("follower"), program=FOLLOW) as follower:
        assert await follower.exit_code() == 2
        assert any("only Postgres can be followed" in line for line in follower.other)


async def test_its_metrics_say_how_late_it_is(around: Surroundings) -> None:
    config = around.config("follower", debug_address=f"127.0.0.1:{free_port()}")
    async with daemon(around, around.config("master")) as master:
        await master.logs("started")
        async with daemon(around, config, program=FOLLOW) as follower:
            await follower.logs("current")
            async with httpx.AsyncClient(trust_env=False) as http:
                text = (await http.get(f"http://{config['debug_address']}/metrics")).text
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert 0 <= found["bbs_following_staleness_seconds"] < 60
    assert found["bbs_following_streams_changes"] == 1
    assert found["bbs_following_streams"] == 1
    assert found["bbs_lock_held"] == 0
    assert "bbs_lrps_running" not in found
