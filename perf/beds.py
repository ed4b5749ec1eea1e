"""What a scenario runs on: a server, its cells and its auctioneer, and what can be read of it.

A server is named by a line of text, see `ServerSpec.parse`: ours, another checkout of ours, or any BBS by its URL.
"""

import math
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bbs.tls.contexts import TLSFiles
from perf import observed
from perf.cells import Cells
from perf.hold import Credentials
from perf.load import Target
from perf.peers import Peers, running_peers
from perf.probe import Probe
from perf.server import Server, fresh_home, spawned_server

OWN: Final = "own"
KNOWN_KEYS: Final = ("ca", "cert", "key", "locket", "debug", "pid", "peers")
REPOSITORY: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """``url`` is None for a server that we start, with ``flags``, from ``checkout`` if that is given."""

    url: str | None = None
    flags: tuple[str, ...] = ()
    checkout: Path | None = None
    known: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, *, defaults: dict[str, str] | None = None) -> "ServerSpec":
        """``own --no-fast-lane``, ``own@DIRECTORY FLAGS`` or ``https://host:port,ca=F,cert=F,key=F,locket=HOST:PORT,pid=N``.

        Raises:
          ValueError: it is neither.
        """
        if text.partition(" ")[0].partition("@")[0] == OWN:
            name, *flags = shlex.split(text)
            _, _, directory = name.partition("@")
            checkout = Path(directory).resolve() if directory else None
            if checkout is not None and not (checkout / "bbs").is_dir():
                raise ValueError(f"no bbs in {checkout}")
            return cls(flags=tuple(flags), checkout=checkout)
        url, *pairs = text.split(",")
        known = dict(defaults or {})
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key not in KNOWN_KEYS or not value:
                raise ValueError(f"{pair}: none of {', '.join(f'{each}=…' for each in KNOWN_KEYS)}")
            known[key] = value
        Target.from_url(url)  # raises, if it is none
        return cls(url=url, known=known)

    @property
    def is_own(self) -> bool:
        return self.url is None


@dataclass(slots=True, kw_only=True)
class Bed:
    """A server under test. Without ``cells`` nobody could be told of them; without ``peers`` auctions are not counted."""

    credentials: Credentials
    target: Target
    probe: Probe
    cells: Cells | None
    peers: Peers | None
    is_own: bool
    server: Server | None = None
    log: Path | None = None
    _restart: "list[OwnServer]" = field(default_factory=list)

    def restart(self) -> float:
        """Stop our server and start it again on its data. Seconds from its start to the first answer, cells not yet back.

        Raises:
          ServerFailed: it does not come back.
        """
        (own,) = self._restart
        own.stop()
        took_s = own.start()
        self._take(own)
        if self.cells is not None:
            self.cells.register_again()
        return took_s

    def resident_mb(self) -> float:
        return self.probe.resident_bytes() / 1e6 if self.probe.pid is not None else math.nan

    def _take(self, own: "OwnServer") -> None:
        assert own.server is not None
        self.server, self.target = own.server, own.server.target
        self.log = own.log
        self.credentials = Credentials(
            url=own.server.url, **{name: own.certs / f"{file}" for name, file in CLIENT_FILES.items()}
        )
        self.probe = Probe(pid=own.server.pid, debug=own.debug, collections=own.collections)


CLIENT_FILES: Final = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key"}


@contextmanager
def laid_bed(spec: ServerSpec, *, flags: tuple[str, ...] = (), plain_auctions: bool = False) -> Iterator[Bed]:
    """A bed for as long as the context is entered. ``flags`` are a scenario's, for a server that we start; with
    ``plain_auctions`` that one calls its auctioneer without TLS.

    Raises:
      ServerFailed, PeersFailed: ours does not start.
    """
    if spec.is_own:
        with _own(spec, flags, plain_auctions) as bed:
            yield bed
        return
    assert spec.url is not None
    known = spec.known
    files = {name: Path(known[name]) if name in known else None for name in ("ca", "cert", "key")}
    credentials = Credentials(url=spec.url, ca=files["ca"], cert=files["cert"], key=files["key"])
    target = credentials.target()
    with ExitStack() as stack:
        peers = None
        if "peers" in known and target.tls is not None:
            peers = Peers(url=known["peers"], tls=target.tls)
        cells = None
        if "locket" in known:
            tls = TLSFiles(ca_file=str(files["ca"]), cert_file=str(files["cert"]), key_file=str(files["key"]))
            rep_url = known.get("peers", "https://127.0.0.1:1")
            cells = stack.enter_context(Cells(known["locket"], tls=tls, rep_url=rep_url))
            stack.callback(lambda: cells.release(sorted(cells.present)))
        probe = Probe(pid=int(known["pid"]) if "pid" in known else None, debug=known.get("debug"))
        yield Bed(credentials=credentials, target=target, probe=probe, cells=cells, peers=peers, is_own=False)


@contextmanager
def _own(spec: ServerSpec, flags: tuple[str, ...], plain_auctions: bool) -> Iterator[Bed]:
    with ExitStack() as stack:
        home = stack.enter_context(fresh_home())
        certs = home / "certs"
        peers = stack.enter_context(running_peers(certs))
        own = OwnServer(
            spec=spec, flags=(*_auctioneer(peers, certs, plain=plain_auctions), *flags), home=home
        )
        stack.callback(own.stop)
        own.start()
        ca, cert, key = (str(certs / name) for name in CLIENT_FILES.values())
        tls = TLSFiles(ca_file=ca, cert_file=cert, key_file=key)
        cells = stack.enter_context(Cells(own.locket, tls=tls, rep_url=peers.url))
        assert own.server is not None
        bed = Bed(
            credentials=Credentials(url=own.server.url, ca=None, cert=None, key=None),
            target=own.server.target,
            probe=Probe(),
            cells=cells,
            peers=peers,
            is_own=True,
            _restart=[own],
        )
        bed._take(own)
        yield bed


def _auctioneer(peers: Peers, certs: Path, *, plain: bool) -> tuple[str, ...]:
    if plain:
        return ("--auctioneer-address", peers.plain_url)
    flags = ["--auctioneer-address", peers.url, "--auctioneer-require-tls"]
    for flag, file in zip(("ca-cert", "client-cert", "client-key"), CLIENT_FILES.values(), strict=True):
        flags += [f"--auctioneer-{flag}", str(certs / file)]
    return tuple(flags)


class OwnServer:
    """``bbs serve`` as an operator would start it, log and limits at their defaults; only where it listens is ours."""

    def __init__(self, *, spec: ServerSpec, flags: tuple[str, ...], home: Path) -> None:
        self.server: Server | None = None
        self.certs = home / "certs"
        self.locket = f"127.0.0.1:{free_port()}"
        self.debug = f"127.0.0.1:{free_port()}"
        self.collections = home / "collections"
        self.log = home / "bbs.stderr"
        self._spec = spec
        self._home = home
        self._arguments = [
            *("--log-level", "info", "--locket-listen", self.locket, "--debug-listen", self.debug),
            *flags,
            *spec.flags,
        ]
        self._running = ExitStack()

    def start(self) -> float:
        """Seconds until it says that it listens."""
        began_s = time.monotonic()
        program = (sys.executable, "-P", observed.__file__, str(self.collections))
        checkout = self._spec.checkout or REPOSITORY
        spawned = self._running.enter_context(
            spawned_server(self._home, *self._arguments, program=program, checkout=checkout)
        )
        self.server = spawned.running()
        return time.monotonic() - began_s

    def stop(self) -> None:
        self._running.close()
        self._running = ExitStack()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened at a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
