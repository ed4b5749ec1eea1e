"""Who may see the dashboard. The debug port has no accounts, so this is decided from the connection and the request's headers.

Somebody at this machine may (a plain connection from loopback, which includes the end of an SSH tunnel), and whoever shows a
client certificate that the server's CA has signed, over TLS. The debug port's other pages are as open as upstream's; the
dashboard shows more than they do, and it is for browsers, which other people's web pages can make ask. So a request that a page
from elsewhere has caused is refused, even if its connection would do, unless it is somebody following a link.
"""

import re
from http import HTTPStatus
from typing import Final

from bbs.http.endpoints import Refusal
from bbs.http.page_guard import Asked
from bbs.ports.loopback import is_here, is_loopback

TOP: Final = "/dashboard"

METHODS: Final = ("GET", "HEAD")

HEADERS: Final = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
"""Of every answer below `TOP`, refusals too."""

CACHING: Final = ("Cache-Control", "no-store")
"""Of those that say nothing else of it."""

FORWARDED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""What reverse proxies add. Behind one on this machine everybody comes from loopback."""

_AUTHORITY: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::[0-9]*)?")

OTHER_WAYS: Final = (
    "Come from the machine itself, by SSH from elsewhere: ssh -L 17017:127.0.0.1:PORT THIS-MACHINE, PORT being that of the debug"
    " address, then http://127.0.0.1:17017/dashboard/. Or, if the server has certificates, ask over https with a client"
    " certificate that its CA has signed."
)


def is_guarded(path: str) -> bool:
    return path == TOP or path.startswith(f"{TOP}/")


def guard(asked: Asked) -> None:
    """Let ``asked`` pass, also if it is about something else than the dashboard.

    Raises:
      Refusal: the dashboard is not for whoever asks, or not in this way. The text says what to do.
    """
    if not is_guarded(asked.path):
        return
    _check_peer(asked)
    _check_browser(asked)
    if asked.method not in METHODS:
        raise Refusal(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "the dashboard is to be looked at only, with GET or HEAD",
            ("Allow", ", ".join(METHODS)),
        )


def host_of(authority: str) -> str:
    """The host of ``host:port`` or of ``host`` alone, without brackets and in small letters; '' if it is neither."""
    found = _AUTHORITY.fullmatch(authority)
    return "" if found is None else (found["v6"] or found["host"] or "").lower()


def _check_peer(asked: Asked) -> None:
    if asked.peer.certificate_der is not None:
        return
    if asked.peer.is_tls:
        raise _forbidden("this connection shows no client certificate")
    host = host_of(asked.peer.remote_addr)
    if not is_loopback(host):
        raise _forbidden(f"this is a plain connection from {host}, which is not this machine's loopback")
    if any(asked.header(name) for name in FORWARDED):
        raise _forbidden(
            "a proxy has forwarded this request, so it may come from anywhere. Do not put a proxy before the debug port"
        )
    names = asked.header("host")
    if len(names) != 1 or not is_here(host_of(names[0])):
        # A name that its owner has pointed at 127.0.0.1 makes his page and this server one origin for a browser.
        raise _forbidden(
            f"it was asked for as {', '.join(names) or 'no host':.200}. On this machine it is at http://127.0.0.1:PORT/dashboard/"
            " or http://localhost:PORT/dashboard/ only"
        )


def _check_browser(asked: Asked) -> None:
    """Refuse what a page of another origin has caused. Programs other than browsers send none of these headers."""
    scheme = "https" if asked.peer.is_tls else "http"
    own = {f"{scheme}://{host}".lower() for host in asked.header("host")}
    foreign = [origin for origin in asked.header("origin") if origin.lower() not in own]
    caused_elsewhere = any(site not in ("same-origin", "none") for site in asked.header("sec-fetch-site"))
    if foreign or (caused_elsewhere and not _follows_a_link(asked)):
        raise _forbidden(
            f"a page of {foreign[0] if foreign else 'another site':.200} has asked for this. Open the dashboard itself"
        )


def _follows_a_link(asked: Asked) -> bool:
    return asked.header("sec-fetch-mode") == ("navigate",) and asked.header("sec-fetch-dest") in (
        (),
        ("document",),
    )


def _forbidden(what: str) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, f"The dashboard is not shown here: {what}.\n{OTHER_WAYS}")
