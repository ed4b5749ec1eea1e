"""What the BBS says of one app at one moment. Pure."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from bbs.models import pb
from bbs.models.actual_lrp import Presence


@dataclass(frozen=True, slots=True)
class Instance:
    """The rows of one index, at most one of each presence."""

    ordinary: pb.ActualLRP | None = None
    evacuating: pb.ActualLRP | None = None
    suspect: pb.ActualLRP | None = None

    @property
    def rows(self) -> tuple[pb.ActualLRP, ...]:
        return tuple(row for row in (self.ordinary, self.evacuating, self.suspect) if row is not None)

    @property
    def serves(self) -> bool:
        """Whether it runs somewhere, as far as is known."""
        return any(row.state == "RUNNING" for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """``desired`` is ``None`` if nobody desires it. ``fresh_domains`` are those that the BBS lists, ``cells`` those that are announced,
    by id. ``seen_ns`` is when they were asked for, in nanoseconds since 1970, by the clock of whoever asked.
    """

    process_guid: str
    desired: pb.DesiredLRP | None
    rows: Sequence[pb.ActualLRP]
    fresh_domains: Set[str]
    cells: Mapping[str, pb.CellPresence] = field(default_factory=dict)
    seen_ns: int

    @property
    def is_known(self) -> bool:
        return self.desired is not None or bool(self.rows)

    @property
    def domain(self) -> str:
        """Of the DesiredLRP; of the first row if there is none."""
        if self.desired is not None:
            return self.desired.domain
        return self.rows[0].actual_lrp_key.domain if self.rows else ""

    @property
    def instances(self) -> Mapping[int, Instance]:
        """Those that have rows, by index, in order."""
        by_index: dict[int, dict[int, pb.ActualLRP]] = {}
        for row in self.rows:
            by_index.setdefault(row.actual_lrp_key.index, {})[int(row.presence)] = row
        return {
            index: Instance(
                ordinary=rows.get(Presence.ORDINARY),
                evacuating=rows.get(Presence.EVACUATING),
                suspect=rows.get(Presence.SUSPECT),
            )
            for index, rows in sorted(by_index.items())
        }
