"""What the handlers work with, put together by `bbs.service.Service`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bbs.acts.auctions import DESIRED, AuctionCause
from bbs.acts.change import ScopeT, change
from bbs.acts.effects import Effects
from bbs.acts.performing import AtOnce, perform
from bbs.acts.resolution import TaskResolution
from bbs.http.endpoints import Call
from bbs.log import Data, Logger
from bbs.models.errors import BBSError
from bbs.models.outcome import Effect, Outcome
from bbs.peers.interfaces import Cells
from bbs.routes.handler_log import handler_session, tell_committed, tell_decided
from bbs.routes.ready_lists import ReadyLists
from bbs.routes.task_counts import TaskCounts
from bbs.store.store import Store
from bbs.sync.hubs.hub import EventHubs


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """``now_ns`` is the wall clock, in Unix nanoseconds; ``new_guid`` makes epochs of modification tags.

    ``app_log`` takes a process guid and what is wrong with a request about it, and tells the developers of the app; it
    returns False if the guid is no app's.
    ``update_workers`` and ``max_task_retries`` are upstream's settings of these names; no process may be desired with
    more than ``desired_lrp_instances_max`` instances.
    """

    store: Store
    ready_lists: ReadyLists
    hubs: EventHubs
    effects: Effects
    resolution: TaskResolution
    cells: Cells
    log: Logger
    app_log: Callable[[str, BBSError], bool]
    update_workers: int
    desired_lrp_instances_max: int
    max_task_retries: int
    now_ns: Callable[[], int]
    new_guid: Callable[[], str]
    task_counts: TaskCounts = field(default_factory=TaskCounts)

    async def change(
        self,
        scope: ScopeT,
        decide: Callable[[ScopeT], Outcome],
        *,
        log: Callable[[Effect], Logger],
        cause: AuctionCause = DESIRED,
    ) -> Outcome:
        """Decide about ``scope``, wait until what was decided is durable, and have its effects performed.

        ``decide`` reads rows from ``scope`` only, and must not wait: what it returns is staged in the same breath, so that
        no other request can come between. ``log`` gives the session in which an effect is told; it is called only if there
        is an effect. ``cause`` is that of the outcome's LRP auctions.

        Raises:
          BBSError: the decision's refusal, the database's of these rows, or a peer's answer that is the request's. A
            refusal that the outcome itself brings (`Outcome.refusal`) is raised after its rows are durable and its
            effects performed.
          Trouble: the change, or what it rests on, failed for good (`StoreUnavailable`), or a peer failed whose word the
            request's answer depends on: a cell at retire, and one that cannot be called at cancel. Rows are durable then.
        Cancellation:
          Gives up the wait, not the write: what was decided is written, and its effects may be left out. Convergence makes
          up for them.
        """

        def decided(scope: ScopeT) -> Outcome:
            outcome = decide(scope)
            tell_decided(outcome)  # now, not when it is durable: upstream's line comes before its transaction
            return outcome

        outcome = await change(scope, decided)
        tell_committed(outcome)
        if outcome.effects:
            await perform(outcome.effects, AtOnce(self.effects, log=log, cause=cause))
        if outcome.refusal is not None:
            raise outcome.refusal
        return outcome

    def session(self, call: Call, name: str, data: Data | None = None) -> Logger:
        """See `bbs.routes.handler_log.handler_session`."""
        return handler_session(self.log, call, name, data or {})

    def effects_log(
        self, call: Call, name: str, data: Callable[[], Data] | None = None
    ) -> Callable[[Effect], Logger]:
        """One session for all effects of a request, made when the first is to be told, with what ``data`` gives."""
        made: Logger | None = None

        def log(effect: Effect) -> Logger:
            nonlocal made
            if made is None:
                made = handler_session(self.log, call, name, {} if data is None else data())
            return made

        return log
