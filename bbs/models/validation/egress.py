"""Where a container may connect to (spec: validation.md §4.3)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from bbs.models import pb
from bbs.models.validation.fields import invalid

INVALID_IP: Final = "invalid IP"

BROKEN_MAX: Final = 1_000
"""Broken destinations of one rule that are named; a rule can have millions."""

REMEMBERED_BYTES_MAX: Final = 1024
REMEMBERED_RULES_MAX: Final = 4096
"""All apps of a space have the same rules, hundreds of them sometimes: what was found out about the last ones of a usual size
is remembered, in 8 MB at most."""

DECIMAL: Final = re.compile("[0-9]+")


def egress_rules(rules: Iterable[pb.SecurityGroupRule]) -> list[str]:
    found = []
    for rule in rules:
        if broken := security_group_rule(rule):
            found += [invalid("egress_rules"), *broken]
    return found


def security_group_rule(rule: pb.SecurityGroupRule) -> list[str]:
    if rule.ByteSize() > REMEMBERED_BYTES_MAX:
        return _broken(rule)
    return list(_remembered(rule.SerializeToString()))


@lru_cache(maxsize=REMEMBERED_RULES_MAX)
def _remembered(rule: bytes) -> tuple[str, ...]:
    return tuple(_broken(pb.SecurityGroupRule.FromString(rule)))


def _broken(rule: pb.SecurityGroupRule) -> list[str]:
    found = _protocol(rule)
    if broken := _destinations(rule.destinations):
        found.append(invalid(f"destinations [ {', '.join(broken)} ]"))
    return found


def _protocol(rule: pb.SecurityGroupRule) -> list[str]:
    has_icmp_info = rule.HasField("icmp_info")
    match rule.protocol:
        case "tcp" | "udp":
            return _ports(rule) + ([invalid("icmp_info")] if has_icmp_info else [])
        case "icmp":
            return _no_ports(rule) + ([] if has_icmp_info else [invalid("icmp_info")])
        case "icmpv6":
            return _no_ports(rule) + ([] if has_icmp_info else [invalid("icmpv6_info")])
        case "all":
            return _no_ports(rule) + ([invalid("icmp_info")] if has_icmp_info else [])
        case _:
            return [invalid("protocol")]


def _no_ports(rule: pb.SecurityGroupRule) -> list[str]:
    found = []
    if rule.HasField("port_range"):
        found.append(invalid("port_range"))
    if rule.ports:
        found.append(invalid("ports"))
    return found


def _ports(rule: pb.SecurityGroupRule) -> list[str]:
    if not rule.HasField("port_range"):
        if not rule.ports:
            return ["missing required field: ports or port_range"]
        return [invalid("ports") for port in rule.ports if port == 0]
    if rule.ports:
        return ["invalid: ports and port_range provided"]
    start, end = rule.port_range.start, rule.port_range.end
    return [invalid("port_range") for is_broken in (start < 1, end < 1, start > end) if is_broken]


def _destinations(destinations: Sequence[str]) -> list[str]:
    """Of many that are broken, the first `BROKEN_MAX` are named."""
    if not destinations:
        return ["must have at least 1 destination"]
    parts = chain.from_iterable(map(_parts, destinations))
    return list(islice(chain.from_iterable(map(_destination, parts)), BROKEN_MAX))


def _parts(destination: str) -> Iterator[str]:
    """What is between commas, one by one: there may be millions."""
    begin = 0
    while (end := destination.find(",", begin)) >= 0:
        yield destination[begin:end]
        begin = end + 1
    yield destination[begin:]


def _destination(part: str) -> list[str]:
    # The first of the two characters says what it is meant to be, as upstream: an address can have neither.
    separator = next((character for character in part if character in "-/"), "")
    if separator == "/":
        return [] if is_cidr(part) else [f"invalid CIDR address: {part}"]
    if separator == "-":
        first, _, last = part.partition("-")
        return _range(first, last)
    return [] if ip_address(part) else [INVALID_IP]


def _range(first: str, last: str) -> list[str]:
    """What is wrong with ``first-last``. Upstream compares byte by byte from the left. It stops at the first byte that is
    smaller, but not at one that is larger: a range of two swapped addresses may be called invalid up to sixteen times.
    """
    lower, upper = ip_address(first), ip_address(last)
    if lower is None or upper is None:
        return [INVALID_IP]
    found = []
    for low, high in zip(_sixteen_bytes(lower), _sixteen_bytes(upper), strict=True):
        if low < high:
            break
        if low > high:
            found.append(INVALID_IP)
    return found


def ip_address(text: str) -> bytes | None:
    """The 4 or 16 bytes of an address, ``None`` if it is none.

    The C library reads addresses as Go does (no zones, no leading zeros, no blanks), which Python's `ipaddress` does not.
    """
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        return None


def is_cidr(text: str) -> bool:
    """Whether ``text`` is ``address/prefix``. The prefix may have leading zeros, and bits behind it may be set."""
    address_text, _, prefix = text.partition("/")
    address = ip_address(address_text)
    return (
        address is not None
        and DECIMAL.fullmatch(prefix) is not None
        and _is_at_most(prefix, 8 * len(address))
    )


def _is_at_most(digits: str, limit: int) -> bool:
    significant = digits.lstrip("0") or "0"
    return len(significant) <= len(str(limit)) and int(significant) <= limit


def _sixteen_bytes(address: bytes) -> bytes:
    # As Go compares: an IPv4 address stands among the IPv6 ones in its mapped form.
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address
