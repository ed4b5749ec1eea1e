"""What the store promises about durability, visibility and order, and what it does when the database lets it down.

The backend here is a door that a test opens and shuts; the real ones have their own contract tests.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.models.actual_lrp import ActualLRP
from bbs.models.domain import Domain
from bbs.models.errors import Failure, InvalidRequest, UnknownError
from bbs.models.events import Hub
from bbs.models.outcome import Announcement, Outcome, Row, RowKey, Told, delete, put
from bbs.store.backend import BackendUnavailable, Seen, StatementRejected, WriterLockLost
from bbs.store.store import Batch, SettledByOther, Store, StoreUnavailable
from tests.records import AnyScope, actual_lrp


class Door:
    """A backend that writes only while it is open, and fails as told. ``rows`` are durable."""

    def __init__(self) -> None:
        self.rows: dict[RowKey, object] = {}
        self.batches: list[list[Row]] = []
        self.open = trio.Event()
        self.faults: deque[tuple[Exception, bool]] = deque()
        self.poison: str | None = None
        self.session_ends: Callable[[], None] = lambda: None
        self.holds: deque[Exception] = deque()
        self.held = 0

    def watch_session(self, on_lost: Callable[[], None]) -> None:
        self.session_ends = on_lost

    async def hold(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.holds:
            raise self.holds.popleft()
        self.held += 1

    async def write(self, rows: Sequence[Row]) -> int:
        await self.open.wait()
        if any(self.poison is not None and _about(row) == self.poison for row in rows):
            raise StatementRejected(InvalidRequest())
        fault, applied = self.faults.popleft() if self.faults else (None, True)
        if applied:
            self.batches.append(list(rows))
            for row in rows:
                if row.record is None:
                    self.rows.pop(row.key, None)
                else:
                    self.rows[row.key] = row.record
        if fault is not None:
            raise fault
        return len(self.batches)

    async def load(self, seen: Seen) -> AsyncIterator[Sequence[Row]]:
        yield [Row(key, record) for key, record in self.rows.items()]  # type: ignore[arg-type]  # records, all of them


def _about(row: Row) -> object:
    return getattr(row.record, "process_guid", None) or getattr(row.record, "name", None)


class Bench:
    """A store over a door, and what it published."""

    def __init__(self, nursery: trio.Nursery, **settings: Any) -> None:
        self.door = Door()
        self.published: list[object] = []
        self.store = Store(self.door, publish=self._publish, **settings)  # type: ignore[arg-type]  # all a store uses
        self.nursery = nursery
        self.results: dict[str, str] = {}

    def _publish(self, announcements: tuple[Announcement, ...]) -> None:
        self.published += [told.event for told in announcements if isinstance(told, Told)]

    def commit(self, name: str, outcome: Outcome, *, about: str | None = None) -> None:
        async def wait() -> None:
            try:
                await self.store.commit(outcome, AnyScope(self.store, about or name))
            except Failure as error:
                self.results[name] = type(error).__name__
            else:
                self.results[name] = "durable"

        self.nursery.start_soon(wait)


def domain(name: str, expiry: int = 1) -> Domain:
    return Domain(name=name, expire_time_ns=expiry)


def change(name: str, expiry: int = 1) -> Outcome:
    """A write that is told as an event, for which its name and version do."""
    return Outcome(rows=(put(domain(name, expiry)),), announcements=(Told(Hub.DESIRED, (name, expiry)),))  # type: ignore[arg-type]


@pytest.fixture
async def bench(nursery: trio.Nursery) -> Bench:
    bench = Bench(nursery)
    await nursery.start(bench.store.run)
    return bench


async def test_nobody_sees_a_row_before_it_is_durable(bench: Bench) -> None:
    bench.commit("d", change("d"))
    await wait_all_tasks_blocked()

    assert bench.store.head.domain("d") == domain("d")
    assert not bench.store.committed.domains.rows
    assert not bench.published
    assert not bench.results

    bench.door.open.set()
    await wait_all_tasks_blocked()

    assert bench.store.committed.domains.rows == {"d": domain("d")}
    assert bench.published == [("d", 1)]
    assert bench.results == {"d": "durable"}
    assert bench.store.head.staged() == 0


async def test_what_gathers_during_a_write_is_the_next_batch_with_the_last_version_of_each_row(
    bench: Bench,
) -> None:
    bench.commit("first", change("first"))
    await wait_all_tasks_blocked()
    for version in (1, 2, 3):
        bench.commit(f"d{version}", change("d", version), about="d")
        await wait_all_tasks_blocked()

    bench.door.open.set()
    await wait_all_tasks_blocked()

    assert [[row.record for row in batch] for batch in bench.door.batches] == [
        [domain("first")],
        [domain("d", 3)],
    ]
    assert bench.published == [("first", 1), ("d", 1), ("d", 2), ("d", 3)], (
        "every version is told, in commit order"
    )


async def test_an_answer_without_a_change_waits_for_what_it_rests_on(bench: Bench) -> None:
    bench.commit("writer", change("d"), about="d")
    await wait_all_tasks_blocked()
    bench.commit("reader", Outcome(), about="d")
    bench.commit("other", Outcome(), about="unrelated")
    await wait_all_tasks_blocked()

    assert bench.results == {"other": "durable"}

    bench.door.open.set()
    await wait_all_tasks_blocked()

    assert bench.results["reader"] == "durable"


async def test_a_write_survives_a_database_that_comes_back_in_time(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.door.faults.extend([(BackendUnavailable("away"), False)] * 5)
    bench.door.open.set()
    bench.commit("d", change("d"))

    await trio.sleep(10)

    assert bench.results == {"d": "durable"}
    assert bench.published == [("d", 1)]


async def test_a_write_fails_when_the_database_stays_away(bench: Bench, autojump_clock: MockClock) -> None:
    bench.door.faults.extend([(BackendUnavailable("away"), False)] * 1000)
    bench.door.open.set()
    bench.commit("d", change("d"))
    await trio.sleep(15)
    bench.commit("behind", change("behind"))

    assert not bench.results

    await trio.sleep(10)

    assert bench.results == {"d": "StoreUnavailable", "behind": "StoreUnavailable"}
    assert bench.store.head.domain("d") is None
    assert bench.store.statistics().staged_rows == 0
    assert not bench.published


async def test_what_was_reported_as_failed_is_undone_even_if_the_database_had_it(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.door.open.set()
    bench.commit("old", change("d", 1))
    await wait_all_tasks_blocked()
    bench.door.faults.append((BackendUnavailable("connection lost in COMMIT"), True))
    bench.door.faults.extend([(BackendUnavailable("away"), False)] * 1000)
    bench.commit("new", Outcome(rows=(put(domain("d", 2)), put(domain("e", 2)))), about="d")
    await trio.sleep(21)
    assert bench.results["new"] == "StoreUnavailable"
    assert domain("d", 2) in bench.door.rows.values(), "the case this test is about"

    bench.door.faults.clear()
    await trio.sleep(2)

    assert list(bench.door.rows.values()) == [domain("d", 1)]
    assert bench.store.committed.domains.rows == {"d": domain("d", 1)}


@pytest.mark.parametrize("beside", [0, 1])
@pytest.mark.parametrize("away", [0, 1])
async def test_what_was_refused_is_undone_even_if_an_attempt_before_was_carried_out(
    bench: Bench, autojump_clock: MockClock, away: int, beside: int
) -> None:
    """The answer to the first attempt is lost, and by the next one the disk is full. Whoever is in the same batch is tried
    again in a transaction of its own.
    """
    full = StatementRejected(UnknownError("No space left on device"))
    bench.commit("old", change("d", 1))
    bench.commit("others", change("e", 1))
    await wait_all_tasks_blocked()
    bench.door.open.set()
    await wait_all_tasks_blocked()
    bench.door.faults.append((BackendUnavailable("connection lost in COMMIT"), True))
    bench.door.faults.extend([(BackendUnavailable("away"), False)] * away)
    bench.door.faults.extend([(full, False)] * (2 * beside + 1))
    bench.commit("new", change("d", 2))
    if beside:
        bench.commit("beside", change("e", 2))
    await trio.sleep(5)

    assert bench.results["new"] == "UnknownError"
    assert bench.results.get("beside", "UnknownError") == "UnknownError"
    assert set(bench.door.rows.values()) == {domain("d", 1), domain("e", 1)}
    assert bench.store.committed.domains.rows == {"d": domain("d", 1), "e": domain("e", 1)}


async def test_a_refused_row_hurts_only_itself_and_what_builds_upon_it(bench: Bench) -> None:
    bench.commit("first", change("first"))
    await wait_all_tasks_blocked()
    bench.commit("good", change("good"))
    bench.commit("bad", Outcome(rows=(put(domain("poison")),)), about="bad")
    bench.commit("fine", change("fine"))
    await wait_all_tasks_blocked()
    bench.commit("follower", change("bad", 2), about="bad")
    bench.door.poison = "poison"

    bench.door.open.set()
    await wait_all_tasks_blocked()

    assert bench.results == {
        "first": "durable",
        "good": "durable",
        "bad": "InvalidRequest",
        "fine": "durable",
        "follower": SettledByOther.__name__,
    }
    assert bench.store.head.staged() == 0


async def test_a_cancelled_caller_gives_up_the_wait_and_not_the_write(
    bench: Bench, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(1) as scope:
        await bench.store.commit(change("d"), AnyScope(bench.store, "d"))
    assert scope.cancelled_caught

    bench.door.open.set()
    await wait_all_tasks_blocked()

    assert bench.store.committed.domains.rows == {"d": domain("d")}


async def test_too_many_staged_rows_are_refused(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, staged_rows_max=2, batch_rows_max=2)
    await nursery.start(bench.store.run)
    for name in ("a", "b"):
        bench.commit(name, change(name))
        await wait_all_tasks_blocked()

    with pytest.raises(StoreUnavailable, match="too many writes are waiting"):
        await bench.store.commit(change("c"), AnyScope(bench.store, "c"))

    assert bench.store.head.domain("c") is None


async def test_batches_are_no_larger_than_asked(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, batch_rows_max=1)
    await nursery.start(bench.store.run)
    for name in ("a", "b", "c"):
        bench.commit(name, change(name))
    bench.door.open.set()
    await wait_all_tasks_blocked()

    assert [len(batch) for batch in bench.door.batches] == [1, 1, 1]


async def test_draining_waits_for_the_last_write(bench: Bench) -> None:
    bench.commit("d", change("d"))
    await wait_all_tasks_blocked()
    drained = trio.Event()

    async def drain() -> None:
        await bench.store.drain()
        drained.set()

    bench.nursery.start_soon(drain)
    await wait_all_tasks_blocked()
    assert not drained.is_set()

    bench.door.open.set()
    await drained.wait()

    assert bench.results == {"d": "durable"}


async def test_a_deletion_and_a_new_row_in_one_outcome_are_one_write(bench: Bench) -> None:
    bench.door.open.set()
    lrp: ActualLRP = actual_lrp()
    bench.commit("p", Outcome(rows=(put(lrp),)))
    await wait_all_tasks_blocked()
    bench.commit("p", Outcome(rows=(delete(lrp), put(actual_lrp(index=1)))))
    await wait_all_tasks_blocked()

    assert [len(batch) for batch in bench.door.batches] == [1, 2]
    assert [lrp.index for lrp in bench.store.committed.actual_lrps.rows.values()] == [1]


async def test_nobody_waits_for_a_store_that_has_ended() -> None:
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery)
        async with trio.open_nursery() as stores:
            await stores.start(bench.store.run)
            bench.commit("in flight", change("in flight"))
            await wait_all_tasks_blocked()
            bench.commit("queued", change("queued"))
            await wait_all_tasks_blocked()
            stores.cancel_scope.cancel()
        bench.commit("late", change("late"))
        await wait_all_tasks_blocked()

    assert bench.results == dict.fromkeys(("in flight", "queued", "late"), "StoreUnavailable")


async def test_every_durable_batch_is_told_of_with_its_waits(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    batches: list[Batch] = []
    bench = Bench(nursery, on_batch=batches.append)
    await nursery.start(bench.store.run)
    bench.commit("first", change("first"))
    await wait_all_tasks_blocked()
    bench.commit("second", change("second"))
    bench.commit("third", change("third"))
    await trio.sleep(3)
    bench.door.faults.append((BackendUnavailable("away"), False))
    bench.door.open.set()
    await wait_all_tasks_blocked()
    await bench.store.drain()

    assert [(batch.outcomes, batch.rows) for batch in batches] == [(1, 1), (2, 2)]
    assert [batch.waited_s for batch in batches] == pytest.approx([0, 3.05])
    assert [batch.took_s for batch in batches] == pytest.approx([3.05, 0])


async def test_a_session_that_is_lost_has_the_lock_looked_at_without_a_write(bench: Bench) -> None:
    bench.door.session_ends()
    await wait_all_tasks_blocked()

    assert bench.door.held == 1


async def test_a_session_that_cannot_be_had_again_is_asked_for_until_it_can(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    troubles: list[str] = []
    bench = Bench(nursery, on_trouble=lambda trouble: troubles.append(str(trouble)))
    await nursery.start(bench.store.run)
    bench.door.holds.extend([BackendUnavailable("away"), StatementRejected(InvalidRequest())])

    bench.door.session_ends()
    await trio.sleep(10)

    assert len(troubles) == 2
    assert bench.door.held == 1


async def test_a_write_does_not_wait_for_the_next_look_at_the_lock(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = Bench(nursery)
    await nursery.start(bench.store.run)
    bench.door.open.set()
    bench.door.holds.append(BackendUnavailable("away"))
    bench.door.session_ends()
    await wait_all_tasks_blocked()

    bench.commit("d", change("d"))
    await wait_all_tasks_blocked()

    assert bench.results == {"d": "durable"}
    assert trio.current_time() == 0


async def test_a_store_whose_lock_somebody_else_has_had_ends_without_a_write() -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery)
            await nursery.start(bench.store.run)
            bench.door.holds.append(WriterLockLost("another process"))
            bench.door.session_ends()

    with pytest.RaisesGroup(WriterLockLost):
        await run()


async def test_a_confirmation_asks_the_database_between_two_batches(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    await nursery.start(bench.store.run)
    bench.commit("d", change("d"))
    await wait_all_tasks_blocked()
    confirmed = trio.Event()

    async def confirm() -> None:
        await bench.store.confirm()
        confirmed.set()

    nursery.start_soon(confirm)
    await wait_all_tasks_blocked()
    assert (bench.door.held, confirmed.is_set()) == (0, False)

    bench.door.open.set()
    await wait_all_tasks_blocked()
    assert (bench.door.held, confirmed.is_set()) == (1, True)


async def test_a_confirmation_that_the_database_does_not_answer_can_be_asked_for_again(
    nursery: trio.Nursery,
) -> None:
    bench = Bench(nursery)
    await nursery.start(bench.store.run)
    bench.door.holds.append(BackendUnavailable("away"))

    with pytest.raises(BackendUnavailable, match="away"):
        await bench.store.confirm()
    await bench.store.confirm()


async def test_who_asks_for_a_confirmation_when_the_lock_was_somebody_elses_goes_on_as_the_store_ends() -> (
    None
):
    ended: list[str] = []

    async def confirm(bench: Bench) -> None:
        with pytest.raises(BackendUnavailable):
            await bench.store.confirm()
        ended.append("asker")

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery)
            nursery.start_soon(confirm, bench)
            await wait_all_tasks_blocked()
            bench.door.holds.append(WriterLockLost("another process"))
            await bench.store.run()

    with pytest.RaisesGroup(WriterLockLost):
        await run()
    assert ended == ["asker"]
