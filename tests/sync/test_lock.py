"""The runner of the BBS lock, phase by phase, in virtual time: spec: locking-and-presence.md §3."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bbs.log import LagerSink, Level, root_logger
from bbs.sync.locket.client import Code, LocketError, Resource
from bbs.sync.locket.lock import Lock, LockLost
from bbs.sync.locket.table import LocalLocket, LocketTable
from tests.log_lines import Lines

TTL_S, RETRY_S = 15, 5.0

COLLISION = LocketError(Code.ALREADY_EXISTS, "lock-collision")
AWAY = LocketError(Code.UNAVAILABLE, "connection refused")


@dataclass
class Answer:
    """What a call ends in, after a while."""

    error: LocketError | None = None
    takes_s: float = 0


OK = Answer()
TIMES_OUT = Answer(LocketError.out_of_time(), takes_s=RETRY_S)


@dataclass
class ScriptedLocket:
    """Answers lock calls as told, then well; `calls` has what it was asked, and when."""

    script: list[Answer] = field(default_factory=list)
    fetched: Resource | LocketError = field(default_factory=lambda: Resource.lock("bbs", owner="other"))
    released: LocketError | None = None
    calls: list[tuple[float, str]] = field(default_factory=list)
    uuids: list[str] = field(default_factory=list)

    def _note(self, call: str) -> None:
        self.calls.append((round(trio.current_time(), 6), call))

    async def lock(
        self,
        resource: Resource,
        *,
        ttl_s: int,
        request_uuid: str = "",
        deadline_s: float | None,
        wait_for_ready: bool,
    ) -> None:
        assert (resource, ttl_s) == (Resource.lock("bbs", owner="me"), TTL_S)
        self._note(f"lock {deadline_s} {'waits' if wait_for_ready else 'fails fast'}")
        self.uuids.append(request_uuid)
        answer = self.script.pop(0) if self.script else OK
        await trio.sleep(answer.takes_s)
        if answer.error is not None:
            raise answer.error

    async def fetch(self, key: str, *, deadline_s: float | None) -> Resource:
        self._note(f"fetch {key} {deadline_s}")
        await trio.lowlevel.checkpoint()
        if isinstance(self.fetched, LocketError):
            raise self.fetched
        return self.fetched

    async def release(self, resource: Resource) -> None:
        assert resource == Resource.lock("bbs", owner="me")
        self._note("release")
        await trio.lowlevel.checkpoint()
        if self.released is not None:
            raise self.released

    async def fetch_all(self, type_code: int, *, deadline_s: float | None) -> list[Resource]:
        raise AssertionError("the lock asks for no lists")


@dataclass
class Running:
    """A lock, and how its run went. Times count from zero: virtual clocks begin there."""

    locket: ScriptedLocket
    lines: Lines
    lock: Lock
    until_stopped: trio.CancelScope = field(default_factory=trio.CancelScope)
    ready_at: list[float] = field(default_factory=list)
    lost: list[LockLost] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)

    def started(self, until_stopped: trio.CancelScope | None = None) -> None:
        """What the lock is told to call: it is ready."""
        assert self.lock.is_held
        assert until_stopped is not None
        self.until_stopped = until_stopped
        self.ready_at.append(trio.current_time())

    async def run(self) -> None:
        try:
            with self.until_stopped:
                await self.lock.run(task_status=self)
        except LockLost as lost:
            self.lost.append(lost)
        assert not self.lock.is_held
        self.ended.set()

    @property
    def said(self) -> list[str]:
        """All lines below the session's name."""
        return [message.removeprefix("bbs.locket-lock.") for message in self.lines.messages]

    def data_of(self, action: str) -> dict[str, Any]:
        return self.lines.data_of(f"bbs.locket-lock.{action}")


@pytest.fixture
def running() -> Iterator[Running]:
    lines = Lines()
    locket = ScriptedLocket()
    log = root_logger("bbs", LagerSink(lines, min_level=Level.DEBUG))
    yield Running(locket, lines, lock_of(locket, log=log))
    for line in lines.lines:
        assert line["data"]["lock"] == {"key": "bbs", "owner": "me", "type": "lock", "type_code": 1}
        assert line["data"]["ttl_in_seconds"] == TTL_S


def lock_of(locket: Any, *, log: Any, owner: str = "me", retry_s: float = RETRY_S) -> Lock:
    return Lock(locket, owner=owner, ttl_s=TTL_S, retry_interval_s=retry_s, log=log, stop_signal=lambda: 15)


async def run_for(running: Running, seconds: float, nursery: trio.Nursery) -> None:
    nursery.start_soon(running.run)
    await trio.sleep(seconds)


async def stop(running: Running) -> None:
    running.until_stopped.cancel()
    await running.ended.wait()


async def test_a_free_lock_is_taken_at_once_renewed_and_released(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await run_for(running, 11, nursery)
    assert running.lock.is_held
    await stop(running)

    assert running.locket.calls == [
        (0, "lock None fails fast"),
        (5, "lock 5.0 waits"),
        (10, "lock 5.0 waits"),
        (11, "release"),
    ]
    assert running.ready_at == [0]
    assert running.said == ["started", "acquired-lock", "signalled", "released-lock", "completed"]
    assert running.data_of("signalled")["signal"] == 15
    assert [line["log_level"] for line in running.lines.lines] == [Level.INFO] * 5


async def test_every_call_has_a_uuid_of_its_own(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await run_for(running, 16, nursery)
    await stop(running)

    assert len(running.locket.uuids) == 4 == len({*running.locket.uuids, ""}) - 1


async def test_a_standby_says_once_who_holds_the_lock_and_takes_it_when_it_is_free(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    running.locket.script = [Answer(COLLISION), Answer(COLLISION), Answer(COLLISION)]

    await run_for(running, 16, nursery)
    await stop(running)

    assert [at for at, _ in running.locket.calls] == [0, 0, 5, 10, 15, 16]
    assert running.locket.calls[1] == (0.0, "fetch bbs None")
    assert running.ready_at == [15]
    assert running.said == [
        "started", "failed-to-acquire-lock", "acquired-lock", "signalled", "released-lock", "completed",
    ]  # fmt: skip
    data = running.data_of("failed-to-acquire-lock")
    assert data["error"] == "rpc error: code = AlreadyExists desc = lock-collision"
    assert data["request-uuid"] == running.locket.uuids[0]
    assert data["lock-owner"] == "other"


async def test_a_standby_that_cannot_even_learn_the_holder_says_so(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    running.locket.script = [Answer(AWAY)]
    running.locket.fetched = LocketError(Code.UNAVAILABLE, "still")

    await run_for(running, 1, nursery)
    await stop(running)

    assert running.said[:3] == ["started", "failed-fetching-lock-owner", "failed-to-acquire-lock"]
    assert (
        running.data_of("failed-fetching-lock-owner")["error"] == "rpc error: code = Unavailable desc = still"
    )
    assert "lock-owner" not in running.data_of("failed-to-acquire-lock")


async def test_a_standby_outlives_a_dead_locket_and_says_so_each_time(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    running.locket.script = [Answer(COLLISION), TIMES_OUT, TIMES_OUT]

    await run_for(running, 25.5, nursery)
    await stop(running)

    # The timer starts again when a call has ended.
    assert [at for at, call in running.locket.calls if call.startswith("lock")] == [0, 5, 15, 25]
    assert running.ready_at == [25]
    failed = [line for line in running.lines.lines if line["message"].endswith("failed-to-acquire-lock")]
    assert [line["data"]["duration"] for line in failed[1:]] == [5_000_000_000] * 2
    assert [line["data"]["error"] for line in failed[1:]] == [
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    ] * 2
    assert [line["data"]["request-uuid"] for line in failed] == running.locket.uuids[:3]


@pytest.mark.parametrize(
    ("failure", "how", "at_s"),
    [
        pytest.param(TIMES_OUT, "timed out", 10, id="timeout"),
        pytest.param(Answer(AWAY, takes_s=1), "failed", 6, id="unavailable"),
        pytest.param(Answer(COLLISION), "failed", 5, id="collision"),
        pytest.param(Answer(LocketError("Internal", "bug")), "failed", 5, id="anything else"),
    ],
)
async def test_one_renewal_that_fails_loses_the_lock(
    running: Running, nursery: trio.Nursery, failure: Answer, how: str, at_s: float, autojump_clock: MockClock
) -> None:
    running.locket.script = [OK, failure]

    nursery.start_soon(running.run)
    await running.ended.wait()

    assert trio.current_time() == at_s
    [lost] = running.lost
    uuid = running.locket.uuids[1]
    assert str(lost) == f"lost lock (request {how}), request-uuid {uuid}: {failure.error}"
    # Nothing is released that may be somebody else's by now.
    assert running.said == ["started", "acquired-lock", "lost-lock", "completed"]
    data = running.data_of("lost-lock")
    assert data["error"] == str(failure.error)
    assert (data["request-uuid"], data["duration"]) == (uuid, int(failure.takes_s * 1e9))


async def test_a_standby_that_is_stopped_releases_what_it_never_had(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    running.locket.script = [Answer(COLLISION)]
    running.locket.released = COLLISION

    await run_for(running, 2, nursery)
    await stop(running)

    assert trio.current_time() == 2
    assert not running.ready_at
    assert not running.lost
    assert running.said[-3:] == ["signalled", "failed-to-release-lock", "completed"]
    assert running.data_of("failed-to-release-lock")["error"] == str(COLLISION)


@pytest.mark.parametrize("call", ["first", "renewal"])
async def test_a_stop_does_not_break_off_a_call(
    running: Running, nursery: trio.Nursery, call: str, autojump_clock: MockClock
) -> None:
    running.locket.script = [Answer(takes_s=3)] if call == "first" else [OK, Answer(takes_s=3)]

    await run_for(running, 1 if call == "first" else 6, nursery)
    await stop(running)

    assert running.locket.calls[-1] == (3.0 if call == "first" else 8.0, "release")
    assert len(running.ready_at) == 1


@pytest.mark.parametrize("call", ["first", "renewal"])
async def test_not_even_a_cancellation_breaks_off_a_call(
    running: Running, nursery: trio.Nursery, call: str, autojump_clock: MockClock
) -> None:
    running.locket.script = [Answer(takes_s=3)] if call == "first" else [OK, Answer(takes_s=3)]

    with trio.move_on_after(1 if call == "first" else 6):
        await running.lock.run()

    # Who has just got it gives it back; who had it leaves that to others, when nothing more is written.
    assert trio.current_time() == (3 if call == "first" else 8)
    assert [name for _, name in running.locket.calls].count("release") == (call == "first")
    assert running.lock.is_held == (call == "renewal")


async def test_a_renewal_that_fails_loses_the_lock_even_while_stopping(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    running.locket.script = [OK, TIMES_OUT]

    await run_for(running, 7, nursery)
    await stop(running)

    assert trio.current_time() == 10
    assert len(running.lost) == 1


async def test_a_cancelled_lock_is_left_to_expire(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(3):
        await running.run()

    assert running.said == ["started", "acquired-lock", "completed"]


# On the table that Locket's own rules are tested with.


@dataclass
class Fleet:
    """Servers that compete for one lock."""

    table: LocketTable = field(default_factory=lambda: LocketTable(trio.current_time))
    lines: Lines = field(default_factory=Lines)
    masters: list[tuple[float, str]] = field(default_factory=list)

    async def serve(
        self,
        owner: str,
        locket: LocalLocket,
        retry_s: float = RETRY_S,
        *,
        task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        log = root_logger("bbs", LagerSink(self.lines))
        lock = lock_of(locket, log=log, owner=owner, retry_s=retry_s)
        try:
            async with trio.open_nursery() as nursery:
                until_stopped = await nursery.start(lock.run)
                self.masters.append((trio.current_time(), owner))
                task_status.started(until_stopped)
        except* LockLost:
            self.masters.append((trio.current_time(), f"not {owner}"))


async def test_a_standby_takes_over_within_an_interval_of_a_clean_stop(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fleet = Fleet()
    until_stopped = await nursery.start(fleet.serve, "a", LocalLocket(fleet.table))
    await trio.sleep(1)
    nursery.start_soon(fleet.serve, "b", LocalLocket(fleet.table))
    await trio.sleep(6)
    until_stopped.cancel()
    await trio.sleep(60)

    assert fleet.masters == [(0, "a"), (11, "b")]
    nursery.cancel_scope.cancel()


async def test_a_master_cut_off_gives_up_before_its_lock_expires(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fleet = Fleet()
    cut_off = LocalLocket(fleet.table)
    nursery.start_soon(fleet.serve, "a", cut_off)
    await trio.sleep(1)
    nursery.start_soon(fleet.serve, "b", LocalLocket(fleet.table))
    await trio.sleep(6)
    cut_off.unreachable = True
    await trio.sleep(60)

    # Renewed for the last time at 5, so given up at 15; gone from Locket at 20, asked for at 21.
    assert fleet.masters == [(0, "a"), (15, "not a"), (21, "b")]
    nursery.cancel_scope.cancel()


async def test_a_restart_with_the_same_uuid_takes_the_lock_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fleet = Fleet()
    with trio.move_on_after(1):
        await fleet.serve("a", LocalLocket(fleet.table))

    nursery.start_soon(fleet.serve, "a", LocalLocket(fleet.table))
    await trio.sleep(1)

    assert fleet.masters == [(0, "a"), (1, "a")]
    nursery.cancel_scope.cancel()


async def test_without_a_retry_interval_the_lock_is_lost_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fleet = Fleet()
    await fleet.serve("a", LocalLocket(fleet.table), retry_s=0)

    assert fleet.masters == [(0, "a"), (0, "not a")]


async def test_the_clock_of_these_tests_begins_at_zero(autojump_clock: MockClock) -> None:
    assert trio.current_time() == 0


async def test_whether_the_lock_may_have_run_out_counts_from_before_it_was_asked_for(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    running.locket.script = [Answer(takes_s=3), Answer(takes_s=1), Answer(AWAY)]

    def has_run_out() -> bool:
        return running.lock.may_have_run_out

    assert has_run_out()
    await run_for(running, 2.9, nursery)
    assert has_run_out()  # nobody has granted it yet
    await running.ended.wait()

    # Asked for at 0 and again at 8, 5 s after the first answer; at 14 nobody answers.
    assert running.ready_at == [3]
    assert trio.current_time() == 14
    assert not has_run_out()
    await trio.sleep_until(8 + TTL_S - 0.1)
    assert not has_run_out()
    await trio.sleep_until(8 + TTL_S)
    assert has_run_out()


async def test_a_renewal_that_is_granted_after_the_time_was_up_is_a_lapse(
    running: Running, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Somebody else may have had the lock in between; Locket does not say."""
    just_in_time, too_late = Answer(takes_s=9.9), Answer(takes_s=10)
    running.locket.script = [Answer(COLLISION), OK, just_in_time, OK, too_late, OK]
    lapsed_at: list[float] = []

    async def note_lapses() -> None:
        lapses = 0
        while True:
            lapses = await running.lock.wait_lapse(after=lapses)
            lapsed_at.append(round(trio.current_time(), 6))
            assert running.lock.lapses == lapses
            assert not running.lock.may_have_run_out

    nursery.start_soon(note_lapses)
    await run_for(running, 44, nursery)
    await stop(running)
    nursery.cancel_scope.cancel()

    # Granted at 5, asked for again at 10, granted at 19.9 and until 25. Again at 24.9, so until 39.9; asked for at 29.9.
    assert lapsed_at == [39.9]
    assert running.said.count("renewed-late") == 1


async def test_a_lock_whose_run_was_cancelled_can_be_given_back(
    running: Running, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(1):
        await running.lock.run()

    held = [running.lock.is_held]
    await running.lock.give_back()
    held.append(running.lock.is_held)

    assert held == [True, False]
    assert [call for _, call in running.locket.calls] == ["lock None fails fast", "release"]
    assert running.said == ["started", "acquired-lock", "completed", "released-lock"]
