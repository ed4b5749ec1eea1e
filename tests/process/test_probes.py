"""What each probe answers, for every way in which a process may stand. That processes do stand so is in `tests/test_probes_of_processes.py`."""

from typing import Any

import pytest
import trio

from bbs.ports.health import ProbeAnswer
from bbs.process.probes import LOOKUP_S, Standing, probes_of
from bbs.sync.locket.client import Code, LocketError, Resource
from bbs.sync.locket.master import MasterKnown, MasterLookup

OURS = MasterKnown("us", "https://us:8889")
SINCE_NS = 1_700_000_000_900_000_000
US = {"owner": "us", "url": "https://us:8889", "since": "2023-11-14T22:13:20Z"}
OTHER = {"owner": "other", "url": "https://other:8889", "since": None}
UNKNOWN = {"owner": None, "url": None, "since": None}


class SomeLocket:
    """Has a lock of somebody else's, or an error, after a while. No other call is expected."""

    def __init__(self, outcome: Resource | LocketError, after_s: float = 0) -> None:
        self._outcome = outcome
        self._after_s = after_s
        self.asked = 0

    async def fetch(self, key: str, *, deadline_s: float | None) -> Resource:
        self.asked += 1
        with trio.fail_after(deadline_s or 0):
            await trio.sleep(self._after_s)
        if isinstance(self._outcome, LocketError):
            raise self._outcome
        return self._outcome


HELD = Resource.lock("bbs", owner="other", value="https://other:8889")
FREE = LocketError(Code.NOT_FOUND, "resource not found")


async def answer(path: str, standing: Standing, locket: Any = None) -> ProbeAnswer:
    return await probes_of(lambda: standing, None if locket is None else MasterLookup(locket))[path]()


async def test_the_master_names_itself_and_does_not_ask_locket() -> None:
    locket = SomeLocket(HELD)

    said = await answer("/active", Standing(active_since_ns=SINCE_NS, itself=OURS), locket)

    assert said == ProbeAnswer(True, {"active": True, "master": US})
    assert locket.asked == 0


@pytest.mark.parametrize(
    ("locket", "master"),
    [
        (SomeLocket(HELD), OTHER),
        (SomeLocket(FREE), UNKNOWN),
        (SomeLocket(Resource.lock("bbs", owner="go", value="")), {**UNKNOWN, "owner": "go"}),
        (None, UNKNOWN),
    ],
    ids=["other", "free", "upstream's", "no locket"],
)
async def test_whoever_is_not_the_master_says_who_is(
    locket: SomeLocket | None, master: dict[str, str | None]
) -> None:
    said = await answer("/active", Standing(itself=OURS), locket)

    assert said == ProbeAnswer(False, {"active": False, "master": master})


async def test_a_locket_that_does_not_answer_is_not_waited_for(autojump_clock: trio.abc.Clock) -> None:
    began = trio.current_time()

    said = await answer("/active", Standing(), SomeLocket(HELD, after_s=60))

    assert said == ProbeAnswer(False, {"active": False, "master": UNKNOWN})
    assert trio.current_time() - began == pytest.approx(LOOKUP_S)


async def test_locket_is_asked_once_for_many_probes(autojump_clock: trio.abc.Clock) -> None:
    locket = SomeLocket(HELD, after_s=0.1)
    active = probes_of(Standing, MasterLookup(locket))["/active"]  # type: ignore[arg-type]  # stands in for a client of Locket
    said = []

    async def ask() -> None:
        said.append(await active())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)

    assert said == [ProbeAnswer(False, {"active": False, "master": OTHER})] * 5
    assert locket.asked == 1


async def test_ready_and_live() -> None:
    assert await answer("/ready", Standing()) == ProbeAnswer(True, {"ready": True})
    refused = ProbeAnswer(False, {"ready": False, "reason": "why"})
    assert await answer("/ready", Standing(active_since_ns=1, not_ready="why")) == refused
    assert await answer("/live", Standing(not_ready="why")) == ProbeAnswer(True, {"live": True})
