"""Routes of an app as a person reads them."""

import pytest

from bbs.console.lrp_routes import readable
from bbs.models import pb


def routed(**routes: bytes) -> pb.DesiredLRP:
    lrp = pb.DesiredLRP()
    for router, value in routes.items():
        lrp.routes.routes[router.replace("_", "-")] = value
    return lrp


@pytest.mark.parametrize(
    ("router", "value", "lines"),
    [
        (
            "cf-router",
            b'[{"hostnames":["a.example","b.example"],"port":8080},{"hostnames":["c"],"port":1}]',
            ["http a.example, b.example to port 8080", "http c to port 1"],
        ),
        ("tcp-router", b'[{"external_port":1024,"container_port":80}]', ["tcp 1024 to port 80"]),
        ("internal-router", b'[{"hostname":"a.internal"}]', ["internal a.internal"]),
        ("diego-ssh", b'{"container_port":2222,"private_key":"SECRET"}', ["ssh to port 2222"]),
        ("cf-router", b"null", []),
        ("cf-router", b"[]", []),
        ("another", b'{"token":"SECRET"}', ["another (18 bytes)"]),
        ("cf-router", b'["SECRET"]', ["cf-router (10 bytes that are no routes of this router)"]),
        ("cf-router", b'[{"port":1}]', ["cf-router (12 bytes that are no routes of this router)"]),
        ("tcp-router", b"SECRET", ["tcp-router (6 bytes that are no routes of this router)"]),
        ("diego-ssh", b"[" * 100_000, ["diego-ssh (100000 bytes that are no routes of this router)"]),
    ],
)
def test_routes(router: str, value: bytes, lines: list[str]) -> None:
    assert readable(routed(**{router: value})) == lines


def test_routes_are_in_order_of_their_routers() -> None:
    lrp = routed(tcp_router=b'[{"external_port":1,"container_port":2}]', diego_ssh=b'{"container_port":3}')
    assert readable(lrp) == ["ssh to port 3", "tcp 1 to port 2"]
