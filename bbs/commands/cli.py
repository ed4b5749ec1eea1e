"""The subcommands of ``bbs`` that are our own: ``serve``, ``demo``, ``follow``, ``shadow``, ``check-config``, ``doctor``,
``migrate-database`` and ``certs``. Upstream's server is `daemon`."""

import argparse
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Final

import trio

from bbs import __version__
from bbs.cfdot.table import BY_NAME
from bbs.commands.check_config import check_config
from bbs.commands.completion import add_completion, print_completion
from bbs.commands.demo import add_demo, demo, demo_settings_of
from bbs.commands.doctor import add_doctor, doctor
from bbs.commands.follow import FollowSettings, follow
from bbs.commands.last_words import dump_stacks_on_quit, exited_with_failure, unraisable_errors_told
from bbs.commands.migrate_database import migrate_database
from bbs.commands.numbers import number
from bbs.commands.serve import DatabaseFailed, serve
from bbs.commands.serve_config import ServeConfig
from bbs.commands.serve_flags import add_serve, config_of
from bbs.commands.shadow import ShadowCommand, shadow
from bbs.commands.signals import stop_on_signal
from bbs.commands.terminal import Colour, columns, painted, wants_colour, wants_text
from bbs.commands.terminal_log import TerminalLog
from bbs.concurrency.causes import root_cause
from bbs.config.errors import ConfigInvalid
from bbs.console import MORE
from bbs.embedded_postgres import EmbeddedPostgresFailed, EmbeddedPostgresLost
from bbs.log import LagerSink, Level, LineWriters, Logger, StandardStreams, root_logger, standard_streams
from bbs.shadow.shadow import ShadowSettings
from bbs.store.backend import BackendUnavailable, WriterLockLost
from bbs.store.dsn import BadConnectionString
from bbs.store.schema import SchemaError
from bbs.tls.contexts import TLSFilesInvalid
from bbs.tls.development import CertificatesExist, make_development_certs

SESSION = "bbs"

TOLD_BEFORE_S: Final = 0.2
"""How long the address waits on standard output for the lines before it, so that a terminal shows them in order."""

EXIT_FAILED = 1
EXIT_NOT_STARTED = 2
EXIT_INTERRUPTED = 130
"""As a shell counts an interrupt that came before there was anything to stop."""

# Failures that an operator can do something about before the server starts. Their text is told on standard error, without
# a traceback; any other is logged as the end of a server that ran.
NO_DATABASE = (BadConnectionString, SchemaError, BackendUnavailable)
CANNOT_START = (ConfigInvalid, TLSFilesInvalid, EmbeddedPostgresFailed, *NO_DATABASE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 a clean end, 1 a failure while running, 2 it could not start."""
    arguments = _parser().parse_args(argv)
    command: str = arguments.command
    if command == "certs":
        return _certs(arguments.directory)
    if command == "completion":
        return print_completion(arguments.shell, _parser())
    if command == "check-config":
        return check_config(arguments.file)
    if command == "doctor":
        return doctor(arguments)
    if command == "migrate-database":
        return migrate_database(arguments.source, arguments.target)
    if command == "follow":
        settings = FollowSettings(
            staleness_max_s=arguments.staleness_max_s, at_least_max_s=arguments.at_least_max_s
        )
        return follow(arguments.config, settings)
    if command == "shadow":
        return shadow(arguments.config, _shadow_command(arguments))
    with standard_streams(log="stderr") as streams:
        return _demo(arguments, streams) if command == "demo" else _serve(arguments, streams)


CFDOTS_COMMANDS: Final = textwrap.fill(
    f"Upstream's cfdot is here, too, for its commands as they are: {', '.join(BY_NAME)}."
    f" And beside those, for people: {', '.join(name for name in MORE.commands if name not in BY_NAME)}."
    " See: bbs COMMAND --help",
    width=79,
    break_on_hyphens=False,
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bbs",
        description="The BBS of Cloud Foundry's Diego.",
        epilog=CFDOTS_COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bbs {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add_serve(commands)
    add_demo(commands)
    _add_follow(commands)
    _add_shadow(commands)
    check = commands.add_parser("check-config", help="say what is wrong with a configuration of upstream's")
    check.add_argument("file", metavar="FILE", help="the file that `bbs -config FILE` is to be started with")
    add_doctor(commands)
    migrate = commands.add_parser(
        "migrate-database", help="copy all rows to another database, from Postgres to MySQL or back"
    )
    migrate.add_argument(
        "--from", dest="source", metavar="URL", required=True, help="postgres://… or mysql://…"
    )
    migrate.add_argument("--to", dest="target", metavar="URL", required=True, help="an empty database")
    certs = commands.add_parser("certs", help="make a development CA, a server and a client certificate")
    certs.add_argument("directory", metavar="DIR", type=Path)
    add_completion(commands)
    return parser


def _add_follow(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    defaults = FollowSettings()
    follow_ = commands.add_parser(
        "follow",
        help="serve reads and event streams from a master's database",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    follow_.add_argument(
        "-config",
        "--config",
        metavar="FILE",
        required=True,
        help="configuration as for `bbs -config FILE`, with this follower's own addresses and certificate",
    )
    follow_.add_argument(
        "--staleness-max-s",
        metavar="S",
        type=number(float, may_be_zero=False),
        default=defaults.staleness_max_s,
        help="seconds that its copy may be behind; beyond, it answers 503",
    )
    follow_.add_argument(
        "--at-least-max-s",
        metavar="S",
        type=number(float, may_be_zero=False),
        default=defaults.at_least_max_s,
        help="seconds that a request may wait for what its header X-Bbs-At-Least asks for",
    )


def _add_shadow(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    defaults = ShadowSettings()
    shadow_ = commands.add_parser(
        "shadow",
        help="follow a master's database, and compare what it tells with what the master tells",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    shadow_.add_argument(
        "-config",
        "--config",
        metavar="FILE",
        required=True,
        help="configuration as for `bbs follow -config FILE`",
    )
    shadow_.add_argument(
        "--compare",
        metavar="URL",
        required=True,
        help="the master, for example https://bbs.service.cf.internal:8889",
    )
    shadow_.add_argument(
        "--ca-file",
        metavar="F",
        default="",
        help="CA of the master's certificate, if not the configuration's",
    )
    shadow_.add_argument(
        "--cert-file", metavar="F", default="", help="shown to the master, if not what is shown to Locket"
    )
    shadow_.add_argument("--key-file", metavar="F", default="", help="its key")
    shadow_.add_argument(
        "--interval-s",
        metavar="S",
        type=number(float, may_be_zero=True),
        default=defaults.interval_s,
        help="pause between two rounds",
    )
    shadow_.add_argument(
        "--rounds",
        metavar="N",
        type=number(int, may_be_zero=False),
        help="end after so many; else at a signal",
    )
    shadow_.add_argument(
        "--for-s", metavar="S", type=number(float, may_be_zero=False), help="end after so many seconds"
    )
    shadow_.add_argument(
        "--events-grace-s",
        metavar="S",
        type=number(float, may_be_zero=False),
        default=defaults.events_grace_s,
        help="how long an event may be told by one of the two only",
    )
    shadow_.add_argument(
        "--list-timeout-s",
        metavar="S",
        type=number(float, may_be_zero=False),
        default=defaults.list_timeout_s,
        help="how long a list may take",
    )
    shadow_.add_argument(
        "--report", metavar="FILE", type=Path, help="where the report goes, if not to standard output"
    )
    shadow_.add_argument("--json", action="store_true", help="the report as JSON")


def _shadow_command(arguments: argparse.Namespace) -> ShadowCommand:
    return ShadowCommand(
        master_url=arguments.compare,
        ca_file=arguments.ca_file,
        cert_file=arguments.cert_file,
        key_file=arguments.key_file,
        report=arguments.report,
        as_json=arguments.json,
        settings=ShadowSettings(
            **{setting.name: getattr(arguments, setting.name) for setting in fields(ShadowSettings)}
        ),
    )


def _certs(directory: Path) -> int:
    try:
        certs = make_development_certs(directory)
    except (CertificatesExist, OSError) as error:
        print(f"bbs certs: {error}", file=sys.stderr)
        return EXIT_NOT_STARTED
    for path in certs.paths():
        print(path)
    return 0


def _serve(arguments: argparse.Namespace, streams: StandardStreams) -> int:
    level = Level.ERROR if arguments.quiet else Level[arguments.log_level.upper()]
    sink, log = _log(streams, level, arguments.log_format)

    def ready(url: str, locket: str) -> None:
        streams.log.wait_written(TOLD_BEFORE_S)
        told = f"listening on {url}"
        print(painted(told, Colour.GREEN) if wants_colour(sys.__stdout__) else told, flush=True)

    def run() -> None:
        trio.run(_serve_until_signalled, config_of(arguments), log, sink, streams.writers, ready)

    return _exit_code_of(run, command="serve", log=log)


def _demo(arguments: argparse.Namespace, streams: StandardStreams) -> int:
    sink, log = _log(streams, Level.ERROR, "auto")

    def run() -> None:
        trio.run(demo, demo_settings_of(arguments), log, sink, streams.writers)

    return _exit_code_of(run, command="demo", log=log)


def _log(streams: StandardStreams, level: Level, log_format: str) -> tuple[LagerSink, Logger]:
    """The log on standard error, for people or for machines."""
    told, stream = None, streams.log
    if wants_text(log_format, sys.__stderr__):
        told = TerminalLog(
            stream,
            in_colour=wants_colour(sys.__stderr__),
            shows_all=level is Level.DEBUG,
            tells_address=sys.__stdout__ is None or not sys.__stdout__.isatty(),
            columns=partial(columns, sys.__stderr__),
        )
    sink = LagerSink(told or stream, min_level=level)
    stream.notice = told.dropped_notice if told else partial(sink.dropped_notice, SESSION)
    return sink, root_logger(SESSION, sink)


def _exit_code_of(run: Callable[[], None], *, command: str, log: Logger) -> int:
    """Run a server to its end, and tell of a failure on standard error."""
    dump_stacks_on_quit()
    try:
        with unraisable_errors_told(log):
            run()
    except BaseException as error:
        # The end of the process, whatever it was: nothing is left that a failure could leave half done.
        cause = root_cause(error)
        if isinstance(cause, KeyboardInterrupt):
            return EXIT_INTERRUPTED
        if not isinstance(cause, CANNOT_START):
            is_known = isinstance(cause, WriterLockLost | EmbeddedPostgresLost | DatabaseFailed)
            exited_with_failure(log, str(cause), bug=None if is_known else error)
            return EXIT_FAILED
        what = (
            f"cannot use the database: {cause}; check --database-url"
            if isinstance(cause, NO_DATABASE)
            else cause
        )
        print(f"bbs {command}: {what}", file=sys.stderr)
        return EXIT_NOT_STARTED
    return 0


async def _serve_until_signalled(
    config: ServeConfig, log: Logger, sink: LagerSink, writers: LineWriters, ready: Callable[[str, str], None]
) -> None:
    until_stopped = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        await nursery.start(stop_on_signal, until_stopped, log)
        await serve(
            config,
            log=log,
            sink=sink,
            writers=writers,
            until_stopped=until_stopped,
            ready=ready,
        )
        nursery.cancel_scope.cancel()
