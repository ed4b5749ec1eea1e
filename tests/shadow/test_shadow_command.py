"""What can be said about the command line before anything is compared."""

import json
import subprocess
import sys

import pytest

from tests.daemons import Surroundings
from tests.databases import ON_POSTGRES


@ON_POSTGRES
@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--compare", "ftp://master"], 'unsupported protocol scheme "ftp"'),
        (["--compare", "https://user:secret@master:1"], "a BBS knows no user names"),
        (["--compare", "https://master:1", "--key-file", "nowhere"], "nowhere"),
    ],
)
async def test_a_master_that_cannot_be_meant_is_refused(
    around: Surroundings, flags: list[str], told: str
) -> None:
    file = around.tmp_path / "shadow.json"
    file.write_text(json.dumps(around.config("shadow")))

    ended = subprocess.run(  # noqa: ASYNC221  # nothing else goes on
        [sys.executable, "-m", "bbs", "shadow", "-config", file, *flags], capture_output=True, timeout=60
    )

    assert ended.returncode == 2
    assert told in ended.stderr.decode()
    assert "secret" not in ended.stderr.decode()
    assert ended.stdout == b""
