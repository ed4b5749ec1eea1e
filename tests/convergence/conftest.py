"""The bench of passes over LRPs."""

from collections.abc import AsyncIterator

import pytest

from tests.convergence.lrp_bench import LRPBench, open_lrp_bench


@pytest.fixture
async def bench() -> AsyncIterator[LRPBench]:
    async with open_lrp_bench() as bench:
        yield bench
