"""What is told of rows that somebody else has written, all tables together: as requests tell it, in their order."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest

from bbs.convergence.taken_over import announcements_of
from bbs.lifecycle import desired_lrps
from bbs.lifecycle.desired_lrps import Circumstances
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState
from bbs.models.domain import Domain
from bbs.models.events import Hub
from bbs.models.outcome import Outcome, Record, put
from bbs.models.task import TaskState
from bbs.store.tables import Tables
from tests.records import A_AT_C1, actual_lrp, desired_lrp, desired_message, task
from tests.told_of_rows import as_rows_say

AT = Circumstances(now_ns=1, new_epoch=lambda: "new", update_workers=1, trace_id="trace")
ROWS = [
    actual_lrp(index=0, state=ActualLRPState.RUNNING, instance=A_AT_C1),
    *(actual_lrp(index=index) for index in range(1, 12)),
]


def tables_of(records: Iterable[Record]) -> Tables:
    tables = Tables()
    tables.apply(map(put, records))
    return tables


@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        ([], desired_lrps.desire(None, desired_message(instances=12), (), AT)),
        (
            [desired_lrp(instances=1)],
            desired_lrps.update(desired_lrp(instances=1), pb.DesiredLRPUpdate(instances=12), (), AT),
        ),
        (
            [desired_lrp(instances=12), *ROWS],
            desired_lrps.update(desired_lrp(instances=12), pb.DesiredLRPUpdate(instances=3), ROWS, AT),
        ),
        (
            [desired_lrp(instances=12), *ROWS],
            desired_lrps.remove(desired_lrp(instances=12), ROWS, trace_id="trace"),
        ),
    ],
    ids=["desire", "scale up", "scale down", "remove"],
)
def test_each_hub_hears_of_a_process_as_of_its_request(before: list[Record], outcome: Outcome) -> None:
    rows = list(outcome.rows)
    Random(0).shuffle(rows)  # a database writes them in an order of its own

    told = announcements_of(tables_of(before))(rows)

    for hub in Hub:
        assert as_rows_say(told, hub) == as_rows_say(outcome.announcements, hub)
    assert as_rows_say(told, Hub.DESIRED)
    assert as_rows_say(told, Hub.INSTANCE)


def test_a_domain_is_told_to_nobody_and_a_row_that_is_as_it_was_neither() -> None:
    records: list[Record] = [
        Domain(name="d", expire_time_ns=5),
        desired_lrp(),
        task(state=TaskState.Running),
        *ROWS,
    ]

    told = announcements_of(tables_of(records))(
        [put(Domain(name="d", expire_time_ns=6)), put(Domain(name="new", expire_time_ns=6))]
        + [put(replace(record)) for record in records]  # equal, and not the same
    )

    assert [as_rows_say(told, hub) for hub in Hub] == [[]] * len(Hub)
