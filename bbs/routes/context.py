"""What the handlers work with, put together once by `bbs.commands.serve`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from os import urandom
from time import time_ns

from bbs.acts.change import change
from bbs.acts.effects import AuctionCause, Effects, lrp_start
from bbs.acts.task_effects import NoCallbacks
from bbs.http.endpoints import Call
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.log import Data, Logger
from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome, RequestAuction
from bbs.peers.interfaces import TaskCallbacks
from bbs.routes.handler_log import handler_session, tell_committed
from bbs.routes.task_counts import TaskCounts
from bbs.store.store import Store
from bbs.sync.hubs.hub import EventHubs


def _new_guid() -> str:
    """A random UUID (version 4) as text; `uuid.uuid4` makes an object first, which takes four times as long."""
    digits = urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


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
    log: Logger
    callbacks: TaskCallbacks = field(default_factory=NoCallbacks)
    task_counts: TaskCounts = field(default_factory=TaskCounts)
    app_log: Callable[[str, BBSError], bool] = lambda process_guid, error: True
    update_workers: int = 1000
    desired_lrp_instances_max: int = INSTANCES_MAX
    max_task_retries: int = 3
    now_ns: Callable[[], int] = time_ns
    new_guid: Callable[[], str] = field(default=_new_guid)

    async def change(self, decide: Callable[[], Outcome], *, about: str) -> Outcome:
        """Decide, stage what was decided in the same breath, and wait until it is durable.

        ``about`` is the process guid, task guid or domain whose rows ``decide`` reads from `store.head`.

        Raises:
          BBSError: the decision's refusal, or the store's. A refusal may rest on rows that are only staged, so it is
            held back until they are durable: nobody hears of what might yet be undone.
        """
        outcome = await change(self.store, decide, about=about)
        tell_committed(outcome)
        return outcome

    def session(self, call: Call, name: str, data: Data | None = None) -> Logger:
        """See `bbs.routes.handler_log.handler_session`."""
        return handler_session(self.log, call, name, data or {})

    async def auction(self, outcome: Outcome, cause: AuctionCause, *, log: Callable[[], Logger]) -> None:
        """Ask for the LRP auctions of ``outcome`` and wait for the auctioneer's word.

        ``log`` is only called if there is one. A process that was removed a moment ago is left out: nobody wants its
        instances any more.
        """
        for effect in outcome.effects:
            if isinstance(effect, RequestAuction):
                desired = self.store.head.desired_lrp(effect.process_guid)
                if desired is not None:
                    start = lrp_start(desired, effect.indices, drivers_when_none=cause.drivers_when_none)
                    await self.effects.auction(start, cause, trace_id=effect.trace_id, log=log())
