"""Performs what outcomes ask of peers: every kind of effect, for requests and passes alike.

`perform` is the one place that takes effects apart. How each kind is performed depends on who asks: a request has each
call made at once (`AtOnce`), a convergence pass gathers what can go out together. So each asker brings a `Performer`, which
has a method for every kind there is; an effect that it forgot would not pass the type checker.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, assert_never

from bbs.acts.auctions import DESIRED, AuctionCause
from bbs.acts.effects import CellCall, Effects
from bbs.log import Logger
from bbs.models.outcome import (
    CancelTask,
    CompleteTask,
    Effect,
    RequestAuction,
    RequestTaskAuction,
    RetireInstance,
    StopInstance,
    UpdateInstance,
)


class Performer(Protocol):
    """How one asker has each kind of effect performed. `perform` says when each method is called."""

    def call_cells(self, effects: Sequence[CellCall]) -> None: ...
    async def auction(self, effect: RequestAuction) -> None: ...
    async def retire(self, effect: RetireInstance) -> None: ...
    async def auction_task(self, effect: RequestTaskAuction) -> None: ...
    async def cancel_task(self, effect: CancelTask) -> None: ...
    async def complete_task(self, effect: CompleteTask) -> None: ...


async def perform(effects: Sequence[Effect], by: Performer) -> None:
    """Have ``effects`` performed: calls to cells that nobody waits for first, then the others one after another, in order.

    Raises:
      Failure: whatever a method of ``by`` raises. With `AtOnce` that is a cell that could not be told to retire an
        instance, or could not be called to cancel a task. The effects behind it are not performed.
    Cancellation:
      Leaves out the effects that have not begun. Convergence makes up for them.
    """
    # Queueing takes no time and cannot fail, while each effect below may wait for a peer's timeout, raise, or be cancelled
    # because the client has hung up. Behind one of these, instances would be stopped late, or only by convergence.
    cell_calls = [effect for effect in effects if isinstance(effect, StopInstance | UpdateInstance)]
    if cell_calls:
        by.call_cells(cell_calls)
    for effect in effects:
        match effect:
            case StopInstance() | UpdateInstance():
                pass  # queued above, all together
            case RequestAuction():
                await by.auction(effect)
            case RetireInstance():
                await by.retire(effect)
            case RequestTaskAuction():
                await by.auction_task(effect)
            case CancelTask():
                await by.cancel_task(effect)
            case CompleteTask():
                await by.complete_task(effect)
            case _:
                assert_never(effect)


class AtOnce:
    """Performs each effect as it comes, as requests want it.

    ``log`` gives the session in which an effect is logged. It is called only when there is an effect, since most requests
    have none and a session costs time. ``cause`` says what brought about the LRP auctions.
    """

    def __init__(
        self, effects: Effects, *, log: Callable[[Effect], Logger], cause: AuctionCause = DESIRED
    ) -> None:
        self._effects = effects
        self._log = log
        self._cause = cause

    def call_cells(self, effects: Sequence[CellCall]) -> None:
        # By kind, since each kind is logged in the session of its own first effect.
        for kind in (StopInstance, UpdateInstance):
            if calls := [effect for effect in effects if isinstance(effect, kind)]:
                self._effects.queue_cell_calls(calls, log=self._log(calls[0]))

    async def auction(self, effect: RequestAuction) -> None:
        await self._effects.auction(effect, self._cause, log=self._log(effect))

    async def retire(self, effect: RetireInstance) -> None:
        await self._effects.retire(effect, log=self._log(effect))

    async def auction_task(self, effect: RequestTaskAuction) -> None:
        await self._effects.auction_task(effect.task, log=self._log(effect))

    async def cancel_task(self, effect: CancelTask) -> None:
        await self._effects.cancel_task(effect, log=self._log(effect))

    async def complete_task(self, effect: CompleteTask) -> None:
        self._effects.complete_task(effect.task, log=self._log(effect))
