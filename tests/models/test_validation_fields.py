"""Strings that are more than strings: rootfs URLs, destinations, guids, and how long things may be."""

import pytest

from bbs.models import pb
from bbs.models.validation import violations
from bbs.models.validation.egress import security_group_rule
from bbs.models.validation.fields import exceeds, is_guid
from bbs.models.validation.rootfs import is_rootfs


@pytest.mark.parametrize(
    "text",
    [
        "docker:///x",
        "DOCKER:///x",
        "preloaded:cflinuxfs4",
        "preloaded+layer:cf?layer=http://x/y&layer_path=/a",
        "a-b:foo",
        "docker:",
        "docker:a b",
        "docker:%zz",
        "docker:///a b",
        "docker:///x?%zz",
        "docker:///x#a b",
        "docker:///x#a%20b#c",
        "docker://host:80/x",
        "docker://host:/x",
        "docker://host:80:/x:a",
        "docker://host",
        "docker://user@host/x",
        "docker://u:p%20@host@x/y",
        "docker://[::1]/x",
        "docker://[::1]:80/x",
        "docker://hôst/x",
        "docker:///é",
        "docker:/x",
    ],
)
def test_a_rootfs(text: str) -> None:
    assert is_rootfs(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        ":foo",
        "1abc:foo",
        "/etc:foo",
        "a/b:c",
        "é:foo",
        "docker:///%zz",
        "docker:/%z",
        "docker:///x#%zz",
        "docker:///x#%2",
        "docker:///a\n",
        "docker:///a\x7f",
        "docker://host:abc/x",
        "docker://[::1/x",
        "docker://[::1]a/x",
        "docker://ho st/x",
        "docker://us er@host/x",
        "docker:x\x00",
    ],
)
def test_not_a_rootfs(text: str) -> None:
    assert not is_rootfs(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("a", True), ("A_z-09", True), ("a" * 1000, True), ("", False), ("a\n", False), ("a b", False), ("é", False), ("a.b", False)],
)  # fmt: skip
def test_guids(text: str, is_one: bool) -> None:
    assert is_guid(text) is is_one


@pytest.mark.parametrize(
    ("text", "is_too_long"),
    [
        ("x" * 8, False),
        ("x" * 9, True),
        ("é" * 4, False),
        ("é" * 4 + "x", True),
        ("\U0001f600" * 2, False),
        ("€€€", True),
    ],
)
def test_lengths_are_bytes(text: str, is_too_long: bool) -> None:
    assert exceeds(text, 8) is is_too_long


def egress(*destinations: str) -> list[str]:
    return security_group_rule(pb.SecurityGroupRule(protocol="tcp", ports=[1], destinations=destinations))


@pytest.mark.parametrize(
    "destination",
    [
        "1.2.3.4",
        "::1",
        "::ffff:1.2.3.4",
        "2001:db8::",
        "1.1.1.1/032",
        "1.1.1.1/0",
        "10.1.2.3/8",
        "::1/128",
        "10.0.0.1-10.0.0.1",
        "10.0.0.9-10.0.1.1",
        "::1-::2",
        "1.1.1.1-::ffff:1.1.1.2",
        "1.1.1.1,2.2.2.0/24,3.3.3.3-3.3.3.4",
    ],
)
def test_a_destination(destination: str) -> None:
    assert egress(destination) == []


@pytest.mark.parametrize(
    ("destinations", "text"),
    [
        ([], "must have at least 1 destination"),
        ([""], "invalid IP"),
        (["10.0.0.9-10.0.0.1"], "invalid IP"),
        (["10.0.0.5-9.0.0.1"], "invalid IP, invalid IP"),
        (["1.1.1.1-::1"], ", ".join(["invalid IP"] * 5)),
        (["10.5.5.5-9.6.4.4"], "invalid IP"),
        (["1.1.1.1/8-9"], "invalid CIDR address: 1.1.1.1/8-9"),
        (["1.1.1.1, 2.2.2.2"], "invalid IP"),
        (["0.0.0.0/0,x,y/z"], "invalid IP, invalid CIDR address: y/z"),
        (["1.1.1.1", "x"], "invalid IP"),
        (["1.1.1.1-2.2.2.2-3.3.3.3"], "invalid IP"),
        (["1.1.1.1-"], "invalid IP"),
        (["01.1.1.1"], "invalid IP"),
        (["1.1.1"], "invalid IP"),
        (["fe80::1%eth0"], "invalid IP"),
        (["fe80::1%eth0/64"], "invalid CIDR address: fe80::1%eth0/64"),
        (["1.1.1.1/33"], "invalid CIDR address: 1.1.1.1/33"),
        (["::1/129"], "invalid CIDR address: ::1/129"),
        (["1.1.1.1/"], "invalid CIDR address: 1.1.1.1/"),
        (["1.1.1.1/+8"], "invalid CIDR address: 1.1.1.1/+8"),
        (["1.1.1.1/8/8"], "invalid CIDR address: 1.1.1.1/8/8"),
        (["1.1.1.1/" + "9" * 5000], "invalid CIDR address: 1.1.1.1/" + "9" * 5000),
    ],
)  # fmt: skip
def test_broken_destinations(destinations: list[str], text: str) -> None:
    assert egress(*destinations) == [f"Invalid field: destinations [ {text} ]"]


RANGE = pb.PortRange(start=1, end=2)
ICMP = pb.ICMPInfo(type=1)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (pb.SecurityGroupRule(ports=[1, 65536]), []),
        (pb.SecurityGroupRule(port_range=RANGE), []),
        (pb.SecurityGroupRule(), ["missing required field: ports or port_range"]),
        (pb.SecurityGroupRule(ports=[1], port_range=RANGE), ["invalid: ports and port_range provided"]),
        (pb.SecurityGroupRule(port_range=pb.PortRange()), ["Invalid field: port_range"] * 2),
        (pb.SecurityGroupRule(port_range=pb.PortRange(start=3, end=2)), ["Invalid field: port_range"]),
        (pb.SecurityGroupRule(port_range=pb.PortRange(start=3)), ["Invalid field: port_range"] * 2),
        (pb.SecurityGroupRule(ports=[0, 1, 0]), ["Invalid field: ports"] * 2),
        (
            pb.SecurityGroupRule(icmp_info=ICMP),
            ["missing required field: ports or port_range", "Invalid field: icmp_info"],
        ),
    ],
)
def test_rules_with_ports(protocol: str, rule: pb.SecurityGroupRule, expected: list[str]) -> None:
    assert security_group_rule(with_protocol(rule, protocol)) == expected


@pytest.mark.parametrize(
    ("protocol", "without_icmp_info", "with_icmp_info"),
    [
        ("icmp", ["Invalid field: icmp_info"], []),
        ("icmpv6", ["Invalid field: icmpv6_info"], []),
        ("all", [], ["Invalid field: icmp_info"]),
    ],
)
def test_rules_without_ports(protocol: str, without_icmp_info: list[str], with_icmp_info: list[str]) -> None:
    with_ports = pb.SecurityGroupRule(ports=[1], port_range=RANGE)
    ports = ["Invalid field: port_range", "Invalid field: ports"]

    assert security_group_rule(with_protocol(pb.SecurityGroupRule(), protocol)) == without_icmp_info
    assert (
        security_group_rule(with_protocol(pb.SecurityGroupRule(icmp_info=ICMP), protocol)) == with_icmp_info
    )
    assert security_group_rule(with_protocol(with_ports, protocol)) == ports + without_icmp_info


@pytest.mark.parametrize("protocol", ["", "TCP", "sctp"])
def test_other_protocols(protocol: str) -> None:
    assert security_group_rule(with_protocol(pb.SecurityGroupRule(ports=[1]), protocol)) == [
        "Invalid field: protocol"
    ]


def with_protocol(rule: pb.SecurityGroupRule, protocol: str) -> pb.SecurityGroupRule:
    changed = pb.SecurityGroupRule(protocol=protocol, destinations=["1.1.1.1"])
    changed.MergeFrom(rule)
    return changed


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        (pb.DesiredLRPUpdate(annotation="x" * 10_240), []),
        (pb.DesiredLRPUpdate(annotation="x" * 10_239 + "é"), ["Invalid field: annotation"]),
        (pb.DesiredLRPUpdate(routes=pb.ProtoRoutes(routes={"a": b"x" * 65_536, "b": b"x" * 65_536})), []),
        (pb.DesiredLRPUpdate(routes=pb.ProtoRoutes(routes={"a": b"x" * 65_536, "b": b"x" * 65_537})),
         ["Invalid field: routes"]),
    ],
    ids=["annotation fits", "annotation too long", "routes fit", "routes too long"],
)  # fmt: skip
def test_limits_of_an_update(update: pb.DesiredLRPUpdate, expected: list[str]) -> None:
    assert violations(update) == expected
