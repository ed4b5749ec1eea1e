"""``bbs demo``: a server with a simulated fleet, to be looked at with the operator's commands."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

from bbs.client import ClientConfig, InternalBBSClient
from bbs.commands.numbers import number
from bbs.commands.serve import serve
from bbs.commands.serve_config import ServeConfig
from bbs.commands.serve_flags import DefaultsShown
from bbs.commands.signals import stop_on_signal
from bbs.demo import Behaviour, Fleet
from bbs.demo.behaviour import QUIET
from bbs.log import LagerSink, Level, LineWriters, Logger
from bbs.peers.opened import AuctioneerSettings
from bbs.ports.listen import split_address
from bbs.process.debug_port import dashboard_url
from bbs.process.settings import Settings, TaskSettings
from bbs.sync.locket.client import LocketSettings, open_locket
from bbs.tls.contexts import TLSFiles, server_context
from bbs.tls.development import DevelopmentCerts, make_development_certs

APPS: Final = (("shop", 8), ("search", 5), ("mail", 3), ("worker", 12))
CELLS_MAX: Final = 200
CONVERGE_EVERY_S: Final = 5.0
"""More often than real servers, so that what became of a lost cell is seen soon."""
REQUEST_MAX_S: Final = 10.0
STATUS_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """Without a ``data_dir`` all is in a temporary directory, which is removed in the end."""

    listen_address: str
    locket_listen_address: str
    debug_listen_address: str
    data_dir: Path | None
    cells: int
    seed: str
    behaviour: Behaviour


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server is: its URL, and host and port of Locket and of the debug port."""

    url: str
    locket: str
    debug: str


def add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser(
        "demo",
        help="run a server with a simulated fleet, to look at",
        description="A server with simulated cells, an auctioneer and a route-emitter that live, crash and evacuate. It prints"
        " what to paste into another terminal; Ctrl-C ends it.",
        formatter_class=DefaultsShown,
    )
    run.add_argument("--cells", metavar="N", type=number(int, may_be_zero=False, most=CELLS_MAX), default=5)
    run.add_argument("--seed", metavar="TEXT", default="1", help="what all chance follows from")
    run.add_argument(
        "--calm",
        action="store_true",
        help="nothing goes wrong by itself: for those who want to break things on their own",
    )
    run.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8889", help="the BBS")
    run.add_argument("--locket-listen", metavar="HOST:PORT", default="127.0.0.1:8891", help="Locket")
    run.add_argument(
        "--debug-listen", metavar="HOST:PORT", default="127.0.0.1:8890", help="metrics, for `bbs top`"
    )
    run.add_argument(
        "--data-dir",
        metavar="DIR",
        type=Path,
        help="keep data and certificates there, and not only until the end",
    )


def demo_settings_of(arguments: argparse.Namespace) -> DemoSettings:
    return DemoSettings(
        listen_address=arguments.listen,
        locket_listen_address=arguments.locket_listen,
        debug_listen_address=arguments.debug_listen,
        data_dir=arguments.data_dir,
        cells=arguments.cells,
        seed=arguments.seed,
        behaviour=QUIET if arguments.calm else Behaviour(),
    )


async def demo(settings: DemoSettings, log: Logger, sink: LagerSink, writers: LineWriters) -> None:
    """Run until a signal: then the fleet ends, and the server after it.

    Raises: what `serve` raises.
    """
    with _directory(settings.data_dir) as directory:
        certs = _certificates(directory / "certs")
        peers_tls = server_context(
            ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key
        )
        fleet = Fleet(
            count=settings.cells,
            apps=APPS,
            behaviour=settings.behaviour,
            tls=peers_tls,
            seed=settings.seed,
            tell=_tell,
        )
        until_signalled, until_stopped = trio.CancelScope(), trio.CancelScope()
        level = sink.min_level
        send, receive = trio.open_memory_channel[tuple[str, str]](1)

        def ready(url: str, locket: str) -> None:
            # From now on some requests are refused, which is part of the play.
            sink.min_level = Level.FATAL
            send.send_nowait((url, locket))

        async def run_fleet() -> None:
            with until_signalled:
                url, locket = await receive.receive()
                try:
                    await _run_fleet(fleet, Addresses(url, locket, settings.debug_listen_address), certs, log)
                finally:
                    sink.min_level = level
            _tell("ending: first the fleet, then the server")
            until_stopped.cancel()

        async with trio.open_nursery() as nursery:
            await nursery.start(stop_on_signal, until_signalled, log)
            auctioneer_port: int = await nursery.start(fleet.auctioneer.listen, peers_tls)
            nursery.start_soon(run_fleet)
            await serve(
                _config(settings, directory, certs, auctioneer_port),
                log=log,
                sink=sink,
                writers=writers,
                until_stopped=until_stopped,
                ready=ready,
            )
            nursery.cancel_scope.cancel()
    _tell("ended")


@contextmanager
def _directory(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        yield wanted
        return
    with TemporaryDirectory(prefix="bbs-demo-") as made:
        directory = Path(made)
        directory.chmod(0o755)  # if we are root, Postgres runs as somebody else, who has to get in
        yield directory


def _certificates(directory: Path) -> DevelopmentCerts:
    certs = DevelopmentCerts.within(directory)
    return certs if certs.client_cert.exists() else make_development_certs(directory)


def _config(
    settings: DemoSettings, directory: Path, certs: DevelopmentCerts, auctioneer_port: int
) -> ServeConfig:
    tls = TLSFiles(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)
    return ServeConfig(
        settings=Settings(
            listen_address=settings.listen_address,
            debug_address=settings.debug_listen_address,
            dashboard=True,
            tasks=replace(TaskSettings(), converge_repeat_interval_s=CONVERGE_EVERY_S),
        ),
        locket_listen_address=settings.locket_listen_address,
        data_dir=directory / "data",
        tls=tls,
        auctioneer=AuctioneerSettings(
            address=f"https://127.0.0.1:{auctioneer_port}", tls=tls, require_tls=True
        ),
    )


async def _run_fleet(fleet: Fleet, addresses: Addresses, certs: DevelopmentCerts, log: Logger) -> None:
    files = certs.client_files
    client = ClientConfig.with_files(
        addresses.url, files, idle_connections_max=16, request_timeout_s=REQUEST_MAX_S
    )
    async with (
        InternalBBSClient.connect(client) as bbs,
        open_locket(LocketSettings(address=addresses.locket, tls=files), log=log) as its_locket,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(fleet.run, bbs, its_locket)
        _tell(where_to_look(addresses, certs, cells=len(fleet.cells)))
        while True:
            await trio.sleep(STATUS_EVERY_S)
            reached = sum(map(len, fleet.route_emitter.endpoints.values()))
            up = sum(cell.is_up for cell in fleet.cells.values())
            _tell(
                f"{reached} endpoints of {len(APPS)} apps on {up} cells; {fleet.route_emitter.changes} changes"
            )


def where_to_look(addresses: Addresses, certs: DevelopmentCerts, *, cells: int) -> str:
    """What a newcomer may paste into another terminal."""
    bbs = _program()
    dashboard = dashboard_url(addresses.debug, split_address(addresses.debug)[1], is_tls=True)
    absolute = {
        name: path.resolve()
        for name, path in (
            ("CA_CERT_FILE", certs.ca_cert),
            ("CLIENT_CERT_FILE", certs.client_cert),
            ("CLIENT_KEY_FILE", certs.client_key),
        )
    }
    exports = " ".join(f"{name}={shlex.quote(str(path))}" for name, path in absolute.items())
    return f"""\
listening on {addresses.url}, with {cells} cells. In a browser: {dashboard}
In another terminal:

    export BBS_URL={addresses.url} LOCKET_API_LOCATION={addresses.locket} BBS_DEBUG={addresses.debug}
    export {exports}

    {bbs} cells
    {bbs} actual-lrps --cell-id cell-0
    {bbs} lrp shop
    {bbs} tasks
    {bbs} events --follow
    {bbs} top
    {bbs} presences
    {bbs} doctor
    curl -s --cacert $CA_CERT_FILE --cert $CLIENT_CERT_FILE --key $CLIENT_KEY_FILE -X POST $BBS_URL/v1/ping | od -An -tx1

Ctrl-C ends it. This is what happens:
"""


def _program() -> str:
    """How the ``bbs`` command is called here."""
    beside = Path(sys.executable).with_name("bbs")
    if (found := shutil.which("bbs")) and Path(found) == beside:
        return "bbs"
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m bbs"


def _tell(text: str) -> None:
    print(text, flush=True)
