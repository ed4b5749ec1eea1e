"""One pass over LRPs: every instance that it has found is worked on once (spec: convergence.md §4).

The kinds of work follow each other in the order of the specification. Within one, each instance is decided about on the
rows as they are then, not as they were found: requests go on during a pass. A bounded number of commits is under way
together, so that they share transactions. Calls to cells are made beside all that, by workers of their own, so that a cell
that does not answer holds up no decision.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence, Set
from functools import partial
from typing import Final, TypeVar

import trio

from bbs.acts.auctions import lrp_start
from bbs.acts.change import ScopeT, change
from bbs.acts.effects import CellCall, Effects, tell_whole
from bbs.acts.performing import AtOnce, perform
from bbs.concurrency.turns import CountedTurns, in_turns
from bbs.convergence.cell_calls import CellCalls, cell_calls
from bbs.convergence.lrp_sets import LRPSets
from bbs.lifecycle.lrp_convergence import (
    create_missing,
    place_again,
    prune_domain,
    prune_evacuating,
    retire_undesired,
    update_routes,
    update_tags,
)
from bbs.lifecycle.suspects import displace, promote, remove_suspect
from bbs.log import Level, Logger
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import Failure
from bbs.models.outcome import Outcome, RequestAuction, RetireInstance
from bbs.peers.interfaces import LRPStart
from bbs.store.scopes import ProcessScope
from bbs.store.store import Store, StoreUnavailable

STARTED_IN_A_TURN: Final = 16
"""Instances whose work begins between two checkpoints: about 1 ms."""

COMMITS_MAX: Final = 64
"""Commits under way at once: enough to fill one transaction while another is written, and to end in a turn of 3 ms. Rows are
written in the order in which they are staged. Without a bound a pass with much to do would stage everything at once, and
requests would wait behind it, or be refused because too much is staged (`bbs.store.store.STAGED_ROWS_MAX`)."""

AUCTIONS_IN_A_TURN: Final = 200
"""Auction requests put together between two checkpoints: about 1 ms."""

AUCTIONS_LOGGED_MAX: Final = 100
"""How many of the auctions that could not be asked for the log names. All will be asked for again by a later pass."""

TOLD_IN_A_TURN: Final = 64
"""Lines between two checkpoints: about 1 ms."""

ItemT = TypeVar("ItemT", ActualLRPKey, str)
"""What is worked on: a row, or a domain by its name."""

Tell = Callable[[Logger, ActualLRPKey, str, Outcome], None]
"""Logs a change: in which session, the instance's key, its domain, what was decided."""

Decide = Callable[[Rows, DesiredLRP | None, int], Outcome]
"""Decides about an instance: its rows, its DesiredLRP, its index."""


class LRPPass:
    """One pass; made anew for each. ``cells`` are the ids of the cells that announce themselves.

    ``db_log`` is the session of what upstream does in its database layer. ``starts`` gathers the instances to be auctioned,
    for `request_auctions`. ``calls`` takes the calls to cells, and is there only during `work_on`.
    """

    def __init__(
        self,
        store: Store,
        effects: Effects,
        cells: Set[str],
        *,
        log: Logger,
        db_log: Logger,
        now_ns: Callable[[], int],
        new_guid: Callable[[], str],
    ) -> None:
        self.starts: list[ActualLRPKey] = []
        self._store = store
        self._effects = effects
        self._cells = cells
        self._log = log
        self._db_log = db_log
        self._now_ns = now_ns
        self._new_guid = new_guid
        self.calls = CellCalls(0, log)
        self._gave_up = trio.Event()

    async def prune_domains(self) -> None:
        """Remove the domains that have expired (spec: domains.md §4). A failure is logged, and the pass goes on."""
        now_ns = self._now_ns()
        expired = [
            domain
            for domain in self._store.committed.domains.rows.values()
            if prune_domain(domain, now_ns=now_ns).rows
        ]
        if not expired:
            return
        log = self._db_log.session("prune-domains")

        async def prune(name: str) -> None:
            outcome = await self._carry_out(
                self._store.domain(name), lambda scope: prune_domain(scope.domain(), now_ns=now_ns), log
            )
            if outcome.rows:
                log.info("pruning-domain", {"domain": name, "expire-at": expiry_ns[name]})

        expiry_ns = {domain.name: domain.expire_time_ns for domain in expired}
        await self._work_through(list(expiry_ns), prune, log, failed="cannot-prune-domains")

    async def prune_evacuating(self, keys: Sequence[ActualLRPKey]) -> None:
        await self._change(
            keys,
            lambda rows, desired, index: prune_evacuating(rows, self._cells),
            self._db_log.session("prune-evacuating-actual-lrps"),
            failed="failed-query",
        )

    async def work_on(self, sets: LRPSets, *, workers: int) -> None:
        """Do everything that ``sets`` ask for, with at most ``workers`` calls to cells at a time, and wait for its end.

        Failures are logged. Cancellation abandons calls to cells; what is staged will be written.
        """
        # The order is upstream's with one worker; with more it leaves the order to chance. It matters where an instance is
        # in two sets, as the later decision finds what the earlier one left. A stale row beyond what is desired is removed
        # before it could be auctioned. A suspect whose cell is back while its replacement runs is promoted; the other way
        # round it would be removed, and there would be nothing left to promote (spec: convergence.md §4, overlaps).
        retiring = [*sets.extra, *sets.orphans]
        calls_max = len(retiring) + len(sets.routes_changed) + len(sets.tags_changed)
        async with cell_calls(calls_max=calls_max, workers=workers, log=self._log) as self.calls:
            await self._work_through(
                retiring,
                partial(self._retire, self._log.with_data(retiring_lrp_count=len(retiring))),
                self._log,
                failed="retiring-lrp-failed",
            )
            await self._change(
                sets.missing,
                self._create_missing,
                self._log,
                _tell_created,
                failed="failed-to-create-unclaimed-lrp",
            )
            for unstarted in (sets.stale, sets.restartable):
                await self._change(
                    unstarted, self._place_again, self._log, _tell_unclaimed, failed="cannot-unclaim-lrp"
                )
            # A row beyond what is desired whose cell is gone is in both sets. Its retirement waits among the calls to cells,
            # so the row is still there. To displace it now would create and auction a replacement that nobody desires.
            on_their_way = set(sets.extra)
            await self._change(
                [key for key in sets.displaced if key not in on_their_way]
                if on_their_way
                else sets.displaced,
                self._displace,
                self._log.session("keys-with-missing-cells"),
                _tell_displaced,
                failed="cannot-change-lrp-presence",
            )
            await self._change(
                sets.suspects_back,
                lambda rows, desired, index: promote(rows, self._cells),
                self._log.session("suspect-keys-with-existing-cells"),
                _tell_promoted,
                failed="cannot-promote-suspect-lrp",
            )
            await self._change(
                sets.suspects_to_go,
                lambda rows, desired, index: remove_suspect(rows, desired),
                self._log.session("suspect-keys-to-retire"),
                _tell_suspect_removed,
                failed="cannot-remove-suspect-lrp",
            )
            for drifted, decide in (
                (sets.routes_changed, update_routes),
                (sets.tags_changed, update_tags),
            ):
                await self._work_through(
                    drifted, partial(self._update, decide), self._log, failed="failed-work-item"
                )

    async def tell_of_found(self, sets: LRPSets) -> None:
        """Log what upstream's queries log: the missing cells, and the instances that are to be started. That is before any of
        them is worked on, so the log also names those that turn out to need nothing any more.
        """
        stale, crashed = "stale-unclaimed-lrp", "crashed-instance"
        await self._tell_of_starts(sets.stale, "stale-unclaimed-actual-lrps", stale)
        if sets.missing_cells:
            log = self._db_log.session("actual-lrps-with-missing-cells")
            log.info("detected-missing-cells", cell_ids=sorted(sets.missing_cells))
        await self._tell_of_starts(sets.missing, "lrp-instance-counts", "missing-instance")
        await self._tell_of_starts(sets.restartable, "crashed-actual-lrps", crashed)

    async def _tell_of_starts(self, keys: Sequence[ActualLRPKey], part: str, reason: str) -> None:
        if not keys or not self._log.enabled(Level.INFO):
            return
        log = self._db_log.session(part)
        async for some in in_turns(keys, TOLD_IN_A_TURN):
            for process_guid, index, _ in some:
                log.info("creating-start-request", reason=reason, process_guid=process_guid, index=index)

    async def request_auctions(self) -> None:
        """Ask for all starts in one request, an element for each instance (spec: peers.md §2.3). A failure is logged: the rows
        stay unclaimed, and a later pass finds them stale.
        """
        requests = await self._start_requests()
        if not requests:
            return
        try:
            await self._effects.auction_all(requests, log=self._log)
        except Failure as error:
            some = [
                {"process_guid": request.process_guid, "indices": request.indices}
                for request in requests[:AUCTIONS_LOGGED_MAX]
            ]
            self._log.error(
                "failed-to-request-starts",
                error=error,
                start_requests_count=len(requests),
                lrp_start_auctions=some,
            )

    async def _start_requests(self) -> list[LRPStart]:
        requests: list[LRPStart] = []
        turns = CountedTurns(AUCTIONS_IN_A_TURN)
        for key in self.starts:
            # A process may have been removed since: see `Effects.auction`.
            desired = self._store.process(key.process_guid).desired_lrp()
            if desired is not None:
                requests.append(lrp_start(desired, (key.instance_index,), drivers_when_none=None))
            await turns.done()
        return requests

    async def _change(
        self,
        keys: Sequence[ActualLRPKey],
        decide: Decide,
        log: Logger,
        tell: Tell | None = None,
        *,
        failed: str,
    ) -> None:
        """Carry out what is decided about each, and ``tell`` of it if anything changes."""

        async def change_one(key: ActualLRPKey) -> None:
            outcome = await change(self._process(key), lambda process: _decided(process, key, decide))
            if tell is not None and outcome.rows:
                tell(log, key, self._domain(key, outcome), outcome)
            await perform(outcome.effects, _InPass(self, self._effects, log))

        await self._work_through(keys, change_one, log, failed=failed)

    def _domain(self, key: ActualLRPKey, outcome: Outcome) -> str:
        """The domain of the instance that an outcome is about: its row's, or its DesiredLRP's if the outcome only deletes."""
        for _, record in outcome.rows:
            if isinstance(record, ActualLRP):
                return record.domain
        desired = self._process(key).desired_lrp()
        return "" if desired is None else desired.domain

    def _process(self, key: ActualLRPKey) -> ProcessScope:
        return self._store.process(key.process_guid)

    async def _carry_out(self, scope: ScopeT, decide: Callable[[ScopeT], Outcome], log: Logger) -> Outcome:
        outcome = await change(scope, decide)
        await perform(outcome.effects, _InPass(self, self._effects, log))
        return outcome

    def _create_missing(self, rows: Rows, desired: DesiredLRP | None, index: int) -> Outcome:
        return create_missing(rows, desired, index, now_ns=self._now_ns(), epoch=self._new_guid())

    def _place_again(self, rows: Rows, desired: DesiredLRP | None, index: int) -> Outcome:
        return place_again(rows, desired, now_ns=self._now_ns())

    def _displace(self, rows: Rows, desired: DesiredLRP | None, index: int) -> Outcome:
        return displace(rows, desired, self._cells, now_ns=self._now_ns(), epoch=self._new_guid())

    async def _retire(self, log: Logger, key: ActualLRPKey) -> None:
        outcome = await change(
            self._process(key),
            lambda process: retire_undesired(process.rows_at(key.instance_index), process.desired_lrp()),
        )
        session = log.session("retire-actual-lrp", process_guid=key.process_guid, index=key.instance_index)
        if outcome.rows:
            tell_whole(session.session("db-remove-actual-lrp"))
        await perform(outcome.effects, _InPass(self, self._effects, session))

    async def _update(self, decide: Callable[[Rows, DesiredLRP | None], Outcome], key: ActualLRPKey) -> None:
        await self._carry_out(
            self._process(key),
            lambda process: _decided(process, key, lambda rows, desired, index: decide(rows, desired)),
            self._log,
        )

    async def _work_through(
        self,
        items: Collection[ItemT],
        work: Callable[[ItemT], Awaitable[None]],
        log: Logger,
        *,
        failed: str,
    ) -> None:
        """Work on each item, `COMMITS_MAX` at a time, and wait for their end. ``failed`` is the log's name of a failure.

        A failure ends its item only. But if the store is unavailable, what is left of the pass is given up: each item would
        wait for the database until its deadline, 20 s, only to fail, and the next pass finds all of it again.
        """
        if self._gave_up.is_set() or not items:
            return
        room = trio.Semaphore(COMMITS_MAX)

        async def work_on(item: ItemT) -> None:
            try:
                await work(item)
            except Failure as error:
                if isinstance(error, StoreUnavailable):
                    self._gave_up.set()
                log.error(failed, _about(item), error=error)
            finally:
                room.release()

        async with trio.open_nursery() as nursery:
            turns = CountedTurns(STARTED_IN_A_TURN)
            for item in items:
                try:
                    room.acquire_nowait()
                except trio.WouldBlock:
                    await room.acquire()
                if self._gave_up.is_set():
                    break
                nursery.start_soon(work_on, item)
                await turns.done()


class _InPass(AtOnce):
    """Gathers LRP auctions for the pass' one request, and leaves calls to cells to the pass' workers. ``log`` is the session
    of those calls.
    """

    def __init__(self, of: LRPPass, effects: Effects, log: Logger) -> None:
        super().__init__(effects, log=lambda effect: log)
        self._pass = of

    async def auction(self, effect: RequestAuction) -> None:
        self._pass.starts += [
            ActualLRPKey(effect.process_guid, index, Presence.ORDINARY) for index in effect.indices
        ]

    def call_cells(self, effects: Sequence[CellCall]) -> None:
        for effect in effects:
            # A failure is logged by the call itself.
            self._pass.calls.add(
                effect.lrp.instance.cell_id,
                partial(self._effects.call_cell, effect, log=self._log(effect)),
                about=_about(effect.lrp.key),
            )

    async def retire(self, effect: RetireInstance) -> None:
        self._pass.calls.add(
            effect.lrp.instance.cell_id,
            partial(self._effects.retire, effect, log=self._log(effect)),
            failed="retiring-lrp-failed",
            about=_about(effect.lrp.key),
        )


def _decided(process: ProcessScope, key: ActualLRPKey, decide: Decide) -> Outcome:
    # On the rows as they are now. The instance was found some time ago; since then a cell may have started it, or a client
    # removed it, and a decision on the former rows would undo that.
    return decide(process.rows_at(key.instance_index), process.desired_lrp(), key.instance_index)


def _key_data(key: ActualLRPKey, domain: str) -> dict[str, object]:
    return {"process_guid": key.process_guid, "index": key.instance_index, "domain": domain}


def _tell_created(log: Logger, key: ActualLRPKey, domain: str, outcome: Outcome) -> None:
    if log.enabled(Level.INFO):
        tell_whole(log.session("db-create-unclaimed-actual-lrps", key=_key_data(key, domain)))


def _tell_unclaimed(log: Logger, key: ActualLRPKey, domain: str, outcome: Outcome) -> None:
    if log.enabled(Level.INFO):
        tell_whole(log.session("db-unclaim-actual-lrp", key=_key_data(key, domain)))


def _tell_displaced(log: Logger, key: ActualLRPKey, domain: str, outcome: Outcome) -> None:
    """A row becomes suspect and another is created, unless there is a suspect already."""
    if not log.enabled(Level.INFO):
        return
    if not outcome.effects:
        log.debug("found-suspect-lrp-unclaiming", key=_key_data(key, domain))
        _tell_unclaimed(log, key, domain, outcome)
        return
    data = _key_data(key, domain)
    presence = log.session(
        "db-change-actual-lrp-presence", {"key": data, "from": "ORDINARY", "to": "SUSPECT"}
    )
    tell_whole(presence, ends="finished")
    _tell_created(log.session("create-unclaimed-actual"), key, domain, outcome)
    log.info(
        "creating-start-request",
        reason="missing-cell",
        process_guid=key.process_guid,
        index=key.instance_index,
    )


def _tell_promoted(log: Logger, key: ActualLRPKey, domain: str, outcome: Outcome) -> None:
    if log.enabled(Level.INFO):
        tell_whole(
            log.session("promote-suspect-actual-lrp", process_guid=key.process_guid, index=key.instance_index)
        )


def _tell_suspect_removed(log: Logger, key: ActualLRPKey, domain: str, outcome: Outcome) -> None:
    if log.enabled(Level.DEBUG):
        session = log.session("db-remove-suspect-actual-lrp", lrp_key=_key_data(key, domain))
        tell_whole(session, Level.DEBUG)


def _about(item: ActualLRPKey | str) -> dict[str, object]:
    if isinstance(item, str):
        return {"domain": item}
    return {"process_guid": item.process_guid, "index": item.instance_index}
