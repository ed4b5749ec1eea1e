"""The one way to change rows: decide, and stage what was decided in the same breath."""

from collections.abc import Callable
from typing import TypeVar

from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome
from bbs.store.scopes import Scope

ScopeT = TypeVar("ScopeT", bound=Scope)


async def change(scope: ScopeT, decide: Callable[[ScopeT], Outcome]) -> Outcome:
    """Decide about what is in ``scope``, stage what was decided, and wait until it is durable.

    ``decide`` reads rows from the scope it is given, and from nowhere else: what it has read is what its answer waits
    for. Its effects are not performed yet, see `bbs.acts.performing`.

    Raises:
      BBSError: the decision's refusal, or the database's, of this change or of one that it builds upon. A refusal may
        rest on rows that are only staged, so it is held back until they are durable: nobody hears of what might yet be
        undone.
      StoreUnavailable: the change, or what it rests on, failed for good.
    Cancellation:
      As `Store.commit`: gives up the wait, not the write.
    """
    try:
        outcome = decide(scope)
    except BBSError:
        await scope.store.settle(scope)
        raise
    await scope.store.commit(outcome, scope)
    return outcome
