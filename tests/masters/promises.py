"""What clients may rely on while servers become masters and cease to be: compares their notes with what was committed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tests.masters.clients import INSTANCES, Read, Verb, Write
from tests.masters.history import Batch, Change

OPERATIONS = {Verb.UPDATE: "UPDATE", Verb.DESIRE: "INSERT", Verb.REMOVE: "DELETE"}


def writes_must_be_whole(writes: Sequence[Write], batches: Sequence[Batch]) -> None:
    """An acknowledged write was committed by the server that acknowledged it. Any other is not there or was committed by
    the one it was sent to. And each that is there is there with all its rows.
    """
    committed: dict[tuple[Verb, str], list[Batch]] = {}
    for batch in batches:
        for change in batch.changes:
            if change.table == "desired_lrps":
                for key in _identities(change):
                    committed.setdefault(key, []).append(batch)
    for write in writes:
        text = write.annotation if write.verb is Verb.UPDATE else write.process_guid
        found = committed.get((write.verb, text), [])
        assert found or not write.is_acknowledged, f"acknowledged, and not there: {write}"
        for batch in found:
            assert batch.launch == write.launch, f"committed by {batch.launch}: {write}"
            if write.verb is not Verb.UPDATE:
                rows = batch.changes.count(Change("actual_lrps", OPERATIONS[write.verb], write.process_guid))
                assert rows == INSTANCES, f"only {rows} instances with it: {write}"


def _identities(change: Change) -> list[tuple[Verb, str]]:
    match change.operation:
        case "INSERT":
            return [(Verb.DESIRE, change.key)]
        case "DELETE":
            return [(Verb.REMOVE, change.key)]
    return [(Verb.UPDATE, change.annotation or "")]


@dataclass(frozen=True, slots=True)
class Places:
    """Where in the history of one register each annotation is: the first and the last time."""

    first: Mapping[str, int]
    last: Mapping[str, int]

    @classmethod
    def of(cls, register: str, batches: Sequence[Batch]) -> "Places":
        versions = [
            change.annotation or ""
            for batch in batches
            for change in batch.changes
            if (change.table, change.key) == ("desired_lrps", register)
        ]
        last = {annotation: number for number, annotation in enumerate(versions)}
        first: dict[str, int] = {}
        for number, annotation in enumerate(versions):
            first.setdefault(annotation, number)
        return cls(first, last)


def reads_must_be_fresh(
    registers: Collection[str],
    reads: Sequence[Read],
    writes: Sequence[Write],
    batches: Sequence[Batch],
    *,
    excused: Collection[str] = (),
) -> None:
    """An answer shows nothing that was never committed, and nothing older than what anybody knew when it was asked for: an
    acknowledged write, or another answer. The answers of ``excused`` launches may be old, though not made up.
    """
    for register in registers:
        places = Places.of(register, batches)
        known: list[tuple[float, int]] = [
            (write.ended_s, places.first[write.annotation])
            for write in writes
            if write.is_acknowledged and write.verb is Verb.UPDATE and write.process_guid == register
        ]
        for read in reads:
            assert register in read.annotations, f"{register} is not there: {read}"
            annotation = read.annotations[register]
            assert annotation in places.first, f"never committed: {annotation} in {read}"
            known.append((read.ended_s, places.first[annotation]))
        known.sort()
        known.append((inf, 0))
        oldest, number = 0, 0
        for read in sorted(reads, key=lambda read: read.began_s):
            while known[number][0] < read.began_s:
                oldest = max(oldest, known[number][1])
                number += 1
            place = places.last[read.annotations[register]]
            assert place >= oldest or read.launch in excused, (
                f"{read.launch} answered version {place} of {register} when version {oldest} was known: {read}"
            )
