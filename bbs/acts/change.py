"""The one way to change rows: decide, and stage what was decided in the same breath."""

from collections.abc import Callable

from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome
from bbs.store.store import Store


async def change(store: Store, decide: Callable[[], Outcome], *, about: str) -> Outcome:
    """Decide, stage what was decided, and wait until it is durable.

    ``about`` is the process guid, task guid or domain whose rows ``decide`` reads from `store.head`.

    Raises:
      BBSError: the decision's refusal, or the store's. A refusal may rest on rows that are only staged, so it is
        held back until they are durable: nobody hears of what might yet be undone.
    """
    try:
        outcome = decide()
    except BBSError:
        await store.settle(about)
        raise
    await store.commit(outcome, about=about)
    return outcome
