"""Domains, and how long they are fresh (spec: domains.md)."""

from typing import Final

from bbs.lifecycle.columns import must_fit
from bbs.models.domain import NEVER_NS, Domain
from bbs.models.outcome import Outcome, put

_SECOND_NS: Final = 1_000_000_000


def upsert(name: str, *, ttl_s: int, now_ns: int) -> Outcome:
    """Declare the domain's desired state complete for ``ttl_s`` seconds from now, or for good if that is 0.

    Overwrites whatever was said before, also with less. Tells nobody.

    Raises:
      InvalidRequest: the name does not fit its column.
    """
    must_fit(name)
    expire_time_ns = now_ns + ttl_s * _SECOND_NS if ttl_s else NEVER_NS
    return Outcome(rows=(put(Domain(name=name, expire_time_ns=expire_time_ns)),))


def is_fresh(domain: Domain, *, now_ns: int) -> bool:
    """Whether ``domain`` is listed: upstream compares with the time in whole seconds, to the nearest.

    So a domain can outlive its expiry by half a second, or go half a second early.
    """
    return domain.expire_time_ns > _whole_seconds(now_ns)


def is_expired(domain: Domain, *, now_ns: int) -> bool:
    """Whether a convergence pass deletes ``domain``: to the nanosecond, unlike `is_fresh`."""
    return domain.expire_time_ns <= now_ns


def _whole_seconds(now_ns: int) -> int:
    """The nearest whole second, half away from zero, in nanoseconds. We live after 1970: away from zero is up."""
    return (now_ns + _SECOND_NS // 2) // _SECOND_NS * _SECOND_NS
