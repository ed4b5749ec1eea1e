"""How far somebody is who follows the database's log, as a text that clients can hand on."""

from dataclasses import dataclass

from bbs.store.changes.positions import position_of, position_text


@dataclass(frozen=True, slots=True)
class Token:
    """All that was committed on this timeline before ``position``, a number of a byte of the log."""

    timeline: int
    position: int

    @classmethod
    def parse(cls, text: str) -> "Token":
        """
        Raises:
          ValueError: it is no token.
        """
        timeline, _, position = text.partition(":")
        if not timeline.isdecimal():
            raise ValueError(f"{text!r:.40} is no token of the form 1:16/B374D848")
        return cls(int(timeline), position_of(position))

    def __str__(self) -> str:
        return f"{self.timeline}:{position_text(self.position)}"

    def is_reached_by(self, here: "Token") -> bool:
        """Whether whoever is ``here`` has what this stands for."""
        return (self.timeline, self.position) <= (here.timeline, here.position)
