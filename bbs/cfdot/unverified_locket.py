"""Locket without a check of its certificate (``--skipCertVerify``), which gRPC in Python does not offer.

gRPC speaks plainly to a socket of our own, and what it says goes on over a TLS connection that shows our certificate and takes
any. The socket is in a directory that only we may enter.
"""

import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

from bbs.cfdot.target import Target
from bbs.tls.contexts import client_context

CONNECT_MAX_S: Final = 10
READ_BYTES: Final = 64 * 1024


async def relay(target: Target, *, task_status: trio.TaskStatus[str]) -> None:
    """Relay connections to ``target`` until cancelled. Started with the address that gRPC is to be given.

    Raises:
      TLSFilesInvalid: our certificate can't be used.
    """
    context = client_context(
        ca_file=None, cert_file=target.cert_file, key_file=target.key_file, skip_verify=True
    )
    context.set_alpn_protocols(["h2"])

    async def serve(plain: trio.SocketStream) -> None:
        try:
            await _relayed(plain, target.address, context)
        except* (OSError, ValueError, trio.BrokenResourceError, trio.TooSlowError):
            pass  # gRPC notices, and tries again until its time is up

    with TemporaryDirectory(prefix="cfdot-") as directory:
        path = str(Path(directory) / "locket")
        listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await listening.bind(path)
        listening.listen()
        task_status.started(f"unix:{path}")
        await trio.serve_listeners(serve, [trio.SocketListener(listening)])


async def _relayed(plain: trio.SocketStream, address: str, context: ssl.SSLContext) -> None:
    host, _, port = address.rpartition(":")
    with trio.fail_after(CONNECT_MAX_S):
        tcp = await trio.open_tcp_stream(host.strip("[]"), int(port))
    tls = trio.SSLStream(tcp, context, server_hostname=host.strip("[]"), https_compatible=True)
    async with tcp, trio.open_nursery() as nursery:
        with trio.fail_after(CONNECT_MAX_S):
            await tls.do_handshake()
        nursery.start_soon(_pump, plain, tls, nursery.cancel_scope)
        await _pump(tls, plain, nursery.cancel_scope)


async def _pump(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
    """Until one side ends, which ends both directions."""
    while data := await source.receive_some(READ_BYTES):
        await sink.send_all(data)
    both.cancel()
