"""The URL that a server tells others of itself."""

import pytest

from bbs.ports.advertised import advertised_url, is_url


@pytest.mark.parametrize(
    ("listens_at", "tls", "url"),
    [
        ("10.0.16.5:8889", True, "https://10.0.16.5:8889"),
        ("10.0.16.5:8889", False, "http://10.0.16.5:8889"),
        ("bbs.service.cf.internal:8889", True, "https://bbs.service.cf.internal:8889"),
        ("[::1]:8889", True, "https://[::1]:8889"),
        # It is found where it would itself connect from.
        ("0.0.0.0:8889", True, "https://127.0.0.1:8889"),
        (":8889", True, "https://127.0.0.1:8889"),
        # The kernel is going to choose a port.
        ("10.0.16.5:0", True, ""),
        ("no port", True, ""),
        ("10.0.16.5:no-such-service", True, ""),
    ],
)
async def test_where_a_server_is_found(listens_at: str, tls: bool, url: str) -> None:
    assert await advertised_url(listens_at, tls=tls, seen_by="127.0.0.1:8891") == url


async def test_nobody_knows_the_way_to_an_address_that_is_none() -> None:
    assert await advertised_url("0.0.0.0:8889", tls=True, seen_by="not an address") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://bbs.service.cf.internal:8889", True),
        ("http://10.0.16.5:8889", True),
        ("", False),
        ("bbs.service.cf.internal:8889", False),
        ("https://bbs\0", False),
        ("https://bbs\r\nX: y", False),
        ("https://" + "b" * 5000, False),
    ],
)
def test_what_others_could_be_told(text: str, expected: bool) -> None:
    assert is_url(text) is expected
