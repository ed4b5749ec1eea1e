"""What is known of a deployment when it is judged. Whatever could not be found out says why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from bbs.config.cautions import Caution
from bbs.convergence.lrp_sets import LRPSets
from bbs.models.domain import Domain
from bbs.sync.locket.master import MasterKnown


@dataclass(frozen=True, slots=True)
class Unknown:
    """``is_asked`` is false for what there was nobody to ask about, which is nobody's fault. ``see`` is the check that tells what
    is to blame; '' if that is nothing.
    """

    why: str
    is_asked: bool = True
    see: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFile:
    """``key`` of the configuration names the file at ``path``. ``ends`` is when the first of its certificates expires, in UTC. Of a
    file of CAs ``last_ends`` is when the last of them does: those that were replaced often stay in it.
    """

    key: str
    path: str
    ends: datetime | Unknown
    last_ends: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSays:
    """What the process beside us says on its health port. ``active_since`` is None if it is not the master, and ``not_ready`` ''
    if it answers requests. ``owner`` is the name under which it, as the master, has Locket's lock; '' if it takes none.
    """

    active_since: datetime | None
    not_ready: str
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSays:
    """``version`` is the server's own words. ``schema_version`` and ``key_label`` are None if they are not there."""

    version: str
    round_trip_s: float
    schema_version: int | None
    key_label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a BBS at ``url`` answers to a client. A follower answers reads and is not the master."""

    url: str
    is_master: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the rows say. ``used_domains`` are those that LRPs are in; ``unreadable`` counts rows of the database by their table.
    ``are_expiries_known`` is false if a BBS has listed the domains: then each seems to be fresh for good.

    ``work`` is what the next convergence pass will find to do, if it is known which cells there are. Rows are read while others
    write, so what is told of single instances may be over already.
    """

    domains: tuple[Domain, ...]
    used_domains: frozenset[str]
    unreadable: Mapping[str, int] | Unknown
    are_expiries_known: bool = True
    evacuating_to_prune: int
    work: LRPSets | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``now_ns`` is Unix time. ``configuration`` is that there is one. ``master`` and ``cells`` are what Locket knows, ``metrics`` the gauges without labels on the debug
    port's page, and ``auctioneer`` is that a connection to it could be made.
    """

    now_ns: int
    active_key_label: str
    key_labels: frozenset[str]
    configuration: Literal[True] | Unknown = True
    problems: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()
    certificates: tuple[CertificateFile, ...] = ()
    master: MasterKnown | Unknown = field(kw_only=True)
    cells: frozenset[str] | Unknown = field(kw_only=True)
    process: ProcessSays | Unknown = field(kw_only=True)
    database: DatabaseSays | Unknown = field(kw_only=True)
    rows: Rows | Unknown = field(kw_only=True)
    metrics: Mapping[str, float] | Unknown = field(kw_only=True)
    auctioneer: Literal[True] | Unknown = field(kw_only=True)
    answers: Answers | Unknown = field(kw_only=True)
