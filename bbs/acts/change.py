"""The one way to change rows: decide, and stage what was decided without a checkpoint in between."""

from collections.abc import Callable
from typing import TypeVar

from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome
from bbs.store.scopes import Scope

ScopeT = TypeVar("ScopeT", bound=Scope)


async def change(scope: ScopeT, decide: Callable[[ScopeT], Outcome]) -> Outcome:
    """Decide about what is in ``scope``, stage what was decided, and wait until it is durable.

    ``decide`` reads rows from the scope it is given, and from nowhere else, since the store makes its answer wait only
    for what is staged in that scope. The outcome's ``effects`` are returned, not performed (`bbs.acts.performing`), and
    its ``refusal`` is returned, not raised.

    Raises:
      BBSError: the refusal that ``decide`` raised; or the row cannot be stored, or the database rejected this change, or
        another in the same scope that was staged before it (`SettledByOther`).
      StoreUnavailable: the write failed for good. Or nothing was to be written, and a staged change that ``decide`` may
        have read failed.
    Cancellation:
      As `Store.commit`: gives up the wait, not the write.
    """
    try:
        outcome = decide(scope)
    except BBSError:
        # The refusal may rest on a row that is staged and not durable yet: a second desire is refused with ResourceExists
        # because of the first, whose write may still fail. So wait for that write; if it fails, `settle` raises, and the
        # caller is asked to try again instead of being told of a row that never came to be.
        await scope.store.settle(scope)
        raise
    # No checkpoint since `decide` began reading. With one, another task could stage a change in between, and what was
    # decided on the former rows would overwrite it.
    await scope.store.commit(outcome, scope)
    return outcome
