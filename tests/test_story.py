"""The example is a test: nothing acknowledged is lost, nothing is told out of order."""

from pathlib import Path

import pytest
import trio

from examples.story import ACKNOWLEDGED_BEFORE_THE_KILL, STORY_MAX_S, tell
from tests.databases import ON_BOTH, SomeDatabase


@pytest.mark.slow
@ON_BOTH
async def test_the_story_ends_well(tmp_path: Path, some_database: SomeDatabase) -> None:
    """On Postgres as a newcomer would have it told: the server brings its own."""
    with trio.fail_after(STORY_MAX_S):
        ledger = await tell(tmp_path, None if some_database.on_postgres else some_database.url)

    assert ledger.acknowledged >= ACKNOWLEDGED_BEFORE_THE_KILL
    assert ledger.tags_told
