"""The log of `bbs serve` for a person at a terminal: one line for each thing that matters, in colour.

It is made from the log's own lines, so nothing is told in two ways: lines that a person wants are put into words, all errors
are shown, and the others left out.
"""

import json
import textwrap
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from bbs.commands.terminal import Colour, painted
from bbs.log import Level, LineStream

LABEL_WIDTH: Final = 11
TEXT_WIDTH_MIN: Final = 20
"""In a narrower terminal, or in one of unknown width, lines are left to it."""
UNTOLD: Final = frozenset({"session", "error", "trace"})
"""Data of a line that is not among the details that stand behind its text."""


class TerminalLog:
    """A `LineStream` that takes lager's lines as JSON and writes what a person reads to ``stream``.

    With ``shows_all``, as at level debug, lines that have no words of their own are shown as they are, and not left out. Without
    ``tells_address`` that of the server is left out, since standard output has it, on the same terminal. Text is broken between
    words where a terminal of so many ``columns`` would break it anywhere; if that is 0, not at all.
    """

    def __init__(
        self,
        stream: LineStream,
        *,
        in_colour: bool,
        shows_all: bool = False,
        tells_address: bool = True,
        columns: Callable[[], int] = lambda: 0,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._stream = stream
        self._in_colour = in_colour
        self._shows_all = shows_all
        self._tells_address = tells_address
        self._columns = columns
        self._now = now
        self._migrated_from: int | None = None
        self._steps = 0

    def write(self, line: bytes, /) -> None:
        """Tell what one line of the log says, if a person wants to know."""
        told = json.loads(line)
        action = told["message"].partition(".")[2]
        data: dict[str, Any] = told["data"]
        is_trouble = told["log_level"] >= Level.ERROR.value
        words = None if is_trouble else self._WORDS.get(action)
        if words is not None:
            words(self, data)
        elif is_trouble:
            self._tell_trouble(action, data)
        elif self._shows_all:
            self._say(self._painted(f"{self._time()} {action}{_details(data)}", Colour.DIM))

    def say(self, label: str, text: str, colour: Colour = Colour.CYAN) -> None:
        """One line of ``text``, below others of its kind; more if the terminal is narrow."""
        shown = _printable(text)
        width = self._columns() - LABEL_WIDTH
        lines = (
            textwrap.wrap(shown, width, break_long_words=False, break_on_hyphens=False)
            if width >= TEXT_WIDTH_MIN
            else [shown]
        )
        indent = "\n" + " " * LABEL_WIDTH
        self._say(f"{self._painted(f'{label:<{LABEL_WIDTH}}', colour)}{indent.join(lines)}")

    def dropped_notice(self, number: int) -> bytes:
        """The line that stands for so many others, which the terminal was too slow for."""
        return f"({number:,} lines are missing here)\n".encode()

    def _tell_trouble(self, action: str, data: Mapping[str, Any]) -> None:
        what = action.replace("-", " ").replace(".", ": ")
        error = f": {data['error']}" if data.get("error") else ""
        mark = self._painted(f"{'error':<{LABEL_WIDTH}}", Colour.RED)
        details = self._painted(_details(data), Colour.DIM)
        self._say(f"{mark}{self._time()} {_printable(what + error)}{details}")
        for line in str(data.get("trace", "")).splitlines():
            self._say(self._painted(f"    {_printable(line)}", Colour.DIM))

    def _starts_migrating(self, data: Mapping[str, Any]) -> None:
        if self._migrated_from is None:
            self._migrated_from = data["current_version"]
            if self._migrated_from:
                self.say("schema", f"migrating from version {self._migrated_from}; this may take a while")

    def _migrated(self, data: Mapping[str, Any]) -> None:
        self._steps += 1
        if data["current_version"] != data["target_version"]:
            return
        version, began_at, steps = data["target_version"], self._migrated_from, self._steps
        self._migrated_from, self._steps = None, 0
        if began_at:
            self.say("schema", f"migrated from version {began_at} to {version}, in {steps} steps")
        else:
            self.say("schema", f"made for an empty database: version {version}, in {steps} steps")

    def _loaded(self, data: Mapping[str, Any]) -> None:
        self.say("loaded", f"{data['rows']:,} rows in {data['duration'] / 1e9:.2f} s")

    def _started(self, data: Mapping[str, Any]) -> None:
        place = f"embedded, in {data['data-dir']}" if data["embedded"] else "yours, by --database-url"
        self.say("database", f"{data['database-version'] or 'version unknown'} ({place})")
        if data["embedded"]:
            self.say("logs", f"of the database: {data['data-dir']}/postgres.log")
        self.say("cells", f"register with Locket at {data['locket']}")
        if data["auctioneer"]:
            self.say("auctioneer", data["auctioneer"])
        else:
            self.say(
                "auctioneer",
                "none, so nothing is placed: auctions are only remembered; see --auctioneer-address",
                Colour.YELLOW,
            )
        if data["dashboard"]:
            self.say("dashboard", data["dashboard"] + ("" if data["tls"] else " (from this machine only)"))
        if not data["tls"] and not data["loopback"]:
            self.say(
                "warning",
                "no TLS: whoever reaches the address may read and change everything; see --ca-file",
                Colour.YELLOW,
            )
        if self._tells_address:
            self.say("address", data["url"], Colour.GREEN)

    def _debug_port_moved(self, data: Mapping[str, Any]) -> None:
        self.say("debug port", f"{data['address']}, since somebody else has {data['wanted']}", Colour.YELLOW)

    def _dashboard_out_of_reach(self, data: Mapping[str, Any]) -> None:
        self.say(
            "warning",
            f"nobody can see the dashboard at {data['debug-address']}: it is for this machine's loopback, or for client"
            " certificates; see --debug-listen and --ca-file",
            Colour.YELLOW,
        )

    def _takes_fewer(self, data: Mapping[str, Any]) -> None:
        self.say(
            "warning",
            f"{data['connections-max']:,} connections at once, and not {data['configured']:,}: this process may have no more than"
            f" {data['descriptors']:,} files open; see ulimit -Hn",
            Colour.YELLOW,
        )

    def _database_is_back(self, data: Mapping[str, Any]) -> None:
        self.say("database", f"runs again, after {data['away_s']:.1f} s", Colour.GREEN)

    def _stopping(self, data: Mapping[str, Any]) -> None:
        self.say("stopping", f"{data['signal']}: requests in flight are answered, what was staged is written")

    def _exited(self, data: Mapping[str, Any]) -> None:
        self.say("stopped", "all is written", Colour.GREEN)

    _WORDS: Final[Mapping[str, Callable[["TerminalLog", Mapping[str, Any]], None]]] = {
        "migration-manager.running-migration": _starts_migrating,
        "migration-manager.completed-migration": _migrated,
        "loaded": _loaded,
        "started": _started,
        "connections-max-lowered": _takes_fewer,
        "dashboard-out-of-reach": _dashboard_out_of_reach,
        "debug-port-moved": _debug_port_moved,
        "embedded-postgres-started-again": _database_is_back,
        "stopping": _stopping,
        "exited": _exited,
    }

    def _time(self) -> str:
        return f"{self._now():%H:%M:%S}"

    def _painted(self, text: str, colour: Colour) -> str:
        return painted(text, colour) if self._in_colour and text else text

    def _say(self, text: str) -> None:
        self._stream.write(f"{text}\n".encode(errors="backslashreplace"))


def _details(data: Mapping[str, Any]) -> str:
    rest = (f"{key}={value}" for key, value in sorted(data.items()) if key not in UNTOLD)
    return _printable("".join(f"  {each}" for each in rest))


def _printable(text: str) -> str:
    """``text`` without what a terminal would obey: clients choose some of what is logged."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
