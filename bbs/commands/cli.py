"""The subcommands of ``bbs`` that are our own: ``serve``, ``follow``, ``shadow``, ``check-config``, ``doctor``,
``migrate-database`` and ``certs``. Upstream's server is `daemon`."""

import argparse
import signal
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
from bbs.commands.doctor import doctor
from bbs.commands.follow import FollowSettings, follow
from bbs.commands.last_words import dump_stacks_on_quit, exited_with_failure, unraisable_errors_told
from bbs.commands.migrate_database import migrate_database
from bbs.commands.serve import DatabaseFailed, serve
from bbs.commands.serve_config import ServeConfig
from bbs.commands.shadow import ShadowCommand, shadow
from bbs.concurrency.causes import root_cause
from bbs.config.checks.addresses import url_error
from bbs.config.checks.values import CALLBACK_WORKERS_MAX
from bbs.config.errors import ConfigInvalid
from bbs.doctor.asking import Where
from bbs.embedded_postgres import EmbeddedPostgresFailed, EmbeddedPostgresLost
from bbs.http.limits import Limits
from bbs.log import LagerSink, Level, LineWriters, Logger, StandardStreams, root_logger, standard_streams
from bbs.peers.opened import AuctioneerSettings
from bbs.ports.listen import AddressInvalid, PortUnknown, split_address
from bbs.process.settings import Settings, TaskSettings
from bbs.shadow.shadow import ShadowSettings
from bbs.store.backend import BackendUnavailable, WriterLockLost
from bbs.store.dsn import BadConnectionString
from bbs.store.schema import SchemaError
from bbs.store.store import STAGED_ROWS_MAX
from bbs.tls.contexts import TLSFiles, TLSFilesInvalid
from bbs.tls.development import CertificatesExist, make_development_certs

SESSION = "bbs"

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
    if command == "check-config":
        return check_config(arguments.file)
    if command == "doctor":
        where = Where(health=arguments.health, debug=arguments.debug)
        return doctor(arguments.config, where, as_json=arguments.json)
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
        return _serve(arguments, streams)


CFDOTS_COMMANDS: Final = textwrap.fill(
    f"Upstream's cfdot is here, too, for its commands as they are: {', '.join(BY_NAME)}. See: bbs COMMAND --help",
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

    defaults = ServeConfig()
    settings = defaults.settings
    run = commands.add_parser(
        "serve", help="run a server", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    run.add_argument(
        "--listen", metavar="HOST:PORT", default=settings.listen_address, help="port 0 picks a free one"
    )
    run.add_argument(
        "--locket-listen",
        metavar="HOST:PORT",
        default=defaults.locket_listen_address,
        help="where reps register their cells (gRPC, as upstream's Locket)",
    )
    run.add_argument(
        "--health-listen",
        metavar="HOST:PORT",
        help="answers 200 while the process lives; /active, /ready and /live say more",
    )
    run.add_argument(
        "--debug-listen", metavar="HOST:PORT", help="log level, profiles, metrics; no authentication"
    )
    run.add_argument(
        "--data-dir", metavar="DIR", type=Path, default=defaults.data_dir, help="embedded database, keys"
    )
    run.add_argument(
        "--database-url",
        metavar="URL",
        help="a Postgres or MySQL (mysql://…) to use instead of the embedded one",
    )
    run.add_argument(
        "--ca-file", metavar="F", type=Path, help="CA of the client certificates; with it, mutual TLS"
    )
    run.add_argument("--cert-file", metavar="F", type=Path, help="server certificate")
    run.add_argument("--key-file", metavar="F", type=Path, help="key of the server certificate")
    run.add_argument("--log-level", choices=("debug", "info", "error", "fatal"), default="info")
    run.add_argument(
        "--no-fast-lane", action="store_true", help="serve everything through Quart and Hypercorn"
    )
    run.add_argument(
        "--batch-rows-max",
        metavar="N",
        type=_number(int, may_be_zero=False, most=STAGED_ROWS_MAX),
        default=settings.batch_rows_max,
    )
    run.add_argument(
        "--desired-lrp-instances-max",
        metavar="N",
        type=_number(int, may_be_zero=False),
        default=settings.desired_lrp_instances_max,
        help="instances that one process may be desired with",
    )
    run.add_argument(
        "--write-retry-s",
        metavar="S",
        type=_number(float, may_be_zero=False),
        default=settings.write_retry_s,
        help="how long a write waits for a database that is away",
    )
    auctioneer = run.add_argument_group("auctioneer (without one, auctions are only remembered)")
    auctioneer.add_argument("--auctioneer-address", metavar="URL")
    auctioneer.add_argument("--auctioneer-ca-cert", metavar="F", type=Path)
    auctioneer.add_argument("--auctioneer-client-cert", metavar="F", type=Path)
    auctioneer.add_argument("--auctioneer-client-key", metavar="F", type=Path)
    auctioneer.add_argument(
        "--auctioneer-require-tls", action="store_true", help="no second try over plain HTTP"
    )
    _add_settings(run.add_argument_group("tasks and the calls they cause"), TaskSettings)
    _add_settings(run.add_argument_group("limits of the HTTP server"), Limits)

    _add_follow(commands)
    _add_shadow(commands)
    check = commands.add_parser("check-config", help="say what is wrong with a configuration of upstream's")
    check.add_argument("file", metavar="FILE", help="the file that `bbs -config FILE` is to be started with")
    _add_doctor(commands)
    migrate = commands.add_parser(
        "migrate-database", help="copy all rows to another database, from Postgres to MySQL or back"
    )
    migrate.add_argument(
        "--from", dest="source", metavar="URL", required=True, help="postgres://… or mysql://…"
    )
    migrate.add_argument("--to", dest="target", metavar="URL", required=True, help="an empty database")
    certs = commands.add_parser("certs", help="make a development CA, a server and a client certificate")
    certs.add_argument("directory", metavar="DIR", type=Path)
    return parser


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor_ = commands.add_parser(
        "doctor", help="say what is wrong with a deployment now, beside one of its servers; changes nothing"
    )
    doctor_.add_argument(
        "-config", "--config", metavar="FILE", required=True, help="the configuration of that server"
    )
    doctor_.add_argument(
        "--health", metavar="HOST:PORT", default="", help="its health port, if not health_address"
    )
    doctor_.add_argument(
        "--debug", metavar="HOST:PORT", default="", help="its debug port, if not debug_address"
    )
    doctor_.add_argument("--json", action="store_true", help="the report as JSON")


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
        type=_number(float, may_be_zero=False),
        default=defaults.staleness_max_s,
        help="seconds that its copy may be behind; beyond, it answers 503",
    )
    follow_.add_argument(
        "--at-least-max-s",
        metavar="S",
        type=_number(float, may_be_zero=False),
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
        type=_number(float, may_be_zero=True),
        default=defaults.interval_s,
        help="pause between two rounds",
    )
    shadow_.add_argument(
        "--rounds",
        metavar="N",
        type=_number(int, may_be_zero=False),
        help="end after so many; else at a signal",
    )
    shadow_.add_argument(
        "--for-s", metavar="S", type=_number(float, may_be_zero=False), help="end after so many seconds"
    )
    shadow_.add_argument(
        "--events-grace-s",
        metavar="S",
        type=_number(float, may_be_zero=False),
        default=defaults.events_grace_s,
        help="how long an event may be told by one of the two only",
    )
    shadow_.add_argument(
        "--list-timeout-s",
        metavar="S",
        type=_number(float, may_be_zero=False),
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


def _add_settings(group: "argparse._ArgumentGroup", settings: type[Limits] | type[TaskSettings]) -> None:
    """A flag for each field, named for it. The end of a field's name tells its unit."""
    for setting in fields(settings):
        assert isinstance(setting.default, int | float)
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            metavar="N",
            type=_number(type(setting.default), may_be_zero=settings is TaskSettings),
            default=setting.default,
            help="seconds"
            if setting.name.endswith("_s")
            else "bytes"
            if "bytes" in setting.name
            else "count",
        )


NUMBER_MAX: Final = 10**9
"""The largest number that a flag takes, be it seconds (31 years), bytes (a gigabyte) or a count. More is never meant, and
might overflow where it is used.
"""


def _number(
    kind: type[int] | type[float], *, may_be_zero: bool, most: int = NUMBER_MAX
) -> Callable[[str], int | float]:
    """A parser of finite numbers for argparse, up to ``most``."""

    def parse(text: str) -> int | float:
        value = kind(text)
        if not 0 <= value < float("inf") or (value == 0 and not may_be_zero):
            raise ValueError
        if value > most:
            raise argparse.ArgumentTypeError(f"{text:.40} is too much: at most {most}")
        return value

    # What argparse calls it in its complaint.
    parse.__name__ = f"{'non-negative' if may_be_zero else 'positive'} {kind.__name__}"
    return parse


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
    dump_stacks_on_quit()
    sink = LagerSink(streams.log, min_level=Level[arguments.log_level.upper()])
    streams.log.notice = partial(sink.dropped_notice, SESSION)
    log = root_logger(SESSION, sink)
    try:
        with unraisable_errors_told(log):
            trio.run(_serve_until_signalled, _config(arguments), log, sink, streams.writers)
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
        print(f"bbs serve: {what}", file=sys.stderr)
        return EXIT_NOT_STARTED
    return 0


def _config(arguments: argparse.Namespace) -> ServeConfig:
    _check(arguments)
    return ServeConfig(
        settings=Settings(
            listen_address=arguments.listen,
            health_address=arguments.health_listen,
            debug_address=arguments.debug_listen,
            limits=Limits(**{limit.name: getattr(arguments, limit.name) for limit in fields(Limits)}),
            fast_lane=not arguments.no_fast_lane,
            write_retry_s=arguments.write_retry_s,
            batch_rows_max=arguments.batch_rows_max,
            desired_lrp_instances_max=arguments.desired_lrp_instances_max,
            tasks=TaskSettings(**{each.name: getattr(arguments, each.name) for each in fields(TaskSettings)}),
        ),
        locket_listen_address=arguments.locket_listen,
        data_dir=arguments.data_dir,
        database_url=arguments.database_url,
        tls=_tls_files(arguments, "ca_file", "cert_file", "key_file"),
        auctioneer=AuctioneerSettings(
            address=arguments.auctioneer_address.rstrip("/"),
            tls=_tls_files(
                arguments, "auctioneer_ca_cert", "auctioneer_client_cert", "auctioneer_client_key"
            ),
            require_tls=arguments.auctioneer_require_tls,
        )
        if arguments.auctioneer_address
        else None,
    )


def _check(arguments: argparse.Namespace) -> None:
    """What can be said about the flags before anything is started.

    Raises:
      ConfigInvalid: one of them can't be meant.
    """
    if not 1 <= arguments.task_callback_workers <= CALLBACK_WORKERS_MAX:
        raise ConfigInvalid(
            "--task-callback-workers must be at least 1, since somebody has to call back, and at most"
            f" {CALLBACK_WORKERS_MAX}"
        )
    for flag, address in (
        ("--listen", arguments.listen),
        ("--locket-listen", arguments.locket_listen),
        ("--health-listen", arguments.health_listen),
        ("--debug-listen", arguments.debug_listen),
    ):
        try:
            split_address("127.0.0.1:0" if address is None else address)
        except (AddressInvalid, PortUnknown) as error:
            raise ConfigInvalid(f"{flag}: {error}; give host:port, for example 127.0.0.1:8889") from error
    if arguments.auctioneer_address and (error_text := url_error(arguments.auctioneer_address)):
        raise ConfigInvalid(
            f"--auctioneer-address is {error_text}; give its URL, for example https://host:9016"
        )
    if "\0" in str(arguments.data_dir):
        raise ConfigInvalid("--data-dir contains a NUL character; give another directory")


def _tls_files(arguments: argparse.Namespace, *names: str) -> TLSFiles | None:
    """The files of the flags ``names``; ``None`` if none is given.

    Raises:
      ConfigInvalid: some are given, but not all three.
    """
    files = [getattr(arguments, name) for name in names]
    if not any(files):
        return None
    if not all(files):
        flags = [f"--{name.replace('_', '-')}" for name in names]
        raise ConfigInvalid(f"{flags[0]}, {flags[1]} and {flags[2]} go together: give all three, or none")
    return TLSFiles(ca_file=files[0], cert_file=files[1], key_file=files[2])


async def _serve_until_signalled(
    config: ServeConfig, log: Logger, sink: LagerSink, writers: LineWriters
) -> None:
    until_stopped = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, until_stopped)
        await serve(
            config,
            log=log,
            sink=sink,
            writers=writers,
            until_stopped=until_stopped,
            ready=lambda url: print(f"listening on {url}", flush=True),
        )
        nursery.cancel_scope.cancel()


async def _stop_on_signal(
    until_stopped: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:  # a second signal hurries nothing: what is in flight is being answered
            until_stopped.cancel()
