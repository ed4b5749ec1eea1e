"""A log that remembers its lines."""

import io
import json
from typing import Any

from bbs.log import LagerSink, Level, Logger, root_logger


class LogLines:
    """``log`` is the root logger; messages are without its name."""

    def __init__(self, level: Level = Level.INFO) -> None:
        self._stream = io.BytesIO()
        self.log: Logger = root_logger("bbs", LagerSink(self._stream, min_level=level))

    def lines(self) -> list[dict[str, Any]]:
        """Each has ``message`` and ``data``."""
        lines: list[dict[str, Any]] = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        for line in lines:
            line["message"] = line["message"].removeprefix("bbs.")
        return lines

    def table(self) -> list[str]:
        """Level, message and data keys of each."""
        return [
            " ".join(
                [
                    Level(line["log_level"]).name.lower(),
                    line["message"],
                    *(key for key in line["data"] if key != "session"),
                ]
            )
            for line in self.lines()
        ]

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines()]
