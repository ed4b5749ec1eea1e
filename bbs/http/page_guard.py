"""What a guard of pages is asked: who wants what. It decides before any page, and before it is known whether there is one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bbs.http.endpoints import Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, before its body is read."""

    method: str
    path: str
    """Decoded, and without the query: what the application looks for among its pages."""
    headers: Sequence[tuple[str, str]]
    """Names and values as they came, but for the names' letters, which are small."""
    peer: Peer

    def header(self, name: str) -> tuple[str, ...]:
        """All values of the header ``name``, which is in small letters."""
        return tuple(value for each, value in self.headers if each == name)


PageGuard = Callable[[Asked], None]
"""Raises a `bbs.http.endpoints.Refusal` for a request that is not to be served. It must not block."""
