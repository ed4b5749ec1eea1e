"""A domain: a namespace of LRPs whose desired state is complete for as long as the domain is fresh."""

from dataclasses import dataclass
from typing import Final

NEVER_NS: Final = 2**63 - 1
"""Expiry of a domain that does not expire: the latest time that its column can hold, as upstream writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A row of ``domains`` (spec: domains.md). ``expire_time_ns`` is Unix time in nanoseconds."""

    name: str
    expire_time_ns: int

    @property
    def key(self) -> str:
        return self.name
