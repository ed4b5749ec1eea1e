"""Rows seen as groups (spec: api.md 8.2, actual-lrps.md §4.1; examples.md L7-L12)."""

from itertools import permutations

import pytest

from bbs.lifecycle.groups import alone, group_at, group_of, groups_of
from bbs.models.actual_lrp import ActualLRP
from bbs.models.events import Group, UnresolvableGroup

from .notation import read_row, read_rows, show_group, show_lrp

# Who holds the instance slot, best first; the last three never displace anybody.
ROWS = {
    "O RUN": "O RUN a@c1 e#2",
    "S RUN": "S RUN x@c9 s#2",
    "S CLA": "S CLA x@c9 s#1",
    "O CLA": "O CLA a@c1 e#1",
    "O UNC": "O UNC - e#0",
    "O CRA": "O CRA - e#2",
    "E RUN": "E RUN y@c3 f#0",
}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(["O UNC", "S RUN"], "{S RUN x}", id="L7"),
        pytest.param(["O CLA", "S CLA"], "{S CLA x}", id="L8"),
        pytest.param(["O RUN", "S RUN", "E RUN"], "{O RUN a,E RUN y}", id="L9"),
        pytest.param(["O CRA", "S CLA"], "{S CLA x}", id="L10"),
        pytest.param(["O UNC", "S CLA"], "{S CLA x}", id="unclaimed-behind-suspect"),
        pytest.param(["O CLA", "S RUN"], "{S RUN x}", id="claimed-behind-running-suspect"),
        pytest.param(["O CRA", "S RUN"], "{S RUN x}", id="crashed-behind-suspect"),
        pytest.param(["O RUN", "S CLA"], "{O RUN a}", id="running-first"),
        pytest.param(["O CRA"], "{O CRA}", id="alone"),
        pytest.param(["E RUN"], "{E RUN y}", id="evacuating-alone"),
        pytest.param(["O UNC", "E RUN"], "{O UNC,E RUN y}", id="both-slots"),
        pytest.param([], "{}", id="nothing"),
    ],
)
def test_a_group_of_rows_in_any_order(rows: list[str], expected: str) -> None:
    for order in permutations(rows):
        assert show_group(group_of(read_row(ROWS[name]) for name in order)) == expected


@pytest.mark.parametrize(
    ("instance", "evacuating", "expected"),
    [
        pytest.param("O CLA", "E RUN", "E RUN y", id="L11"),
        pytest.param("O CRA", "E RUN", "O CRA", id="L12"),
        pytest.param("O RUN", "E RUN", "O RUN a", id="running"),
        pytest.param("O UNC", "E RUN", "E RUN y", id="unclaimed"),
        pytest.param("O UNC", None, "O UNC", id="no-evacuating"),
        pytest.param(None, "E RUN", "E RUN y", id="no-instance"),
    ],
)
def test_a_group_stands_for_one_lrp(instance: str | None, evacuating: str | None, expected: str) -> None:
    def row(name: str | None) -> ActualLRP | None:
        return None if name is None else read_row(ROWS[name])

    assert show_lrp(Group(row(instance), row(evacuating)).resolve()) == expected


def test_an_empty_group_stands_for_nothing() -> None:
    with pytest.raises(UnresolvableGroup):
        Group().resolve()


@pytest.mark.parametrize(
    ("name", "slot"), [("O UNC", "instance"), ("S RUN", "instance"), ("E RUN", "evacuating")]
)
def test_a_row_alone_sits_in_its_slot(name: str, slot: str) -> None:
    row = read_row(ROWS[name])

    assert alone(row) == Group(**{slot: row})


def test_groups_come_in_order_of_first_appearance_one_per_domain() -> None:
    ordinary, evacuating = read_rows("O UNC - e#0; E RUN x@c3 f#0 domain=d2")[:2]
    suspect = read_row("S RUN x@c9 s#2")
    assert ordinary is not None
    assert evacuating is not None

    assert groups_of([evacuating, ordinary, suspect]) == [
        Group(evacuating=evacuating),
        Group(instance=suspect),
    ]
    assert group_at([evacuating, ordinary, suspect]) == Group(evacuating=evacuating)
    assert group_at([]) is None
    assert groups_of([]) == []
