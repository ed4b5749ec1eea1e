"""The server as its users meet it: a process, its command line, its standard output and its signals."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bbs.client import ClientConfig, InternalBBSClient
from tests.forked import Process, start_forked

START_MAX_S = 60.0


@dataclass
class RunningBBS:
    process: Process
    url: str

    @asynccontextmanager
    async def client(self) -> AsyncIterator[InternalBBSClient]:
        config = ClientConfig(url=self.url, attempts=1, idle_connections_max=64, request_timeout_s=30)
        async with InternalBBSClient.connect(config) as client:
            yield client

    async def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.terminate()
        with trio.fail_after(START_MAX_S):
            return await self.process.wait()


async def spawn(*arguments: str, stderr: Path) -> Process:
    with stderr.open("ab") as log:
        return await start_forked("bbs", *arguments, stderr=log)


async def first_line(process: Process) -> str:
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n") and (piece := await process.stdout.receive_some()):
        line += piece
    return line.decode().strip()


@asynccontextmanager
async def running_bbs(tmp_path: Path, *arguments: str) -> AsyncIterator[RunningBBS]:
    """``bbs serve`` on a free port; killed in the end if it has not ended by then."""
    log = tmp_path / "bbs.log"
    process = await spawn(
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--locket-listen",
        "127.0.0.1:0",
        "--data-dir",
        str(tmp_path / "data"),
        *arguments,
        stderr=log,
    )
    try:
        with trio.fail_after(START_MAX_S):
            line = await first_line(process)
        assert line.startswith("listening on "), log.read_text()
        yield RunningBBS(process, line.removeprefix("listening on "))
    finally:
        with trio.CancelScope(shield=True):  # a killed process ends at once
            process.kill()
            await process.wait()
