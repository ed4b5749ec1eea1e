"""What cells did with tasks, for the metrics (spec: tasks.md §7): counted per cell since the start of the process."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class TaskCountStatistics:
    """By cell; only cells ever seen are in it."""

    started: Mapping[str, int]
    succeeded: Mapping[str, int]
    failed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """``started`` counts starts that changed something, the others what `CompleteTask` reported."""

    started: Counter[str] = field(default_factory=Counter)
    succeeded: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def statistics(self) -> TaskCountStatistics:
        return TaskCountStatistics(
            *(MappingProxyType(dict(c)) for c in (self.started, self.succeeded, self.failed))
        )
