"""The example is a test: nothing acknowledged is lost, nothing is told out of order."""

from pathlib import Path

import pytest
import trio

from examples.story import ACKNOWLEDGED_BEFORE_THE_KILL, STORY_MAX_S, tell


@pytest.mark.postgres
@pytest.mark.slow
async def test_the_story_ends_well(tmp_path: Path) -> None:
    with trio.fail_after(STORY_MAX_S):
        ledger = await tell(tmp_path)

    assert ledger.acknowledged >= ACKNOWLEDGED_BEFORE_THE_KILL
    assert ledger.tags_told
