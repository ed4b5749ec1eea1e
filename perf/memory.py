"""What an LRP takes in memory, part by part: its two records, the tables and their indices, and the bytes that lists keep.

Counted by `tracemalloc`, so what the allocator keeps beside that is not in it; the resident size of a whole server is
what `compare --scenario growth` measures.
"""

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from sys import getsizeof
from typing import Final

from bbs.models.desired_lrp import DesiredLRP
from bbs.models.outcome import put
from bbs.routes.forms import ACTUAL_LRPS, DESIRED_LRPS, ROUTING_INFOS, SCHEDULING_INFOS, Form
from bbs.store.tables import Tables
from perf.figures import JSON, number, table
from perf.lists import stored_lrp

FORMS: Final[dict[str, Form[DesiredLRP]]] = {
    "list of scheduling infos": SCHEDULING_INFOS,
    "list of routing infos": ROUTING_INFOS,
    "list of DesiredLRPs": DESIRED_LRPS,
}
"""In the order in which they are made: what two forms have in common counts for the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryAccount:
    """``parts`` are bytes per LRP, by what they are for."""

    lrps: int
    parts: dict[str, float]

    def report(self) -> str:
        rows = [[what, number(size)] for what, size in (*self.parts.items(), ("together", self.together()))]
        return "\n".join(
            [
                f"{self.lrps:,} running LRPs of one instance, of upstream's benchmark",
                "",
                table(["part", "bytes per LRP"], rows),
            ]
        )

    def together(self) -> float:
        return sum(self.parts.values())

    def as_json(self) -> dict[str, JSON]:
        return {"lrps": self.lrps, "bytes_per_lrp": dict(self.parts)}


def measure_memory(*, lrps: int, say: Callable[[str], None]) -> MemoryAccount:
    """Build a fleet in this process, and measure after each step."""
    parts: dict[str, float] = {}
    say("reading the records")
    tracemalloc.start()
    try:
        before = 0

        def step(what: str) -> None:
            nonlocal before
            gc.collect()
            now, _ = tracemalloc.get_traced_memory()
            parts[what] = (now - before) / lrps
            before = now

        pairs = [stored_lrp(each, lrps) for each in range(lrps)]
        desired = [pair[0] for pair in pairs]
        actual = [pair[1] for pair in pairs]
        del pairs
        step("records")
        run_infos = sum(getsizeof(lrp.run_info) for lrp in desired) / lrps
        routes = sum(getsizeof(value) for lrp in desired for _, value in lrp.routes or ()) / lrps
        others = parts.pop("records") - run_infos - routes
        parts["run info: actions, rules and all that no list but that of DesiredLRPs has"] = run_infos
        parts["values of routes"] = routes
        parts["the rest of the two records"] = others
        say("filing them")
        tables = Tables()
        tables.apply(map(put, desired))
        tables.apply(map(put, actual))
        step("tables and indices")
        ACTUAL_LRPS.joined(actual)
        step("list of ActualLRPs")
        for what, form in FORMS.items():
            form.joined(desired)
            step(what)
    finally:
        tracemalloc.stop()
    return MemoryAccount(lrps=lrps, parts=parts)
