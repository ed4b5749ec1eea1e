"""``python -m perf``: see ``--help``. Tables go to stdout, progress to stderr; the exit code is about errors, not speed."""

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, Protocol

from perf.auctions import measure_auctions
from perf.audit import measure_audits
from perf.beds import ServerSpec, laid_bed
from perf.convergence import measure_convergence
from perf.figures import JSON
from perf.hold import Credentials, measure_hold
from perf.lanes import compare_lanes
from perf.lists import measure_lists
from perf.operations import work_through
from perf.page import NoPlots, as_html, require_plots
from perf.peers import PeersFailed
from perf.profiling import NoProfiler, profiler
from perf.progress import shown
from perf.readings import Outcome
from perf.report import as_text
from perf.runner import Plan, run
from perf.scenarios import SCENARIOS
from perf.scenarios.trial import Sizes
from perf.server import Server, ServerFailed
from perf.takeover import measure_takeovers
from perf.tasks import TASKS_PER_CELL, storm
from perf.workloads import LRPS_PER_CELL

EXIT_TROUBLE: Final = 1
EXIT_CANNOT_RUN: Final = 2


class Result(Protocol):
    def report(self) -> str: ...
    def as_json(self) -> dict[str, JSON]: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if every request was answered as it should be, 1 if not, 2 if there was no server to ask."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _leave)
    try:
        result, good = _COMMANDS[options.command](options)
    except (ServerFailed, PeersFailed, NoPlots, NoProfiler, OSError, ValueError) as error:
        print(f"perf {options.command}: {error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    print(result.report())
    if options.json is not None:
        options.json.write_text(
            json.dumps({**_machine(), options.command: result.as_json()}, indent=2) + "\n"
        )
    return 0 if good else EXIT_TROUBLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m perf", description="Load tests for a BBS.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    common.add_argument("--json", metavar="FILE", type=Path, help="write all figures there too")
    anywhere = argparse.ArgumentParser(add_help=False)
    anywhere.add_argument("--url", help="an https BBS to drive, instead of starting one of our own")
    for name, what in (
        ("--ca", "authority of its certificate"),
        ("--cert", "client certificate"),
        ("--key", "its key"),
    ):
        anywhere.add_argument(name, metavar="FILE", type=Path, help=what)

    comparing = commands.add_parser(
        "compare",
        parents=[common],
        help="scenarios on one or more servers, interleaved, with medians, ratios and plots",
        description="A SERVER is ours (`own`, with flags: `own --no-fast-lane`), that of another checkout"
        " (`own@DIRECTORY`), or any BBS: `https://HOST:PORT,ca=F,cert=F,key=F,locket=HOST:PORT,pid=N,debug=HOST:PORT,"
        "peers=URL`. Files may be given once for all with --ca, --cert, --key. With `locket` cells are registered"
        " there; `pid` tells whose CPU and memory to read, if it runs on this machine; `peers` is where"
        " `python -m perf.peers` answers as its auctioneer.",
        epilog="scenarios: " + "; ".join(f"{each.name} ({each.what})" for each in SCENARIOS.values()),
    )
    comparing.add_argument("--a", metavar="SERVER", default="own", help="what the others are compared to")
    comparing.add_argument("--b", metavar="SERVER")
    comparing.add_argument(
        "--server", metavar="NAME=SERVER", action="append", default=[], help="one more; can be repeated"
    )
    for name in ("--ca", "--cert", "--key"):
        comparing.add_argument(name, metavar="FILE", help="for servers given by URL")
    comparing.add_argument(
        "--scenario",
        metavar="NAME",
        action="append",
        choices=[*SCENARIOS, "all"],
        help="can be repeated; `all` for all (default: life)",
    )
    defaults = Sizes()
    comparing.add_argument("--lrps", type=_positive_int, default=defaults.lrps, help="where nothing grows")
    comparing.add_argument("--connections", type=_positive_int, default=defaults.connections)
    comparing.add_argument("--rounds", type=_positive_int, default=3)
    comparing.add_argument("--turn-s", type=float, default=defaults.turn_s, help="of steps that end by time")
    comparing.add_argument(
        "--points",
        metavar="N,N,…",
        type=_points,
        help="instead of a scenario's own numbers of LRPs or subscribers",
    )
    comparing.add_argument("--html", metavar="FILE", type=Path, help="a page with tables and plots")
    comparing.add_argument(
        "--profile", metavar="DIR", type=Path, help="flame graphs by py-spy, of a round that does not count"
    )

    lanes = commands.add_parser(
        "lanes",
        parents=[common],
        help="claims and starts: fast lane, Quart alone, fast lane without group commit",
    )
    lanes.add_argument("--lrps", type=_positive_int, default=2_000)
    lanes.add_argument("--connections", type=_positive_int, default=64)
    lanes.add_argument("--rounds", type=_positive_int, default=3)
    lanes.add_argument(
        "--turn-s", type=float, default=5.0, help="measure each server that long, or a bit more"
    )

    workload = commands.add_parser(
        "workload",
        parents=[common, anywhere],
        help="every operation once, with the Go server's figures beside",
    )
    workload.add_argument("--lrps", type=_positive_int, default=10_000)
    workload.add_argument("--connections", type=_positive_int, default=64)
    workload.add_argument(
        "--operation-max-s", type=float, default=120.0, help="give up an operation after that"
    )
    workload.add_argument("--no-fast-lane", action="store_true", help="start our server without it")

    tasks = commands.add_parser(
        "tasks",
        parents=[common, anywhere],
        help="a storm of tasks: desire, start, complete, resolve, delete",
    )
    tasks.add_argument("--tasks", type=_positive_int, default=10_000)
    tasks.add_argument("--connections", type=_positive_int, default=64)
    tasks.add_argument("--operation-max-s", type=float, default=120.0, help="give up an operation after that")
    tasks.add_argument("--no-fast-lane", action="store_true", help="start our server without it")

    auctions = commands.add_parser(
        "auctions",
        parents=[common],
        help="desires and crashes with an auctioneer that answers at once, and the calls it gets",
    )
    auctions.add_argument("--lrps", type=_positive_int, default=10_000)
    auctions.add_argument("--connections", type=_positive_int, default=64)
    auctions.add_argument(
        "--operation-max-s", type=float, default=120.0, help="give up an operation after that"
    )

    hold = commands.add_parser(
        "hold",
        parents=[common, anywhere],
        help="how long pings wait while large lists are read, and large processes changed",
    )
    hold.add_argument("--lrps", type=_positive_int, default=10_000)
    hold.add_argument("--instances", type=_positive_int, default=50_000, help="of one large process")
    hold.add_argument("--no-fast-lane", action="store_true", help="start our server without it")

    convergence = commands.add_parser(
        "convergence",
        parents=[common],
        help="passes over LRPs in this process: a fleet as desired, and one that loses a tenth of its cells",
    )
    convergence.add_argument("--lrps", type=_positive_int, default=100_000)

    audit = commands.add_parser(
        "audit", parents=[common], help="what it costs to find that nobody else has written to the database"
    )
    audit.add_argument("--lrps", type=_positive_int, default=250_000)

    lists = commands.add_parser(
        "lists",
        parents=[common],
        help="lists of everything in this process: the first, later ones, and memory",
    )
    lists.add_argument("--lrps", type=_positive_int, default=50_000)
    lists.add_argument("--idle-s", type=float, default=0.0, help="from the load to the first list")

    takeover = commands.add_parser(
        "takeover", parents=[common], help="how long nobody answers while a standby becomes master"
    )
    takeover.add_argument("--lrps", type=_positive_int, default=100_000)
    return parser


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _points(text: str) -> tuple[int, ...]:
    return tuple(sorted(_positive_int(each) for each in text.split(",")))


def _compare(options: argparse.Namespace) -> tuple[Result, bool]:
    if options.html is not None:
        require_plots()
    if options.profile is not None:
        profiler()
    named = [("a", options.a), *([("b", options.b)] if options.b is not None else [])]
    for text in options.server:
        name, equals, server = text.partition("=")
        if not equals or name in dict(named):
            raise ValueError(f"{text}: not NAME=SERVER, or a name that is taken")
        named.append((name, server))
    defaults = {
        name: value for name in ("ca", "cert", "key") if (value := getattr(options, name)) is not None
    }
    names = options.scenario or ["life"]
    plan = Plan(
        servers={name: ServerSpec.parse(server, defaults=defaults) for name, server in named},
        scenarios=list(SCENARIOS.values()) if "all" in names else [SCENARIOS[name] for name in names],
        sizes=Sizes(
            lrps=options.lrps,
            connections=options.connections,
            turn_s=options.turn_s,
            points=options.points,
        ),
        rounds=options.rounds,
        profiles=options.profile,
    )
    with shown(plan.steps()) as progress:
        outcome = run(plan, progress)
    if options.html is not None:
        options.html.write_text(as_html(outcome))
    return _Told(outcome), outcome.good


class _Told:
    """A comparison as a `Result`."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def report(self) -> str:
        return as_text(self._outcome)

    def as_json(self) -> dict[str, JSON]:
        return self._outcome.as_json()


def _lanes(options: argparse.Namespace) -> tuple[Result, bool]:
    comparison = compare_lanes(
        lrps=options.lrps,
        connections=options.connections,
        rounds=options.rounds,
        turn_s=options.turn_s,
        say=_say,
    )
    return comparison, not comparison.troubles


def _workload(options: argparse.Namespace) -> tuple[Result, bool]:
    with _bbs(options, cells=options.lrps // LRPS_PER_CELL + 1) as (credentials, server):
        account = work_through(
            credentials.target(),
            url=credentials.url,
            lrps=options.lrps,
            connections=options.connections,
            operation_max_s=options.operation_max_s,
            server=server,
            say=_say,
        )
    return account, account.good


def _tasks(options: argparse.Namespace) -> tuple[Result, bool]:
    with _bbs(options, cells=options.tasks // TASKS_PER_CELL + 1) as (credentials, server):
        account = storm(
            credentials.target(),
            url=credentials.url,
            tasks=options.tasks,
            connections=options.connections,
            operation_max_s=options.operation_max_s,
            server=server,
            say=_say,
        )
    return account, not account.troubles


def _auctions(options: argparse.Namespace) -> tuple[Result, bool]:
    account = measure_auctions(
        lrps=options.lrps,
        connections=options.connections,
        operation_max_s=options.operation_max_s,
        say=_say,
    )
    return account, not account.troubles


def _hold(options: argparse.Namespace) -> tuple[Result, bool]:
    with _bbs(options, cells=options.lrps // LRPS_PER_CELL + 1) as (credentials, _):
        hold = measure_hold(credentials, lrps=options.lrps, instances=options.instances, say=_say)
    return hold, not hold.troubles


def _convergence(options: argparse.Namespace) -> tuple[Result, bool]:
    account = measure_convergence(lrps=options.lrps, say=_say)
    return account, not account.troubles


def _audit(options: argparse.Namespace) -> tuple[Result, bool]:
    account = measure_audits(lrps=options.lrps, say=_say)
    return account, not account.taken_over


def _lists(options: argparse.Namespace) -> tuple[Result, bool]:
    return measure_lists(lrps=options.lrps, idle_s=options.idle_s, say=_say), True


def _takeover(options: argparse.Namespace) -> tuple[Result, bool]:
    return measure_takeovers(lrps=options.lrps, say=_say), True


_COMMANDS: Final = {
    "compare": _compare,
    "lanes": _lanes,
    "workload": _workload,
    "tasks": _tasks,
    "auctions": _auctions,
    "hold": _hold,
    "convergence": _convergence,
    "audit": _audit,
    "lists": _lists,
    "takeover": _takeover,
}


@contextmanager
def _bbs(options: argparse.Namespace, *, cells: int) -> Iterator[tuple[Credentials, Server | None]]:
    """The BBS that ``--url`` names, or one of our own for as long as the context is entered, with its auctioneer and so many
    cells: without any, the fleet would be taken for lost after half a minute.
    """
    if options.url is not None:
        yield Credentials(url=options.url, ca=options.ca, cert=options.cert, key=options.key), None
        return
    flags = ("--no-fast-lane",) if options.no_fast_lane else ()
    with laid_bed(ServerSpec(flags=flags)) as bed:
        if bed.cells is not None:
            bed.cells.register_up_to(cells)
        yield bed.credentials, bed.server


def _machine() -> dict[str, JSON]:
    return {"cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}


def _leave(signal_number: int, frame: FrameType | None) -> NoReturn:
    """For SIGTERM, which `timeout` sends, for one: end as after Ctrl-C, so that the server that we started is stopped too."""
    raise SystemExit(128 + signal_number)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
