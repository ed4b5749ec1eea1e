"""Desiring, updating and removing processes with many instances, in turns with everybody else (spec: desired-lrps.md §8).

The record comes first, as an outcome of its own. Then come the instances, some at a time, each *turn* decided on the rows
and the DesiredLRP as they are by then, and staged in the same breath, so whatever happens in between, nothing is created
twice and nothing that is desired is stopped. A few turns are under way together, so that they share transactions.

What can go wrong between two turns, a database that is away or the end of the process, leaves a record whose instances
are too few or too many, which is what convergence is there for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from bbs.acts.change import change
from bbs.acts.effects import Effects
from bbs.acts.performing import AtOnce, perform
from bbs.concurrency.turns import in_turns, sliced
from bbs.lifecycle import desired_lrps as lifecycle
from bbs.lifecycle.desired_lrps import Circumstances
from bbs.log import Logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import Failure
from bbs.models.outcome import Effect, Outcome, RequestAuction
from bbs.routes.change_sessions import ChangeSessions
from bbs.routes.context import Context
from bbs.store.indexes import index_at
from bbs.store.scopes import ProcessScope
from bbs.store.store import StoreUnavailable

INSTANCES_AT_ONCE_MAX: Final = 200
"""A request about no more instances than this is decided at once: 3 ms. Nearly every app is smaller."""

INSTANCES_IN_A_TURN: Final = 100
"""Instances decided about between two checkpoints."""

TURNS_UNDER_WAY_MAX: Final = 2
"""One is decided while another is being written. With more, the driver encodes 500 rows in one go, and a ping that comes
meanwhile waits for 20 ms.
"""

PLACES_IN_A_TURN: Final = 2_000
"""Places of rows looked at between two checkpoints: 1 ms."""

Decide = Callable[[DesiredLRP | None, Sequence[int], Sequence[ActualLRP]], Outcome]
"""The DesiredLRP, some indices, and their rows, all as the next mutation must see them."""


class LargeProcesses:
    """One large request about a process at a time. An update's change of the record is announced when its last turn is
    done, so another one that overtook it would be told first, and subscribers end with the older record.

    Call `done_with` first, and go on without a checkpoint in between: another request might begin in it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        # As many as there are requests being handled at most.
        self._under_way: dict[str, trio.Event] = {}

    async def done_with(self, process_guid: str) -> None:
        """Wait until no large request about the process is under way; no checkpoint if none is.

        There is no deadline of its own: each turn of the other request has the store's.
        """
        while (other := self._under_way.get(process_guid)) is not None:
            await other.wait()

    async def desire(self, message: pb.DesiredLRP, at: Circumstances, sessions: ChangeSessions) -> None:
        """
        Raises:
          Failure: as `bbs.lifecycle.desired_lrps.desire`, or the store's.
        """
        process_guid = message.process_guid
        with self._alone_with(process_guid):
            process = self._store.process(process_guid)
            await self._record(
                process, lambda process: lifecycle.desired(process.desired_lrp(), message, at)[1], sessions
            )
            await self._start(process, range(message.instances), at, sessions)

    async def update(
        self, process_guid: str, update: pb.DesiredLRPUpdate, at: Circumstances, sessions: ChangeSessions
    ) -> None:
        """
        Raises:
          Failure: as `bbs.lifecycle.desired_lrps.update`, or the store's.
        """
        with self._alone_with(process_guid):
            process = self._store.process(process_guid)
            before: DesiredLRP | None = None

            def decide(process: ProcessScope) -> Outcome:
                nonlocal before
                before = process.desired_lrp()
                return lifecycle.updated(before, update, at)[1]

            outcome = await self._record(process, decide, sessions)
            [(_, after)] = outcome.rows
            assert before is not None
            assert isinstance(after, DesiredLRP)
            if update.HasField("instances"):
                sessions.scaled(before.instances, after.instances)
            try:
                if after.instances > before.instances:
                    await self._start(process, range(before.instances, after.instances), at, sessions)
                elif after.instances < before.instances:
                    await self._stop(process, at.trace_id, sessions.stopping())
                if (push := lifecycle.pushed(before, update)) is not None:
                    await self._in_turns(
                        process,
                        await _turns_with_rows(process),
                        lambda desired, indices, rows: lifecycle.push_to(rows, push, trace_id=at.trace_id),
                        sessions.updating(),
                    )
            finally:
                # However far it came: the record is another one, and durable.
                self._store.announce(lifecycle.changed(before, after, at))

    async def remove(self, process_guid: str, sessions: ChangeSessions, *, trace_id: str) -> None:
        """
        Raises:
          Failure: as `bbs.lifecycle.desired_lrps.remove`, or the store's.
        """
        with self._alone_with(process_guid):
            process = self._store.process(process_guid)
            await self._record(
                process,
                lambda process: lifecycle.removed_record(process.desired_lrp(), trace_id=trace_id),
                sessions,
            )
            await self._stop(process, trace_id, sessions.stopping())

    @contextmanager
    def _alone_with(self, process_guid: str) -> Iterator[None]:
        assert process_guid not in self._under_way, "wait with done_with"
        done = self._under_way[process_guid] = trio.Event()
        try:
            yield
        finally:
            del self._under_way[process_guid]
            done.set()

    async def _record(
        self, process: ProcessScope, decide: Callable[[ProcessScope], Outcome], sessions: ChangeSessions
    ) -> Outcome:
        """Change the record. Then bring up to date which instances convergence has to look at (`bbs.store.attention`), for
        which each row of the process counts: done in one go with the record, 50,000 rows would hold the event loop.

        Raises:
          Failure: as `Context.change`.
        """
        outcome = await self._context.change(process, decide, log=sessions.of)
        while self._store.committed.attention.catch_up(INSTANCES_IN_A_TURN):
            await trio.lowlevel.checkpoint()
        return outcome

    async def _start(
        self, process: ProcessScope, indices: range, at: Circumstances, sessions: ChangeSessions
    ) -> None:
        log = sessions.starting()
        created = await self._in_turns(
            process,
            sliced(indices, INSTANCES_IN_A_TURN),
            lambda desired, some, rows: lifecycle.start_some(desired, some, rows, at),
            log,
        )
        auction = RequestAuction(process.process_guid, tuple(sorted(created)), at.trace_id)
        await perform((auction,), AtOnce(self._context.effects, log=lambda effect: log))

    async def _stop(self, process: ProcessScope, trace_id: str, log: Logger) -> None:
        await self._in_turns(
            process,
            await _turns_with_rows(process),
            lambda desired, indices, rows: lifecycle.stop_some(desired, rows, trace_id=trace_id),
            log,
        )

    async def _in_turns(
        self, process: ProcessScope, turns: Iterable[Sequence[int]], decide: Decide, log: Logger
    ) -> list[int]:
        """Decide about the indices of each turn, in order, and return those to be auctioned. Calls to cells are queued as
        turns become durable, and told in ``log``.

        An outcome is let go as soon as it is durable: to free all of 50,000 instances at once takes 20 ms.

        Raises:
          StoreUnavailable: a turn failed, for whatever reason, and those after it did not begin. Those before it are durable,
            and so is the record: the client must not take this for a request of which nothing was done.
        Cancellation:
          No further turn begins; those that are staged are written.
        """
        performer = _OneAuction(self._context.effects, log=lambda effect: log)
        failures: list[Failure] = []
        room = trio.Semaphore(TURNS_UNDER_WAY_MAX)

        async def take(indices: Sequence[int]) -> None:
            try:
                outcome = await change(
                    process,
                    lambda process: decide(process.desired_lrp(), indices, process.rows_in(indices)),
                )
            except Failure as failure:
                # Not raised, or the nursery would cancel the turn beside it, whose instances are about to be durable and
                # would then be neither stopped nor auctioned.
                failures.append(failure)
            else:
                await perform(outcome.effects, performer)
            finally:
                room.release()

        async with trio.open_nursery() as nursery:
            for indices in turns:
                await room.acquire()  # a checkpoint, in which the turn before begins
                if failures:
                    break
                nursery.start_soon(take, indices)
        if failures:
            raise StoreUnavailable(
                f"the change was begun, and convergence will carry it through: {failures[0]}"
            ) from failures[0]
        return performer.to_auction


class _OneAuction(AtOnce):
    """Calls cells as they come, and gathers the instances to be auctioned: the request asks for one auction, at its end."""

    def __init__(self, effects: Effects, *, log: Callable[[Effect], Logger]) -> None:
        super().__init__(effects, log=log)
        self.to_auction: list[int] = []

    async def auction(self, effect: RequestAuction) -> None:
        self.to_auction.extend(effect.indices)


async def _turns_with_rows(process: ProcessScope) -> list[list[int]]:
    """The indices that have rows, in order and in turns. Rows that come later are not what the request is about."""
    turns: dict[int, set[int]] = {}
    async for places in in_turns(process.places(), PLACES_IN_A_TURN):
        for index in map(index_at, places):
            turns.setdefault(index // INSTANCES_IN_A_TURN, set()).add(index)
    return [sorted(turns[number]) for number in sorted(turns)]
