"""Which command prints a number that the dashboard shows.

The page makes each number a link that shows its command. Words in braces are filled in by the page: ``{debug}`` is the debug
port's host and port as the browser knows them and ``{origin}`` its URL, ``{curl}`` is curl with the certificates that this one
needs, and the others name what the number is about.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Command:
    """``line`` is for a shell. ``prints`` says what to look at in its output."""

    line: str
    prints: str


TOP: Final = "bbs top --once"
SERVER: Final = "bbs top --once --debug {debug}"
METRICS: Final = "{curl} {origin}/metrics | grep '^bbs_{metric}'"

COMMANDS: Final[Mapping[str, Command]] = {
    "instances": Command(
        'bbs actual-lrps -o json | grep -c \'"state":"{state}"\'', "how many instances are in this state"
    ),
    "presence": Command(
        'bbs actual-lrps -o json | grep -c \'"presence":"{presence}"\'',
        "how many instances have this presence",
    ),
    "desired": Command(TOP, "behind the instances: how many are desired"),
    "processes": Command(
        "bbs desired-lrp-scheduling-infos -o json | wc -l", "how many processes are desired"
    ),
    "missing": Command(TOP, "behind the instances: how many are missing"),
    "extra": Command(TOP, "behind the instances: how many are extra"),
    "not-desired": Command(TOP, "behind the instances: how many nobody desires"),
    "tasks": Command('bbs tasks -o json | grep -c \'"state":"{state}"\'', "how many tasks are in this state"),
    "tasks-all": Command("bbs tasks -o json | wc -l", "how many tasks there are"),
    "domains": Command("bbs domains -o json", "the domains that are fresh, one on each line"),
    "cells": Command("bbs cells -o json | wc -l", "how many cells are announced"),
    "cells-missing": Command(TOP, "in the line about cells: those that are missing"),
    "cell": Command("bbs cell {cell}", "the cell, what its rep says, and what is on it"),
    "app": Command("bbs lrp {guid}", "the app, its instances, and why they are not as desired"),
    "task": Command("bbs task {task}", "the task"),
    "events": Command("bbs events --follow", "what happens, as it does"),
    "rep-failures": Command("{curl} {origin}/rep-failures", "the last failed call of each cell's rep"),
    "server": Command(
        "{curl} {origin}/metrics | grep -E '^bbs_(build_info|lock_held|following)'",
        "its version, and its part",
    ),
    "staged-rows": Command(METRICS.replace("{metric}", "staged_rows"), "rows that wait for the database"),
    "write-retries": Command(
        METRICS.replace("{metric}", "write_retries"), "transactions that were tried again, since the start"
    ),
    "failed-writes": Command(
        METRICS.replace("{metric}", "failed_writes"), "changes that could not be written, since the start"
    ),
    "subscribers": Command(
        METRICS.replace("{metric}", "subscribers_{hub} "), "how many subscribe to these events"
    ),
    "cut-off": Command(METRICS.replace("{metric}", "subscribers_cut_off"), "subscribers that were too slow"),
    "convergence": Command(
        METRICS.replace("{metric}", "convergence"), "what passes took, and how many there were"
    ),
    "passes": Command(
        METRICS.replace("{metric}", "(lrps|crash|suspect|present)").replace("grep", "grep -E"),
        "what the last pass found",
    ),
    "requests": Command(SERVER, "requests per second, and their latencies"),
    "batches": Command(SERVER, "transactions per second, and their latencies"),
    "rows": Command(METRICS.replace("{metric}", "batch_rows_sum"), "rows written since the start: ask twice"),
    "lag": Command(SERVER, "how late the event loop is"),
    "published": Command(SERVER, "events sent per second"),
}


def as_json() -> dict[str, dict[str, str]]:
    return {name: asdict(command) for name, command in COMMANDS.items()}
