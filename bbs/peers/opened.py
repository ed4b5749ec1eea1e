"""The peers of a configuration, opened: clients with their TLS, and stand-ins for peers that are not there yet."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bbs.peers.auctioneer import HTTPAuctioneer
from bbs.peers.callbacks import HTTPTaskCallbacks
from bbs.peers.http import HTTPClient
from bbs.peers.interfaces import Cells, Peers
from bbs.peers.rep_failures import RepFailures
from bbs.peers.reps import HTTPReps
from bbs.peers.stub import StubPeers
from bbs.tls.contexts import TLSFiles, client_context


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctioneerSettings:
    """Where the auctioneer is: a base URL without a slash at its end.

    With ``tls`` it is called over TLS, and over plain HTTP when that gets no response, unless ``require_tls``.
    """

    address: str
    tls: TLSFiles | None = None
    require_tls: bool = False


@asynccontextmanager
async def open_peers(
    *,
    auctioneer: AuctioneerSettings | None,
    identity: TLSFiles | None,
    reps_tls: TLSFiles | None = None,
    cells: Cells | None = None,
    communication_timeout_s: float,
    callback_workers: int,
    connections_max: int,
    contexts: Callable[[TLSFiles], Callable[[], ssl.SSLContext]] | None = None,
) -> AsyncIterator[Peers]:
    """Clients for all peers; their connections are closed in the end.

    ``identity`` are the certificate that we show to callback receivers and the CAs that we trust for them, ``reps_tls``
    those for reps. Where they are ``None`` we show no certificate and trust the system's roots. Without ``auctioneer``
    auctions are only remembered; without ``cells`` no cell ever announces itself.

    ``communication_timeout_s`` bounds each call. Of ``connections_max`` reps get half, callbacks and the auctioneer a
    quarter each, so that receivers that do not answer keep nobody else from being called.

    ``contexts`` makes, of certificate files, a function that is asked for a context at each new connection, so that
    certificates can be replaced while the server runs. Without it files are read once.

    Raises:
      TLSFilesInvalid: a file can't be used.
    """
    async with AsyncExitStack() as stack:

        def client(tls: TLSFiles | None, *, part: int) -> HTTPClient:
            context: ssl.SSLContext | Callable[[], ssl.SSLContext]
            if tls is None:
                context = client_context(ca_file=None, cert_file=None, key_file=None)
            elif contexts is None:
                context = client_context(ca_file=tls.ca_file, cert_file=tls.cert_file, key_file=tls.key_file)
            else:
                context = contexts(tls)
            http = HTTPClient(
                tls=context,
                timeout_s=communication_timeout_s,
                connections_max=max(1, connections_max // part),
            )
            stack.push_async_callback(http.aclose)
            return http

        stub, rep_failures = StubPeers(), RepFailures()
        yield Peers(
            auctioneer=stub if auctioneer is None else _auctioneer(auctioneer, client),
            reps=HTTPReps(http=client(reps_tls, part=2), failures=rep_failures),
            rep_failures=rep_failures,
            cells=stub if cells is None else cells,
            callbacks=HTTPTaskCallbacks(http=client(identity, part=4), workers=callback_workers),
        )


def _auctioneer(settings: AuctioneerSettings, client: Callable[..., HTTPClient]) -> HTTPAuctioneer:
    has_fallback = settings.tls is not None and not settings.require_tls
    return HTTPAuctioneer(
        settings.address,
        http=client(settings.tls, part=8),
        plain=client(None, part=8) if has_fallback else None,
    )
