"""The enums of what a client sends and gets, besides the states (`bbs.models`). On the wire they are these numbers."""

from enum import IntEnum


class UpdateStrategy(IntEnum):
    """What becomes of the instances of a ``pb.DesiredLRP`` whose cell is evacuated: its ``update_strategy``."""

    ROLLING = 0
    """An instance goes on until another one runs elsewhere."""
    RECREATE = 1
    """It is given up at once, of a process one after the other; then it starts elsewhere."""


class PreferredAddress(IntEnum):
    """How an instance wants to be reached: the ``preferred_address`` of a ``pb.ActualLRPNetInfo``."""

    UNKNOWN = 0
    INSTANCE = 1
    """At ``instance_address``, the container's, with a ``container_port``."""
    HOST = 2
    """At ``address``, the cell's, with a ``host_port``."""
