"""Both lanes make the same of any bytes, and of the same bytes however they are cut."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bbs.http.limits import Limits
from tests.fuzzing import examples
from tests.http.request_grammar import cuts, damaged, streams
from tests.http.serving import World, serving
from tests.http.test_http_agreement import CASES
from tests.http.test_smuggling import CASES as SMUGGLING
from tests.http.verdicts import Verdict, verdict

LIMITS = Limits(header_bytes_max=300, body_bytes_max=100, linger_s=0.05)

Judge = Callable[[list[bytes]], Verdict]


def check_lanes(fast: Judge, slow: Judge, sent: bytes, pieces: list[bytes]) -> None:
    whole, cut = fast([sent]), fast(pieces)

    assert whole == slow([sent])
    assert cut == slow(pieces)
    # How bytes are cut decides nothing but this: a request that is refused before its body has come ends its connection.
    shorter, longer = sorted((whole, cut), key=lambda each: len(each.statuses))
    assert longer.served[: len(shorter.served)] == shorter.served
    assert longer.statuses[: len(shorter.statuses) - 1] == shorter.statuses[:-1]
    if longer.served != shorter.served or longer.kept != shorter.kept:
        assert shorter.statuses[-1] >= 400


SHORT = [each[0] for each in CASES.values()] + [each[0] for each in SMUGGLING.values()]
WAYS = {
    "made from the grammar": (150, streams()),
    "damaged": (100, damaged([sent for sent in SHORT if len(sent) <= LIMITS.header_bytes_max])),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_both_lanes_make_the_same_of_any_bytes(way: str) -> None:
    usual, sents = WAYS[way]
    async with (
        serving(World(), fast_lane=True, limits=LIMITS) as fast,
        serving(World(), fast_lane=False, limits=LIMITS) as slow,
    ):

        @examples(usual)
        @given(sent=sents, data=st.data())
        def check(sent: bytes, data: st.DataObject) -> None:
            check_lanes(
                lambda pieces: trio.from_thread.run(verdict, fast, pieces),
                lambda pieces: trio.from_thread.run(verdict, slow, pieces),
                sent,
                data.draw(cuts(sent)),
            )

        await trio.to_thread.run_sync(check)
        assert fast.world.bugs == slow.world.bugs == []
        assert fast.world.calls
