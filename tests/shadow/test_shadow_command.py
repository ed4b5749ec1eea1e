"""What can be said about the command line before anything is compared."""

import json
import sys

import pytest
import trio

from tests.daemons import Surroundings
from tests.databases import ON_POSTGRES

REFUSED = [
    (["--compare", "ftp://master"], 'unsupported protocol scheme "ftp"'),
    (["--compare", "https://user:secret@master:1"], "a BBS knows no user names"),
    (["--compare", "https://master:1", "--key-file", "nowhere"], "nowhere"),
]


@ON_POSTGRES
@pytest.mark.slow
async def test_a_master_that_cannot_be_meant_is_refused(around: Surroundings) -> None:
    file = around.tmp_path / "shadow.json"
    file.write_text(json.dumps(around.config("shadow")))
    for flags, told in REFUSED:
        ended = await trio.run_process(
            [sys.executable, "-m", "bbs", "shadow", "-config", str(file), *flags],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )

        assert ended.returncode == 2
        assert told in ended.stderr.decode()
        assert "secret" not in ended.stderr.decode()
        assert ended.stdout == b""
