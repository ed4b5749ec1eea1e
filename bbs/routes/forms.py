"""Forms of records in lists whose bytes the records keep: made once, when somebody asks or before that in idle turns.

A form is worth keeping if whole lists of it are asked for again and again. Groups and the shapes of older revisions are
made afresh: their clients are gone from the fleets of today, and what is kept for nobody takes memory from everybody.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.task import Task

RecordT = TypeVar("RecordT", ActualLRP, DesiredLRP, Task)


class Form(Generic[RecordT]):
    """``kept`` is the attribute that holds what is kept of a record, or ``None``; ``made`` the property that makes it.

    What is kept is bytes or, if it comes ``in_parts``, a tuple of them.
    """

    __slots__ = ("_kept_attribute", "join", "kept", "made", "record_class", "size")

    def __init__(self, record_class: type[RecordT], *, kept: str, made: str, in_parts: bool = False) -> None:
        self.record_class: type[RecordT] = record_class
        self._kept_attribute = kept
        self.kept: Callable[[RecordT], Any] = attrgetter(kept)
        self.made: Callable[[RecordT], Any] = attrgetter(made)
        """What is kept of a record, made and kept now if it was not."""
        self.join: Callable[[Iterable[Any]], bytes] = _join_parts if in_parts else b"".join
        """The bytes of several records, of what is kept of them."""
        self.size: Callable[[Iterable[Any]], int] = _size_of_parts if in_parts else _size
        """How many these are."""

    def forget(self, record: RecordT) -> None:
        object.__setattr__(record, self._kept_attribute, None)

    def bytes_of(self, record: RecordT) -> bytes:
        """One record as an element of a list, which is also an answer about one record."""
        return self.join((self.made(record),))

    def joined(self, records: Sequence[RecordT]) -> bytes:
        """``records`` as elements of a list."""
        return self.join(self.made_of(records))

    def made_of(self, records: Sequence[RecordT]) -> list[Any]:
        """What is kept of each, made and kept now where it was not."""
        kept = list(map(self.kept, records))
        return list(map(self.made, records)) if None in kept else kept


def _join_parts(kept: Iterable[Iterable[bytes]]) -> bytes:
    return b"".join(chain.from_iterable(kept))


def _size(kept: Iterable[bytes]) -> int:
    return sum(map(len, kept))


def _size_of_parts(kept: Iterable[Iterable[bytes]]) -> int:
    return sum(map(len, chain.from_iterable(kept)))


ACTUAL_LRPS: Final = Form(ActualLRP, kept="kept_framed", made="framed")
SCHEDULING_INFOS: Final = Form(
    DesiredLRP, kept="kept_scheduling_info", made="scheduling_info_parts", in_parts=True
)
ROUTING_INFOS: Final = Form(DesiredLRP, kept="kept_routing_info", made="routing_info_parts", in_parts=True)
DESIRED_LRPS: Final = Form(DesiredLRP, kept="kept_parts", made="parts", in_parts=True)
TASKS: Final = Form(Task, kept="kept_framed", made="framed")
