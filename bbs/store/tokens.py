"""What a client shows to somebody who follows the log, to be answered with what it has written or seen: a place in the log.

A token is ``<timeline>:<position>``, ``1:0/16B3748`` say. Positions count on through a failover, but what the old primary wrote
behind the place where the new one took over is on its own timeline only. So they are compared on one timeline.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from bbs.store.positions import position_of, position_text

_FORM: Final = re.compile(r"([0-9]{1,10}):([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})")


@dataclass(frozen=True, slots=True)
class Token:
    timeline: int
    position: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The token that ``text`` is.

        Raises:
          ValueError: it is no token; the text says how one looks.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r:.60} is no token of a write: these look like 1:0/16B3748")
        return cls(int(match[1]), position_of(match[2]))

    def __str__(self) -> str:
        return f"{self.timeline}:{position_text(self.position)}"

    def is_reached_by(self, timeline: int, position: int) -> bool:
        """Whether somebody who knows of everything before ``position`` on ``timeline`` knows of what the token is for.

        On a later timeline he does wherever he is: that timeline began with whatever its primary had of the earlier ones, and
        what it had not is lost.
        """
        return (self.timeline, self.position) <= (timeline, position)
