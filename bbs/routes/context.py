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
from bbs.routes.task_counts import TaskCounts
from bbs.store.store import Store
from bbs.sync.hubs.hub import EventHubs


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """``now_ns`` is the wall clock, in Unix nanoseconds.

    ``app_log`` tells the developers of a process' app that a request about it was refused as it stood, if it can.
    ``update_workers`` and ``max_task_retries`` are upstream's settings of these names; no process may be desired with
    more than ``desired_lrp_instances_max`` instances.
    """

    store: Store
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

        ``log`` gives the session in which an effect is told, ``cause`` is that of its auctions.

        Raises:
          BBSError: the decision's refusal, at once or after its work.
          Trouble: the store's, or a peer's.
        """

        def decided(scope: ScopeT) -> Outcome:
            outcome = decide(scope)
            tell_decided(outcome)
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
