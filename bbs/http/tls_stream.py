"""The server's end of a TLS connection, for a server that answers small requests.

`trio.SSLStream` serves every use of TLS there is, and its bookkeeping costs as much as the encryption: measured here,
it took a third of the CPU of a claim. This stream does what an HTTP server needs, and rests on four assumptions:

* One task sends and one receives, so nothing has to be locked.
* A renegotiation cannot happen (TLS 1.3 has none, our contexts refuse it, and who asks for one is gone), so sending never
  has to wait for something to be received, or the other way round.
* Small answers go to peers that wait for them, over connections that then bring nothing until the peer has read. So to ask
  the kernel for bytes before it has said that there are some, or to let others have a turn between a small answer and the
  wait for the next request, costs a tenth of a ping each and gains nothing.
* The end of the connection is the end of the stream, with or without a `close_notify`. TLS has that goodbye because a
  protocol whose data end with the connection could otherwise be cut short by an attacker unnoticed. Every HTTP body says
  where it ends, so a truncated one is noticed without it; and to send or await a goodbye costs a round trip, or a wait
  for a client that is gone.
"""

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from math import inf
from typing import Final

import trio

ALERT_MAX_S: Final = 1.0
"""How long a client whose handshake was refused may take to accept the TLS alert that says why."""

CLIENT_HELLO_STARTS: Final = 6
"""So many bytes tell a `ClientHello`: the record's type, version and length, and the message's type."""

Turn = Callable[[], AbstractAsyncContextManager[None]]
"""Makes a context in which one step of a handshake may be computed. To enter it may take a while."""

SHAKING: Final = trio.CapacityLimiter(inf)
"""Of the threads that compute handshakes. The turns bound them; Trio's common limiter would make them wait for threads that
look up names, which can hang for many seconds."""

RECORD_BYTES_MAX: Final = 16 * 1024
RECEIVE_BYTES: Final = 64 * 1024


class TLSStream(trio.abc.Stream):
    """TLS over ``transport_stream``. Call `do_handshake` before anything else; closing closes the transport."""

    def __init__(self, transport_stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.transport_stream: Final = transport_stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def do_handshake(self, turn: Turn = nullcontext) -> None:
        """Shake hands. Each step is computed in a thread, and in a ``turn``. A client that is refused gets the TLS alert that
        says why.

        Cancellation:
          Takes effect once the step that is being computed is done, which takes a millisecond or two.

        Raises:
          trio.BrokenResourceError: refused, or gone. Its cause is the `ssl.SSLError`, if it was refused.
        """
        done = is_begun = False
        while not done:
            data = await self.transport_stream.receive_some(RECEIVE_BYTES)
            if not data:
                raise trio.BrokenResourceError("the peer left in the middle of the handshake")
            self._incoming.write(data)
            try:
                async with turn():
                    if not is_begun and _is_client_hello(data) and await self._peer_has_left():
                        # It did not wait for its turn. To answer would cost a signature that nobody reads.
                        raise trio.BrokenResourceError("the peer left before its handshake began")
                    # No other thread touches this connection meanwhile: we wait for it even if we are cancelled.
                    done = await trio.to_thread.run_sync(self._shake, limiter=SHAKING)
            except ssl.SSLError as error:
                with trio.move_on_after(ALERT_MAX_S):
                    await self.transport_stream.send_all(self._outgoing.read())
                raise trio.BrokenResourceError from error
            is_begun = True
            if self._outgoing.pending:
                await self.transport_stream.send_all(self._outgoing.read())

    def _shake(self) -> bool:
        """Take the handshake as far as what was received allows. Whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    async def _peer_has_left(self) -> bool:
        """Whether it has sent nothing more than what was received, and has ended its side of the connection. Does not wait."""
        connection = self.transport_stream.socket
        try:
            return connection.is_readable() and not await connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True  # it was reset

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As of any Trio stream; ``b""`` once the peer has ended its side, with a `close_notify` or without."""
        incoming, tls = self._incoming, self._tls
        max_bytes = RECORD_BYTES_MAX if max_bytes is None else max_bytes
        has_waited = False
        while True:
            # TLS is asked only if it has something to say: to be told that it wants to read costs an exception.
            if has_waited or incoming.pending or tls.pending():
                try:
                    data = tls.read(max_bytes)
                except ssl.SSLWantReadError:
                    pass
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    data = b""
                    break
                except ssl.SSLError as error:
                    raise trio.BrokenResourceError from error
                else:
                    break
            if self._has_refused():
                raise trio.BrokenResourceError("the peer asked for a renegotiation")
            encrypted = await self._receive()
            has_waited = True
            if encrypted:
                incoming.write(encrypted)
            else:
                incoming.write_eof()
        if not has_waited:
            await trio.lowlevel.checkpoint()
        # TLS may want to answer what it has read (with new keys, say). That waits for our next bytes: this task must not
        # send, since the other one may be sending right now.
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As of any Trio stream, but for this: what fits into one record, and what the kernel takes at once, is sent without
        a checkpoint.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]  # a record at a time
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        encrypted = self._outgoing.read()
        if len(data) <= RECORD_BYTES_MAX:
            encrypted = self._sent_at_once(encrypted)
        if encrypted:
            await self.transport_stream.send_all(encrypted)

    def _has_refused(self) -> bool:
        """Whether TLS 1.2 has something to say to what was read: that there is no renegotiation, and nothing else.

        Nobody else would send it before the next answer, so these alerts would pile up for a client that asks on and on.
        """
        return self._outgoing.pending > 0 and self._tls.version() == "TLSv1.2"

    async def _receive(self) -> bytes:
        """Encrypted bytes, once there are some; ``b""`` at their end. Always a checkpoint."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor())
            try:
                return os.read(self._descriptor(), RECEIVE_BYTES)
            except BlockingIOError:
                continue  # somebody else, or a checksum, has taken them
            except OSError as error:
                raise trio.BrokenResourceError from error

    def _sent_at_once(self, encrypted: bytes) -> bytes:
        """Send as much as the kernel takes; returns the rest."""
        try:
            return encrypted[os.write(self._descriptor(), encrypted) :]
        except BlockingIOError:
            return encrypted
        except OSError as error:
            raise trio.BrokenResourceError from error

    def _descriptor(self) -> int:
        """Asked for anew each time: a closed socket's number may be another's by now.

        Raises:
          trio.ClosedResourceError: the socket is closed.
        """
        descriptor = self.transport_stream.socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError
        return descriptor

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


def _is_client_hello(data: bytes | bytearray) -> bool:
    return len(data) >= CLIENT_HELLO_STARTS and (data[0], data[1], data[5]) == (0x16, 0x03, 0x01)
