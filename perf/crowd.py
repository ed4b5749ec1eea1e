"""Every cell and every route-emitter, connecting to a BBS at the same moment, as they do to a new master.

Half of the clients are reps, which ask for the ActualLRPs of their cell. The others are route-emitters: they subscribe to the
events of their cell over a connection of its own, and ask for its ActualLRPs and scheduling infos over another. So there are
one and a half connections to a client. A client is served once it has the head of its stream and all of its lists.

The crowd is one process with one thread, which opens all connections before it reads from any. Its own half of the
handshakes costs nearly as much CPU as the server's, so on a small machine it takes part in what it measures: see
`Gathered.cpu_s`.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from perf import room
from perf.beside import OtherProcess
from perf.load import Credentials, Target
from perf.workloads import Fleet

GATHER_MAX_S: Final = 180.0
RECEIVE_BYTES: Final = 64 * 1024


class _Gone(Exception):
    """The server refused, or ended, a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the clients saw. ``shaken_s`` has, in order, when each connection had its handshake, ``served_s`` when each client was
    served: seconds since the first connect. ``resumed`` are connections that went on with an earlier session.
    """

    connections: int
    resumed: int
    shaken_s: Sequence[float]
    served_s: Sequence[float]
    cpu_s: float
    failed: int = 0
    first_failure: str = ""


def connections_of(clients: int) -> int:
    return clients + clients // 2


def expect_descriptors(clients: int) -> None:
    """Raises TooFewDescriptors if a process may not have the connections of so many clients."""
    room.expect_descriptors(
        connections_of(clients), of=f"{clients:,} clients", instead="fewer clients (--points)"
    )


class Crowd(OtherProcess):
    """The process with all clients. ``lrps`` is the size of the fleet that they ask for."""

    def __init__(self, credentials: Credentials, lrps: int) -> None:
        super().__init__(_begin, credentials, lrps)

    def gather(self, clients: int, *, resume: bool = False) -> "Future[Gathered]":
        """Have so many clients connect and ask. With ``resume`` each connection goes on with the session that it had in the last
        gathering. All stay connected until `disperse`: to close them costs the server something, too.
        """
        return self.submit(_gather, clients, resume)

    def disperse(self) -> None:
        self.submit(_disperse).result(GATHER_MAX_S)


class _Clients:
    """Of the crowd's process."""

    def __init__(self, credentials: Credentials, lrps: int) -> None:
        self._target = credentials.target()
        self._fleet = Fleet(target=self._target, lrps=lrps)
        self._sessions: list[ssl.SSLSession | None] = []
        self._connections: list[_Connection] = []

    def gather(self, clients: int, *, resume: bool) -> Gathered:
        connections = self._connections = self._made(clients)
        if resume:
            for connection, session in zip(connections, self._sessions, strict=False):
                connection.session = session
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        served = _serve(connections, until_s=began_s + GATHER_MAX_S)
        cpu_s = time.process_time() - began_cpu_s
        self._sessions = [each.session for each in connections]
        failures = [each.failure or "not served in time" for each in connections if not each.is_served]
        return Gathered(
            connections=len(connections),
            resumed=sum(each.is_resumed for each in connections),
            shaken_s=sorted(each.shaken_s - began_s for each in connections if each.shaken_s),
            served_s=sorted(at_s - began_s for at_s in served.values()),
            cpu_s=cpu_s,
            failed=len(failures),
            first_failure=failures[0] if failures else "",
        )

    def disperse(self) -> None:
        while self._connections:
            self._connections.pop().close()

    def _made(self, clients: int) -> "list[_Connection]":
        fleet, target = self._fleet, self._target
        body_bytes: dict[bytes, int] = {}
        made = []
        for client in range(clients):
            cell = client % fleet.cells
            lists = [fleet.actual_lrps_of_cell(cell)]
            if client % 2:
                made.append(_Connection(target, client, [fleet.subscribe(cell)], body_bytes, is_stream=True))
                lists.append(fleet.scheduling_infos_of(cell))
            made.append(_Connection(target, client, lists, body_bytes))
        return made


_clients: _Clients


def _begin(credentials: Credentials, lrps: int) -> None:
    global _clients
    _clients = _Clients(credentials, lrps)
    room.take_all_descriptors()


def _gather(clients: int, resume: bool) -> Gathered:
    return _clients.gather(clients, resume=resume)


def _disperse() -> None:
    _clients.disperse()


def _serve(connections: "Sequence[_Connection]", *, until_s: float) -> dict[int, float]:
    """When each client was served. Ends when no connection wants anything more."""
    poll = select.epoll()
    by_fileno: dict[int, _Connection] = {}
    unserved: dict[int, int] = {}
    served: dict[int, float] = {}
    for connection in connections:
        unserved[connection.client] = unserved.get(connection.client, 0) + 1
        connection.start()
        by_fileno[connection.fileno] = connection
        poll.register(connection.fileno, connection.wants)
    while by_fileno and (left_s := until_s - time.perf_counter()) > 0:
        for fileno, _ in poll.poll(left_s):
            connection = by_fileno[fileno]
            wanted = connection.wants
            connection.go_on()
            if connection.failure:
                poll.unregister(fileno)
                del by_fileno[fileno]
            elif connection.is_served:
                poll.unregister(fileno)
                del by_fileno[fileno]
                unserved[connection.client] -= 1
                if not unserved[connection.client]:
                    served[connection.client] = time.perf_counter()
            elif connection.wants != wanted:
                poll.modify(fileno, connection.wants)
    poll.close()
    return served


class _Connection:
    """Connects, shakes hands, then sends one request after the other; a stream is served with its head.

    ``body_bytes`` is shared by all: the same list has the same length whoever asks for it.
    """

    def __init__(
        self,
        target: Target,
        client: int,
        requests: Sequence[bytes],
        body_bytes: dict[bytes, int],
        *,
        is_stream: bool = False,
    ) -> None:
        self.client = client
        self.session: ssl.SSLSession | None = None
        self.is_resumed = False
        self.is_served = False
        self.failure = ""
        self.shaken_s = 0.0
        self.wants = select.EPOLLOUT
        self._target = target
        self._requests = list(requests)
        self._body_bytes = body_bytes
        self._is_stream = is_stream
        self._received = bytearray()
        self._answer_bytes = 0
        self._head_bytes = 0
        self._socket: socket.socket = socket.socket()
        self._is_connected = False

    @property
    def fileno(self) -> int:
        return self._socket.fileno()

    def start(self) -> None:
        target = self._target
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Trouble is told by the first send.
        self._socket.connect_ex((target.host, target.port))

    def close(self) -> None:
        self._socket.close()

    def go_on(self) -> None:
        """Do what can be done without waiting."""
        try:
            if not self.shaken_s and not self._shake():
                return
            self._receive()
        except (OSError, _Gone) as error:
            self.failure = f"{type(error).__name__.lstrip('_')}: {error}"

    def _shake(self) -> bool:
        if not self._is_connected:
            if error := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, "connect")
            self._is_connected = True
            if (tls := self._target.tls) is not None:
                self._socket = tls.wrap_socket(
                    self._socket,
                    server_hostname=self._target.host,
                    do_handshake_on_connect=False,
                    session=self.session,
                )
        if isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                self.wants = select.EPOLLIN
                return False
            except ssl.SSLWantWriteError:
                self.wants = select.EPOLLOUT
                return False
            self.is_resumed = bool(self._socket.session_reused)
        self.shaken_s = time.perf_counter()
        self.wants = select.EPOLLIN
        self._socket.sendall(self._requests[0])  # fits an empty socket buffer
        return True

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while not self.is_served:
                piece = self._socket.recv(RECEIVE_BYTES)
                if not piece:
                    raise _Gone("the server closed the connection")
                self._received += piece
                self._take_answer()

    def _take_answer(self) -> None:
        if not self._answer_bytes:
            head_ends = self._received.find(b"\r\n\r\n") + 4
            if head_ends < 4:
                return
            head = bytes(self._received[:head_ends])
            if head[9:12] != b"200":
                raise _Gone(head.split(b"\r\n")[0].decode("latin-1"))
            if self._is_stream:
                self._end()
                return
            _, _, rest = head.lower().partition(b"\r\ncontent-length:")
            self._head_bytes = head_ends
            self._answer_bytes = head_ends + int(rest.split(b"\r\n", 1)[0])
        if len(self._received) < self._answer_bytes:
            return
        body_bytes = self._answer_bytes - self._head_bytes
        expected = self._body_bytes.setdefault(self._requests[0], body_bytes)
        if body_bytes != expected:
            raise _Gone(f"a list of {body_bytes} bytes, where somebody else got {expected}")
        self._received.clear()
        self._answer_bytes = 0
        del self._requests[0]
        if self._requests:
            self._socket.sendall(self._requests[0])
        else:
            self._end()

    def _end(self) -> None:
        self.is_served = True
        if isinstance(self._socket, ssl.SSLSocket):
            self.session = self._socket.session  # with TLS 1.3 it comes with the first answer
