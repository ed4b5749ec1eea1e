"""One pass over LRPs: every instance that it has found is worked on once (spec: convergence.md §4).

The kinds of work follow each other in the order of the specification. Within one, each instance is decided about on the
rows as they are then, and staged in the same breath; a bounded number of commits is under way together, so that they
share transactions. What has to be asked of cells is asked beside all that, by workers of its own.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence, Set
from functools import partial
from typing import Final, TypeVar

import trio

from bbs.convergence.cell_calls import CellCalls, cell_calls
from bbs.convergence.lrp_sets import LRPSets
from bbs.convergence.retirement import Retirement
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
from bbs.log import Logger
from bbs.models.actual_lrp import ActualLRPKey, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome, RequestAuction, UpdateInstance
from bbs.peers.effects import Effects, lrp_start
from bbs.peers.interfaces import LRPStart
from bbs.store.mutation import change
from bbs.store.store import SettledByOther, Store, StoreUnavailable

STARTED_IN_A_TURN: Final = 16
"""Instances whose work begins between two checkpoints: about 1 ms."""

COMMITS_MAX: Final = 64
"""Commits under way at once: enough to fill one transaction while another is written, and to end in a turn of 3 ms."""

AUCTIONS_IN_A_TURN: Final = 200
"""Auction requests put together between two checkpoints: about 1 ms."""

AUCTIONS_LOGGED_MAX: Final = 100
"""Of auctions that could not be asked for, how many the log names. All will be asked for again."""

ItemT = TypeVar("ItemT", ActualLRPKey, str)
"""What is worked on: a row, or a domain by its name."""

Decide = Callable[[Rows, DesiredLRP | None, int], Outcome]
"""Rows of an instance, its DesiredLRP, its index."""


class LRPPass:
    """``starts`` are the instances to be auctioned, as the work goes on."""

    def __init__(
        self,
        store: Store,
        effects: Effects,
        cells: Set[str],
        *,
        log: Logger,
        now_ns: Callable[[], int],
        new_guid: Callable[[], str],
    ) -> None:
        self.starts: list[ActualLRPKey] = []
        self._store = store
        self._effects = effects
        self._cells = cells
        self._log = log
        self._now_ns = now_ns
        self._new_guid = new_guid
        self._retirement = Retirement(store, effects)
        self._gave_up = trio.Event()

    async def prune_domains(self) -> None:
        """Domains that have expired go first of all; that they cannot is no obstacle (spec: domains.md §4)."""
        now_ns, head = self._now_ns(), self._store.head
        expired = [
            domain
            for domain in self._store.committed.domains.rows.values()
            if prune_domain(domain, now_ns=now_ns).rows
        ]
        if not expired:
            return
        log = self._db_log("prune-domains")

        async def prune(name: str) -> None:
            outcome = await change(
                self._store, lambda: prune_domain(head.domain(name), now_ns=now_ns), about=name
            )
            if outcome.rows:
                log.info("pruning-domain", {"domain": name, "expire-at": expiry_ns[name]})

        expiry_ns = {domain.name: domain.expire_time_ns for domain in expired}
        await self._work_through(list(expiry_ns), prune, log)

    async def prune_evacuating(self, keys: Sequence[ActualLRPKey]) -> None:
        await self._change(
            keys,
            lambda rows, desired, index: prune_evacuating(rows, self._cells),
            self._log.session("prune-evacuating"),
        )

    async def work_on(self, sets: LRPSets, *, workers: int) -> None:
        """Do everything that ``sets`` ask for, asking at most ``workers`` cells at a time, and wait for its end."""
        if sets.missing_cells:
            log = self._db_log("actual-lrps-with-missing-cells")
            log.info("detected-missing-cells", cell_ids=sorted(sets.missing_cells))
        retiring = [*sets.extra, *sets.orphans]
        calls_max = len(retiring) + len(sets.routes_changed) + len(sets.tags_changed)
        async with cell_calls(calls_max=calls_max, workers=workers, log=self._log) as calls:
            await self._work_through(retiring, partial(self._retire, calls, len(retiring)), self._log)
            await self._change(
                sets.missing, self._create_missing, self._db_log("lrp-instance-counts"), "missing-instance"
            )
            await self._change(
                sets.stale,
                self._place_again,
                self._db_log("stale-unclaimed-actual-lrps"),
                "stale-unclaimed-lrp",
            )
            await self._change(
                sets.restartable, self._place_again, self._db_log("crashed-actual-lrps"), "crashed-instance"
            )
            # Those beyond what is desired are on their way out, if their cell is gone without a replacement.
            on_their_way = set(sets.extra)
            await self._change(
                [key for key in sets.displaced if key not in on_their_way]
                if on_their_way
                else sets.displaced,
                self._displace,
                self._log.session("keys-with-missing-cells"),
                "missing-cell",
            )
            await self._change(
                sets.suspects_back,
                lambda rows, desired, index: promote(rows, self._cells),
                self._log.session("suspect-lrps-with-existing-cells"),
            )
            await self._change(
                sets.suspects_to_go,
                lambda rows, desired, index: remove_suspect(rows, desired),
                self._log.session("suspect-lrps-to-retire"),
            )
            await self._work_through(
                sets.routes_changed, partial(self._update, calls, update_routes), self._log
            )
            await self._work_through(sets.tags_changed, partial(self._update, calls, update_tags), self._log)

    async def request_auctions(self) -> None:
        """Ask for all starts in one request, an element for each: what only convergence does (spec: peers.md §2.3)."""
        requests = await self._start_requests()
        if not requests:
            return
        try:
            await self._effects.auction_all(requests, log=self._log)
        except BBSError as error:
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
        for number, key in enumerate(self.starts):
            desired = self._store.head.desired_lrp(key.process_guid)
            if desired is not None:
                requests.append(lrp_start(desired, (key.instance_index,), drivers_when_none=None))
            if number % AUCTIONS_IN_A_TURN == 0:
                await trio.lowlevel.checkpoint()
        return requests

    async def _change(
        self, keys: Sequence[ActualLRPKey], decide: Decide, log: Logger, reason: str = ""
    ) -> None:
        """Commit what is decided about each, and note the auctions it asks for, with their ``reason`` in the log."""

        async def change_one(key: ActualLRPKey) -> None:
            outcome = await change(self._store, lambda: self._decided(key, decide), about=key.process_guid)
            if any(isinstance(effect, RequestAuction) for effect in outcome.effects):
                log.info(
                    "creating-start-request",
                    reason=reason,
                    process_guid=key.process_guid,
                    index=key.instance_index,
                )
                self.starts.append(key)

        await self._work_through(keys, change_one, log)

    def _decided(self, key: ActualLRPKey, decide: Decide) -> Outcome:
        head = self._store.head
        return decide(
            head.rows_at(key.process_guid, key.instance_index),
            head.desired_lrp(key.process_guid),
            key.instance_index,
        )

    def _create_missing(self, rows: Rows, desired: DesiredLRP | None, index: int) -> Outcome:
        return create_missing(rows, desired, index, now_ns=self._now_ns(), epoch=self._new_guid())

    def _place_again(self, rows: Rows, desired: DesiredLRP | None, index: int) -> Outcome:
        return place_again(rows, desired, now_ns=self._now_ns())

    def _displace(self, rows: Rows, desired: DesiredLRP | None, index: int) -> Outcome:
        return displace(rows, desired, self._cells, now_ns=self._now_ns(), epoch=self._new_guid())

    async def _retire(self, calls: CellCalls, retiring: int, key: ActualLRPKey) -> None:
        process_guid, index, _ = key
        head = self._store.head
        step = await self._retirement.begin(
            lambda: retire_undesired(head.rows_at(process_guid, index), head.desired_lrp(process_guid)),
            about=process_guid,
        )
        if step is not None:
            about = _about(key)
            log = self._log.session("retire-actual-lrp", about, retiring_lrp_count=retiring)
            calls.add(
                step.cell_id,
                partial(self._retirement.ask_cell, step, log=log),
                failed="retiring-lrp-failed",
                about=about,
            )

    async def _update(
        self, calls: CellCalls, decide: Callable[[Rows, DesiredLRP | None], Outcome], key: ActualLRPKey
    ) -> None:
        outcome = await change(
            self._store,
            lambda: self._decided(key, lambda rows, desired, index: decide(rows, desired)),
            about=key.process_guid,
        )
        for effect in outcome.effects:
            assert isinstance(effect, UpdateInstance)
            calls.add(
                effect.lrp.instance.cell_id,
                partial(self._effects.perform, effect, log=self._log),
                about=_about(key),
            )

    async def _work_through(
        self, items: Collection[ItemT], work: Callable[[ItemT], Awaitable[None]], log: Logger
    ) -> None:
        """Work on each item. A refusal ends its item only; a store that is away ends all that is left of the pass."""
        if self._gave_up.is_set() or not items:
            return
        room = trio.Semaphore(COMMITS_MAX)

        async def work_on(item: ItemT) -> None:
            try:
                await work(item)
            except BBSError as error:
                if isinstance(error, StoreUnavailable) and not isinstance(error, SettledByOther):
                    self._gave_up.set()
                log.error("failed-work-item", _about(item), error=error)
            finally:
                room.release()

        async with trio.open_nursery() as nursery:
            for number, item in enumerate(items):
                if number % STARTED_IN_A_TURN == 0:
                    await trio.lowlevel.checkpoint()
                try:
                    room.acquire_nowait()
                except trio.WouldBlock:
                    await room.acquire()
                if self._gave_up.is_set():
                    break
                nursery.start_soon(work_on, item)

    def _db_log(self, part: str) -> Logger:
        return self._log.session("db-converge-lrps").session(part)


def _about(item: ActualLRPKey | str) -> dict[str, object]:
    if isinstance(item, str):
        return {"domain": item}
    return {"process_guid": item.process_guid, "index": item.instance_index}
