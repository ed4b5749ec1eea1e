"""The auctioneer and the reps of the harness: one process that answers 202 to all that a BBS asks of them, at once, and counts.

    python -m perf.peers --ca F --cert F --key F [--listen 127.0.0.1:0] [--listen-plain 127.0.0.1:0]

What it has counted is at ``GET /stats``, as JSON; see `Counts`. It does not place anything: the harness itself claims and
starts. Its queue of connections that wait to be accepted is long: with one of 5 a connection that is dropped there comes
back a second later, and that second would be in the figures.
"""

import argparse
import asyncio
import json
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

BACKLOG: Final = 1024
HEAD_BYTES_MAX: Final = 64 * 1024
START_MAX_S: Final = 20.0
STOP_MAX_S: Final = 10.0
STATS_MAX_S: Final = 30.0
POLL_S: Final = 0.005

ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class PeersFailed(Exception):
    """The process did not start, or does not answer."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """Calls, and what they asked for: ``instances`` to be placed (an LRP auction may be about many), ``tasks``, calls to
    reps. ``connections`` are those over which such calls came, ``largest`` is the most instances in one call, ``last_s`` the
    wall clock's time of the last auction.
    """

    connections: int = 0
    lrp_calls: int = 0
    instances: int = 0
    task_calls: int = 0
    tasks: int = 0
    rep_calls: int = 0
    largest: int = 0
    last_s: float = 0.0

    @property
    def auctions(self) -> int:
        return self.instances + self.tasks

    def note(self, path: str, body: bytes) -> None:
        if path == "/v1/lrps":
            asked = sum(len(start["indices"]) for start in json.loads(body) or ())
            self.lrp_calls += 1
            self.instances += asked
            self.largest = max(self.largest, asked)
            self.last_s = time.time()
        elif path == "/v1/tasks":
            self.task_calls += 1
            self.tasks += len(json.loads(body) or ())
            self.last_s = time.time()
        else:
            self.rep_calls += 1


async def serve(address: str, plain_address: str, tls: ssl.SSLContext) -> None:
    """Serve until cancelled, with TLS at one address and without it at the other; prints both ports once it listens."""
    counts = Counts()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_counted = False
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, path, _ = head.split(" ", 2)
                body = await reader.readexactly(_content_length(head))
                if method == "GET":
                    answer = json.dumps(asdict(counts)).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
                    continue
                writer.write(ACCEPTED)
                counts.connections += not is_counted
                is_counted = True
                counts.note(path, body)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the BBS has closed its connection
        finally:
            writer.close()

    ports = []
    for each, context in ((address, tls), (plain_address, None)):
        host, _, port = each.rpartition(":")
        server = await asyncio.start_server(
            converse, host, int(port), ssl=context, backlog=BACKLOG, limit=HEAD_BYTES_MAX
        )
        ports.append(str(server.sockets[0].getsockname()[1]))
    print(f"listening on {' '.join(ports)}", flush=True)
    await asyncio.Event().wait()


def _content_length(head: str) -> int:
    _, _, rest = head.lower().partition("\r\ncontent-length:")
    return int(rest.partition("\r\n")[0] or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """A running process of these, at an https ``url``, and at ``plain_url`` without TLS."""

    url: str
    plain_url: str = ""
    tls: ssl.SSLContext

    def counts(self) -> Counts:
        """What was counted so far.

        Raises:
          OSError: it does not answer.
        """
        with urllib.request.urlopen(f"{self.url}/stats", timeout=STATS_MAX_S, context=self.tls) as answer:
            return Counts(**json.loads(answer.read()))

    def counts_once(self, auctions: int, *, max_s: float) -> Counts:
        """The counts once that many instances and tasks are to be placed; as they are after ``max_s`` if it is fewer."""
        give_up_s = time.monotonic() + max_s
        while (counts := self.counts()).auctions < auctions and time.monotonic() < give_up_s:
            time.sleep(POLL_S)
        return counts


@contextmanager
def running_peers(certs: Path) -> Iterator[Peers]:
    """A process on a free port of 127.0.0.1, with the certificates that ``bbs certs`` made; stopped in the end.

    Raises:
      PeersFailed: it does not listen.
    """
    ca, cert, key = (str(certs / name) for name in ("ca.crt", "server.crt", "server.key"))
    process = subprocess.Popen(
        [sys.executable, "-m", "perf.peers", "--ca", ca, "--cert", cert, "--key", key],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # the terminal's Ctrl-C is for the harness, which stops this one last
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()  # or the end, when it could not start
        if not line.startswith("listening on "):
            raise PeersFailed("the harness' auctioneer does not start")
        tls = ssl.create_default_context(cafile=ca)
        tls.load_cert_chain(certs / "client.crt", certs / "client.key")
        port, plain_port = line.split()[-2:]
        yield Peers(url=f"https://127.0.0.1:{port}", plain_url=f"http://127.0.0.1:{plain_port}", tls=tls)
    finally:
        process.terminate()
        try:
            process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m perf.peers", description="An auctioneer and reps that answer 202 and count."
    )
    for name in ("--ca", "--cert", "--key"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--listen-plain", default="127.0.0.1:0", metavar="HOST:PORT")
    options = parser.parse_args(argv)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(options.cert, options.key)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(options.listen, options.listen_plain, tls))
    return 0


if __name__ == "__main__":
    sys.exit(main())
