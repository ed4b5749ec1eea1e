"""What can go wrong on a stage, as data. Times are seconds; each fault begins ``after_s`` it was handed to `Stage.inflict`.

A ``route`` is named as upstream names it, and as `Stage.routes` lists it: ``DesireDesiredLRP``, ``ActualLRPs``, ``TaskEventStream``.
Of several faults that wait for the same route, each befalls requests of its own, in the order in which they began.
"""

import math
from dataclasses import dataclass

from bbs.models.errors import BBSError
from bbs.testing._misuse import must_be_possible


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    after_s: float = 0.0

    def __post_init__(self) -> None:
        must_be_possible(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAway(_Fault):
    """The database cannot be reached for ``for_s``. Writes wait and are tried again; reads are answered."""

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitUnanswered(_Fault):
    """The next ``commits`` transactions are committed, but the connection breaks before the BBS hears so. It writes their rows
    again: a request takes longer, and is done once.
    """

    commits: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LocketAway(_Fault):
    """The BBS cannot reach Locket for ``for_s``: nobody can say which cells there are."""

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctioneerAway(_Fault):
    """The auctioneer does not answer for ``for_s``, and forgets what it had still to place."""

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _RouteFault(_Fault):
    route: str
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(_RouteFault):
    """The next ``times`` requests are answered with ``error``, a refusal of `bbs.client`, and nothing is done."""

    error: BBSError


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReady(_RouteFault):
    """The next ``times`` requests are answered 503, as by a server that is becoming master."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionCut(_RouteFault):
    """The connection of each of the next ``times`` requests breaks without an answer: before anything is done, or ``once_done``."""

    once_done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer(_RouteFault):
    """The next ``times`` requests hang for ``for_s``, and are then carried out."""

    for_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsCut(_Fault):
    """The connections of all event streams break. Clients may subscribe again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsStalled(_Fault):
    """For ``for_s`` nothing goes through the event streams that are open by then, as if their readers did not read.

    What happens meanwhile is queued for them, up to 1024 events each. Beyond that the BBS cuts a slow subscriber off: it is
    still given what is queued, and then its stream ends.
    """

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailOver(_Fault):
    """The BBS is killed. For ``away_s`` connections are refused; then another one is master, with the same database.

    For ``streams_after_s`` more it answers requests, and subscriptions with 503: what happens in that time reaches no stream, so a
    client that only goes on reading has missed it.
    """

    away_s: float
    streams_after_s: float = 0.0


RouteFault = Refused | NotReady | ConnectionCut | NoAnswer
Fault = (
    DatabaseAway | CommitUnanswered | LocketAway | AuctioneerAway
    | RouteFault
    | StreamsCut | StreamsStalled | FailOver
)  # fmt: skip
