"""What a watch makes of events and lists: a table of cases, and random histories compared with what has really happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.client import _known_rows
from bbs.client._known_rows import KnownRows, Trust
from bbs.models.actual_lrp import ModificationTag
from tests.fuzzing import examples

Row = ModificationTag
"""A row that is nothing but its tag."""


def row(epoch: str, index: int) -> Row:
    return Row(epoch=epoch, index=index)


def knowing(**rows: Row) -> KnownRows[str, Row]:
    """What is known after the first list."""
    known = KnownRows[str, Row](lambda row: row)
    known.subscribed()
    known.merge(rows, Trust.MAY_BE_BEHIND)
    return known


def tell(known: KnownRows[str, Row], before: Row | None, after: Row | None, key: str = "k") -> bool:
    return known.told(key, before=before, after=after)


OLD, NEW, NEWER = row("e", 4), row("e", 5), row("e", 6)
OTHER = row("f", 0)
NO_EPOCH = row("", 3)


@dataclass(frozen=True)
class Case:
    """An event, met with one row known or none, makes another one known. ``in_doubt``: another list is to decide."""

    known: Row | None
    before: Row | None
    after: Row | None
    then: Row | None
    in_doubt: bool = False


EVENTS = {
    "a new row": Case(None, None, NEW, NEW),
    "a new row that the list has": Case(NEW, None, NEW, NEW),
    "a change": Case(NEW, NEW, NEWER, NEWER),
    "a change that the list has": Case(NEWER, NEW, NEWER, NEWER),
    "a change from before the list": Case(NEWER, OLD, NEW, NEWER),
    "a change whose cause was missed": Case(OLD, NEW, NEWER, NEWER),
    "a change of a row that is not there": Case(None, NEW, NEWER, None, in_doubt=True),
    "a removal": Case(NEW, NEW, None, None),
    "a removal of a version that was missed": Case(NEW, NEWER, None, None),
    "a removal of the version before, as a crash tells": Case(NEWER, NEW, None, NEWER),
    "a removal that the list has": Case(None, NEW, None, None),
    "a removal of the row before this one": Case(OTHER, NEW, None, OTHER),
    "a change to another epoch": Case(NEW, NEW, OTHER, OTHER),
    "another epoch out of nothing": Case(NEW, None, OTHER, NEW, in_doubt=True),
    "a change within another epoch": Case(OTHER, OLD, NEW, OTHER, in_doubt=True),
    "a row without an epoch": Case(NEW, None, NO_EPOCH, NO_EPOCH),
    "a change of a row without an epoch": Case(NO_EPOCH, NO_EPOCH, OLD, OLD),
    "a removal of a row without an epoch": Case(NO_EPOCH, NEW, None, None),
    "a change of nothing into nothing": Case(NEW, None, None, NEW),
}


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_met_by_what_is_known(name: str) -> None:
    case = EVENTS[name]
    known = knowing(**{} if case.known is None else {"k": case.known})

    changed = tell(known, case.before, case.after)

    assert known.rows.get("k") == case.then
    assert changed == (case.then != case.known)
    assert known.has_doubts == case.in_doubt == ("k" in known.doubts)


def test_a_removed_row_does_not_come_back_with_an_event_that_is_late() -> None:
    known = knowing(k=NEW)
    tell(known, NEW, None)

    assert not tell(known, OLD, NEW)
    assert not known.rows


def test_a_row_that_was_told_to_be_gone_and_goes_on_is_known_again() -> None:
    """A retired row is told to be gone when its cell is asked to stop it, and may crash, or be evacuated, before it does."""
    known = knowing(k=NEW)
    tell(known, NEW, None)

    assert tell(known, NEW, NEWER)
    assert known.rows == {"k": NEWER}


def test_a_row_made_anew_takes_the_place_of_the_old_one_once_that_is_gone() -> None:
    """Upstream's server does not keep the order of two requests' events."""
    known = knowing(k=NEW)
    tell(known, None, OTHER)

    assert tell(known, NEW, None)
    assert known.rows == {"k": OTHER}
    assert not known.doubts


def test_a_change_that_is_told_before_the_row_is_made_is_kept_for_then() -> None:
    known = knowing()
    tell(known, OLD, NEW)

    assert tell(known, None, OLD)
    assert known.rows == {"k": NEW}
    assert not known.doubts


def test_news_from_before_the_list_go_as_they_came() -> None:
    """The list has the row that was made after this one had been removed."""
    known = knowing(k=OTHER)

    for before, after in ((None, OLD), (OLD, NEW), (NEW, None), (None, OTHER)):
        assert not tell(known, before, after)
    assert known.rows == {"k": OTHER}
    assert not known.doubts


def reconnected(known: KnownRows[str, Row], told: Mapping[str, tuple[Row | None, Row | None]]) -> None:
    """Let events tell what is ``told``, and subscribe anew."""
    for key, (before, after) in told.items():
        tell(known, before, after, key)
    known.subscribed()


def test_what_a_list_lacks_is_gone_if_the_last_list_had_it() -> None:
    known = knowing(k=NEW, other=OTHER)
    known.subscribed()

    assert known.merge({"k": NEW}, Trust.MAY_BE_BEHIND) == ([], ["other"])
    assert not known.doubts


LISTS = {
    "a row that was told of is missing": Case(NEW, OLD, None, NEW, in_doubt=True),
    "a row that was told of is older": Case(NEWER, OLD, NEW, NEWER, in_doubt=True),
    "a row that was told of is the same": Case(NEW, OLD, NEW, NEW),
    "a row that was told of is newer": Case(NEW, OLD, NEWER, NEWER),
    "a row that was told of was made anew": Case(NEW, OLD, OTHER, OTHER),
    "a row that was told to be gone is there": Case(None, NEW, NEW, None, in_doubt=True),
    "a row that was told to be gone goes on": Case(None, NEW, NEWER, NEWER),
}
"""`known` is what was told after the last list, from `before`; `after` what the next list has."""


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_may_be_older_than_what_was_told(name: str) -> None:
    case = LISTS[name]
    known = knowing(k=OLD)
    reconnected(known, {"k": (case.before, case.known)})
    listed = {} if case.after is None else {"k": case.after}

    known.merge(listed, Trust.MAY_BE_BEHIND)

    assert known.rows.get("k") == case.then
    assert known.has_doubts == case.in_doubt

    known.subscribed()
    known.merge(listed, Trust.SETTLES)

    assert known.rows == listed
    assert not known.doubts


@pytest.mark.parametrize("name", LISTS)
def test_what_the_present_stream_told_is_not_older_than_the_list(name: str) -> None:
    case = LISTS[name]
    known = knowing(k=OLD)
    known.subscribed()
    tell(known, case.before, case.known)

    known.merge({} if case.after is None else {"k": case.after}, Trust.SETTLES)

    assert known.rows.get("k") == case.then
    assert not known.doubts


def test_a_doubt_goes_when_the_stream_tells_again() -> None:
    known = knowing()
    reconnected(known, {"k": (None, NEW), "gone": (NEW, None)})
    known.merge({"gone": NEW}, Trust.MAY_BE_BEHIND)
    assert known.doubts == {"k", "gone"}

    assert not tell(known, None, NEW)
    assert not tell(known, NEW, None, "gone")

    assert not known.doubts
    assert known.rows == {"k": NEW}


def test_what_another_list_had_is_no_doubt_any_more() -> None:
    known = knowing()
    reconnected(known, {"k": (None, NEW)})
    known.merge({"k": NEW}, Trust.MAY_BE_BEHIND)
    known.subscribed()

    assert known.merge({}, Trust.MAY_BE_BEHIND) == ([], ["k"])


def test_a_backup_that_was_put_back_is_followed_from_where_it_is() -> None:
    """Its rows have tags that were seen before, and removed rows are there again."""
    known = knowing(k=OLD, gone=OLD)
    reconnected(known, {"k": (OLD, NEWER), "gone": (OLD, None)})

    known.merge({"k": OLD, "gone": OLD}, Trust.SETTLES)
    assert known.rows == {"k": OLD, "gone": OLD}

    for key in known.rows:
        assert tell(known, OLD, NEW, key)


def test_only_so_many_removed_rows_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_known_rows, "BURIED_MAX", 10)
    known = knowing()
    for number in range(1000):
        tell(known, None, NEW, f"k{number}")
        tell(known, NEW, None, f"k{number}")

    assert len(known._buried) == len(known._told) == 10
    assert not tell(known, OLD, NEW, "k999")


class History:
    """A history of two rows, told by streams that begin somewhere and stop anywhere, and lists of moments in between.

    A server that may be behind is so by as much as the last answer's token allows. What is known of a row must go along its
    history: no version twice, and none from before what was known already.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.may_be_behind = self.random.random() < 0.7
        self.known = KnownRows[str, Row](lambda row: row)
        self.known.subscribed()
        self.moments: list[dict[str, Row]] = [{}]
        """The rows after each transaction."""
        self.changes: list[tuple[str, Row | None, Row | None]] = []
        self.told_to = 0
        self.token = 0
        self.listed_to: int | None = None
        self.epochs = 0
        self.shown: dict[str, tuple[int, Row | None]] = {"a": (0, None), "b": (0, None)}
        """The last that was known of each row, and the first moment at which that was true."""

    def go_on(self) -> None:
        steps = (self.write, self.tell, self.take_list, self.reconnect)
        for step in self.random.choices(steps, weights=(5, 5, 2, 1), k=self.random.randint(5, 60)):
            step()
            self.look()
        self.end()

    def moment(self) -> int:
        """One that a server may be at: now, or since the last token."""
        now = len(self.changes)
        return self.random.randint(self.token, now) if self.may_be_behind else now

    def write(self) -> None:
        key = self.random.choice("ab")
        before = self.moments[-1].get(key)
        dice = self.random.random()
        after: Row | None = None
        # A follower may tell of a row that one transaction removes and makes anew.
        if before is None or dice < 0.1:
            self.epochs += 1
            after = row(f"e{self.epochs}", 0)
        elif dice < 0.6:
            after = before.next()
        rows = {**self.moments[-1], key: after}
        self.moments.append({at: row for at, row in rows.items() if row is not None})
        self.changes.append((key, before, after))

    def tell(self) -> None:
        for key, before, after in self.changes[self.told_to :][: self.random.randint(1, 4)]:
            tell(self.known, before, after, key)
            self.told_to += 1
            self.look()

    def reconnect(self) -> None:
        self.told_to = self.token = self.moment()
        self.listed_to = None
        self.known.subscribed()

    def take_list(self) -> None:
        if self.listed_to is not None:
            # Lists of one stream are half a second apart, and the stream has come to the one before by then.
            while self.told_to < self.listed_to:
                self.tell()
            self.known.listing()
        # The server that tells is the one that lists: it has what it told.
        self.listed_to = self.token = max(self.moment(), self.told_to)
        self.known.merge(
            self.moments[self.listed_to], Trust.MAY_BE_BEHIND if self.may_be_behind else Trust.KNOWS_ALL
        )

    def look(self) -> None:
        for key, (since, shown) in self.shown.items():
            row = self.known.rows.get(key)
            if row != shown:
                moments = range(since, len(self.moments))
                found = next((at for at in moments if self.moments[at].get(key) == row), None)
                assert found is not None, f"{key} went from {shown} back to {row}"
                self.shown[key] = found, row
        if self.listed_to is None or self.told_to < self.listed_to:
            return
        for key in self.shown.keys() - self.known.doubts:
            # What a former stream told may be ahead of this one; what this one told is exact.
            possible = self.moments[self.told_to :] if self.may_be_behind else [self.moments[self.told_to]]
            assert self.known.rows.get(key) in {rows.get(key) for rows in possible}

    def end(self) -> None:
        """Everything is told, then doubts are settled."""
        if self.listed_to is None:
            self.take_list()
        while self.told_to < len(self.changes):
            self.tell()
        for key in self.shown.keys() - self.known.doubts:
            assert self.known.rows.get(key) == self.moments[-1].get(key)
        self.known.listing()
        self.known.merge(self.moments[-1], Trust.SETTLES)
        self.look()
        assert self.known.rows == self.moments[-1]
        assert not self.known.doubts


@examples(100)
@given(st.integers(0, 2**32))
def test_what_is_known_goes_along_the_history(portion: int) -> None:
    for seed in range(portion, portion + 20):
        try:
            History(seed).go_on()
        except AssertionError as error:
            error.add_note(f"History({seed}).go_on()")
            raise
