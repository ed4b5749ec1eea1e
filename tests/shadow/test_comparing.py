"""Two lists of a server, and one or two of another: what is the same, what differs, and of what nothing can be said."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bbs.models import pb
from bbs.shadow.comparing import Compared, Comparison
from bbs.shadow.kinds import KINDS, canonical

ACTUAL_LRPS = KINDS[0]
DOMAINS = KINDS[6]

State = dict[str, int]
"""The rows of a list: what is in each, by its guid."""


def rows(state: State) -> list[bytes]:
    """A list; the value is the index of a modification tag."""
    return [
        pb.ActualLRP(
            actual_lrp_key=pb.ActualLRPKey(process_guid=guid),
            modification_tag=pb.ModificationTag(index=value),
        ).SerializeToString()
        for guid, value in state.items()
    ]


def compared(
    first: Sequence[bytes], follower: Sequence[bytes], again: Sequence[bytes], *more: bytes
) -> Compared:
    comparison = Comparison(ACTUAL_LRPS)
    for row in first:
        comparison.master_first(row)
    for row in follower:
        comparison.follower(row)
    for row in again:
        comparison.master_again(row)
    if comparison.extras():
        for row in more:
            comparison.follower_again(row)
    return comparison.finish()


def found(result: Compared) -> dict[str, tuple[int | None, int | None]]:
    """What each side tells of the rows that differ, by guid."""
    return {
        difference.key.split("/")[0]: tuple(
            None if side is None else side.modification_tag.index  # type: ignore[attr-defined]
            for side in (difference.master, difference.follower)
        )  # type: ignore[misc]
        for difference in result.differences
    }


def guids(keys: set[str]) -> set[str]:
    return {key.split("/")[0] for key in keys}


def test_what_the_master_told_twice_alike_the_follower_must_tell_so() -> None:
    master = rows({"same": 1, "differs": 2, "missing": 3})

    result = compared(master, rows({"same": 1, "differs": 5}), master)

    assert found(result) == {"differs": (2, 5), "missing": (3, None)}
    assert result.busy == set()
    assert result.rows == 3


def test_what_was_changed_meanwhile_is_busy_whatever_the_follower_tells() -> None:
    result = compared(
        rows({"changed": 1, "gone": 1, "same": 1}),
        rows({"changed": 9, "new": 7, "same": 1}),
        rows({"changed": 2, "new": 1, "same": 1}),
    )

    assert found(result) == {}
    assert guids(result.busy) == {"changed", "gone", "new"}
    assert result.rows == 1


def test_what_only_the_follower_has_counts_if_it_has_it_still() -> None:
    follower = rows({"fake": 1, "changed": 1, "short": 1})

    result = compared([], follower, [], *rows({"fake": 1, "changed": 2}))

    assert found(result) == {"fake": (None, 1)}
    assert guids(result.busy) == {"changed", "short"}


def test_a_row_that_is_told_twice_is_a_row_too_many() -> None:
    master = rows({"a": 1})

    result = compared(master, master * 2, master, *master * 2)

    assert [difference.key for difference in result.differences] == ["a/0/ORDINARY (again)"]


def test_the_order_of_a_map_makes_no_difference() -> None:
    def lrp(*names: str) -> bytes:
        tags = b"".join(pb.ActualLRP(metric_tags={name: "v"}).SerializeToString() for name in names)
        return pb.ActualLRP(state="RUNNING").SerializeToString() + tags

    names = list("abcdefghijklmnopqrstuvwxyz")
    result = compared([lrp(*names)], [lrp(*reversed(names))], [lrp(*names)])

    assert found(result) == {}
    assert result.rows == 1


def test_fields_that_are_not_known_here_are_compared_too() -> None:
    future = b"\xfa\x3e\x01x"  # field 1007
    row = pb.ActualLRP(state="RUNNING").SerializeToString()

    result = compared([row + future], [row], [row + future])

    assert len(result.differences) == 1


def test_keys_of_all_kinds_tell_rows_apart() -> None:
    key = pb.ActualLRPKey(process_guid="p", index=2)
    lrp = pb.ActualLRP(actual_lrp_key=key, presence=pb.ActualLRP.SUSPECT)
    desired = pb.DesiredLRP(process_guid="p")
    for kind, row, expected in zip(
        KINDS,
        (
            canonical(lrp),
            canonical(pb.ActualLRPGroup(evacuating=lrp)),
            canonical(desired),
            canonical(pb.DesiredLRPSchedulingInfo(desired_lrp_key=pb.DesiredLRPKey(process_guid="p"))),
            canonical(desired),
            canonical(pb.Task(task_guid="t")),
            b"d",
            canonical(pb.CellPresence(cell_id="c")),
        ),
        ("p/2/SUSPECT", "p/2", "p", "p", "p", "t", "d", "c"),
        strict=True,
    ):
        assert kind.key(kind.decode(row)) == expected


STATES = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), max_size=4)


@given(
    history=st.lists(STATES, min_size=1, max_size=6),
    moments=st.lists(st.integers(0, 5), min_size=4, max_size=4),
)
def test_a_follower_that_tells_what_was_is_never_blamed(history: list[State], moments: list[int]) -> None:
    """Whatever happens between the four lists: the follower tells some moment between those of the master, and no state of a
    row ever comes again.
    """
    versions: dict[tuple[str, int], int] = {}
    unique: list[State] = []
    for number, state in enumerate(history):
        # A row that is as it was a moment ago keeps its version, and any other has one that was never there.
        before = history[number - 1] if number else {}
        unique.append(
            {
                guid: versions[guid, number - 1] if before.get(guid) == value else 10 * number + value
                for guid, value in state.items()
            }
        )
        versions |= {(guid, number): version for guid, version in unique[-1].items()}
    first, follower, again, once_more = (unique[min(moment, len(unique) - 1)] for moment in sorted(moments))

    result = compared(rows(first), rows(follower), rows(again), *rows(once_more))

    assert found(result) == {}


@given(state=STATES, follower=STATES, moved=st.sets(st.sampled_from("abcd")))
def test_each_difference_in_what_is_quiet_is_found(state: State, follower: State, moved: set[str]) -> None:
    again = {guid: value + 10 * (guid in moved) for guid, value in state.items()}

    result = compared(rows(state), rows(follower), rows(again), *rows(follower))

    quiet = (state.keys() | follower.keys()) - (moved & state.keys())
    assert found(result) == {
        guid: (state.get(guid), follower.get(guid)) for guid in quiet if state.get(guid) != follower.get(guid)
    }
    assert guids(result.busy) == moved & state.keys()
