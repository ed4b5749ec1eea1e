"""How many clients a machine may have at once is looked at before anything is measured."""

import resource

import pytest

from perf.crowd import connections_of, expect_descriptors
from perf.room import DESCRIPTORS_BESIDE, TooFewDescriptors


@pytest.mark.parametrize(("clients", "connections"), [(1, 1), (2, 3), (3, 4), (4_000, 6_000)])
def test_every_other_client_has_a_stream_beside_its_lists(clients: int, connections: int) -> None:
    assert connections_of(clients) == connections


@pytest.mark.parametrize(
    ("hard", "is_enough"),
    [
        (resource.RLIM_INFINITY, True),
        (6_000 + DESCRIPTORS_BESIDE, True),
        (6_000 + DESCRIPTORS_BESIDE - 1, False),
    ],
)
def test_too_few_descriptors_are_told_with_what_to_do(
    hard: int, is_enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1_024, hard))
    if is_enough:
        expect_descriptors(4_000)
        return
    with pytest.raises(
        TooFewDescriptors, match=r"4,000 clients need 6,100 .* may have 6,099: raise .* fewer"
    ):
        expect_descriptors(4_000)
