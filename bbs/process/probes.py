"""What a process answers to the probes of load balancers and orchestrators, on its health port: ``/active``, ``/ready``, ``/live``.

``/active`` says whether this process is the master, and who is; ``/ready`` whether a request that came now would be answered;
``/live`` that the process runs at all. A standby is not ready: its API port is closed, so whatever a load balancer sent there
would be refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import trio

from bbs.ports.health import Probe, ProbeAnswer
from bbs.sync.locket.master import NOBODY, MasterKnown, MasterLookup

LOOKUP_S: Final = 0.8
"""How long an answer waits for Locket to say who is master. Probes give up after a second, as a rule; the status is known without
Locket, and is what most of them look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a process stands at this moment. ``active_since_ns`` is when it became master, in Unix nanoseconds, and None if it is
    not; ``itself`` is what others know it by. ``not_ready`` says why no request would be answered, and is '' if it would.
    """

    active_since_ns: int | None = None
    itself: MasterKnown = NOBODY
    not_ready: str = ""


def probes_of(standing: Callable[[], Standing], master: MasterLookup | None) -> Mapping[str, Probe]:
    """The probes by path. ``master`` is asked by a process that is not master itself, if there is somebody to ask."""

    async def active() -> ProbeAnswer:
        since_ns = standing().active_since_ns
        if since_ns is not None:
            return ProbeAnswer(True, {"active": True, "master": _described(standing().itself, since_ns)})
        known = NOBODY
        if master is not None:
            with trio.move_on_after(LOOKUP_S):
                known = await master.ask()
        # Locket does not tell since when. Nor is it asked twice: it may still name this process, which was master just now.
        return ProbeAnswer(False, {"active": False, "master": _described(known, None)})

    async def ready() -> ProbeAnswer:
        await trio.lowlevel.checkpoint()
        reason = standing().not_ready
        return ProbeAnswer(not reason, {"ready": False, "reason": reason} if reason else {"ready": True})

    async def live() -> ProbeAnswer:
        await trio.lowlevel.checkpoint()
        return ProbeAnswer(True, {"live": True})

    return {"/active": active, "/ready": ready, "/live": live}


def _described(master: MasterKnown, since_ns: int | None) -> dict[str, str | None]:
    """With null for what is not known."""
    since = None
    if since_ns is not None:
        since = datetime.fromtimestamp(since_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"owner": master.owner or None, "url": master.url or None, "since": since}
