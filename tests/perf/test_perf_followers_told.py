"""What the measurement of followers makes of what it saw, and when it does not even begin."""

import resource
import socket
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from perf import room
from perf.__main__ import EXIT_CANNOT_RUN, main
from perf.figures import Sample
from perf.followers import cost, fan_out
from perf.followers.asker import Asker, AskFailed, Told, ask_all
from perf.followers.fan_out import ALONE, FOLLOWED, FanOut, expect_room
from perf.followers.lateness import Used
from perf.followers.writer import BATCH_ROWS, Written
from perf.load import Credentials


def sample(*latencies_s: float, errors: int = 0) -> Sample:
    return Sample(latencies_s=array("d", latencies_s), elapsed_s=1.0, errors=errors, first_error="boom")


def fan_out_leg(
    *, deliveries: int = 10, ended: int = 0, writes: Sample | None = None, master_s: float = 1.0
) -> fan_out.Leg:
    return fan_out.Leg(
        deliveries=deliveries,
        expected=10,
        ended=ended,
        took_s=2.0,
        last_after_s=0.0,
        writes=writes or sample(0.1),
        pings=sample(0.001),
        master_s=master_s,
        followers_s=0.0,
        walsenders_s=0.0,
        readers_s=0.5,
        opening_s=1.0,
        master_bytes=10**8,
    )


@pytest.mark.parametrize(
    ("leg", "trouble"),
    [
        (fan_out_leg(), []),
        (fan_out_leg(deliveries=9), ["two followers: 9 events instead of 10"]),
        (fan_out_leg(deliveries=11), ["two followers: 11 events instead of 10"]),
        (fan_out_leg(deliveries=8, ended=1), ["two followers: 1 streams were cut off"]),
        (fan_out_leg(writes=sample(0.1, errors=1)), ["two followers: 1 errors, first: boom"]),
    ],
)
def test_what_subscribers_did_not_get_is_told(leg: fan_out.Leg, trouble: list[str]) -> None:
    measured = FanOut(subscribers=5, lrps=1, legs={ALONE: [fan_out_leg(master_s=4.0)], FOLLOWED: [leg]})

    assert measured.troubles == trouble
    assert "| master CPU s        |             4.00 |          1.00 |  0.25 |" in measured.table()


def cost_leg(batches: int, *, batch_s: float) -> cost.Leg:
    written = Written(
        rows=batches * BATCH_ROWS,
        elapsed_s=1.0,
        cpu_s=0.5,
        batches_s=array("d", [batch_s] * batches),
        token="",
    )
    return cost.Leg(written=written, used=Used(followers_s=0.0, walsenders_s=0.0, postgres_s=0.25))


def test_what_followers_cost_is_compared_within_each_round() -> None:
    """A machine that is twice as slow in the second round, and three times in the third, makes no difference."""
    legs = {
        "none": [cost_leg(count, batch_s=0.01) for count in (120, 60, 40)],
        "one": [cost_leg(count, batch_s=0.02) for count in (60, 30, 20)],
    }

    ratios = cost.Cost(legs=legs).ratios()

    assert ratios["none"]["batches/s"] == 1.0
    assert ratios["one"]["batches/s"] == 0.5
    assert ratios["one"]["p50 ms"] == ratios["one"]["writer us"] == 2.0
    assert "walsenders us" not in ratios["one"]  # there is none without followers


def test_too_many_subscribers_are_refused_before_anything_is_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["followers", "--subscribers", "100000000"]) == EXIT_CANNOT_RUN

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "perf followers: 100,000,000 subscribers need" in printed.err
    assert "fewer of them (--subscribers)" in printed.err


@pytest.mark.parametrize(
    ("descriptors", "available_bytes", "expected"),
    [
        (4_100, 1_600_000_000, None),
        (resource.RLIM_INFINITY, 1_600_000_000, None),
        (4_099, 1_600_000_000, room.TooFewDescriptors),
        (4_100, 1_599_999_999, room.TooLittleMemory),
    ],
)
def test_what_four_thousand_subscribers_need(
    descriptors: int,
    available_bytes: int,
    expected: type[Exception] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1_024, descriptors))
    monkeypatch.setattr(room, "available_bytes", lambda: available_bytes)
    if expected is None:
        expect_room(4_000)
        return
    with pytest.raises(expected, match=r"4,000 subscribers need .* fewer of them"):
        expect_room(4_000)


def test_a_master_is_not_late() -> None:
    with (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"\x08\x01") as credentials,
        Asker(credentials) as asker,
    ):
        assert known(asker.ask()) == (200, None)


def test_a_follower_that_is_late_refuses() -> None:
    answer = (
        b"HTTP/1.1 503 Service Unavailable\r\nX-Bbs-Staleness-Ms: 11000\r\nContent-Length: 5\r\n\r\nlate\n"
    )
    with answering(answer) as credentials, Asker(credentials) as asker:
        (told,) = ask_all([asker], "1:0/1")
        assert not told.is_good
        assert known(told) == (503, 11_000)

        with pytest.raises((AskFailed, ConnectionError)):
            asker.ask()


def known(told: Told) -> tuple[int, int | None]:
    return told.status, told.staleness_ms


@contextmanager
def answering(*pieces: bytes) -> Iterator[Credentials]:
    """A server that gives one answer, in these pieces, and closes."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            for piece in pieces:
                connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=answer)
        thread.start()
        yield Credentials(url=f"http://127.0.0.1:{listener.getsockname()[1]}", ca=None, cert=None, key=None)
        thread.join()
