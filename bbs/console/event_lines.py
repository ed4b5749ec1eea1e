"""What ``bbs events`` writes: lines for a person, or lines of JSON; words about the streams go to standard error."""

import time
from collections.abc import Sequence
from typing import Final

from bbs.cfdot.columns import harmless
from bbs.cfdot.main import Surroundings
from bbs.cfdot.rendering import json_of, written
from bbs.client import Event
from bbs.console.choice import Record
from bbs.models import pb
from bbs.models.go_json import to_json
from bbs.words.events import Words, row_in_words, row_name, task_in_words
from bbs.words.times import NS

DAY: Final = "%Y-%m-%d"
FOUND: Final = "(found by comparing lists)"


def clock(at_ns: int) -> str:
    """The local time of day, after the date if that is not today's."""
    at = time.localtime(at_ns / NS)
    is_today = time.strftime(DAY, at) == time.strftime(DAY)
    return time.strftime("%H:%M:%S" if is_today else f"{DAY} %H:%M:%S", at)


class EventLines:
    """``form`` is one of `OUTPUT_FORMS`. Each line is written at once."""

    def __init__(self, surroundings: Surroundings, form: str) -> None:
        self._surroundings = surroundings
        self._is_json = form == "json"

    def event(self, event: Event) -> None:
        """As ``lrp-events`` and ``task-events`` write it."""
        if self._is_json:
            self._write(json_of(event))
        else:
            self._draw(event, "")

    def found(self, event: Event) -> None:
        """Nobody sent it: it says what a comparison of lists has found."""
        if self._is_json:
            self._write(f'{json_of(event).removesuffix("}")},"found_by":"list"}}')
        else:
            self._draw(event, FOUND)

    def now(self, records: Sequence[Record]) -> None:
        """Instances and tasks as they are, by the time since when they are so. What is desired has no time."""
        timed = [record for record in records if not isinstance(record, pb.DesiredLRP)]
        for record in sorted(timed, key=_since_ns):
            if self._is_json:
                kind = "task" if isinstance(record, pb.Task) else "actual_lrp"
                self._write(f'{{"type":"{kind}","data":{to_json(record)}}}')
            else:
                self._draw_record(record)

    def word(self, text: str) -> None:
        """Something about the streams, which is no part of the results."""
        self._surroundings.tell(f"-- {clock(time.time_ns())}  {harmless(text)}\n")

    def _draw(self, event: Event, note: str) -> None:
        from bbs.cfdot.people import drawn, event_line

        line = event_line(event, time.time_ns(), note)
        self._write(drawn(self._surroundings.out, self._surroundings.environment, line).removesuffix("\n"))

    def _draw_record(self, record: "pb.ActualLRP | pb.Task") -> None:
        from bbs.cfdot.people import drawn, line_of

        if isinstance(record, pb.Task):
            name, words = f"task {record.task_guid}", task_in_words(record)
        else:
            name, words = row_name(record), row_in_words(record)
        line = line_of(clock(_since_ns(record)), Words(f"{name} {words.text}", words.style))
        self._write(drawn(self._surroundings.out, self._surroundings.environment, line).removesuffix("\n"))

    def _write(self, line: str) -> None:
        with written():
            self._surroundings.out.write(f"{line}\n".encode())
            self._surroundings.out.flush()


def _since_ns(record: "pb.ActualLRP | pb.Task") -> int:
    return record.updated_at if isinstance(record, pb.Task) else record.since
