"""The token that keeps a watch from going back in time (``X-Bbs-At-Least``). No I/O.

A server of ours puts a token on its answers: how much it knew. Whoever sends it with a request is answered by nobody who knows
less: a follower that is behind waits, and answers 503 if it waited in vain. Upstream's server has no tokens, and no followers.
"""

from typing import Final

HEADER: Final = "X-Bbs-At-Least"

REFUSALS_MAX: Final = 5
"""After so many refusals in a row a token is taken for one that can't be reached any more, such as that of a database which was
put back to an older backup. Between them are the pauses of `bbs.client._watch`, and what the server itself waits.
"""


class AtLeast:
    """The token to send, if any.

    ``starts_over`` is set from the moment the token was given up until all lists have been taken: what is known then may be
    newer than what there is, so the lists are the truth.
    """

    def __init__(self) -> None:
        self.token = ""
        self.starts_over = False
        self._refusals = 0

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return ((HEADER, self.token),) if self.token else ()

    def answered(self, token: str) -> None:
        """Take the token of an answer; empty if it has none."""
        self.token = token

    def listed(self) -> None:
        """All lists have been taken."""
        self._refusals = 0
        self.starts_over = False

    def refused(self) -> bool:
        """A request with the token was answered 503. Returns whether the token is given up."""
        self._refusals += 1
        if self._refusals < REFUSALS_MAX:
            return False
        self.token = ""
        self.starts_over = True
        self._refusals = 0
        return True
