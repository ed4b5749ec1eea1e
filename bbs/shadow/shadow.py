"""The rounds of a shadow: all lists are compared, one after another, then it rests; beside that it watches the event streams.

It asks the master for one list at a time, and each list twice in a round. It writes nothing anywhere.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, NoReturn

import trio
from google.protobuf.message import DecodeError

from bbs.client import EndpointNotFound
from bbs.concurrency.turns import TimedTurns
from bbs.log import Logger
from bbs.shadow.comparing import Compared, Comparison
from bbs.shadow.events import EventDifference, Side
from bbs.shadow.fields import Shower
from bbs.shadow.findings import Finding, Findings
from bbs.shadow.kinds import KINDS, Kind
from bbs.shadow.report import KindReport, Report, StreamReport
from bbs.shadow.samples import Samples
from bbs.shadow.sides import Followed, OneSide, SideFailed
from bbs.shadow.streams import STREAMS, StreamComparison

CATCH_UP_MAX_S: Final = 60.0
"""How long a round waits for the follower to have what the master has told."""

CATCH_UP_LOOK_S: Final = 0.05

LATENESS_EVERY_S: Final = 1.0
"""How often it is measured how late the follower is."""

LOOKS: Final = 3
LOOK_AGAIN_S: Final = 1.0
"""A difference of what is not versioned counts if it was there so many times in a row, with this pause in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSettings:
    """``rounds`` and ``for_s`` say when it ends by itself; without either it does not. ``events_grace_s`` is how long an event
    that one side has told may be missing on the other.
    """

    interval_s: float = 60.0
    rounds: int | None = None
    for_s: float | None = None
    events_grace_s: float = 30.0
    list_timeout_s: float = 120.0


@dataclass(slots=True)
class _KindState:
    latencies: dict[Side, Samples]
    rounds: int = 0
    rows: int = 0
    rows_lately: int = 0
    busy: int = 0


class Shadow:
    """Compares ``master`` and ``follower``, which is ``followed``, while `run` runs. The `report` can be had at any time."""

    def __init__(
        self,
        followed: Followed,
        *,
        master: OneSide,
        follower: OneSide,
        settings: ShadowSettings,
        log: Logger,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._followed = followed
        self._sides = {Side.MASTER: master, Side.FOLLOWER: follower}
        self._settings = settings
        self._log = log.session("shadow")
        self._now = now
        self._began_at = now()
        self._began = time.monotonic()
        self._rounds = 0
        self._complete_rounds = 0
        self._findings = Findings(Shower())
        self._kinds = {kind.name: _KindState({side: Samples() for side in Side}) for kind in KINDS}
        self._not_compared: dict[str, Counter[str]] = {kind.name: Counter() for kind in KINDS}
        self._lateness = Samples()
        self._unreadable_rows = 0
        self._streams = [
            StreamComparison(
                stream,
                [master, follower],
                followed,
                grace_s=settings.events_grace_s,
                on_differences=partial(self._events_differ, stream.name),
                on_void=partial(self._window_void, stream.name),
            )
            for stream in STREAMS
        ]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Compare until the settings say that it is enough."""
        task_status.started()
        settings = self._settings
        with trio.move_on_after(float("inf") if settings.for_s is None else settings.for_s):
            await self._followed.has_loaded.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._measure_lateness)
                for stream in self._streams:
                    nursery.start_soon(stream.run)
                while settings.rounds is None or self._rounds < settings.rounds:
                    if self._rounds:
                        await trio.sleep(settings.interval_s)
                    await self._round()
                nursery.cancel_scope.cancel()

    async def _round(self) -> None:
        began = trio.current_time()
        counts: Counter[str] = Counter()
        failed = ""
        for kind in KINDS:
            try:
                compared = await self._compare(kind)
            except SideFailed as failure:
                failed = str(failure)
                self._not_compared[kind.name][failed] += 1
                self._log.info("could-not-compare", {"list": kind.name, "reason": failed})
                if failure.is_gone:
                    break
                continue
            new = self._findings.compared(kind.name, compared, self._now())
            self._tell(new)
            state = self._kinds[kind.name]
            state.rounds += 1
            state.rows += compared.rows
            state.rows_lately = compared.rows
            state.busy += len(compared.busy)
            counts += Counter(
                rows=compared.rows, busy=len(compared.busy), different=len(compared.differences), new=len(new)
            )
        self._rounds += 1
        self._complete_rounds += not failed
        self._log.info(
            "shadow-round",
            {
                "round": self._rounds,
                "complete": not failed,
                **{name: counts[name] for name in ("rows", "busy", "different", "new")},
                "events": sum(stream.counts.matched for stream in self._streams),
                "duration": int((trio.current_time() - began) * 1e9),
            },
        )

    async def _compare(self, kind: Kind) -> Compared:
        compared = await self._look(kind)
        if kind.is_versioned:
            return compared
        for _ in range(LOOKS - 1):
            if not compared.differences:
                break
            await trio.sleep(LOOK_AGAIN_S)
            again = await self._look(kind)
            keys = {difference.key for difference in compared.differences}
            again.differences = [each for each in again.differences if each.key in keys]
            compared = again
        return compared

    async def _look(self, kind: Kind) -> Compared:
        """Compare one list.

        Raises:
          SideFailed: one of the two did not answer, or too late, or what can't be read.
        """
        comparison = Comparison(kind)
        await self._list(kind, Side.MASTER, comparison.master_first)
        await self._catch_up()
        await self._list(kind, Side.FOLLOWER, comparison.follower)
        await self._list(kind, Side.MASTER, comparison.master_again)
        if comparison.extras():
            await self._catch_up()
            await self._list(kind, Side.FOLLOWER, comparison.follower_again)
        return comparison.finish()

    async def _list(self, kind: Kind, side: Side, take: Callable[[bytes], None]) -> None:
        rows = await self._rows(kind, side)
        turns = TimedTurns()
        try:
            for row in rows:
                take(row)
                await turns.checkpoint_if_due()
        except DecodeError as error:
            raise SideFailed(side, f"a row of its {kind.name} can't be read", is_gone=False) from error

    async def _rows(self, kind: Kind, side: Side) -> Sequence[bytes]:
        server = self._sides[side]
        # A connection for each list: between two rounds none is held.
        async with server.client() as client:
            await client.ping()  # which connects, so that only the list is timed
            began = trio.current_time()
            with server.failures_named():
                try:
                    rows = await client.encoded_rows(kind.rows)
                except EndpointNotFound as error:
                    raise SideFailed(side, "it does not have this list", is_gone=False) from error
            self._kinds[kind.name].latencies[side].add(trio.current_time() - began)
        return rows

    async def _catch_up(self) -> None:
        """Wait until the follower has all that was committed by now."""
        now = trio.current_time()
        with trio.move_on_after(CATCH_UP_MAX_S):
            while True:
                if self._followed.as_of > now:
                    return
                await trio.sleep(CATCH_UP_LOOK_S)
        raise SideFailed(Side.FOLLOWER, f"it was more than {CATCH_UP_MAX_S:g} s behind", is_gone=True)

    async def _measure_lateness(self) -> NoReturn:
        while True:
            self._lateness.add(trio.current_time() - self._followed.as_of)
            self._unreadable_rows = self._followed.unreadable
            await trio.sleep(LATENESS_EVERY_S)

    def _events_differ(self, stream: str, differences: Sequence[EventDifference]) -> None:
        self._tell(self._findings.events(stream, differences, self._now()))

    def _window_void(self, stream: str, reason: str) -> None:
        self._log.info("could-not-compare", {"stream": stream, "reason": reason})

    def _tell(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            if finding.fields:  # else there were too many already
                self._log.info(
                    "shadow-difference",
                    {
                        "in": finding.kind,
                        "key": finding.key,
                        "what": finding.what,
                        "fields": [
                            {"field": field.path, "master": field.master, "follower": field.follower}
                            for field in finding.fields
                        ],
                    },
                )

    def report(self) -> Report:
        return Report(
            master=self._sides[Side.MASTER].config.url,
            began_at=self._began_at,
            ended_at=self._now(),
            duration_s=time.monotonic() - self._began,
            rounds=self._rounds,
            complete_rounds=self._complete_rounds,
            kinds=[
                KindReport(
                    name=name,
                    rounds=state.rounds,
                    rows=state.rows,
                    rows_lately=state.rows_lately,
                    busy=state.busy,
                    always_busy=self._findings.always_busy(name),
                    not_compared=dict(self._not_compared[name]),
                    latencies={side: state.latencies[side].summary() for side in Side},
                )
                for name, state in self._kinds.items()
            ],
            streams=[
                StreamReport(
                    name=stream.name,
                    watched_s=stream.watched_s,
                    counts=stream.counts,
                    voids=dict(stream.voids),
                    unreadable=dict(stream.unreadable),
                )
                for stream in self._streams
            ],
            findings=self._findings,
            lateness=self._lateness.summary(),
            unreadable_rows=self._unreadable_rows,
        )
