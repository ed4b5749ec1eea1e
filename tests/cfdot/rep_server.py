"""A rep that says of its cell what a test wants."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.served_in_thread import served_in_thread


class Rep(BaseHTTPRequestHandler):
    """Answers with what its server is told to, and keeps the trace ids."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, RepServer)
        server.asked.append((self.path, self.headers["X-Vcap-Request-Id"]))
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, *_: object) -> None:
        pass


class RepServer(ThreadingHTTPServer):
    status = 200
    body = b'{"cell_id": "c",\n "LRPs": [], "Zone": "<z>"}\n'

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Rep)
        self.asked: list[tuple[str, str]] = []


@contextmanager
def rep(tls: ssl.SSLContext) -> Iterator[RepServer]:
    server = RepServer()
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    with served_in_thread(server):
        yield server
