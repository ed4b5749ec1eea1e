"""The embedded Locket over real gRPC: its clients, one of them a process of its own (locking-and-presence.md §1)."""

import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from bbs.log import null_logger
from bbs.models import pb
from bbs.models.errors import ResourceNotFound
from bbs.sync.locket.client import (
    Locket,
    LocketError,
    LocketSettings,
    LocketUnreachable,
    Resource,
    TypeCode,
    open_locket,
)
from bbs.sync.locket.presences import Presences
from bbs.sync.locket.server import embedded_locket
from bbs.sync.locket.table import LocketTable
from bbs.tls.contexts import TLSFiles
from tests.daemons import free_port
from tests.made_once import copied_certs
from tests.processes import first_line, running_bbs
from tests.waiting import wait_until

LOCK = Resource.lock("bbs", owner="a")


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with embedded_locket(LocketTable(trio.current_time), log=null_logger()) as bound:
        yield bound


async def test_the_four_calls(address: str) -> None:
    async with open_locket(LocketSettings(address=address, tls=None), log=null_logger()) as locket:
        await locket.lock(LOCK, ttl_s=15, deadline_s=5, wait_for_ready=False)
        assert await locket.fetch("bbs", deadline_s=5) == LOCK
        presence = Resource.presence("cell", owner="o", value="{}")
        await locket.lock(presence, ttl_s=15, deadline_s=5, wait_for_ready=True)
        assert await locket.fetch_all(TypeCode.PRESENCE, deadline_s=5) == [presence]
        await locket.release(LOCK)
        await locket.release(LOCK)
        with pytest.raises(LocketError, match=r"^rpc error: code = NotFound desc = resource-not-found$"):
            await locket.fetch("bbs", deadline_s=5)


@pytest.mark.parametrize(
    ("resource", "ttl_s", "error"),
    [
        pytest.param(
            Resource.lock("bbs", owner="b"), 15, "AlreadyExists desc = lock-collision", id="collision"
        ),
        pytest.param(LOCK, 0, "InvalidArgument desc = invalid-ttl", id="no TTL"),
        pytest.param(Resource.lock("x", owner=""), 15, "InvalidArgument desc = invalid-owner", id="no owner"),
        pytest.param(
            Resource(key="x", owner="o", type="lock", type_code=0),
            15,
            "NotFound desc = invalid-type",
            id="no type",
        ),
    ],
)
async def test_refusals_have_upstreams_codes_and_texts(
    address: str, resource: Resource, ttl_s: int, error: str
) -> None:
    async with open_locket(LocketSettings(address=address, tls=None), log=null_logger()) as locket:
        await locket.lock(LOCK, ttl_s=15, deadline_s=5, wait_for_ready=False)

        with pytest.raises(LocketError) as refused:
            await locket.lock(resource, ttl_s=ttl_s, deadline_s=5, wait_for_ready=False)

    assert str(refused.value) == f"rpc error: code = {error}"


async def test_what_is_not_renewed_goes(address: str) -> None:
    async with open_locket(LocketSettings(address=address, tls=None), log=null_logger()) as locket:
        await locket.lock(LOCK, ttl_s=1, deadline_s=5, wait_for_ready=False)
        with trio.fail_after(10), pytest.raises(LocketError, match="NotFound"):
            await fetch_until_refused(locket)


async def fetch_until_refused(locket: Locket) -> None:
    while True:
        await locket.fetch("bbs", deadline_s=5)


async def test_mutual_tls_and_who_is_not_trusted(tmp_path: Path) -> None:
    certs, others = copied_certs(tmp_path / "certs"), copied_certs(tmp_path / "others", of="strangers")
    server = TLSFiles(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)
    client = TLSFiles(ca_file=certs.ca_cert, cert_file=certs.client_cert, key_file=certs.client_key)
    table = LocketTable(trio.current_time)
    async with embedded_locket(table, tls=server, log=null_logger()) as address:
        async with open_locket(LocketSettings(address=address, tls=client), log=null_logger()) as locket:
            await locket.lock(LOCK, ttl_s=15, deadline_s=5, wait_for_ready=False)
        stranger = TLSFiles(ca_file=certs.ca_cert, cert_file=others.client_cert, key_file=others.client_key)
        with trio.move_on_after(2) as patience:
            async with open_locket(LocketSettings(address=address, tls=stranger), log=null_logger()):
                raise AssertionError("a stranger was let in")
        assert patience.cancelled_caught


@pytest.mark.slow
async def test_a_locket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LocketUnreachable, match=r"^context deadline exceeded$"):
        async with open_locket(
            LocketSettings(address=f"127.0.0.1:{free_port()}", tls=None), log=null_logger()
        ):
            pass


async def test_an_address_that_is_taken_is_an_error(address: str) -> None:
    with pytest.raises(OSError, match=re.escape(address)):
        async with embedded_locket(LocketTable(trio.current_time), address, log=null_logger()):
            pass


async def test_no_thread_is_left() -> None:
    before = threading.active_count()
    async with (
        embedded_locket(LocketTable(trio.current_time), log=null_logger()) as bound,
        open_locket(LocketSettings(address=bound, tls=None), log=null_logger()) as locket,
    ):
        await locket.lock(LOCK, ttl_s=15, deadline_s=5, wait_for_ready=False)
    await wait_until(
        lambda: not any("locket" in thread.name for thread in threading.enumerate()),
        within_s=10,
        what="Locket's threads have ended",
    )
    assert threading.active_count() <= before + 2  # gRPC's own pollers go when they like


async def test_presences_of_another_process_come_and_go(address: str) -> None:
    async with open_locket(LocketSettings(address=address, tls=None), log=null_logger()) as locket:
        cells = Presences(locket, deadline_s=5)
        assert await cells.present_cells(log=null_logger()) == set()
        process = await start_cell(address)
        try:
            assert await cells.present_cells(log=null_logger()) == {"cell-1"}
            assert (
                await cells.cell_by_id("cell-1", log=null_logger())
            ).rep_url == "https://cell.service.cf.internal:1801"
        finally:
            process.kill()
            await process.wait()

        async def is_gone() -> bool:
            return not await cells.present_cells(log=null_logger())

        await wait_until(is_gone, within_s=10, what="the cell's presence has run out")
        with pytest.raises(ResourceNotFound):
            await cells.cell_by_id("cell-1", log=null_logger())


@pytest.mark.slow
async def test_a_cell_registers_with_bbs_serve_and_is_listed(tmp_path: Path) -> None:
    locket = f"127.0.0.1:{free_port()}"
    async with running_bbs(tmp_path, "--locket-listen", locket) as bbs, bbs.client() as client:
        assert await client.cells() == []
        process = await start_cell(locket)
        try:
            (cell,) = await client.cells()
            assert isinstance(cell, pb.CellPresence)
            assert (cell.cell_id, cell.zone, cell.capacity.containers) == ("cell-1", "z1", 250)
        finally:
            process.kill()
            await process.wait()

        async def is_gone() -> bool:
            return not await client.cells()

        await wait_until(is_gone, within_s=10, what="the cell's presence has run out")
        assert await bbs.stop() == 0


async def start_cell(address: str) -> trio.Process:
    """A process whose cell is registered."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.cell_process", address, "cell-1", "1"], stdout=subprocess.PIPE
    )
    with trio.fail_after(30):
        assert await first_line(process) == "registered"
    assert process.stdout is not None
    await process.stdout.aclose()
    return process
