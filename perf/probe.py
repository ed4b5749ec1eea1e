"""Reads what a figure is made of: CPU of server and database from /proc, batches and loop lag from the metrics page, and the
collector's runs from the file that `perf.observed` keeps.
"""

import math
import mmap
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perf.observed import LAYOUT
from perf.readings import Parts
from perf.server import CPU, cpu_of, resident_bytes_of

METRICS_MAX_S: Final = 10.0

Metrics = Mapping[str, float]
"""Values of a Prometheus page, by name and labels as they stand there."""


@dataclass(slots=True, kw_only=True)
class Meter:
    """Filled in when `Probe.measured` ends."""

    parts: Parts = field(default_factory=Parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Whatever is None can't be read, and is nan in the parts. ``pid`` is the server's, ``debug`` its debug port, as host:port;
    ``database_pid`` is its database's, unless that is a Postgres below the server.
    """

    pid: int | None = None
    database_pid: int | None = None
    debug: str | None = None
    collections: Path | None = None

    @contextmanager
    def measured(self) -> Iterator[Meter]:
        """The parts of what is done while the context is entered; the load's CPU is this process' own."""
        meter = Meter()
        metrics, cpu, own_s = self.metrics(), self.cpu(), time.process_time()
        self.longest_collection_ms()  # starts anew
        yield meter
        own_s = time.process_time() - own_s
        used = None if cpu is None else self._cpu_since(cpu)
        later = self.metrics()
        meter.parts = Parts(
            server_s=math.nan if used is None else used.server_s,
            database_s=math.nan if used is None else used.database_s,
            load_s=own_s,
            batch=mean_of(metrics, later, "bbs_batch_outcomes"),
            loop_lag_ms=1e3 * quantile_of(metrics, later, "bbs_event_loop_lag_seconds", 0.99),
            collection_ms=self.longest_collection_ms(),
        )

    def cpu(self) -> CPU | None:
        return None if self.pid is None else cpu_of(self.pid, self.database_pid)

    def resident_bytes(self) -> float:
        return math.nan if self.pid is None else resident_bytes_of(self.pid)

    def metrics(self) -> Metrics:
        """The metrics page; empty without a debug port.

        Raises:
          OSError: it does not answer.
        """
        if self.debug is None:
            return {}
        with urllib.request.urlopen(f"http://{self.debug}/metrics", timeout=METRICS_MAX_S) as answer:
            return parse(answer.read().decode())

    def longest_collection_ms(self) -> float:
        """Since the last call."""
        if self.collections is None:
            return math.nan
        with self.collections.open("r+b") as file, mmap.mmap(file.fileno(), LAYOUT.size) as shared:
            count, longest_ns, total_ns = LAYOUT.unpack_from(shared)
            LAYOUT.pack_into(shared, 0, count, 0, total_ns)
        return float(longest_ns) / 1e6

    def _cpu_since(self, before: CPU) -> CPU | None:
        now = self.cpu()
        return None if now is None else now - before


def parse(page: str) -> Metrics:
    """A Prometheus page; lines that are none are passed over."""
    found = {}
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            try:
                found[name] = float(value)
            except ValueError:
                continue
    return found


def mean_of(before: Metrics, after: Metrics, histogram: str) -> float:
    """The mean of what the histogram counted in between; nan if nothing."""
    count, total = (
        after.get(f"{histogram}_{name}", math.nan) - before.get(f"{histogram}_{name}", math.nan)
        for name in ("count", "sum")
    )
    return total / count if count > 0 else math.nan


def quantile_of(before: Metrics, after: Metrics, histogram: str, share: float) -> float:
    """The upper end of the bucket in which the quantile of what was counted in between lies; nan if nothing was."""
    prefix = f'{histogram}_bucket{{le="'
    counts = sorted(
        (float(name[len(prefix) :].partition('"')[0]), value - before.get(name, 0.0))
        for name, value in after.items()
        if name.startswith(prefix)
    )
    if not counts or counts[-1][1] <= 0:
        return math.nan
    return next(bound for bound, count in counts if count >= share * counts[-1][1])
