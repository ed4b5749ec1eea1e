"""``python -m perf``: see ``--help``. Tables go to stdout, progress to stderr; the exit code is about errors, not speed."""

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from perf.audit import measure_audits
from perf.beds import ServerSpec
from perf.cells import CellsFailed
from perf.changes import measure_changes
from perf.convergence import measure_convergence
from perf.dashboard.measured import measure_dashboard
from perf.dashboard.viewers import ViewersFailed
from perf.figures import JSON
from perf.fleet import measure_fleet
from perf.followers.measured import measure_followers
from perf.interruption import heed_interruptions
from perf.lists import measure_lists
from perf.machine import facts
from perf.mariadb import MariaDBFailed
from perf.memory import measure_memory
from perf.page import NoPlots, as_html, require_plots
from perf.peers import PeersFailed
from perf.profiling import NoProfiler, profiler
from perf.progress import shown
from perf.reach import NoAnswer
from perf.readings import Outcome
from perf.report import as_text
from perf.runner import Plan, run
from perf.scenarios import SCENARIOS
from perf.scenarios.trial import Sizes
from perf.server import ServerFailed
from perf.soak.plots import soak_as_html
from perf.soak.run import SAMPLE_EVERY_S, SAMPLES_MIN, SoakPlan, measure_soak
from perf.takeover import measure_takeovers

EXIT_TROUBLE: Final = 1
EXIT_CANNOT_RUN: Final = 2
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT

CANNOT_RUN: Final = (
    ServerFailed,
    PeersFailed,
    MariaDBFailed,
    CellsFailed,
    ViewersFailed,
    NoAnswer,
    NoPlots,
    NoProfiler,
    OSError,
    ValueError,
)
"""Told in their own words, without a traceback."""


class Result(Protocol):
    def report(self) -> str: ...
    def as_json(self) -> dict[str, JSON]: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if every request was answered as it should be, 1 if not, 2 if nothing could be measured, 130 if somebody
    interrupted it; what `compare` had measured by then is told and written all the same.
    """
    arguments = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(arguments)
    options.command_line = shlex.join(["python", "-m", "perf", *arguments])
    heed_interruptions()
    try:
        for file in _files(options):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.open(
                "a"
            ).close()  # now, and not after a quarter of an hour, is the time to find that it can't be written
        result, code = _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print(f"perf {options.command}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except CANNOT_RUN as error:
        print(f"perf {options.command}: {error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    print(result.report())
    if options.json is not None:
        figures: dict[str, JSON] = {**facts(), options.command: result.as_json()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m perf", description="Load tests for a BBS.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", metavar="FILE", type=Path, help="write all figures there too")

    comparing = commands.add_parser(
        "compare",
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="scenarios on one or more servers, interleaved, with medians, ratios and plots",
        description=(
            "A SERVER is one of these:\n"
            "  own FLAGS              ours, started for it, with flags of `bbs serve`: 'own --no-fast-lane'\n"
            "  own@DIRECTORY FLAGS    the same of another checkout\n"
            "  mariadb FLAGS          ours on a MariaDB, started for it (Debian's mariadb-server)\n"
            "  https://HOST:PORT,…    any BBS, followed by what is known of it:\n"
            "      ca=F,cert=F,key=F    its authority, and our certificate (or --ca, --cert, --key for all)\n"
            "      locket=HOST:PORT     where cells are registered; without any, convergence takes the fleet for lost\n"
            "      peers=URL            where `python -m perf.peers` answers as its auctioneer\n"
            "      pid=N                whose CPU and memory to read, if it runs on this machine\n"
            "      debug=HOST:PORT      its metrics page, if it is ours"
        ),
        epilog="scenarios:\n" + "\n".join(f"  {each.name:14} {each.what}" for each in SCENARIOS.values()),
    )
    comparing.add_argument(
        "--a", metavar="SERVER", default="own", help="what the others are compared to (default: own)"
    )
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
    for option, kind, value, text in (
        ("--lrps", _positive_int, defaults.lrps, "where nothing grows"),
        ("--connections", _positive_int, defaults.connections, "of the load"),
        ("--rounds", _positive_int, 3, "that count; before them comes a warm-up"),
        ("--turn-s", float, defaults.turn_s, "seconds, of steps that end by time"),
    ):
        comparing.add_argument(option, type=kind, default=value, help=f"{text} (default: {value})")
    comparing.add_argument(
        "--points",
        metavar="SCENARIO=N,N,…",
        action="append",
        default=[],
        help="instead of a scenario's own numbers of LRPs, instances or subscribers; can be repeated",
    )
    comparing.add_argument("--html", metavar="FILE", type=Path, help="a page with tables and plots")
    comparing.add_argument(
        "--profile", metavar="DIR", type=Path, help="flame graphs by py-spy, of a round that does not count"
    )

    soaking = commands.add_parser(
        "soak",
        parents=[common],
        help="a server of ours under a mixed load for long: nothing is kept, memory does not grow; exit code 1 if not",
    )
    soaking.add_argument(
        "--minutes",
        metavar="N",
        type=_minutes,
        default=60.0,
        help="of the load (default: 60); parts of them are taken",
    )
    soaking.add_argument(
        "--cells", type=_positive_int, default=10, help="that the load comes from (default: 10)"
    )
    soaking.add_argument(
        "--server", metavar="SERVER", default="own", help="as of `compare`, but one of ours (default: own)"
    )
    soaking.add_argument("--html", metavar="FILE", type=Path, help="a page with the tables and the plot")

    for name, lrps, what in (
        (
            "convergence",
            100_000,
            "in this process: passes over a fleet as desired, and over one that loses a tenth of its cells",
        ),
        (
            "lists",
            50_000,
            "in this process: lists of everything, the first and later ones, and what they hold up",
        ),
        ("audit", 250_000, "what it costs to find that nobody else has written to the database"),
        (
            "changes",
            100_000,
            "what it costs to follow the changes of a database, and how soon they are there",
        ),
        ("memory", 20_000, "in this process: what an LRP takes, part by part"),
        ("takeover", 100_000, "how long nobody answers while a standby becomes master"),
        (
            "followers",
            20_000,
            "how late followers are, what they cost their master, and fan-out over two of them beside the master alone",
        ),
        (
            "dashboard",
            250_000,
            "what it costs its server, beside one without it: nobody looks, ten look, at rest, with writes, and while cells are lost",
        ),
        (
            "fleet",
            2_000,
            "with the demo's simulated cells: until all run, until a cell is evacuated, until a lost one is made up for",
        ),
    ):
        parse: Callable[[str], float]
        inside = commands.add_parser(name, parents=[common], help=what)
        inside.add_argument("--lrps", type=_positive_int, default=lrps, help=f"(default: {lrps:,})")
        if name == "lists":
            inside.add_argument("--idle-s", type=float, default=0.0, help="from the load to the first list")
        if name == "takeover":
            inside.add_argument("--mariadb", action="store_true", help="on MariaDB instead of Postgres")
        if name == "fleet":
            inside.add_argument("--cells", type=_positive_int, default=20, help="(default: 20)")
        if name == "dashboard":
            for option, parse, value, text in (
                ("--cells", _positive_int, 1_000, "in three zones"),
                ("--lost-cells", _natural, 100, "that vanish in the end"),
                ("--rate", _positive_int, 420, "writes per second to each of the two servers"),
                ("--seconds", _seconds, 30.0, "of a window"),
                ("--windows", _positive_int, 3, "of each condition"),
            ):
                inside.add_argument(option, type=parse, default=value, help=f"{text} (default: {value:,})")
        if name == "followers":
            for option, parse, value, text in (
                ("--rate", _positive_int, 5_000, "rows per second that are written"),
                ("--subscribers", _positive_int, 4_000, "of events"),
                (
                    "--seconds",
                    _seconds,
                    20.0,
                    "that are written at that rate, with one follower and with two",
                ),
            ):
                inside.add_argument(option, type=parse, default=value, help=f"{text} (default: {value:,})")
    return parser


def _files(options: argparse.Namespace) -> list[Path]:
    """What is going to be written."""
    return [file for name in ("json", "html") if (file := getattr(options, name, None)) is not None]


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("at least 0")
    return value


def _minutes(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 10_000:
        raise argparse.ArgumentTypeError("0.1 to 10,000")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 3_600:
        raise argparse.ArgumentTypeError("0.5 to 3,600")
    return value


def _points(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """
    Raises:
      ValueError: one of them does not say of which scenario, or that has none.
    """
    grow = [name for name, scenario in SCENARIOS.items() if scenario.axis]
    found = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            points = tuple(sorted(int(each) for each in numbers.split(",")))
        except ValueError:
            points = ()
        if name not in grow or not points or points[0] < 1:
            raise ValueError(f"--points {text}: SCENARIO=N,N,… is wanted, of {', '.join(grow)}")
        found[name] = points
    return found


def _compare(options: argparse.Namespace) -> tuple[Result, int]:
    if options.html is not None:
        require_plots()
    if options.profile is not None:
        profiler()
    named = [("a", options.a), *([("b", options.b)] if options.b is not None else [])]
    for text in options.server:
        name, equals, server = text.partition("=")
        if not equals or name in dict(named):
            raise ValueError(f"--server {text}: not NAME=SERVER, or a name that is taken")
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
            points=_points(options.points),
        ),
        rounds=options.rounds,
        profiles=options.profile,
        command_line=options.command_line,
    )
    _say(
        f"takes about {max(1, round(plan.expected_s() / 60))} min on two quiet cores; Ctrl-C keeps what was measured"
    )
    with shown(plan.steps()) as progress:
        outcome = run(plan, progress)
    if options.html is not None:
        options.html.write_text(as_html(outcome))
    if outcome.interrupted:
        return _Told(outcome), EXIT_INTERRUPTED
    return _Told(outcome), 0 if outcome.good else EXIT_TROUBLE


class _Told:
    """A comparison as a `Result`."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def report(self) -> str:
        return as_text(self._outcome)

    def as_json(self) -> dict[str, JSON]:
        return self._outcome.as_json()


def _convergence(options: argparse.Namespace) -> tuple[Result, int]:
    account = measure_convergence(lrps=options.lrps, say=_say)
    return account, EXIT_TROUBLE if account.troubles else 0


def _audit(options: argparse.Namespace) -> tuple[Result, int]:
    account = measure_audits(lrps=options.lrps, say=_say)
    return account, EXIT_TROUBLE if account.taken_over else 0


def _changes(options: argparse.Namespace) -> tuple[Result, int]:
    return measure_changes(lrps=options.lrps, say=_say), 0


def _lists(options: argparse.Namespace) -> tuple[Result, int]:
    return measure_lists(lrps=options.lrps, idle_s=options.idle_s, say=_say), 0


def _memory(options: argparse.Namespace) -> tuple[Result, int]:
    return measure_memory(lrps=options.lrps, say=_say), 0


def _takeover(options: argparse.Namespace) -> tuple[Result, int]:
    return measure_takeovers(lrps=options.lrps, on_mariadb=options.mariadb, say=_say), 0


def _followers(options: argparse.Namespace) -> tuple[Result, int]:
    account = measure_followers(
        lrps=options.lrps,
        rate=options.rate,
        subscribers=options.subscribers,
        seconds=options.seconds,
        say=_say,
    )
    return account, EXIT_TROUBLE if account.troubles else 0


def _dashboard(options: argparse.Namespace) -> tuple[Result, int]:
    account = measure_dashboard(
        lrps=options.lrps,
        cells=options.cells,
        lost_cells=options.lost_cells,
        rate=options.rate,
        seconds=options.seconds,
        windows=options.windows,
        say=_say,
    )
    return account, 0


def _fleet(options: argparse.Namespace) -> tuple[Result, int]:
    return measure_fleet(lrps=options.lrps, cells=options.cells, say=_say), 0


def _soak(options: argparse.Namespace) -> tuple[Result, int]:
    if options.html is not None:
        require_plots()
    server = ServerSpec.parse(options.server)
    if not server.is_own:
        raise ValueError("--server: a soak looks into the server's process, so it has to be one of ours")
    load_s = 60 * options.minutes
    plan = SoakPlan(
        server=server,
        load_s=load_s,
        sample_every_s=min(SAMPLE_EVERY_S, load_s / SAMPLES_MIN),
        cells=options.cells,
        command_line=options.command_line,
    )
    soak = measure_soak(plan, say=_say)
    if options.html is not None:
        options.html.write_text(soak_as_html(soak))
    return soak, 0 if soak.good else EXIT_TROUBLE


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], tuple[Result, int]]]] = {
    "compare": _compare,
    "convergence": _convergence,
    "audit": _audit,
    "changes": _changes,
    "lists": _lists,
    "memory": _memory,
    "takeover": _takeover,
    "dashboard": _dashboard,
    "fleet": _fleet,
    "followers": _followers,
    "soak": _soak,
}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
