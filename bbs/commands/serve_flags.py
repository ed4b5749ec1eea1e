"""The flags of ``bbs serve``, those first that are wanted most, and the settings that are made from them."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import cast

from bbs.commands.numbers import number
from bbs.commands.serve_config import DASHBOARDS_ADDRESS, ServeConfig
from bbs.config.checks.addresses import url_error
from bbs.config.checks.values import CALLBACK_WORKERS_MAX
from bbs.config.errors import ConfigInvalid
from bbs.http.limits import Limits
from bbs.peers.opened import AuctioneerSettings
from bbs.ports.listen import AddressInvalid, PortUnknown, overlap, split_address
from bbs.process.settings import Settings, TaskSettings
from bbs.store.store import STAGED_ROWS_MAX
from bbs.tls.contexts import TLSFiles

LOG_FORMATS = ("auto", "text", "json")


class DefaultsShown(argparse.HelpFormatter):
    """Says what a flag is if it is not given, but for those that are then nothing or off."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, argparse.SUPPRESS) or "(default" in (action.help or ""):
            return action.help
        return f"{action.help} (default: %(default)s)"


def add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    defaults = ServeConfig()
    settings = defaults.settings
    run = commands.add_parser(
        "serve",
        help="run a server",
        usage="bbs serve [OPTIONS]",
        description="A server with a Postgres and a Locket of its own. Without any option it is at"
        f" http://{settings.listen_address}, with its data in ./{defaults.data_dir}.",
        formatter_class=DefaultsShown,
        add_help=False,
    )
    common = run.add_argument_group("wanted most")
    common.add_argument(
        "--listen", metavar="HOST:PORT", default=settings.listen_address, help="port 0 picks a free one"
    )
    common.add_argument(
        "--data-dir", metavar="DIR", type=Path, default=defaults.data_dir, help="embedded database, keys"
    )
    common.add_argument(
        "--database-url",
        metavar="URL",
        help="a Postgres or MySQL (mysql://…) to use instead of the embedded one",
    )
    common.add_argument(
        "--quiet", action="store_true", help="nothing but the address on stdout, and errors on stderr"
    )
    common.add_argument("-h", "--help", action="help", help="show this and exit")
    tls = run.add_argument_group("mutual TLS (`bbs certs DIR` makes files for development)")
    tls.add_argument(
        "--ca-file", metavar="F", type=Path, help="CA of the client certificates; with it, mutual TLS"
    )
    tls.add_argument("--cert-file", metavar="F", type=Path, help="server certificate")
    tls.add_argument("--key-file", metavar="F", type=Path, help="key of the server certificate")
    log = run.add_argument_group("log, on stderr")
    log.add_argument(
        "--log-level",
        choices=("debug", "info", "error", "fatal"),
        default="info",
        help="the least that is logged",
    )
    log.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        default="auto",
        help="lines for people, or lager's JSON; auto: text if stderr is a terminal. NO_COLOR is respected",
    )
    cells = run.add_argument_group("cells")
    cells.add_argument(
        "--locket-listen",
        metavar="HOST:PORT",
        default=defaults.locket_listen_address,
        help="where reps register their cells (gRPC, as upstream's Locket)",
    )
    auctioneer = run.add_argument_group("auctioneer (without one, auctions are only remembered)")
    auctioneer.add_argument("--auctioneer-address", metavar="URL")
    auctioneer.add_argument("--auctioneer-ca-cert", metavar="F", type=Path)
    auctioneer.add_argument("--auctioneer-client-cert", metavar="F", type=Path)
    auctioneer.add_argument("--auctioneer-client-key", metavar="F", type=Path)
    auctioneer.add_argument(
        "--auctioneer-require-tls", action="store_true", help="no second try over plain HTTP"
    )
    watched = run.add_argument_group("watching it")
    watched.add_argument(
        "--health-listen",
        metavar="HOST:PORT",
        help="answers 200 while the process lives; /active, /ready and /live say more",
    )
    watched.add_argument(
        "--debug-listen",
        metavar="HOST:PORT",
        help="log level, profiles, metrics, without authentication, and the dashboard, for this machine or client certificates"
        f" (default: {DASHBOARDS_ADDRESS}, or a free port; none with --no-dashboard)",
    )
    watched.add_argument("--no-dashboard", action="store_true", help="no pages for browsers")
    writes = run.add_argument_group("writes")
    writes.add_argument(
        "--desired-lrp-instances-max",
        metavar="N",
        type=number(int, may_be_zero=False),
        default=settings.desired_lrp_instances_max,
        help="instances that one process may be desired with",
    )
    writes.add_argument(
        "--write-retry-s",
        metavar="S",
        type=number(float, may_be_zero=False),
        default=settings.write_retry_s,
        help="how long a write waits for a database that is away",
    )
    writes.add_argument(
        "--batch-rows-max",
        metavar="N",
        type=number(int, may_be_zero=False, most=STAGED_ROWS_MAX),
        default=settings.batch_rows_max,
        help="rows of one transaction",
    )
    _add_settings(run.add_argument_group("tasks and the calls they cause"), TaskSettings)
    limits = run.add_argument_group("limits of the HTTP server")
    _add_settings(limits, Limits)
    limits.add_argument(
        "--no-fast-lane", action="store_true", help="serve everything through Quart and Hypercorn"
    )


def _add_settings(group: "argparse._ArgumentGroup", settings: type[Limits] | type[TaskSettings]) -> None:
    """A flag for each field, named for it. The end of a field's name tells its unit."""
    for setting in fields(settings):
        assert isinstance(setting.default, int | float)
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            metavar="N",
            type=number(type(setting.default), may_be_zero=settings is TaskSettings),
            default=setting.default,
            help="seconds"
            if setting.name.endswith("_s")
            else "bytes"
            if "bytes" in setting.name
            else "count",
        )


def config_of(arguments: argparse.Namespace) -> ServeConfig:
    _check(arguments)
    return ServeConfig(
        settings=Settings(
            listen_address=arguments.listen,
            health_address=arguments.health_listen,
            debug_address=_debug_address(arguments),
            debug_any_port=arguments.debug_listen is None,
            dashboard=not arguments.no_dashboard,
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


def _debug_address(arguments: argparse.Namespace) -> str | None:
    if arguments.debug_listen or arguments.no_dashboard:
        return cast("str | None", arguments.debug_listen)
    # The debug port is the first that is taken. Nobody has asked for it here, so it makes way for those that were asked for.
    asked_for = (arguments.listen, arguments.locket_listen, arguments.health_listen)
    ours = split_address(DASHBOARDS_ADDRESS)
    is_in_the_way = any(overlap(split_address(each), ours) for each in asked_for if each is not None)
    return f"{ours[0]}:0" if is_in_the_way else DASHBOARDS_ADDRESS


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
