"""Which state an ActualLRP may go to, and on whose word (spec: actual-lrps.md §2).

An instance goes UNCLAIMED -> CLAIMED -> RUNNING, and falls back to UNCLAIMED or into CRASHED. Whoever asks names an
instance key; most moves are open only to the instance that holds the row, because a request from an earlier attempt
may arrive after its successor has started.
"""

from collections.abc import Callable, Mapping
from typing import Final

from bbs.models.actual_lrp import NO_INSTANCE, ActualLRP, ActualLRPState, InstanceKey

Guard = Callable[[ActualLRP, InstanceKey], bool]


def anyone(lrp: ActualLRP, who: InstanceKey) -> bool:
    return True


def same_instance(lrp: ActualLRP, who: InstanceKey) -> bool:
    return lrp.instance == who


def nobody(lrp: ActualLRP, who: InstanceKey) -> bool:
    """No cell may: only the server itself gives such a row up, and then names no instance."""
    return who == NO_INSTANCE


_S = ActualLRPState

MOVES: Final[Mapping[tuple[ActualLRPState, ActualLRPState], Guard]] = {
    (_S.UNCLAIMED, _S.UNCLAIMED): anyone,
    (_S.UNCLAIMED, _S.CLAIMED): anyone,
    (_S.UNCLAIMED, _S.RUNNING): anyone,
    (_S.CLAIMED, _S.UNCLAIMED): nobody,
    (_S.CLAIMED, _S.CLAIMED): same_instance,
    (_S.CLAIMED, _S.RUNNING): anyone,  # what runs outranks another cell's claim
    (_S.CLAIMED, _S.CRASHED): same_instance,
    (_S.RUNNING, _S.UNCLAIMED): nobody,
    (_S.RUNNING, _S.CLAIMED): same_instance,  # backwards: the cell starts over with what it ran
    (_S.RUNNING, _S.RUNNING): same_instance,
    (_S.RUNNING, _S.CRASHED): same_instance,
    # A crashed row holds no instance, and requests must name one, so these two never happen through the API.
    (_S.CRASHED, _S.CLAIMED): same_instance,
    (_S.CRASHED, _S.RUNNING): same_instance,
    (_S.CRASHED, _S.UNCLAIMED): nobody,
}
"""Who may cause which move. A pair that is not here is refused to everybody."""


def may_move(lrp: ActualLRP, to: ActualLRPState, who: InstanceKey, *, domain: str | None = None) -> bool:
    """Whether ``who`` may bring ``lrp`` into the state ``to``.

    ``domain`` is the one the request gives; ``None`` when it gives none. A wrong domain is refused whatever the move.
    """
    if domain is not None and domain != lrp.domain:
        return False
    guard = MOVES.get((lrp.state, to))
    return guard is not None and guard(lrp, who)
