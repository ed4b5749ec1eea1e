"""Writes a running fleet straight into the database of a server of ours, which must be stopped meanwhile.

A quarter of a million LRPs take an hour of requests and a minute this way. Only where nobody asks what seeding costs: what a
request would have done beside writing (auctions, events, checks) does not happen.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg

from bbs.commands.local_keyring import local_keyring
from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.lifecycle.rows import StartReport, started, unclaimed
from bbs.models.actual_lrp import ActualLRP, ModificationTag
from bbs.models.desired_lrp import DesiredLRP, desired_lrp_from_message
from bbs.models.outcome import Record
from bbs.store.codecs import CODECS
from bbs.store.crypto import Keyring
from perf.workloads import Fleet, seed_lrp

ROWS_AT_ONCE: Final = 2_000
COPY_MAX_S: Final = 600.0


def seed(data_dir: Path, fleet: Fleet, numbers: range) -> float:
    """Have the LRPs ``numbers`` of ``fleet`` run, in the database below ``data_dir``. Seconds that it took.

    Raises:
      EmbeddedPostgresFailed: a server still uses the directory.
    """
    began_s = time.monotonic()
    keyring = local_keyring(data_dir)
    with embedded_postgres_blocking(data_dir) as postgres:
        asyncio.run(_copy(postgres.dsn, running_lrps(fleet, numbers), keyring))
    return time.monotonic() - began_s


def running_lrps(fleet: Fleet, numbers: Iterable[int]) -> Iterator[tuple[DesiredLRP, ActualLRP]]:
    """What a server holds once these were desired and started."""
    now_ns = time.time_ns()
    first = fleet.process_guid(0)
    first_lrp = desired_lrp_from_message(seed_lrp(first), tag=_new_tag(), created_at_ns=now_ns)
    for number in numbers:
        process_guid = fleet.process_guid(number)
        # All guids are of one length, so no length in the encoded message changes.
        run_info = first_lrp.run_info.replace(first.encode(), process_guid.encode())
        desired = replace(first_lrp, process_guid=process_guid, run_info=run_info, tag=_new_tag())
        report = StartReport.from_request(fleet.start_request(number))
        waiting = unclaimed(process_guid, 0, desired.domain, now_ns=now_ns, epoch=str(uuid4()))
        yield desired, started(waiting, report, now_ns=now_ns)


def _new_tag() -> ModificationTag:
    return ModificationTag(epoch=str(uuid4()), index=0)


async def _copy(dsn: str, lrps: Iterator[tuple[DesiredLRP, ActualLRP]], keyring: Keyring) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        while some := list(islice(lrps, ROWS_AT_ONCE)):
            for records in zip(*some, strict=True):
                await _copy_rows(connection, records, keyring)
    finally:
        await connection.close()


async def _copy_rows(
    connection: "asyncpg.Connection[Any]", records: Sequence[Record], keyring: Keyring
) -> None:
    codec = CODECS[type(records[0])]
    await connection.copy_records_to_table(
        codec.table,
        records=[codec.encode(record, keyring) for record in records],
        columns=[column.name for column in codec.columns],
        timeout=COPY_MAX_S,
    )
