"""What a connection that is not forgotten would hold."""

import os
from dataclasses import dataclass

import trio

from tests.http.serving import Served


@dataclass(frozen=True)
class Held:
    """By this process, in which both ends of all connections are."""

    connections: int
    tasks: int
    descriptors: int

    @classmethod
    def by(cls, served: Served) -> "Held":
        return cls(
            served.server.statistics().connections,
            trio.lowlevel.current_statistics().tasks_living,
            len(os.listdir("/proc/self/fd")),
        )
