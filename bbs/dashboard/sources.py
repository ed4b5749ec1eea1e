"""What the dashboard looks at: parts of the server, and functions that give their present values."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from time import time_ns

import trio

from bbs.convergence.loop import PassTimes
from bbs.convergence.lrps import LRPConvergenceStatistics
from bbs.convergence.tasks import TaskConvergenceStatistics
from bbs.metrics.metrics import Metrics
from bbs.peers.interfaces import Cells
from bbs.peers.rep_failures import RepFailures
from bbs.store.store import StoreStatistics
from bbs.store.tables import Tables
from bbs.sync.hubs.hub import HubStatistics


class Part(StrEnum):
    """What a process does."""

    MASTER = "master"
    STANDBY = "standby"
    FOLLOWER = "follower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """How a process stands. ``since_ns`` is when it became master, in nanoseconds since 1970, None if it is not. ``not_ready`` says
    why it answers no requests, '' if it does. ``staleness_s`` is how old what it knows may be: 0 for a master, infinite while it
    has read nothing. ``url`` is where it answers requests, '' if that is not known.
    """

    part: Part
    since_ns: int | None = None
    not_ready: str = ""
    staleness_s: float = 0.0
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """What only a process with convergence has."""

    times: Callable[[], PassTimes]
    lrps: Callable[[], LRPConvergenceStatistics]
    tasks: Callable[[], TaskConvergenceStatistics]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """``tables`` are the rows as readers see them. ``passes`` is None where none ever run. ``now_ns`` is the wall clock, in nanoseconds
    since 1970.
    """

    tables: Tables
    cells: Cells
    role: Callable[[], Role]
    metrics: Metrics
    store: Callable[[], StoreStatistics]
    hubs: Callable[[], HubStatistics]
    passes: Passes | None
    rep_failures: RepFailures
    version: str
    now_ns: Callable[[], int] = time_ns

    def wall_ns(self, at: float) -> int:
        """A time of Trio's clock as nanoseconds since 1970."""
        return self.now_ns() + int((at - trio.current_time()) * 1e9)
