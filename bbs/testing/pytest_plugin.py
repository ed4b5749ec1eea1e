"""Fixtures for pytest with pytest-trio (`pip install 'bbs[testing]'`). In a ``conftest.py``, or in a module of tests:

pytest_plugins = ["bbs.testing.pytest_plugin"]

async def test_it(bbs_stage, autojump_clock): ...       # in memory, in virtual time
async def test_that(bbs_port_stage): ...                # with a port, in real time
"""

from collections.abc import AsyncIterator

import pytest

from bbs.testing._misuse import StageMisused
from bbs.testing._stage import Stage, is_time_virtual, open_stage


@pytest.fixture
async def bbs_stage() -> AsyncIterator[Stage]:
    """A `Stage` in memory, in virtual time."""
    if not is_time_virtual():
        raise StageMisused(
            "bbs_stage is for virtual time: have the test take `autojump_clock` (of pytest-trio), too."
            " For real time take `bbs_port_stage` instead"
        )
    async with open_stage() as stage:
        yield stage


@pytest.fixture
async def bbs_port_stage() -> AsyncIterator[Stage]:
    """A `Stage` with a port of its own on 127.0.0.1, in real time."""
    async with open_stage(port=0) as stage:
        yield stage
