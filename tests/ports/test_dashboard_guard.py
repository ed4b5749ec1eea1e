"""Who is let in to the dashboard, case by case; `test_dashboard_port.py` asks over sockets."""

from http import HTTPStatus

import pytest

from bbs.http.endpoints import Peer, Refusal
from bbs.http.page_guard import Asked
from bbs.ports.dashboard_guard import guard, host_of, is_guarded
from bbs.ports.loopback import is_loopback

HERE = "127.0.0.1:40000"
ELSEWHERE = "10.1.2.3:40000"


class Shown:
    """The TLS of a connection whose client has shown ``certificate``, or none."""

    def __init__(self, certificate: bytes | None) -> None:
        self._certificate = certificate

    def getpeercert(self, binary_form: bool) -> bytes | None:
        return self._certificate


PLAIN_HERE = Peer(HERE)
WITH_CERTIFICATE = Peer(ELSEWHERE, Shown(b"der"))
HOST = ("host", "127.0.0.1:17017")
FROM_ELSEWHERE = ("sec-fetch-site", "cross-site")
LINK = ("sec-fetch-mode", "navigate")


def asked(
    *headers: tuple[str, str], peer: Peer = PLAIN_HERE, method: str = "GET", path: str = "/dashboard/"
) -> Asked:
    return Asked(method=method, path=path, headers=headers, peer=peer)


@pytest.mark.parametrize(
    "let_in",
    [
        asked(HOST),
        asked(HOST, method="HEAD"),
        asked(HOST, path="/dashboard"),
        asked(("host", "127.0.0.1")),
        asked(("host", "127.8.9.1:1")),
        asked(("host", "LocalHost:8080")),
        asked(("host", "[::1]:17017"), peer=Peer("[::1]:40000")),
        asked(("host", "[::1]")),
        asked(("host", "[::ffff:127.0.0.1]:17017"), peer=Peer("[::ffff:127.0.0.1]:4")),
        asked(HOST, peer=Peer("127.255.0.9:1")),
        asked(("host", "bbs.example:17017"), peer=WITH_CERTIFICATE),
        asked(("host", "bbs.example:17017"), peer=Peer(HERE, Shown(b"der"))),
        asked(("host", "bbs.example"), ("x-forwarded-for", "1.2.3.4"), peer=WITH_CERTIFICATE),
        # What browsers say: an address typed in, a page's own script, a link on another page.
        asked(HOST, ("sec-fetch-site", "none"), LINK, ("sec-fetch-dest", "document")),
        asked(HOST, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")),
        asked(HOST, FROM_ELSEWHERE, LINK, ("sec-fetch-dest", "document")),
        asked(HOST, FROM_ELSEWHERE, LINK),
        asked(HOST, ("origin", "http://127.0.0.1:17017")),
        asked(("host", "Bbs.Example"), ("origin", "https://bbs.example"), peer=WITH_CERTIFICATE),
        # What is not the dashboard's has no guard.
        asked(("host", "evil.example"), peer=Peer(ELSEWHERE), method="POST", path="/log-level"),
        asked(("host", "evil.example"), peer=Peer(ELSEWHERE), path="/dashboards"),
        asked(FROM_ELSEWHERE, path="/metrics"),
        asked(path="/"),
    ],
)  # fmt: skip
def test_let_in(let_in: Asked) -> None:
    guard(let_in)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (asked(HOST, peer=Peer(ELSEWHERE)), "plain connection from 10.1.2.3"),
        (asked(HOST, peer=Peer("[fe80::1%eth0]:1")), "plain connection from fe80::1%eth0"),
        (asked(HOST, peer=Peer("[::ffff:10.1.2.3]:1")), "plain connection from"),
        (asked(HOST, peer=Peer("0.0.0.0:1")), "plain connection from"),
        (asked(HOST, peer=Peer("[::]:1")), "plain connection from"),
        (asked(HOST, peer=Peer("")), "plain connection from"),
        (asked(HOST, peer=Peer("this process")), "plain connection from"),
        (asked(HOST, peer=Peer(ELSEWHERE), path="/dashboard/api/cells"), "ssh -L"),
        (asked(HOST, peer=Peer(ELSEWHERE), method="POST"), "plain connection from"),
        (asked(HOST, peer=Peer(HERE, Shown(None))), "no client certificate"),
        (asked(HOST, peer=Peer(ELSEWHERE, Shown(None))), "no client certificate"),
        # A name that somebody has pointed at 127.0.0.1.
        (asked(("host", "evil.example:17017")), "asked for as evil.example:17017"),
        (asked(("host", "127.0.0.1.evil.example")), "asked for as"),
        (asked(("host", "localhost.evil.example")), "asked for as"),
        (asked(("host", "localhost@evil.example")), "asked for as"),
        (asked(("host", "[::1].evil.example")), "asked for as"),
        (asked(("host", "10.1.2.3:17017")), "asked for as"),
        (asked(("host", "0.0.0.0:17017")), "asked for as"),
        (asked(("host", "")), "asked for as no host"),
        (asked(), "asked for as no host"),
        (asked(HOST, ("host", "evil.example")), "asked for as 127.0.0.1:17017, evil.example"),
        *(
            (asked(HOST, (name, "1.2.3.4")), "a proxy has forwarded")
            for name in ("x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host")
        ),
        (asked(HOST, FROM_ELSEWHERE), "a page of another site"),
        (asked(HOST, FROM_ELSEWHERE, ("sec-fetch-mode", "no-cors")), "a page of another site"),
        (asked(HOST, FROM_ELSEWHERE, LINK, ("sec-fetch-dest", "iframe")), "a page of another site"),
        (asked(HOST, ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")), "a page of another site"),
        (asked(HOST, ("sec-fetch-site", "same-origin"), FROM_ELSEWHERE), "a page of another site"),
        (asked(("host", "b"), FROM_ELSEWHERE, peer=WITH_CERTIFICATE), "a page of another site"),
        (asked(HOST, ("origin", "http://evil.example")), "a page of http://evil.example"),
        (asked(HOST, ("origin", "http://127.0.0.1:3000")), "a page of http://127.0.0.1:3000"),
        (asked(HOST, ("origin", "https://127.0.0.1:17017")), "a page of https://127.0.0.1:17017"),
        (asked(HOST, ("origin", "null")), "a page of null"),
        (asked(("host", "b"), ("origin", "http://b"), peer=WITH_CERTIFICATE), "a page of http://b"),
    ],
)  # fmt: skip
def test_refused_with_what_was_wrong(refused: Asked, reason: str) -> None:
    with pytest.raises(Refusal) as caught:
        guard(refused)

    assert caught.value.status is HTTPStatus.FORBIDDEN
    assert reason in caught.value.text
    assert "ssh -L" in caught.value.text


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"]
)
def test_whoever_wants_to_change_something_is_told_how_to_look(method: str) -> None:
    with pytest.raises(Refusal) as caught:
        guard(asked(HOST, method=method))

    assert caught.value.status is HTTPStatus.METHOD_NOT_ALLOWED
    assert caught.value.headers == (("Allow", "GET, HEAD"),)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/dashboard", True),
        ("/dashboard/", True),
        ("/dashboard/a/b", True),
        ("/dashboardx", False),
        ("/", False),
    ],
)
def test_what_is_guarded(path: str, expected: bool) -> None:
    assert is_guarded(path) is expected


@pytest.mark.parametrize(
    ("authority", "host", "loopback"),
    [
        ("127.0.0.1:17017", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]:17017", "::1", True),
        ("[::FFFF:127.0.0.1]", "::ffff:127.0.0.1", True),
        ("::1", "", False),
        ("LOCALHOST", "localhost", False),
        ("128.0.0.1", "128.0.0.1", False),
        ("[fe80::1]:1", "fe80::1", False),
        ("2130706433", "2130706433", False),
        ("127.1", "127.1", False),
        ("", "", False),
    ],
)
def test_hosts(authority: str, host: str, loopback: bool) -> None:
    assert (host_of(authority), is_loopback(host)) == (host, loopback)
