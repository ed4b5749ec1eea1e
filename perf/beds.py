"""What a scenario runs on: a server, its cells and its auctioneer, and what can be read of it.

A server is named by a line of text, see `ServerSpec.parse`: ours, another checkout of ours, or any BBS by its URL.
"""

import math
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bbs.tls.contexts import TLSFiles
from perf import observed
from perf.cells import Cells
from perf.load import Credentials, Target
from perf.mariadb import DATABASE, MariaDB, fresh_mariadb
from perf.peers import Peers, running_peers
from perf.probe import Probe
from perf.server import Server, fresh_home, spawned_server

OWN: Final = "own"
ON_MARIADB: Final = "mariadb"
KNOWN_KEYS: Final = ("ca", "cert", "key", "locket", "debug", "pid", "peers")
CLIENT_FILES: Final = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key"}
IDLE_LOOK_S: Final = 1.0
IDLE_SHARE: Final = 0.05
IDLE_MAX_S: Final = 120.0
REPOSITORY: Final = Path(__file__).parent.parent
POSTGRES_FACTS: Final = ("fsync", "synchronous_commit", "server_version")
MARIADB_FACTS: Final = ("innodb_flush_log_at_trx_commit", "log_bin", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """``url`` is None for a server that we start, with ``flags``, from ``checkout`` if that is given. It has a Postgres below
    it, unless it is ``on_mariadb``: then we start one beside it.
    """

    url: str | None = None
    on_mariadb: bool = False
    flags: tuple[str, ...] = ()
    checkout: Path | None = None
    known: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, *, defaults: dict[str, str] | None = None) -> "ServerSpec":
        """``own --no-fast-lane``, ``own@DIRECTORY FLAGS``, the same with ``mariadb``, or
        ``https://host:port,ca=F,cert=F,key=F,locket=HOST:PORT,pid=N``.

        Raises:
          ValueError: it is neither.
        """
        if text.partition(" ")[0].partition("@")[0] in (OWN, ON_MARIADB):
            name, *flags = shlex.split(text)
            kind, _, directory = name.partition("@")
            checkout = Path(directory).resolve() if directory else None
            if checkout is not None and not (checkout / "bbs").is_dir():
                raise ValueError(f"no bbs in {checkout}")
            return cls(flags=tuple(flags), checkout=checkout, on_mariadb=kind == ON_MARIADB)
        url, *pairs = text.split(",")
        known = dict(defaults or {})
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key not in KNOWN_KEYS or not value:
                raise ValueError(f"{pair}: none of {', '.join(f'{each}=…' for each in KNOWN_KEYS)}")
            known[key] = value
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{text}: not `own`, `own@DIRECTORY`, `mariadb`, or the URL of a BBS")
        if "pid" in known and not (known["pid"].isdecimal() and Path("/proc", known["pid"]).is_dir()):
            raise ValueError(f"pid={known['pid']}: there is no such process on this machine")
        return cls(url=url, known=known)

    @property
    def is_own(self) -> bool:
        return self.url is None

    def credentials(self) -> Credentials:
        """Of a server that is given by its URL."""
        assert self.url is not None
        files = {name: Path(self.known[name]) if name in self.known else None for name in CLIENT_FILES}
        return Credentials(url=self.url, ca=files["ca"], cert=files["cert"], key=files["key"])


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

    def restart(self, meanwhile: Callable[[Path], object] | None = None) -> float:
        """Stop our server and start it again on its data, at another URL. Seconds from its start to the first answer, cells not
        yet back. While it is stopped, ``meanwhile`` is called with its data directory.

        Raises:
          ServerFailed: it does not come back.
        """
        (own,) = self._restart
        own.stop()
        if meanwhile is not None:
            meanwhile(own.data_dir)
        took_s = own.start()
        self._take(own)
        if self.cells is not None:
            self.cells.register_again()
        return took_s

    def wait_until_idle(self) -> None:
        """Until the server has nothing to do: after a load it goes on making lists ready. Gives up after `IDLE_MAX_S`; does not
        wait for a server whose CPU can't be read.
        """
        give_up_s = time.monotonic() + IDLE_MAX_S
        before = self.probe.cpu()
        while before is not None and time.monotonic() < give_up_s:
            time.sleep(IDLE_LOOK_S)
            now = self.probe.cpu()
            assert now is not None
            if now.server_s - before.server_s < IDLE_SHARE * IDLE_LOOK_S:
                return
            before = now

    def database_facts(self) -> dict[str, str]:
        """What its database says of how it writes, by names for people; nothing of a server that is not ours."""
        return self._restart[0].database_facts() if self._restart else {}

    def resident_mb(self) -> float:
        return self.probe.resident_bytes() / 1e6 if self.probe.pid is not None else math.nan

    def _take(self, own: "OwnServer") -> None:
        assert own.server is not None
        self.server, self.target = own.server, own.server.target
        self.log = own.log
        self.credentials = Credentials(
            url=own.server.url, **{name: own.certs / f"{file}" for name, file in CLIENT_FILES.items()}
        )
        self.probe = Probe(
            pid=own.server.pid,
            database_pid=None if own.mariadb is None else own.mariadb.pid,
            debug=own.debug,
            collections=own.collections,
        )


@contextmanager
def laid_bed(spec: ServerSpec, *, flags: tuple[str, ...] = (), plain_auctions: bool = False) -> Iterator[Bed]:
    """A bed for as long as the context is entered. ``flags`` are a scenario's, for a server that we start; with
    ``plain_auctions`` that one calls its auctioneer without TLS.

    Raises:
      ServerFailed, PeersFailed, MariaDBFailed: ours does not start.
    """
    if spec.is_own:
        with _own(spec, flags, plain_auctions) as bed:
            yield bed
        return
    known = spec.known
    credentials = spec.credentials()
    target = credentials.target()
    with ExitStack() as stack:
        peers = None
        if "peers" in known and target.tls is not None:
            peers = Peers(url=known["peers"], tls=target.tls)
        cells = None
        if "locket" in known:
            tls = TLSFiles(
                ca_file=str(credentials.ca), cert_file=str(credentials.cert), key_file=str(credentials.key)
            )
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
        mariadb = None
        if spec.on_mariadb:
            mariadb = stack.enter_context(fresh_mariadb(home / "mariadb"))
            flags = (*flags, "--database-url", mariadb.url_of(DATABASE))
        own = OwnServer(
            spec=spec,
            flags=(*_auctioneer(peers, certs, plain=plain_auctions), *flags),
            home=home,
            mariadb=mariadb,
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
    """``bbs serve`` as an operator would start it, log and limits at their defaults; only where it listens is ours. ``mariadb`` is
    its database, if ``flags`` say so.
    """

    def __init__(
        self, *, spec: ServerSpec, flags: tuple[str, ...], home: Path, mariadb: MariaDB | None = None
    ) -> None:
        self.server: Server | None = None
        self.mariadb = mariadb
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

    @property
    def data_dir(self) -> Path:
        return self._home / "data"

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

    def database_facts(self) -> dict[str, str]:
        if self.mariadb is not None:
            return {
                f"MariaDB {name}": value for name, value in self.mariadb.variables(*MARIADB_FACTS).items()
            }
        assert self.server is not None
        return {
            f"Postgres {name}": value
            for name, value in self.server.database_settings(*POSTGRES_FACTS).items()
        }

    def stop(self) -> None:
        self._running.close()
        self._running = ExitStack()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened at a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
