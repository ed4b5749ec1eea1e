"""What was measured of the dashboard, and how it is put into words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from perf.figures import JSON, number, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The same seconds at both servers. CPU is that of a server's process, without its database, as a share of one core; ``lag_ms``
    is the upper end of the bucket in which the latest waking of the event loop lies. ``bytes_per_s`` are those of each viewer;
    ``app_s`` and ``events_s`` how long after a write's answer its change came, on the page of its app and on that of events.
    """

    without: float
    with_it: float
    lag_without_ms: float
    lag_with_ms: float
    writes_per_s: float
    bytes_per_s: tuple[float, ...] = ()
    app_s: tuple[float, ...] = ()
    events_s: tuple[float, ...] = ()

    @property
    def more(self) -> float:
        return self.with_it - self.without


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    name: str
    windows: Sequence[Window]

    def row(self) -> list[str]:
        more = sorted(100 * window.more for window in self.windows)
        app_s = [late for window in self.windows for late in window.app_s]
        events_s = [late for window in self.windows for late in window.events_s]
        return [
            self.name,
            number(median(window.writes_per_s for window in self.windows)),
            number(100 * median(window.without for window in self.windows), digits=1),
            number(100 * median(window.with_it for window in self.windows), digits=1),
            f"{median(more):+.1f} ({more[0]:+.1f} to {more[-1]:+.1f})",
            number(max(window.lag_without_ms for window in self.windows), digits=1),
            number(max(window.lag_with_ms for window in self.windows), digits=1),
            number(sum(self.bytes_per_s()) / 1e3, digits=1) if self.bytes_per_s() else "-",
            _late(app_s),
            _late(events_s),
        ]

    def in_short(self) -> str:
        """Its CPU in both servers, as shares of one core."""
        _, _, without, with_it, more, *_ = self.row()
        return f"{without} % of a core without, {with_it} with: {more}"

    def bytes_per_s(self) -> list[float]:
        """Of each viewer; nothing if nobody looks."""
        return [median(each) for each in zip(*(window.bytes_per_s for window in self.windows), strict=True)]

    def as_json(self) -> dict[str, JSON]:
        return {
            "condition": self.name,
            "windows": [
                {
                    "without": window.without,
                    "with": window.with_it,
                    "lag_without_ms": _finite(window.lag_without_ms),
                    "lag_with_ms": _finite(window.lag_with_ms),
                    "writes_per_s": window.writes_per_s,
                    "bytes_per_s": list[JSON](window.bytes_per_s),
                    "app_s": list[JSON](window.app_s),
                    "events_s": list[JSON](window.events_s),
                }
                for window in self.windows
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardAccount:
    lrps: int
    cells: int
    lost_cells: int
    seconds: float
    pages: Sequence[str]
    others: float
    """Cores that others used meanwhile."""
    conditions: Sequence[Condition]

    def report(self) -> str:
        header = [
            "condition", "writes/s", "CPU % without", "with", "more (least to most)", "lag ms ≤ without", "with", "kB/s to all",
            "on the app's page after s, p50 (max)", "on that of events",
        ]  # fmt: skip
        windows = max((len(each.windows) for each in self.conditions), default=0)
        told = [
            f"the dashboard of {self.lrps:,} LRPs on {self.cells:,} cells, beside a server without it; medians of {windows} windows"
            f" of {self.seconds:g} s. CPU is that of the server's process, of one core; others used {self.others:.1f} cores",
            "",
            table(header, [each.row() for each in self.conditions]),
        ]
        looked_at = [each for each in self.conditions if each.bytes_per_s()]
        if looked_at:
            rows = [
                [page, *(number(each.bytes_per_s()[place] / 1e3, digits=1) for each in looked_at)]
                for place, page in enumerate(self.pages)
            ]
            told += ["", "kB/s to each viewer", "", table(["page", *(each.name for each in looked_at)], rows)]
        return "\n".join(told)

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "cells": self.cells,
            "lost_cells": self.lost_cells,
            "window_s": self.seconds,
            "cores_of_others": self.others,
            "pages": list[JSON](self.pages),
            "conditions": [each.as_json() for each in self.conditions],
        }


def _late(times_s: Sequence[float]) -> str:
    return f"{median(times_s):.2f} ({max(times_s):.2f})" if times_s else "-"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
