"""A log in memory, and its lines as tables write them."""

import json
from dataclasses import dataclass, field
from typing import Any

from bbs.log import Level

Said = tuple[str, str, dict[str, Any]]
"""A line: its level and message without the component's name, its session, and the rest of its data."""

NOT_SAID = {"session", "error", "duration", "trace-id", "span-id"}


def said(what: str, session: str = "", *data: dict[str, Any], **more: Any) -> Said:
    whole: dict[str, Any] = {}
    for part in (*data, more):
        whole |= part
    return what, session, whole


@dataclass
class Lines:
    """A log in memory."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def write(self, data: bytes, /) -> int:
        self.lines.append(json.loads(data))
        return len(data)

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    def said(self) -> list[Said]:
        """Each line, without errors, durations and traces in its data."""
        return [
            (
                f"{Level(line['log_level']).name.lower()} {line['message'].removeprefix('bbs.')}",
                line["data"].get("session", ""),
                {key: value for key, value in line["data"].items() if key not in NOT_SAID},
            )
            for line in self.lines
        ]

    def data_of(self, message: str) -> dict[str, Any]:
        [data] = [line["data"] for line in self.lines if line["message"] == message]
        assert isinstance(data, dict)
        return data
