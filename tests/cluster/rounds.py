"""A server and its clients beside a cluster that fails again and again, and what must be true after each time.

* What was acknowledged is there: in the server, and in the database, row by row. That alone would not find a write that was
  lost before the next one to the same row, so a trigger notes every version of every row; each annotation that was
  acknowledged has to be among them.
* The server is the same process as before, and its clients needed nothing but patience.
* Writes go on as soon as the cluster has a primary that commits, which somebody finds out who asks every node all the time.
* A follower has what the database has, soon after each failure, and is the same process as before.
* No former master writes once a new one has written. The trigger notes as well on which timeline of Postgres' a row was
  written, and whose token stood in the database; read in order, neither may ever come back. On a former primary that goes on
  nobody of ours holds the writer lock.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGCONT
from typing import Any, Final

import asyncpg
import trio
from trio_asyncio import aio_as_trio

from bbs.client import InternalBBSClient, TransportError
from bbs.log import null_logger
from bbs.models.errors import BBSError
from bbs.models.wire import encode
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.crypto import Keyring
from bbs.store.postgres import WRITER_LOCK
from tests.acknowledged_writes import Watcher, Writer, look
from tests.cluster.failures import Failure
from tests.cluster.nodes import Cluster, Node, running_cluster
from tests.daemons import Daemon, Surroundings, daemon, surroundings
from tests.databases import SomeDatabase
from tests.waiting import wait_until

WRITERS: Final = 16
ANSWERS: Final = 200
"""How many writes are answered before a failure, and after it."""
ROUND_MAX_S: Final = 300.0
ASK_S: Final = 0.02
KEYRING: Final = Keyring({"label": "key"}, "label")
"""That of a daemon's configuration in the tests."""

WATCHED: Final = """
CREATE TABLE watched (n bigserial PRIMARY KEY, timeline text, writer text, process_guid text, annotation text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed record;
  said text;
BEGIN
  IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
  IF TG_TABLE_NAME = 'desired_lrps' AND TG_OP <> 'DELETE' THEN said := changed.annotation; END IF;
  INSERT INTO watched (timeline, writer, process_guid, annotation)
  SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
    (SELECT value FROM configurations WHERE id = 'bbs_writer'), changed.process_guid, said;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON actual_lrps FOR EACH ROW EXECUTE FUNCTION watch();
CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON desired_lrps FOR EACH ROW EXECUTE FUNCTION watch();
CREATE TABLE asked (at timestamptz);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one failure did. ``failed_over_s``: until the cluster committed somebody else's write again; ``late_s``: how much
    later the first write through the server was answered; ``refused``: writes that were answered with an error.
    """

    failure: str
    failed_over_s: float
    late_s: float
    refused: int
    acknowledged: int


@dataclass
class Answers:
    """When each acknowledged write was answered. ``said`` has the annotations that were acknowledged, with their process."""

    said: set[tuple[str, str]]
    at_s: list[float] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)

    def note(self, writer: Writer) -> None:
        """``writer`` was answered, with an error or without."""
        if writer.acknowledged > self.acknowledged.get(writer.process_guid, -1):
            self.acknowledged[writer.process_guid] = writer.acknowledged
            self.at_s.append(trio.current_time())
            if writer.state.annotation is not None:
                self.said.add((writer.process_guid, writer.state.annotation))

    async def wait_for_more(self, count: int) -> None:
        enough = len(self.at_s) + count
        await wait_until(
            lambda: len(self.at_s) >= enough, within_s=ROUND_MAX_S, what=f"{count} answered writes"
        )


async def run_rounds(
    home: Path,
    failures: Sequence[Failure],
    *,
    seed: int,
    settle_last: bool = True,
    on_round: Callable[[Round], None] = lambda round_: None,
) -> list[Round]:
    """One failure after the other; returns what each did.

    Raises:
      AssertionError: something is not as it must be.
    """
    chance = random.Random(seed)
    writers = [Writer(f"w{number}", random.Random(chance.random())) for number in range(WRITERS)]
    watcher = Watcher()
    done: list[Round] = []
    said: set[tuple[str, str]] = set()
    async with (
        open_asyncio_loop(null_logger()),
        running_cluster(home) as cluster,
        surroundings(home, SomeDatabase("postgres", cluster.url, cluster.url)) as around,
        daemon(around, _config(around, "first")) as first,
    ):
        await first.logs("started")
        async with (
            daemon(around, _config(around, "second")) as second,
            daemon(around, _config(around, "follower"), program=("-m", "bbs", "follow")) as follower,
            trio.open_nursery() as nursery,
        ):
            await second.logs("locket-lock.failed-to-acquire-lock")
            await follower.logs("current")
            await _run(_execute, (await cluster.primary()).url, WATCHED)
            async with first.client() as client:
                await nursery.start(watcher.watch, client)
                for number, failure in enumerate(failures, start=1):
                    done.append(await _round(cluster, client, writers, failure, said))
                    on_round(done[-1])
                    assert not first.ended, f"a failover has ended the server: {first.messages()[-10:]}"
                    assert not second.ended, f"a failover has ended the standby: {second.messages()[-10:]}"
                    await look(client, writers, watcher, around.database, KEYRING)
                    await _follower_must_have_all(follower, client)
                    await _history_must_be_one(cluster, said)
                    if settle_last or number < len(failures):
                        await cluster.wait_settled()
            assert await follower.stop() == 0
            assert await first.stop() == 0
            # What another one reads, that has followed the database through all this.
            await second.logs("started")
            async with second.client() as client:
                await look(client, writers, Watcher(), around.database, KEYRING)
            assert await second.stop() == 0
            nursery.cancel_scope.cancel()
    return done


def _config(around: Surroundings, uuid: str) -> dict[str, Any]:
    """No convergence: it would do to the clients' instances, which are on no cell, what they do not expect."""
    return around.config(
        uuid, converge_repeat_interval="24h", lock_ttl="15s", lock_retry_interval="2s", log_level="info"
    )


async def _round(
    cluster: Cluster,
    client: InternalBBSClient,
    writers: Sequence[Writer],
    failure: Failure,
    said: set[tuple[str, str]],
) -> Round:
    answers, end = Answers(said), trio.Event()
    refused = sum(len(writer.errors) for writer in writers)
    primary = await cluster.primary()
    with trio.fail_after(ROUND_MAX_S):
        async with trio.open_nursery() as nursery:
            for writer in writers:
                write = partial(writer.write, is_over=end, may_fail=True)
                nursery.start_soon(write, client, partial(answers.note, writer))
            await answers.wait_for_more(ANSWERS)
            began_s = trio.current_time()
            hit = await failure.strike(cluster, primary)
            committed_s = await _first_commit(cluster, besides=primary if failure.moves else None)
            await wait_until(
                lambda: answers.at_s[-1] > committed_s, within_s=ROUND_MAX_S, what="an answered write"
            )
            first_s = next(at_s for at_s in answers.at_s if at_s > committed_s)
            await answers.wait_for_more(ANSWERS)
            if failure.wakes_first:
                hit.signal_postgres(SIGCONT)
                await answers.wait_for_more(ANSWERS)
                await _former_primary_must_be_alone(hit)
            failure.mend(hit)
            await answers.wait_for_more(ANSWERS)
            end.set()
    return Round(
        failure=failure.name,
        failed_over_s=committed_s - began_s,
        late_s=first_s - committed_s,
        refused=sum(len(writer.errors) for writer in writers) - refused,
        acknowledged=len(answers.at_s),
    )


async def _first_commit(cluster: Cluster, *, besides: Node | None) -> float:
    """Ask all nodes but one all the time to commit something, and return when the first has done so. It is what anybody can
    have of this cluster.
    """
    committed_at_s: list[float] = []

    async def ask(node: Node) -> None:
        async def commits() -> bool:
            try:
                await _run(_execute, node.url, "INSERT INTO asked VALUES (clock_timestamp())")
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return False
            committed_at_s.append(trio.current_time())
            return True

        await wait_until(commits, within_s=ROUND_MAX_S, what=f"a commit of {node.name}", every_s=ASK_S)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for node in cluster.nodes.values():
            if node is not besides:
                nursery.start_soon(ask, node)
    return committed_at_s[0]


async def _follower_must_have_all(follower: Daemon, client: InternalBBSClient) -> None:
    """It lists what the master does, within the time that a new stream takes: while it can't, it answers 503."""
    assert not follower.ended, f"a failover has ended the follower: {follower.messages()[-10:]}"
    async with follower.client() as reader:

        async def has_all() -> bool:
            try:
                return bool(await _everything(reader) == await _everything(client))
            except (BBSError, TransportError):
                return False

        await wait_until(has_all, within_s=ROUND_MAX_S, what="the follower has what the master has")


async def _everything(client: InternalBBSClient) -> list[bytes]:
    lists = (await client.desired_lrps(), await client.actual_lrps(), await client.tasks())
    return sorted(encode(message) for found in lists for message in found)


async def _history_must_be_one(cluster: Cluster, said: set[tuple[str, str]]) -> None:
    """Neither a timeline nor a writer comes back after another one has written, and all that was ``said`` was written."""
    statement = "SELECT timeline, writer, process_guid, annotation FROM watched ORDER BY n"
    rows = await _run(_fetch, cluster.url, statement)
    assert rows
    assert said
    lost = said - {(row["process_guid"], row["annotation"]) for row in rows}
    assert not lost, f"acknowledged, and never written: {sorted(lost)}"
    for name in ("timeline", "writer"):
        values = [row[name] for row in rows]
        runs = [value for number, value in enumerate(values) if number == 0 or values[number - 1] != value]
        assert len(runs) == len(set(runs)), f"{name}s took turns: {runs}"
    timelines = [row["timeline"] for row in rows]
    assert timelines == sorted(timelines)


async def _former_primary_must_be_alone(node: Node) -> None:
    """It goes on as if it were the primary; nobody of ours is there, and nobody may believe to be the one writer there.

    A commit that was under way waits for a standby which does not come any more, and holds the lock for as long, though we
    have left: Postgres looks after its client only between statements. It is never acknowledged, and does nothing else.
    """
    locks = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
        f" AND classid = {WRITER_LOCK >> 32} AND objid = {WRITER_LOCK & 0xFFFFFFFF}"
        " AND wait_event IS DISTINCT FROM 'SyncRep'"
    )
    await wait_until(
        partial(_is_zero, node, locks),
        within_s=ROUND_MAX_S,
        what="the end of our session on the former primary",
    )


async def _is_zero(node: Node, statement: str) -> bool:
    [row] = await _run(_fetch, node.url, statement)
    return bool(row[0] == 0)


async def _run(work: Callable[..., Any], *arguments: str) -> Any:
    return await aio_as_trio(work)(*arguments)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=2, command_timeout=60)
    try:
        await connection.execute(statement)
    finally:
        connection.terminate()


async def _fetch(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url, timeout=5, command_timeout=10)
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()
