"""The server's end of a TLS connection, for a server that answers small requests.

`trio.SSLStream` serves every use of TLS there is, and its bookkeeping costs as much as the encryption: measured here,
it took a third of the CPU of a claim. This stream does what an HTTP server needs, and rests on three assumptions:

* One task sends and one receives, so nothing has to be locked.
* A renegotiation cannot happen (TLS 1.3 has none, and our contexts refuse it), so sending never has to wait for something
  to be received, or the other way round.
* The end of the connection is the end of the stream, with or without a `close_notify`. TLS has that goodbye because a
  protocol whose data end with the connection could otherwise be cut short by an attacker unnoticed. Every HTTP body says
  where it ends, so a truncated one is noticed without it; and to send or await a goodbye costs a round trip, or a wait
  for a client that is gone.
"""

import ssl
from typing import Final

import trio

ALERT_MAX_S: Final = 1.0
"""How long a client whose handshake was refused may take to accept the TLS alert that says why."""

RECORD_BYTES_MAX: Final = 16 * 1024
RECEIVE_BYTES: Final = 64 * 1024


class TLSStream(trio.abc.Stream):
    """TLS over ``transport_stream``. Call `do_handshake` before anything else; closing closes the transport."""

    def __init__(self, transport_stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.transport_stream: Final = transport_stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def do_handshake(self) -> None:
        """Shake hands. A client that is refused gets the TLS alert that says why.

        Raises:
          trio.BrokenResourceError: refused, or gone. Its cause is the `ssl.SSLError`, if it was refused.
        """
        while True:
            done = False
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                with trio.move_on_after(ALERT_MAX_S):
                    await self.transport_stream.send_all(self._outgoing.read())
                raise trio.BrokenResourceError from error
            if self._outgoing.pending:
                await self.transport_stream.send_all(self._outgoing.read())
            if done:
                return
            data = await self.transport_stream.receive_some(RECEIVE_BYTES)
            if not data:
                raise trio.BrokenResourceError("the peer left in the middle of the handshake")
            self._incoming.write(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As of any Trio stream; ``b""`` once the peer has ended its side, with a `close_notify` or without."""
        received = False
        while True:
            try:
                data = self._tls.read(RECORD_BYTES_MAX if max_bytes is None else max_bytes)
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
                break
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error
            else:
                break
            encrypted = await self.transport_stream.receive_some(RECEIVE_BYTES)
            received = True
            if encrypted:
                self._incoming.write(encrypted)
            else:
                self._incoming.write_eof()
        if not received:
            await trio.lowlevel.checkpoint()
        # TLS may want to answer what it has read (with new keys, say). That waits for our next bytes: this task must not
        # send, since the other one may be sending right now.
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]  # a record at a time
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        await self.transport_stream.send_all(self._outgoing.read())

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.transport_stream.aclose()

    def getpeercert(self, binary_form: bool) -> bytes | None:
        """The client's leaf certificate."""
        certificate = self._tls.getpeercert(binary_form)
        assert certificate is None or isinstance(certificate, bytes)
        return certificate

    def selected_alpn_protocol(self) -> str | None:
        return self._tls.selected_alpn_protocol()
