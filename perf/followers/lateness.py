"""How late followers are while rows are written at a rate: what they say, and when they know of a commit."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bbs.embedded_postgres import EmbeddedPostgres
from perf.figures import JSON, number, per_request_us, percentile, table
from perf.followers.asker import Asker, ask_all
from perf.followers.processes import Follower
from perf.followers.writer import BATCH_ROWS, Writer, Written
from perf.server import tree_cpu_s, walsenders_cpu_s

ASK_EVERY_S: Final = 0.02
LATE_MAX_S: Final = 120.0
PERCENTILES: Final = (0.5, 0.99, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """CPU in seconds: of all followers together, of the processes of Postgres that send to them, and of all of Postgres."""

    followers_s: float
    walsenders_s: float
    postgres_s: float

    def __sub__(self, earlier: "Used") -> "Used":
        return Used(
            followers_s=self.followers_s - earlier.followers_s,
            walsenders_s=self.walsenders_s - earlier.walsenders_s,
            postgres_s=self.postgres_s - earlier.postgres_s,
        )

    @classmethod
    def now(cls, followers: Sequence[Follower], postgres: EmbeddedPostgres) -> "Used":
        return cls(
            followers_s=sum(each.cpu_s() for each in followers),
            walsenders_s=sum(walsenders_cpu_s(postgres.pid).values()),
            postgres_s=tree_cpu_s(postgres.pid),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """Of so many followers. ``staleness_ms`` is what `X-Bbs-Staleness-Ms` said to pings that came at any time, ``pings_s`` how
    long these took; ``reached_s`` is from the answer to a commit to an answer that knows of it. ``caught_up_s`` is how long
    after the last commit everybody knew of it. ``refused`` are answers that it is too late, or did not come to know in time.
    ``resident_bytes`` is the memory of the largest of them.
    """

    followers: int
    wanted_rows_per_s: float
    written: Written
    staleness_ms: Sequence[int]
    pings_s: Sequence[float]
    reached_s: Sequence[float]
    caught_up_s: float
    used: Used
    refused: int
    resident_bytes: int

    def as_json(self) -> dict[str, JSON]:
        def at(values: Sequence[float], factor: float) -> dict[str, JSON]:
            return {
                f"p{100 * share:g}": round(factor * percentile(sorted(values), share), 3) if values else None
                for share in PERCENTILES
            }

        rows = self.written.rows
        return {
            "followers": self.followers,
            "wanted_rows_per_s": self.wanted_rows_per_s,
            "rows_per_s": round(self.written.rows_per_s, 1),
            "batch_rows": BATCH_ROWS,
            "staleness_ms": at(self.staleness_ms, 1),
            "ping_ms": at(self.pings_s, 1e3),
            "token_reached_ms": at(self.reached_s, 1e3),
            "caught_up_ms": round(1e3 * self.caught_up_s, 1),
            "refused": self.refused,
            "follower_resident_bytes": self.resident_bytes,
            "follower_cpu_us_per_row": round(per_request_us(self.used.followers_s, rows * self.followers), 1),
            "walsender_cpu_us_per_row": round(
                per_request_us(self.used.walsenders_s, rows * self.followers), 1
            ),
            "rest_of_postgres_cpu_us_per_row": round(
                per_request_us(self.used.postgres_s - self.used.walsenders_s, rows), 1
            ),
            "writer_cpu_us_per_row": round(per_request_us(self.written.cpu_s, rows), 1),
        }


def lateness_table(measured: Sequence[Lateness]) -> str:
    head = [
        "followers",
        "rows/s",
        "says ms p50",
        "p99",
        "longest",
        "has a commit after ms p50",
        "p99",
        "longest",
    ]
    head += ["ping ms p50", "all of it after ms"]
    head += [
        "follower MB",
        "follower us/row",
        "% of a core",
        "walsender us/row",
        "rest of Postgres us/row",
        "writer us/row",
    ]
    rows = []
    for each in measured:
        written, used = each.written, each.used
        per = written.rows * each.followers
        rows.append(
            [
                str(each.followers),
                f"{number(written.rows_per_s)} of {number(each.wanted_rows_per_s)}",
                *(number(percentile(sorted(each.staleness_ms), share)) for share in PERCENTILES),
                *(number(1e3 * percentile(sorted(each.reached_s), share), digits=1) for share in PERCENTILES),
                number(1e3 * percentile(sorted(each.pings_s), 0.5), digits=1),
                number(1e3 * each.caught_up_s),
                number(each.resident_bytes / 1e6),
                number(per_request_us(used.followers_s, per)),
                number(100 * used.followers_s / each.followers / written.elapsed_s),
                number(per_request_us(used.walsenders_s, per)),
                number(per_request_us(used.postgres_s - used.walsenders_s, written.rows)),
                number(per_request_us(written.cpu_s, written.rows)),
            ]
        )
    return table(head, rows)


def measure_lateness(
    writer: Writer,
    followers: Sequence[Follower],
    postgres: EmbeddedPostgres,
    *,
    rows_per_s: float,
    for_s: float,
    say: Callable[[str], None],
) -> Lateness:
    """Write at that rate; ask for what followers say in the first half of the time, and for what was just written in the second.
    A follower that is asked for a commit looks at once how far it is, and so is less late while that is done.
    """
    say(f"followers: {len(followers)}; {rows_per_s:,.0f} rows/s for {for_s:g} s")
    with ExitStack() as stack:
        askers = [stack.enter_context(Asker(each.credentials)) for each in followers]
        before = Used.now(followers, postgres)
        writing = writer.write(for_s=for_s, rows_per_s=rows_per_s)
        began_s = time.monotonic()
        staleness_ms, pings_s, refused = _said(askers, until_s=began_s + for_s / 2)
        reached_s, refused_tokens = _reached(writer, askers, writing)
        written = writing.result(LATE_MAX_S)
        ended_s = time.monotonic()
        ask_all(askers, written.token)
        caught_up_s = time.monotonic() - ended_s
        used = Used.now(followers, postgres) - before
        resident_bytes = max(each.resident_bytes() for each in followers)
    return Lateness(
        followers=len(followers),
        wanted_rows_per_s=rows_per_s,
        written=written,
        staleness_ms=staleness_ms,
        pings_s=pings_s,
        reached_s=reached_s,
        caught_up_s=caught_up_s,
        used=used,
        refused=refused + refused_tokens,
        resident_bytes=resident_bytes,
    )


def _said(askers: Sequence[Asker], *, until_s: float) -> tuple[list[int], list[float], int]:
    staleness_ms, pings_s, refused = [], [], 0
    while time.monotonic() < until_s:
        for told in ask_all(askers):
            if told.is_good and told.staleness_ms is not None:
                staleness_ms.append(told.staleness_ms)
                pings_s.append(told.took_s)
            else:
                refused += 1
        time.sleep(ASK_EVERY_S)
    return staleness_ms, pings_s, refused


def _reached(writer: Writer, askers: Sequence[Asker], writing: "Future[Written]") -> tuple[list[float], int]:
    reached_s, refused = [], 0
    while not writing.done():
        if (known := writer.next_token(ASK_EVERY_S)) is None:
            continue
        token, committed_s = known
        for told in ask_all(askers, token):
            if told.is_good:
                reached_s.append(told.at_s - committed_s)
            else:
                refused += 1
        time.sleep(ASK_EVERY_S)
    return reached_s, refused
