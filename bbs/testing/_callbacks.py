"""Who is told that tasks are over, whatever their URL is."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CalledBack:
    """A call of the BBS: the task's ``completion_callback_url``, and the JSON that came with it."""

    url: str
    task: dict[str, Any]


class Callbacks:
    """In place of the `bbs.peers.http.HTTPClient` of the pool that calls back: remembers all, and is content with all."""

    def __init__(self) -> None:
        self.made: list[CalledBack] = []

    async def send(self, method: str, url: str, *, headers: object = (), body: bytes | None = None) -> int:
        self.made.append(CalledBack(url, json.loads(body or b"{}")))
        return 200
