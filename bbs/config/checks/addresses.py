"""The addresses of a configuration: where we listen, and whom we call."""

from collections.abc import Iterator
from itertools import combinations

import httpx

from bbs.config.checks.files import loggregator_files
from bbs.config.checks.problem import (
    AUCTIONEER,
    EXIT_FAILED,
    HEALTH_ADDRESS,
    LOCKET,
    MEMBERS,
    METRICS,
    Problem,
)
from bbs.config.upstream import UpstreamConfig
from bbs.ports.listen import AddressInvalid, PortUnknown, overlap, split_address

LOCKET_EXAMPLE = "locket.service.cf.internal:8891"


def loggregator_address(config: UpstreamConfig) -> Iterator[Problem]:
    """Upstream starts with an address that is none, and its metrics are lost without a word."""
    given = config.loggregator
    if loggregator_files(config) is None:
        return  # nothing is sent anywhere
    host, port = given.loggregator_api_host, given.loggregator_api_port
    wrong = []
    if not 0 <= port <= 0xFFFF:
        wrong.append(("loggregator.loggregator_api_port", f"{port} is not a port", "give 1 to 65535: 3458"))
    if not _is_host(host):
        wrong.append(
            ("loggregator.loggregator_api_host", f"{host!r} is not a host", "give a name or an IP address")
        )
    for key, error, advice in wrong:
        yield Problem(
            step=METRICS,
            action="failed-to-initialize-metron-client",
            error=error,
            key=key,
            advice=advice,
            exit_code=EXIT_FAILED,
        )


def _is_host(host: str) -> bool:
    """Whether it might be one; '' stands for the default."""
    try:
        split_address(f"[{host}]:1")
    except (AddressInvalid, PortUnknown):
        return False
    return "/" not in host


def health_address(config: UpstreamConfig) -> Iterator[Problem]:
    try:
        split_address(config.health_address)
    except (AddressInvalid, PortUnknown) as error:
        invalid = isinstance(error, AddressInvalid)
        yield Problem(
            step=HEALTH_ADDRESS,
            action="failed-invalid-health-address" if invalid else "failed-invalid-health-port",
            error=str(error),
            key="health_address",
            advice="give host:port, for example 127.0.0.1:8890",
        )


def auctioneer_address(config: UpstreamConfig) -> Iterator[Problem]:
    address = config.auctioneer_address
    error, advice = "", ""
    if not address:
        error = "auctioneerAddress is required"
        advice = "give its URL, for example https://auctioneer.service.cf.internal:9016"
    elif what := url_error(address):
        error, advice = what, "give a URL that begins with https:// and ends with the host, or its port"
    if error:
        yield Problem(
            step=AUCTIONEER,
            action="auctioneer-address-validation-failed",
            error=error,
            key="auctioneer_address",
            advice=advice,
        )


def url_error(address: str) -> str:
    """Why ``address`` is no base URL of a peer, or ''. The text leaves the address out: it may hold a password."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError) as error:
        # What is odd about an international name comes as a ValueError. The texts name a part, or a character.
        return "not a URL" if "@" in address else f"not a URL: {error}"
    if url.scheme not in ("http", "https"):
        return "not an http or https URL"
    if not url.host or "%" in url.host.partition("%25")[0]:
        return "a URL without the name of a host"
    if url.port is not None and not 0 < url.port <= 0xFFFF:
        return f"a URL with port {url.port}, which is none"
    if url.query or url.fragment:
        return "a URL with a query or a fragment, to which no path can be added"
    return ""


def locket_address(config: UpstreamConfig) -> Iterator[Problem]:
    if not config.locket_address:
        yield Problem(
            step=LOCKET,
            action="invalid-locket-config",
            error="",
            key="locket_address",
            advice=f"give host:port, for example {LOCKET_EXAMPLE}",
        )
        return
    try:
        locket_target(config.locket_address)
    except (AddressInvalid, PortUnknown) as error:
        yield Problem(
            step=LOCKET,
            action="failed-to-create-locket-client",
            error=str(error),
            key="locket_address",
            advice=f"give host:port, for example {LOCKET_EXAMPLE}",
        )


def locket_target(address: str) -> str:
    """What gRPC is to be told: a port by its number, and this machine by its name.

    Raises:
      AddressInvalid, PortUnknown: neither ``host:port`` nor that after ``dns:///``.
    """
    scheme = "dns:///" if address.startswith("dns:///") else "dns:" if address.startswith("dns:") else ""
    host, port = split_address(address.removeprefix(scheme))
    if not port:
        raise PortUnknown(f"address {address}: missing port in address")
    return f"{scheme}[{host}]:{port}" if ":" in host else f"{scheme}{host or 'localhost'}:{port}"


def members_addresses(config: UpstreamConfig) -> Iterator[Problem]:
    """Those that are bound after the lock is asked for, or as it is; and any two that are the same."""
    bound: list[tuple[str, tuple[str, int]]] = []
    for key, address in (
        ("debug_address", config.debug_address),
        ("health_address", config.health_address),
        ("listen_address", config.listen_address),
    ):
        if not address:
            continue  # no debug server; any free port
        try:
            bound.append((key, split_address(address)))
        except (AddressInvalid, PortUnknown) as error:
            if key != "health_address":  # told at its own step
                what = f"listen tcp: {error}"
                yield _not_listening(key, what, "give host:port, for example 0.0.0.0:8889")
    for (first, taken), (second, wanted) in combinations(bound, 2):
        if overlap(taken, wanted):
            what = f"listen tcp {getattr(config, second)}: bind: address already in use"
            yield _not_listening(second, what, f"give another port: {first} has this one")


def _not_listening(key: str, error: str, advice: str) -> Problem:
    return Problem(
        step=MEMBERS,
        action="exited-with-failure",
        error=error,
        key=key,
        advice=advice,
        exit_code=EXIT_FAILED,
    )
