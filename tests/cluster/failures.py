"""What may happen to a node, and how it comes back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Final

from tests.cluster.nodes import Cluster, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """``strike`` is given the primary and returns the node that it hit. ``mend`` brings that back. ``moves``: another node
    becomes the primary. ``is_quick``: Patroni notices it at once, and need not wait until the node's key has expired.
    ``wakes_first``: before the node is mended, its Postgres alone goes on for a while, as if nothing had happened.
    """

    name: str
    strike: Callable[[Cluster, Node], Awaitable[Node]]
    mend: Callable[[Node], None]
    moves: bool = True
    is_quick: bool = False
    wakes_first: bool = False


async def _switch_over(cluster: Cluster, primary: Node) -> Node:
    await cluster.switch_over(primary, await cluster.synchronous_standby())
    return primary


async def _kill_postgres(cluster: Cluster, primary: Node) -> Node:
    primary.signal_postgres(SIGKILL)
    return primary


async def _kill_node(cluster: Cluster, primary: Node) -> Node:
    await primary.kill()
    return primary


async def _stop_node(cluster: Cluster, primary: Node) -> Node:
    primary.signal_all(SIGSTOP)
    return primary


async def _stop_standby(cluster: Cluster, primary: Node) -> Node:
    standby = await cluster.synchronous_standby()
    standby.signal_all(SIGSTOP)
    return standby


def _nothing(node: Node) -> None:
    pass  # Patroni sees to it


def _start(node: Node) -> None:
    node.start()


def _go_on(node: Node) -> None:
    node.signal_all(SIGCONT)


FAILURES: Final = {
    failure.name: failure
    for failure in (
        Failure(name="switchover", strike=_switch_over, mend=_nothing, is_quick=True),
        Failure(name="kill-postgres", strike=_kill_postgres, mend=_nothing, is_quick=True),
        Failure(name="kill-node", strike=_kill_node, mend=_start),
        Failure(name="stop-node", strike=_stop_node, mend=_go_on),
        Failure(name="split", strike=_stop_node, mend=_go_on, wakes_first=True),
        Failure(name="stop-standby", strike=_stop_standby, mend=_go_on, moves=False),
    )
}
