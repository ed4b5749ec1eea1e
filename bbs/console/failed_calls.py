"""The BBS's own calls to reps that failed, as its debug port tells of the last one of each cell."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bbs.client import TransportError
from bbs.console.debug_port import NoPage, debug_url, fetch
from bbs.words.times import age

ASK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class FailedCalls:
    """``by_cell`` has a text for each cell of which a call has failed. ``trouble`` says why nothing is known, '' if it is."""

    by_cell: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""

    def of(self, cell_id: str) -> str:
        return self.trouble or self.by_cell.get(cell_id, "none since the server began")


NOT_KNOWN: Final = FailedCalls(
    trouble="not known without the server's debug port: BBS_DEBUG=HOST:PORT, or debug of a target"
)


async def ask_failed_calls(debug: str, now_ns: int) -> FailedCalls:
    """``debug`` is the host and port of the debug port, or its URL; '' if nobody has said."""
    if not debug:
        return NOT_KNOWN
    try:
        body = await fetch(debug_url(debug, "/rep-failures"), timeout_s=ASK_S)
    except (TransportError, NoPage) as error:
        return FailedCalls(trouble=f"not known: {error}")
    return read_failed_calls(body, now_ns)


def read_failed_calls(body: bytes, now_ns: int) -> FailedCalls:
    """Of the debug port's JSON. Pure."""
    try:
        by_cell = {
            cell_id: f"{failed['call']} {age(failed['at_ns'], now_ns)} ago: {failed['reason']} ({failed['failures']} failed so far)"
            for cell_id, failed in json.loads(body).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return FailedCalls(trouble="not known: the debug port answers something else")
    return FailedCalls(by_cell)
