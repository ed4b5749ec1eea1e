"""What has been found in all rounds: each difference once, however often it was seen, and those that have gone since."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bbs.shadow.comparing import Compared, Difference
from bbs.shadow.events import EventDifference
from bbs.shadow.fields import FieldDifference, Shower

EXAMPLES_MAX: Final = 25
"""Differences of one kind that are kept with their fields; all are counted."""

KEPT_MAX: Final = 10_000
"""Differences of one kind whose history is kept. With more of them something is wrong that one row more would not tell."""

BUSY_KEPT_MAX: Final = 100_000
"""Rows of one kind that are watched for whether they come to rest."""

BUSY_ROUNDS: Final = 3
"""A row that was busy in so many rounds, one after another, is told of."""

MASTER_ONLY: Final = "only the master has it"
FOLLOWER_ONLY: Final = "only the follower has it"
DIFFERS: Final = "they tell it differently"


@dataclass(slots=True)
class Finding:
    """One difference. ``fields`` are empty if there were too many to keep them; ``gone_at``: it was not found any more."""

    kind: str
    key: str
    what: str
    fields: tuple[FieldDifference, ...]
    first_seen: datetime
    last_seen: datetime
    rounds: int = 1
    gone_at: datetime | None = None


class Findings:
    """Of all kinds."""

    def __init__(self, shower: Shower) -> None:
        self._shower = shower
        self._found: dict[str, dict[str, Finding]] = {}
        self._busy: dict[str, dict[str, int]] = {}
        self._examples: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        """Differences beyond `KEPT_MAX`, by kind: the most of one round."""

    def compared(self, kind: str, compared: Compared, now: datetime) -> list[Finding]:
        """Take a round's comparison of one kind into account; the findings that are new, or have come back."""
        known = self._found.setdefault(kind, {})
        new: list[Finding] = []
        beyond = 0
        for difference in compared.differences:
            finding = known.get(difference.key)
            if finding is not None:
                if finding.gone_at is not None:
                    new.append(finding)
                finding.gone_at = None
                finding.last_seen = now
                finding.rounds += 1
            elif len(known) >= KEPT_MAX:
                beyond += 1
            else:
                known[difference.key] = finding = self._finding(kind, difference, now)
                new.append(finding)
        self.uncounted[kind] = max(self.uncounted[kind], beyond)
        present = {difference.key for difference in compared.differences} | compared.busy
        for key, finding in known.items():
            if finding.gone_at is None and key not in present:
                finding.gone_at = now
        self._note_busy(kind, compared.busy)
        return new

    def events(self, stream: str, differences: Iterable[EventDifference], now: datetime) -> list[Finding]:
        """Events do not come back: each is a finding of its own, and is never gone."""
        known = self._found.setdefault(stream, {})
        new = []
        for event in differences:
            if len(known) >= KEPT_MAX:
                self.uncounted[stream] += 1
                continue
            key = f"{event.name} of {event.subject}"
            difference = Difference(key=key, master=event.master, follower=event.follower)
            finding = self._finding(stream, difference, now)
            known[f"{len(known)}"] = finding
            new.append(finding)
        return new

    def of(self, kind: str) -> list[Finding]:
        return list(self._found.get(kind, {}).values())

    def kinds(self) -> list[str]:
        return [kind for kind, found in self._found.items() if found]

    def examples(self, kind: str) -> list[Finding]:
        return [finding for finding in self.of(kind) if finding.fields]

    def always_busy(self, kind: str) -> list[str]:
        """The keys of rows that were busy in each of the last `BUSY_ROUNDS` rounds, or more."""
        return sorted(key for key, rounds in self._busy.get(kind, {}).items() if rounds >= BUSY_ROUNDS)

    def any(self) -> bool:
        return bool(self.kinds())

    def _note_busy(self, kind: str, busy: set[str]) -> None:
        before = self._busy.get(kind, {})
        self._busy[kind] = {key: before.get(key, 0) + 1 for key in sorted(busy)[:BUSY_KEPT_MAX]}

    def _finding(self, kind: str, difference: Difference, now: datetime) -> Finding:
        fields: tuple[FieldDifference, ...] = ()
        if self._examples[kind] < EXAMPLES_MAX:
            self._examples[kind] += 1
            fields = self._shower.differing(difference.master, difference.follower)
        what = (
            MASTER_ONLY
            if difference.follower is None
            else FOLLOWER_ONLY
            if difference.master is None
            else DIFFERS
        )
        return Finding(kind, difference.key, what, fields, now, now)
