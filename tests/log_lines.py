"""A log in memory, and its lines as tables write them."""

import json
from typing import Any

from bbs.log import LagerSink, Level, Logger, root_logger

Said = tuple[str, str, dict[str, Any]]
"""A line: its level and message without the component's name, its session, and the rest of its data."""

NOT_SAID = {"session", "error", "duration", "trace-id", "span-id"}


def said(what: str, session: str = "", *data: dict[str, Any], **more: Any) -> Said:
    whole: dict[str, Any] = {}
    for part in (*data, more):
        whole |= part
    return what, session, whole


def level_of(line: dict[str, Any]) -> str:
    return Level(line["log_level"]).name.lower()


class Lines:
    """A log in memory, for a sink to write to. Each of its ``writes`` is one line, and ``lines`` are their contents."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.lines: list[dict[str, Any]] = []

    def write(self, data: bytes, /) -> int:
        self.writes.append(data.decode())
        self.lines.append(json.loads(data))
        return len(data)

    def logger(self, min_level: Level = Level.INFO) -> Logger:
        """A root logger that writes here."""
        return root_logger("bbs", LagerSink(self, min_level=min_level))

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    @property
    def data(self) -> list[dict[str, Any]]:
        return [line["data"] for line in self.lines]

    def data_of(self, message: str) -> dict[str, Any]:
        """The data of the one line with this message."""
        [data] = [line["data"] for line in self.lines if line["message"] == message]
        assert isinstance(data, dict)
        return data

    def shown(self) -> list[str]:
        """Level and message of each."""
        return [f"{level_of(line)} {line['message']}" for line in self.lines]

    def said(self) -> list[Said]:
        """Each line, without errors, durations and traces in its data."""
        return [
            (
                f"{level_of(line)} {line['message'].removeprefix('bbs.')}",
                line["data"].get("session", ""),
                {key: value for key, value in line["data"].items() if key not in NOT_SAID},
            )
            for line in self.lines
        ]

    def table(self) -> list[str]:
        """Level, message without the component's name, and data keys of each, without the session."""
        return [
            " ".join(
                [
                    level_of(line),
                    line["message"].removeprefix("bbs."),
                    *(key for key in line["data"] if key != "session"),
                ]
            )
            for line in self.lines
        ]
