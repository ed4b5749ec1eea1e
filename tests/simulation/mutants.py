"""Faults put into the server, and one into the client, by hand, and which promise catches each: a check of the checks.

A `Mutant` replaces one thing in `bbs` for the time of a run. ``caught_by`` is the invariant (`promises.INVARIANTS`) that has
to break, with the schedule named by ``schedule``: a seed, or one of `WRITTEN`. `test_simulated_mutants.py` goes through the
list, and `python -m tests.simulation --mutants` shows what else catches them. An invariant that catches nothing would prove
nothing, so each of them is named here at least once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final, NoReturn

import pytest
import trio

from bbs.acts.effects import Effects
from bbs.client._watch import Watch
from bbs.convergence import lrp_pass
from bbs.convergence import tasks as task_pass
from bbs.lifecycle import actual_lrps, evacuation, row_changes, rows
from bbs.lifecycle import tasks as task_lifecycle
from bbs.lifecycle.announcements import RowsChanged
from bbs.lifecycle.tasks import changed, readable, removed
from bbs.models.actual_lrp import InstanceKey, ModificationTag, Rows
from bbs.models.events import Event
from bbs.models.outcome import NOTHING, Announcement, Outcome, Row, delete, put
from bbs.models.task import Task, TaskState
from bbs.peers.callbacks import HTTPTaskCallbacks
from bbs.service import Service
from bbs.store import store as store_module
from bbs.store.backend import BackendUnavailable
from bbs.store.head import Head
from bbs.store.indexes import Index
from bbs.store.memory_backend import MemoryBackend
from bbs.store.scopes import Scope
from bbs.store.store import Store
from bbs.sync.hubs.hub import EventHubs, Subscription
from bbs.sync.locket.lock import Lock
from tests.simulation.drawing import drawn
from tests.simulation.schedule import Schedule
from tests.simulation.written import WRITTEN

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """``what`` is wrong, and what that would do to somebody."""

    what: str
    apply: Callable[[Patch], None]
    caught_by: str
    schedule: int | str


# Schedules written for one situation each


def schedule_of(mutant: Mutant) -> Schedule:
    return WRITTEN[mutant.schedule] if isinstance(mutant.schedule, str) else drawn(mutant.schedule)


# The store


def _acknowledges_at_once(patch: Patch) -> None:
    class Done(store_module._Staged):
        def __init__(self, *about: Any) -> None:
            super().__init__(*about)
            self.done.set()

    patch.setattr(store_module, "_Staged", Done)


def _before_commit(patch: Patch, do: Callable[[Store, Outcome], None]) -> None:
    commit = Store.commit

    async def mutated(self: Store, outcome: Outcome, scope: Scope) -> None:
        do(self, outcome)
        await commit(self, outcome, scope)

    patch.setattr(Store, "commit", mutated)


def _tells_before_commit(patch: Patch) -> None:
    _before_commit(patch, lambda store, outcome: store._publish(outcome.announcements))


def _shows_before_commit(patch: Patch) -> None:
    _before_commit(patch, lambda store, outcome: store.committed.apply(outcome.rows))


def _settles_never(patch: Patch) -> None:
    async def mutated(self: Store, scope: Scope) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(Store, "settle", mutated)


def _mends_nothing(patch: Patch) -> None:
    class Forgetful(set[Any]):
        def update(self, *others: Iterable[Any]) -> None:
            pass

    make = Store.__init__

    def mutated(self: Store, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self._mend = Forgetful()

    patch.setattr(Store, "__init__", mutated)


def _takes_lost_for_written(patch: Patch) -> None:
    write = MemoryBackend.write

    async def mutated(self: MemoryBackend, rows: Sequence[Row]) -> int:
        try:
            return await write(self, rows)
        except BackendUnavailable:
            return 0

    patch.setattr(MemoryBackend, "write", mutated)


def _latest(patch: Patch, change: Callable[[list[Row]], list[Row]]) -> None:
    latest = Store._latest
    patch.setattr(Store, "_latest", lambda self, batch: change(latest(self, batch)))


def _writes_all_but_one_row(patch: Patch) -> None:
    _latest(patch, lambda batch: batch[:-1] if len(batch) > 1 else batch)


def _keeps_failed_rows_in_head(patch: Patch) -> None:
    patch.setattr(Head, "reset", lambda self: None)


def _loads_all_but_one_row(patch: Patch) -> None:
    load = Store.load

    async def mutated(self: Store) -> int:
        loaded = await load(self)
        for lrp in list(self.committed.actual_lrps.rows.values())[:1]:
            self.committed.apply([delete(lrp)])
        return loaded

    patch.setattr(Store, "load", mutated)


def _leaves_an_index_as_it_was(patch: Patch) -> None:
    def mutated(self: Index[Any], key: object, before: Any, record: Any) -> None:
        if self._attribute(before) == self._attribute(record):
            self._filed[self._attribute(record)][key] = record
        else:
            self.add(key, record)

    patch.setattr(Index, "replace", mutated)


# One writer


def _writes_whoever_is_writer(patch: Patch) -> None:
    patch.setattr(MemoryBackend, "_require_lock", lambda self: None)


def _answers_whoever_is_master(patch: Patch) -> None:
    patch.setattr(Lock, "may_have_run_out", False)


def _forgets_to_renew_its_lock(patch: Patch) -> None:
    async def mutated(self: Lock) -> NoReturn:
        await trio.sleep_forever()
        raise AssertionError

    patch.setattr(Lock, "_keep", mutated)


# Events


def _drops_an_event(patch: Patch) -> None:
    offer = Subscription._offer
    # Each subscriber loses some: in which order they are offered an event is left to chance.
    offered: Counter[int] = Counter()

    def mutated(self: Subscription, tail: Any) -> Any:
        offered[id(self)] += 1
        return True if offered[id(self)] % 5 == 0 else offer(self, tail)

    patch.setattr(Subscription, "_offer", mutated)


def _tells_twice(patch: Patch) -> None:
    publish = EventHubs._publish_event

    def mutated(self: EventHubs, feed: Any, event: Event) -> None:
        publish(self, feed, event)
        publish(self, feed, event)

    patch.setattr(EventHubs, "_publish_event", mutated)


def _tells_the_last_first(patch: Patch) -> None:
    take = Subscription._take

    def mutated(self: Subscription) -> bytes:
        self._queue.reverse()
        return take(self)

    patch.setattr(Subscription, "_take", mutated)


def _tells_nobody_of_some(patch: Patch) -> None:
    publish, told = Service._publish, count(1)

    def mutated(self: Service, announcements: tuple[Announcement, ...]) -> None:
        publish(self, () if next(told) % 10 == 0 else announcements)

    patch.setattr(Service, "_publish", mutated)


def _tells_rows_by_their_keys(patch: Patch) -> None:
    patch.setattr(row_changes, "_announcements", row_changes._row_by_row)


# Whoever watches


def _watches_without_listing_again(patch: Patch) -> None:
    follow = Watch._list_when_needed

    async def mutated(self: Watch) -> None:
        if self.fleet.connections == 1:
            await follow(self)
        self.fleet.caught_up()
        await trio.sleep_forever()

    patch.setattr(Watch, "_list_when_needed", mutated)


# Instances


def _keeps_the_tag(patch: Patch) -> None:
    patch.setattr(ModificationTag, "next", lambda self: self)


def _lets_anybody_claim(patch: Patch) -> None:
    def mutated(found: Rows, claimant: InstanceKey, *, now_ns: int) -> Outcome:
        before = found.ordinary
        if before is None:
            return NOTHING
        after = rows.claimed(before, claimant, now_ns=now_ns)
        return Outcome(rows=(put(after),), announcements=(RowsChanged((before,), (after,)),))

    patch.setattr(actual_lrps, "claim", mutated)


def _keeps_who_held_it(patch: Patch) -> None:
    unclaimed_again = rows.unclaimed_again
    for module in (rows, evacuation):
        patch.setattr(
            module,
            "unclaimed_again",
            lambda lrp, *, now_ns: replace(unclaimed_again(lrp, now_ns=now_ns), instance=lrp.instance),
        )


def _counts_no_crash(patch: Patch) -> None:
    patch.setattr(actual_lrps, "crash_count_after_crash", lambda lrp, *, now_ns: lrp.crash_count)


def _forgives_no_crash(patch: Patch) -> None:
    patch.setattr(actual_lrps, "crash_count_after_crash", lambda lrp, *, now_ns: lrp.crash_count + 1)


def _decides_nothing(patch: Patch, module: object, name: str) -> None:
    patch.setattr(module, name, lambda *args, **kwargs: NOTHING)


def _leaves_evacuating_rows(patch: Patch) -> None:
    _decides_nothing(patch, lrp_pass, "prune_evacuating")


def _leaves_suspects(patch: Patch) -> None:
    _decides_nothing(patch, lrp_pass, "remove_suspect")


def _suspects_nobody(patch: Patch) -> None:
    _decides_nothing(patch, lrp_pass, "displace")


def _leaves_what_is_not_desired(patch: Patch) -> None:
    _decides_nothing(patch, lrp_pass, "retire_undesired")


def _asks_for_no_auction_again(patch: Patch) -> None:
    _decides_nothing(patch, lrp_pass, "place_again")


# Tasks


def _starts_a_task_that_is_over(patch: Patch) -> None:
    def mutated(task: Task | None, cell_id: str, *, now_ns: int) -> Outcome:
        before = readable(task)
        return changed(before, replace(before, state=TaskState.Running, cell_id=cell_id))

    patch.setattr(task_lifecycle, "start", mutated)


def _forgets_the_result(patch: Patch) -> None:
    complete = task_lifecycle.complete
    patch.setattr(task_lifecycle, "complete", lambda task, **about: complete(task, **about | {"result": ""}))


def _calls_nobody_back(patch: Patch) -> None:
    async def mutated(self: HTTPTaskCallbacks, task: Task, log: object) -> bool:
        return True

    patch.setattr(HTTPTaskCallbacks, "_call_back", mutated)


def _leaves_tasks_of_lost_cells(patch: Patch) -> None:
    _decides_nothing(patch, task_pass, "fail_where_cell_is_gone")


def _removes_tasks_that_are_not_over(patch: Patch) -> None:
    patch.setattr(
        task_pass,
        "fail_where_cell_is_gone",
        lambda task, cells, at: NOTHING if task is None else removed(task),
    )


# Peers


def _forgets_task_auctions(patch: Patch) -> None:
    async def mutated(self: Effects, *args: object, **kwargs: object) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(Effects, "auction_task", mutated)
    patch.setattr(Effects, "auction_tasks", mutated)


def _ends_with_a_bug(patch: Patch) -> None:
    def mutated(*args: object, **kwargs: object) -> NoReturn:
        raise KeyError("a bug")

    patch.setattr(lrp_pass, "displace", mutated)


MUTANTS: Final[Mapping[str, Mutant]] = {
    "acknowledges-at-once": Mutant(
        what="Whoever asks is answered when his change is staged: a death, or an outage, loses what he relies on.",
        apply=_acknowledges_at_once,
        caught_by="acknowledged",
        schedule="slow database",
    ),
    "tells-before-commit": Mutant(
        what="Events go out when a change is staged: a route-emitter routes to what may never be.",
        apply=_tells_before_commit,
        caught_by="events",
        schedule="slow database",
    ),
    "shows-before-commit": Mutant(
        what="Readers see rows when they are staged.",
        apply=_shows_before_commit,
        caught_by="memory",
        schedule="slow database",
    ),
    "settles-never": Mutant(
        what="A refusal does not wait for the row that it rests on: who tries again is told that it is there.",
        apply=_settles_never,
        caught_by="reads",
        schedule="database away",
    ),
    "mends-nothing": Mutant(
        what="What was reported as failed is not undone where the database has it.",
        apply=_mends_nothing,
        caught_by="memory",
        schedule="commit unknown of a cancel",
    ),
    "takes-lost-for-written": Mutant(
        what="A connection that breaks during a write is taken for a success.",
        apply=_takes_lost_for_written,
        caught_by="memory",
        schedule="database away",
    ),
    "writes-all-but-one-row": Mutant(
        what="The last row of a transaction is forgotten.",
        apply=_writes_all_but_one_row,
        caught_by="memory",
        schedule="master dies",
    ),
    "keeps-failed-rows-in-head": Mutant(
        what="Later decisions rest on changes that have failed.",
        apply=_keeps_failed_rows_in_head,
        caught_by="reads",
        schedule="database away",
    ),
    "loads-all-but-one-row": Mutant(
        what="A new master knows one instance less.",
        apply=_loads_all_but_one_row,
        caught_by="restart",
        schedule="master dies",
    ),
    "leaves-an-index-as-it-was": Mutant(
        what="A row stays filed under the cell that had it before.",
        apply=_leaves_an_index_as_it_was,
        caught_by="indexes",
        schedule="long run",
    ),
    "writes-whoever-is-writer": Mutant(
        what="A master that slept writes after its successor.",
        apply=_writes_whoever_is_writer,
        caught_by="one writer",
        schedule="master sleeps",
    ),
    "answers-whoever-is-master": Mutant(
        what="A master that slept answers from what it knew.",
        apply=_answers_whoever_is_master,
        caught_by="reads",
        schedule="master sleeps",
    ),
    "forgets-to-renew-its-lock": Mutant(
        what="A master lets its lock run out, and does not know.",
        apply=_forgets_to_renew_its_lock,
        caught_by="bugs",
        schedule="master dies",
    ),
    "drops-an-event": Mutant(
        what="One event in five does not reach its subscriber, whose stream goes on.",
        apply=_drops_an_event,
        caught_by="streams",
        schedule="cell leaves",
    ),
    "tells-twice": Mutant(
        what="Each event comes twice.",
        apply=_tells_twice,
        caught_by="streams",
        schedule="cell leaves",
    ),
    "tells-the-last-first": Mutant(
        what="What is queued for a subscriber is sent in the wrong order.",
        apply=_tells_the_last_first,
        caught_by="streams",
        schedule="cell leaves",
    ),
    "tells-nobody-of-some": Mutant(
        what="One change in ten is told to nobody.",
        apply=_tells_nobody_of_some,
        caught_by="events",
        schedule="cell leaves",
    ),
    "watches-without-listing-again": Mutant(
        what="A watch subscribes again and goes on, as if nothing had happened meanwhile.",
        apply=_watches_without_listing_again,
        caught_by="watches",
        schedule="master dies",
    ),
    "tells-rows-by-their-keys": Mutant(
        what="A follower tells of an instance whose cell is missing as gone: route-emitters drop what may still serve.",
        apply=_tells_rows_by_their_keys,
        caught_by="followers",
        schedule="cell leaves",
    ),
    "keeps-the-tag": Mutant(
        what="A changed record keeps its modification tag: clients take it for what they have.",
        apply=_keeps_the_tag,
        caught_by="tags",
        schedule="master dies",
    ),
    "lets-anybody-claim": Mutant(
        what="A claim takes an instance from whoever has it.",
        apply=_lets_anybody_claim,
        caught_by="lrp moves",
        schedule="calls doubled",
    ),
    "keeps-who-held-it": Mutant(
        what="An instance that waits for a cell still names its last one.",
        apply=_keeps_who_held_it,
        caught_by="rows",
        schedule="long run",
    ),
    "counts-no-crash": Mutant(
        what="Crashes are not counted: a crash loop never backs off.",
        apply=_counts_no_crash,
        caught_by="crash counts",
        schedule="long run",
    ),
    "forgives-no-crash": Mutant(
        what="A crash after days counts as one of a loop.",
        apply=_forgives_no_crash,
        caught_by="crash counts",
        schedule="long run",
    ),
    "leaves-evacuating-rows": Mutant(
        what="The evacuating rows of a cell that is gone stay: routes lead nowhere.",
        apply=_leaves_evacuating_rows,
        caught_by="convergence",
        schedule="cell drains and leaves",
    ),
    "leaves-suspects": Mutant(
        what="The suspect row of what nobody desires any more stays: routes lead nowhere.",
        apply=_leaves_suspects,
        caught_by="convergence",
        schedule="cell leaves, app is removed",
    ),
    "suspects-nobody": Mutant(
        what="What a lost cell ran is started nowhere else.",
        apply=_suspects_nobody,
        caught_by="convergence",
        schedule="cell leaves",
    ),
    "leaves-what-is-not-desired": Mutant(
        what="What a cell was not asked to stop in time runs for ever.",
        apply=_leaves_what_is_not_desired,
        caught_by="convergence",
        schedule="scaled down unheard",
    ),
    "asks-for-no-auction-again": Mutant(
        what="An auction that was lost is asked for no second time.",
        apply=_asks_for_no_auction_again,
        caught_by="convergence",
        schedule="auctioneer away",
    ),
    "starts-a-task-that-is-over": Mutant(
        what="A task that is over, or runs elsewhere, can be started.",
        apply=_starts_a_task_that_is_over,
        caught_by="task moves",
        schedule="calls doubled",
    ),
    "forgets-the-result": Mutant(
        what="Whoever desired a task is not told its result.",
        apply=_forgets_the_result,
        caught_by="callbacks",
        schedule="tasks",
    ),
    "calls-nobody-back": Mutant(
        what="A task is deleted as if its client knew.",
        apply=_calls_nobody_back,
        caught_by="callbacks",
        schedule="tasks",
    ),
    "leaves-tasks-of-lost-cells": Mutant(
        what="A task on a cell that is gone runs for ever.",
        apply=_leaves_tasks_of_lost_cells,
        caught_by="convergence",
        schedule="cell leaves",
    ),
    "removes-tasks-that-are-not-over": Mutant(
        what="A task on a cell that is gone is gone, too, and nobody is told.",
        apply=_removes_tasks_that_are_not_over,
        caught_by="acknowledged",
        schedule="cell leaves",
    ),
    "forgets-task-auctions": Mutant(
        what="No task is ever placed.",
        apply=_forgets_task_auctions,
        caught_by="convergence",
        schedule="tasks",
    ),
    "ends-with-a-bug": Mutant(
        what="An exception that nobody expects comes out of a pass.",
        apply=_ends_with_a_bug,
        caught_by="bugs",
        schedule="cell leaves",
    ),
}
