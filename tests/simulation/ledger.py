"""What DesiredLRPs may be, going by what their clients were answered.

A change that was asked for may have happened from then on, whatever comes back: an answer that is lost, an error and a
server that dies say nothing for sure. A change that was answered without an error has happened.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bbs.models import pb
from bbs.models.desired_lrp import DesiredLRP


class Version(NamedTuple):
    """What clients change of a DesiredLRP, as far as the ledger goes."""

    instances: int
    annotation: str

    @classmethod
    def of(cls, lrp: "DesiredLRP | pb.DesiredLRPSchedulingInfo | None") -> "Version | None":
        return None if lrp is None else cls(lrp.instances, lrp.annotation)


Maybe = Version | None
"""``None``: it is not there."""

Change = Callable[[Maybe], Maybe]
"""What a request makes of it."""


class Ledger:
    """One client changes a process at a time; there may be any number of readers."""

    def __init__(self) -> None:
        self.possible: dict[str, set[Maybe]] = {}
        self._reads: list[dict[str, set[Maybe]]] = []

    def asked(self, process_guid: str, change: Change) -> None:
        before = self.possible.setdefault(process_guid, {None})
        self._become(process_guid, before | set(map(change, before)))

    def acknowledged(self, process_guid: str, change: Change) -> None:
        """Only after `asked`."""
        self._become(process_guid, set(map(change, self.possible[process_guid])))

    def contradicts(self, process_guid: str, version: Maybe) -> bool:
        return version not in self.possible.get(process_guid, {version})

    @contextmanager
    def read(self) -> Iterator[dict[str, set[Maybe]]]:
        """What a read may find that is made within the block: all that is possible at its beginning, or becomes so."""
        found = {process_guid: set(possible) for process_guid, possible in self.possible.items()}
        self._reads.append(found)
        try:
            yield found
        finally:
            self._reads = [read for read in self._reads if read is not found]  # others may be equal

    def _become(self, process_guid: str, possible: set[Maybe]) -> None:
        self.possible[process_guid] = possible
        for found in self._reads:
            found.setdefault(process_guid, {None}).update(possible)


def desired(instances: int, annotation: str = "") -> Change:
    return lambda version: version or Version(instances, annotation)


def updated(update: pb.DesiredLRPUpdate) -> Change:
    def change(version: Maybe) -> Maybe:
        if version is None:
            return None
        return Version(
            update.instances if update.HasField("instances") else version.instances,
            update.annotation if update.HasField("annotation") else version.annotation,
        )

    return change


def removed(version: Maybe) -> Maybe:
    return None
