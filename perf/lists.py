"""What lists of everything cost in this process, from a load on: the first of each kind, later ones, later ones after
changes, how long others wait meanwhile, and how much memory it takes.

The fleet is decoded from columns, as from a database, on a backend that forgets what it is given; requests go through
the route table, with no HTTP beside them.
"""

import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import trio

from bbs.http.endpoints import Answer, Call, Peer, Route, RouteTable, Unary
from bbs.http.error_answers import answer_bytes
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, ModificationTag
from bbs.models.desired_lrp import DesiredLRP, desired_lrp_from_message
from bbs.models.errors import BBSError
from bbs.models.outcome import Record, Row, put
from bbs.models.wire import encode
from bbs.peers.stub import StubPeers
from bbs.process import garbage
from bbs.service import Service
from bbs.store.backend import Seen
from bbs.store.codecs import CODECS
from bbs.store.crypto import Keyring
from perf.convergence import ForgetfulBackend
from perf.figures import JSON, number, table
from perf.stalls import Stalls, stalls_beside
from perf.workloads import DOMAIN, LRPS_PER_CELL, NET_INFO, ZONE, seed_lrp

LISTS: Final[Mapping[str, str]] = {
    "ActualLRPs": "/v1/actual_lrps/list",
    "scheduling infos": "/v1/desired_lrp_scheduling_infos/list",
    "routing infos": "/v1/desired_lrp_routing_infos/list",
    "DesiredLRPs": "/v1/desired_lrps/list.r3",
}
LATER: Final = 9
CHANGED: Final = 500
"""Rows of each table that change before each of the lists after changes."""

SLICE_ROWS: Final = 64
NOW_NS: Final = 1_700_000_000_000_000_000


class FleetBackend(ForgetfulBackend):
    """Has ``lrps`` LRPs of one instance each, of upstream's benchmark, to load."""

    def __init__(self, lrps: int) -> None:
        self._lrps = lrps

    async def load(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        keyring = Keyring({"label": "key"}, "label")
        records = (record for number in range(self._lrps) for record in _records(number, self._lrps))
        while some := list(islice(records, SLICE_ROWS)):
            await trio.lowlevel.checkpoint()
            yield [put(_stored_and_read(record, keyring)) for record in some]


def stored_lrp(number: int, lrps: int) -> tuple[DesiredLRP, ActualLRP]:
    """One of ``lrps`` running LRPs of one instance, as it is after a load."""
    keyring = Keyring({"label": "key"}, "label")
    desired, actual = (_stored_and_read(record, keyring) for record in _records(number, lrps))
    assert isinstance(desired, DesiredLRP)
    assert isinstance(actual, ActualLRP)
    return desired, actual


def _records(number: int, lrps: int) -> tuple[Record, Record]:
    process_guid = f"{uuid4()}-{uuid4()}"
    tag = ModificationTag(epoch=str(uuid4()), index=0)
    desired = desired_lrp_from_message(seed_lrp(process_guid), tag=tag, created_at_ns=NOW_NS)
    cell_id = f"cell-{number % max(lrps // LRPS_PER_CELL, 1)}"
    actual = ActualLRP(
        process_guid=process_guid,
        index=0,
        domain=DOMAIN,
        state=ActualLRPState.RUNNING,
        instance=InstanceKey(instance_guid=str(uuid4()), cell_id=cell_id),
        net_info=encode(NET_INFO),
        metric_tags=(("instance_id", "0"), ("source_id", "some-metrics-guid")),
        routable=True,
        availability_zone=ZONE,
        since_ns=NOW_NS,
        tag=replace(tag, epoch=str(uuid4())),
    )
    return desired, actual


def _stored_and_read(record: Record, keyring: Keyring) -> Record:
    """As from a database: no text is shared with another row unless the codec sees to it."""
    codec = CODECS[type(record)]
    values = codec.encode(record, keyring)
    return codec.decode(
        [value.encode().decode() if isinstance(value, str) else value for value in values], keyring
    )


@dataclass(slots=True, kw_only=True)
class List:
    """Milliseconds of CPU time, which suffer less from what else the machine does: the first answer, later ones, and those
    after changes.
    """

    first_ms: float = 0.0
    later_ms: list[float] = field(default_factory=list)
    changed_ms: list[float] = field(default_factory=list)
    bytes: int = 0

    @property
    def ratio(self) -> float:
        return self.first_ms / median(self.later_ms)


@dataclass(slots=True, kw_only=True)
class ListsAccount:
    lrps: int
    idle_s: float
    lists: dict[str, List] = field(default_factory=dict)
    loaded_mb: float = 0.0
    ready_mb: float = 0.0
    listed_mb: float = 0.0
    peak_mb: float = 0.0
    idle_stalls: Stalls = field(default_factory=Stalls)
    listing_stalls: Stalls = field(default_factory=Stalls)

    def report(self) -> str:
        rows = [
            [
                name,
                number(each.bytes / 1e6, digits=1),
                number(each.first_ms, digits=1),
                number(median(each.later_ms), digits=1),
                number(median(each.changed_ms), digits=1),
                number(each.ratio, digits=2),
            ]
            for name, each in self.lists.items()
        ]
        return "\n".join(
            [
                f"{self.lrps:,} DesiredLRPs and {self.lrps:,} ActualLRPs, first lists {self.idle_s:g} s after the load; "
                f"after changes: {CHANGED} of each table",
                "",
                table(["list", "MB", "first ms", "later ms", "after changes ms", "first/later"], rows),
                "",
                f"longest stalls: {self.idle_stalls.turn_ms:.1f} ms before the lists, "
                f"{self.listing_stalls.turn_ms:.1f} during them",
                f"resident: {self.loaded_mb:.0f} MB loaded, {self.ready_mb:.0f} before the lists, "
                f"{self.listed_mb:.0f} after them, {self.peak_mb:.0f} at the peak",
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "idle_s": self.idle_s,
            "lists": {
                name: {
                    "bytes": each.bytes,
                    "first_ms": each.first_ms,
                    "later_ms": list[JSON](each.later_ms),
                    "changed_ms": list[JSON](each.changed_ms),
                }
                for name, each in self.lists.items()
            },
            "loaded_mb": self.loaded_mb,
            "ready_mb": self.ready_mb,
            "listed_mb": self.listed_mb,
            "peak_mb": self.peak_mb,
            "idle_stalls": self.idle_stalls.as_json(),
            "listing_stalls": self.listing_stalls.as_json(),
        }


def measure_lists(*, lrps: int, idle_s: float, say: Callable[[str], None]) -> ListsAccount:
    """Load ``lrps`` LRPs, wait for ``idle_s`` seconds, and list them. Memory is this process' whole."""
    return trio.run(_measure, lrps, idle_s, say)


async def _measure(lrps: int, idle_s: float, say: Callable[[str], None]) -> ListsAccount:
    account = ListsAccount(lrps=lrps, idle_s=idle_s)
    service = Service(
        FleetBackend(lrps), peers=StubPeers().as_peers(), log=null_logger(), on_unrecoverable=_fail
    )
    say(f"loading {lrps:,} LRPs")
    async with trio.open_nursery() as nursery:
        await nursery.start(service.write)
        with garbage.loading():
            await service.store.load()
        account.loaded_mb = _memory_mb("VmRSS")
        nursery.start_soon(service.ready_lists.run)
        account.idle_stalls = await stalls_beside(partial(trio.sleep, idle_s))
        account.ready_mb = _memory_mb("VmRSS")
        for name, path in LISTS.items():
            account.lists[name] = measured = List()
            measured.first_ms, measured.bytes = await _list_ms(service.routes, path)
            say(f"{name}: {measured.first_ms:.1f} ms")
        for name, path in LISTS.items():
            measured = account.lists[name]
            for _ in range(LATER):
                measured.later_ms.append((await _list_ms(service.routes, path))[0])
        account.listed_mb = _memory_mb("VmRSS")
        for turn in range(LATER):
            for name, path in LISTS.items():
                _change_some(service, turn)
                account.lists[name].changed_ms.append((await _list_ms(service.routes, path))[0])
        for path in LISTS.values():
            account.listing_stalls.add(await stalls_beside(partial(_list_ms, service.routes, path)))
        account.peak_mb = _memory_mb("VmHWM")
        nursery.cancel_scope.cancel()
    gc.unfreeze()
    return account


def _change_some(service: Service, turn: int) -> None:
    """Changes as they become visible, spread over the tables."""
    committed = service.store.committed
    actual, desired = committed.actual_lrps.rows, committed.desired_lrps.rows
    step = max(len(actual) // CHANGED, 1)
    changed: list[ActualLRP | DesiredLRP] = [
        *islice(actual.values(), turn % step, None, step),
        *islice(desired.values(), turn % step, None, step),
    ]
    committed.apply([put(replace(record, tag=record.tag.next())) for record in changed])


async def _list_ms(routes: RouteTable, path: str) -> tuple[float, int]:
    route = routes.find("POST", path.encode())
    assert isinstance(route, Route)
    assert isinstance(route.endpoint, Unary)
    handle: Callable[[Call], Awaitable[Answer]] = route.endpoint.handle
    body = pb.DesiredLRPsRequest().SerializeToString()
    began = time.process_time()
    answer = await handle(Call(body, "", "", Peer("127.0.0.1:1")))
    took_ms = 1e3 * (time.process_time() - began)
    return took_ms, answer_bytes(answer)


def _memory_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


def _fail(error: BBSError) -> None:
    raise error
