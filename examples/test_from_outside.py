"""A test of a client that is a program of its own, here `cfdot domains`."""

# --8<-- [start:port]
import os
import sys

import pytest
import trio

from bbs.testing import NotReady, Stage

pytest_plugins = ["bbs.testing.pytest_plugin"]


@pytest.mark.slow
async def test_it_says_that_the_server_is_not_ready(bbs_port_stage: Stage) -> None:
    await bbs_port_stage.inflict(NotReady(route="Domains", times=99))

    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-m", "bbs", "domains"],
            env={**os.environ, "BBS_URL": bbs_port_stage.url},
            capture_stderr=True,
            check=False,
        )

    assert done.returncode == 4
    assert b"Try again in a moment" in done.stderr
    # --8<-- [end:port]
