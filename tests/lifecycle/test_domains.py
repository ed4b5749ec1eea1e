"""Domains and their freshness (spec: domains.md; examples.md K; K6 is validation)."""

import pytest

from bbs.lifecycle.domains import is_expired, is_fresh, upsert
from bbs.models.domain import NEVER_NS, Domain
from bbs.models.errors import InvalidRequest
from bbs.models.outcome import Outcome, put


def seconds(text: str) -> int:
    whole, fraction = text.split(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0"))


@pytest.mark.parametrize(
    ("now", "ttl_s", "expires_ns"),
    [
        pytest.param("100.0", 0, NEVER_NS, id="K1"),
        pytest.param("100.0", 5, seconds("105.0"), id="K2"),
        pytest.param("100.123456789", 5, seconds("105.123456789"), id="exact"),
        pytest.param("100.0", 1, seconds("101.0"), id="K7"),
        pytest.param("100.0", 2**32 - 1, seconds("4294967395.0"), id="longest"),
    ],
)
def test_an_upsert_sets_the_expiry_and_tells_nobody(now: str, ttl_s: int, expires_ns: int) -> None:
    outcome = upsert("d", ttl_s=ttl_s, now_ns=seconds(now))

    assert outcome == Outcome(rows=(put(Domain(name="d", expire_time_ns=expires_ns)),))


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="the request received is invalid"):
        upsert("d" * 256, ttl_s=0, now_ns=0)


@pytest.mark.parametrize(
    ("expires", "now", "expected"),
    [
        pytest.param("10.2", "10.4", True, id="K3"),
        pytest.param("10.9", "10.6", False, id="K4"),
        pytest.param("11.0", "10.5", False, id="K5"),
        pytest.param("11.0", "10.499999999", True, id="just-below-half"),
        pytest.param("10.000000001", "10.0", True, id="strictly-later"),
        pytest.param("10.0", "10.0", False, id="not-later"),
    ],
)
def test_freshness_looks_at_the_nearest_second(expires: str, now: str, expected: bool) -> None:
    assert is_fresh(Domain(name="d", expire_time_ns=seconds(expires)), now_ns=seconds(now)) is expected


def test_a_domain_that_never_expires_stays_fresh() -> None:
    assert is_fresh(Domain(name="d", expire_time_ns=NEVER_NS), now_ns=seconds("4000000000.9"))


@pytest.mark.parametrize(
    ("expires", "now", "expected"),
    [
        pytest.param("10.4", "10.4", True, id="K8"),
        pytest.param("10.4", "10.399999999", False, id="not-yet"),
    ],
)
def test_expiry_is_exact(expires: str, now: str, expected: bool) -> None:
    assert is_expired(Domain(name="d", expire_time_ns=seconds(expires)), now_ns=seconds(now)) is expected
