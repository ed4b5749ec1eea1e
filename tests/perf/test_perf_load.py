"""The load generator against a server that answers as a test tells it to."""

import itertools
import json
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event
from typing import Final

import pytest
import trustme
from google.protobuf.message import Message

from bbs.models import pb
from perf import interruption, load
from perf.load import LoadGenerator, RequestTooLarge, Target
from tests.served_in_thread import served_in_thread

PONG: Final = pb.PingResponse(available=True).SerializeToString()
REFUSAL: Final = pb.ActualLRPLifecycleResponse(
    error=pb.Error(type=pb.Error.Type.ResourceNotFound, message="not there")
).SerializeToString()

Answer = Callable[[bytes], list[bytes]]
"""From a request's body to the pieces of its answer, each sent by itself; none closes the connection."""


def http(body: bytes, *, status: str = "200 OK", length_header: str = "Content-Length") -> bytes:
    head = f"HTTP/1.1 {status}\r\nDate: now\r\n{length_header}: {len(body)}\r\n\r\n"
    return head.encode() + body


class RecordingServer(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.bodies: list[bytes] = []
        self.connections = 0
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def target(self) -> Target:
        return Target(host="127.0.0.1", port=self.server_address[1], tls=None)


class Handler(StreamRequestHandler):
    server: RecordingServer

    def handle(self) -> None:
        self.server.connections += 1
        while self.rfile.readline():
            length = 0
            while (line := self.rfile.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = self.rfile.read(length)
            self.server.bodies.append(body)
            pieces = self.server.answer(body)
            if not pieces:
                return
            for piece in pieces:
                self.wfile.write(piece)


@contextmanager
def serving(answer: Answer, *, tls: ssl.SSLContext | None = None) -> Iterator[RecordingServer]:
    with served_in_thread(RecordingServer(answer, tls)) as server:
        yield server


def test_every_request_is_sent_once_and_each_connection_is_kept() -> None:
    with (
        serving(lambda body: [http(PONG)]) as server,
        LoadGenerator(server.target, connections=4) as generator,
    ):
        requests = [server.target.post("/v1/ping", b"%d" % number) for number in range(100)]
        first, second = (generator.run(requests, max_s=30) for _ in range(2))

        assert [first.answers, second.answers] == [100, 100]
        assert first.good
        assert first.response_bytes == 100 * len(PONG)
        assert first.last_body == PONG
        assert sorted(server.bodies) == sorted([b"%d" % number for number in range(100)] * 2)
        assert server.connections == 4


def pieces_of(answer: bytes, size: int) -> list[bytes]:
    return [answer[start : start + size] for start in range(0, len(answer), size)]


@pytest.mark.parametrize(
    "pieces",
    [
        pieces_of(http(b"\x12" + b"x" * 40), 1),
        pieces_of(http(b"\x12" + b"x" * 3_000_000), 100_000),
        [http(b"\x12abc").partition(b"\r\n\r\n")[0], b"\r\n\r\n\x12abc"],
        [http(b"\x12abc", length_header="content-length")],
        [http(b"")],
    ],
    ids=["byte by byte", "3 MB", "head, then body", "Hypercorn's spelling", "no body"],
)
def test_an_answer_may_come_in_any_pieces(pieces: list[bytes]) -> None:
    with serving(lambda body: pieces) as server, LoadGenerator(server.target, connections=2) as generator:
        sample = generator.run([server.target.post("/v1/ping")] * 6, max_s=30)

    assert (sample.answers, sample.trouble()) == (6, "")
    assert sample.last_body == b"".join(pieces).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        (pb.ActualLRPLifecycleResponse(), False),
        (pb.PingResponse(available=True), False),
        (pb.ActualLRPsResponse(actual_lrps=[pb.ActualLRP(state="RUNNING")]), False),
        (pb.ActualLRPLifecycleResponse(error=pb.Error()), True),
        (pb.DesiredLRPsResponse(error=pb.Error(message="boom"), desired_lrps=[pb.DesiredLRP()]), True),
    ],
    ids=["fine", "ping", "rows", "an error of zeros", "an error beside rows"],
)
def test_an_error_in_the_body_counts_as_one(message: Message, refused: bool) -> None:
    body = message.SerializeToString()
    with serving(lambda _: [http(body)]) as server, LoadGenerator(server.target, connections=1) as generator:
        sample = generator.run([server.target.post("/v1/ping")] * 3, max_s=30)

    assert (sample.answers, sample.errors) == (3, 3 if refused else 0)


def test_the_first_error_is_told_in_words() -> None:
    with (
        serving(lambda _: [http(REFUSAL)]) as server,
        LoadGenerator(server.target, connections=1) as generator,
    ):
        sample = generator.run([server.target.post("/v1/ping")], max_s=30)

    assert sample.trouble() == "1 errors, first: ResourceNotFound: not there"


@pytest.mark.parametrize(
    ("pieces", "first_error"),
    [
        ([http(b"", status="503 Service Unavailable")], "BadAnswer: HTTP/1.1 503 Service Unavailable"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], "BadAnswer: no Content-Length"),
        ([http(PONG) + b"more"], "BadAnswer: more bytes than Content-Length says"),
        ([], "BadAnswer: the server closed the connection"),
    ],
    ids=["503", "chunked", "too long", "closed"],
)
def test_an_answer_that_is_none_ends_its_connection(pieces: list[bytes], first_error: str) -> None:
    with serving(lambda _: pieces) as server, LoadGenerator(server.target, connections=2) as generator:
        sample = generator.run([server.target.post("/v1/ping")] * 9, max_s=30)

    assert (sample.answers, sample.errors, sample.first_error) == (0, 2, first_error)
    assert not sample.good


def test_requests_that_no_connection_is_left_for_are_not_passed_over_in_silence() -> None:
    answers = iter([[http(PONG)], []])
    with serving(lambda _: next(answers)) as server, LoadGenerator(server.target, connections=1) as generator:
        sample = generator.run([server.target.post("/v1/ping")] * 9, max_s=30)

    assert (sample.answers, sample.errors, sample.cut_short) == (1, 1, True)


def test_the_next_run_replaces_a_broken_connection() -> None:
    answers = itertools.chain([[]], itertools.repeat([http(PONG)]))
    with serving(lambda _: next(answers)) as server, LoadGenerator(server.target, connections=1) as generator:
        broken = generator.run([server.target.post("/v1/ping")], max_s=30)
        sample = generator.run([server.target.post("/v1/ping")] * 5, max_s=30)

    assert not broken.good
    assert (sample.answers, sample.trouble()) == (5, "")


def test_sending_ends_when_the_time_is_up() -> None:
    endless = itertools.repeat
    with serving(lambda _: [http(PONG)]) as server, LoadGenerator(server.target, connections=2) as generator:
        sample = generator.run(endless(server.target.post("/v1/ping")), max_s=0.05)

        assert sample.answers > 0
        assert (sample.errors, sample.cut_short) == (0, True)
        assert len(server.bodies) == sample.answers  # what was under way has been waited for


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "GRACE_S", 0.05)
    monkeypatch.setattr(load, "POLL_S", 0.01)
    over = Event()

    def wait(_: bytes) -> list[bytes]:
        over.wait(30)
        return []

    with serving(wait) as server, LoadGenerator(server.target, connections=3) as generator:
        sample = generator.run([server.target.post("/v1/ping")] * 3, max_s=0.01)
        over.set()

    assert (sample.answers, sample.errors) == (0, 3)
    assert sample.first_error.startswith("no answer within")


def test_a_request_that_might_be_sent_in_parts_is_refused() -> None:
    with pytest.raises(RequestTooLarge):
        Target(host="a", port=1, tls=None).post("/v1/ping", bytes(load.REQUEST_BYTES_MAX))


def test_it_speaks_mutual_tls_and_prints_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca")
    client = authority.issue_cert("client")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    client.private_key_pem.write_to_path(tmp_path / "key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)

    with serving(lambda _: [http(b"\x12" + bytes(100_000))], tls=context) as server:
        files = itertools.chain(*((f"--{name}", str(tmp_path / name)) for name in ("ca", "cert", "key")))
        url = f"https://127.0.0.1:{server.target.port}"
        code = load.main(["--url", url, *files, "--requests", "10", "--connections", "2"])

    assert code == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["answers"], printed["errors"], printed["response_bytes"]) == (10, 0, 1_000_010)


def test_an_interruption_that_a_finalizer_swallowed_is_heard_by_whoever_sends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interruption, "_was_interrupted", False)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interruption.heed_interruptions()
    try:
        with suppress(KeyboardInterrupt):  # as a finalizer would
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    with serving(lambda body: [http(PONG)]) as server:
        target = server.target
        with LoadGenerator(target, connections=1) as generator, pytest.raises(KeyboardInterrupt):
            generator.run([target.post("/v1/ping")], max_s=5)
        interruption.take_as_heard()
        with LoadGenerator(target, connections=1) as generator:
            assert generator.run([target.post("/v1/ping")], max_s=5).errors == 0
