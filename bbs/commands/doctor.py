"""``bbs doctor``: what an operator should know of a deployment now, asked beside one of its servers with ``-config FILE``, or from
anywhere with a client's flags, which are those of the commands that ask a BBS.
"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import trio

from bbs.cfdot.bbs_calls import client_config
from bbs.cfdot.errors import CommandFailed
from bbs.cfdot.flags import Flag, Flags, Kind, Value
from bbs.cfdot.target import BBS_FLAGS, BBS_URL, LOCKET_LOCATION, bbs_target, scheme_of
from bbs.client import ClientConfig
from bbs.commands.terminal import columns, wants_colour
from bbs.config.errors import ConfigInvalid
from bbs.config.upstream import Decoded, decode, read_file
from bbs.doctor.asking import ASK_S, Where, find_out
from bbs.doctor.facts import Facts, Unknown
from bbs.doctor.report import WIDTH, judged
from bbs.sync.locket.client import LocketSettings
from bbs.tls.contexts import TLSFiles

EXIT_NOT_HEALTHY: Final = 1
EXIT_CANNOT_ASK: Final = 2
EXIT_INTERRUPTED: Final = 130

TARGET_FLAGS: Final = (*BBS_FLAGS, LOCKET_LOCATION)
UNVERIFIED: Final = "not looked at, since Locket's certificate is always checked here: --caCertFile F"
VALUE_NAMES: Final = {"bbsURL": "URL", "locketAPILocation": "HOST:PORT"}


def add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser(
        "doctor",
        help="say what is wrong with a deployment now; changes nothing",
        usage="bbs doctor -config FILE [OPTIONS]\n       bbs doctor --bbsURL URL [OPTIONS]",
        description="Says of a deployment what is wrong now, why, and what to do. Beside one of its servers, with that one's"
        " configuration, all is looked at; from elsewhere, as a client of the BBS, what a client can see, and the rest is told as not"
        " looked at. Exit code: 0 healthy, 1 something is wrong, 2 it could not be asked.",
    )
    run.add_argument("-config", "--config", metavar="FILE", help="the configuration of the server beside us")
    run.add_argument(
        "--health", metavar="HOST:PORT", default="", help="its health port, if not health_address"
    )
    run.add_argument(
        "--debug",
        metavar="HOST:PORT",
        default="",
        help="its debug port, if not debug_address; without -config also BBS_DEBUG",
    )
    run.add_argument("--json", action="store_true", help="the report as JSON")
    target = run.add_argument_group(
        "as a client", "As for commands such as `bbs cells`. With -config the environment is not looked at."
    )
    for flag in TARGET_FLAGS:
        if flag.kind is Kind.BOOL:
            target.add_argument(
                f"--{flag.name}", dest=flag.name, action="store_const", const=True, help=flag.usage
            )
        else:
            metavar = VALUE_NAMES.get(flag.name, "F")
            target.add_argument(f"--{flag.name}", dest=flag.name, metavar=metavar, help=flag.usage)


def doctor(arguments: argparse.Namespace) -> int:
    """Ask and report; returns the exit code: 0 healthy, 1 not, 2 it is not known whom to ask, 130 interrupted."""
    path: str | None = arguments.config
    try:
        where = _where(arguments, os.environ if path is None else {})
        decoded = decode(read_file(path)) if path is not None else None
    except ConfigInvalid as error:
        print(f"bbs doctor: {path}: {error}", file=sys.stderr)
        return EXIT_CANNOT_ASK
    except CommandFailed as error:
        beside = "" if path is not None else "\nBeside a server, give its configuration: -config FILE."
        print(f"bbs doctor: {error}{beside}", file=sys.stderr)
        return EXIT_CANNOT_ASK
    facts = trio.run(_find_out_unless_interrupted, decoded, where)
    if facts is None:
        return EXIT_INTERRUPTED
    report = judged(facts)
    text = (
        report.as_json()
        if arguments.json
        else report.as_text(
            width=min(WIDTH, columns(sys.stdout) or WIDTH), in_colour=wants_colour(sys.stdout)
        )
    )
    print(text, flush=True)
    return 0 if report.is_healthy else EXIT_NOT_HEALTHY


def _where(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Where:
    """
    Raises:
      CommandFailed: no BBS is given where one must be, or files of the client are missing.
    """
    defined: dict[str, Flag] = {flag.name: flag for flag in TARGET_FLAGS}
    given: dict[str, Value] = {
        name: getattr(arguments, name) for name in defined if getattr(arguments, name) is not None
    }
    debug = arguments.debug or (environment.get("BBS_DEBUG", "") if arguments.config is None else "")
    ports = Where(health=arguments.health, debug=debug)
    if arguments.config is not None and BBS_URL.name not in given:
        return ports
    flags = Flags(defined, given)
    locket = flags.text(LOCKET_LOCATION.name) or environment.get("LOCKET_API_LOCATION", "")
    url = flags.text(BBS_URL.name) or environment.get("BBS_URL", "")
    if scheme_of(url) == "http":
        # As `bbs serve` is without certificates, where its Locket has none either.
        bbs = ClientConfig(url=url, attempts=1, request_timeout_s=ASK_S)
        settings = LocketSettings(address=locket, tls=None)
    else:
        target = bbs_target(flags, environment)
        bbs = replace(client_config(target), request_timeout_s=ASK_S, idle_connections_max=2)
        if locket and not target.ca_file:
            return replace(ports, bbs=bbs, locket=Unknown(UNVERIFIED, is_asked=False))
        files = TLSFiles(ca_file=target.ca_file, cert_file=target.cert_file, key_file=target.key_file)
        settings = LocketSettings(address=locket, tls=files)
    return replace(ports, bbs=bbs, locket=settings) if locket else replace(ports, bbs=bbs)


async def _find_out_unless_interrupted(decoded: Decoded | None, where: Where) -> Facts | None:
    """None at SIGINT. The signal cancels, and does not raise KeyboardInterrupt: that may come inside a library's own clean-up,
    where it is lost or leaves things half done.
    """
    facts = None
    async with trio.open_nursery() as nursery:

        async def end_when_interrupted(
            *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
        ) -> None:
            with trio.open_signal_receiver(signal.SIGINT) as signals:
                task_status.started()
                async for _ in signals:
                    nursery.cancel_scope.cancel()

        await nursery.start(end_when_interrupted)
        facts = await find_out(decoded, where)
        nursery.cancel_scope.cancel()
    return facts
