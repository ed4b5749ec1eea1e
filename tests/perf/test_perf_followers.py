"""The measurement of followers, tiny: all of its legs, on real processes."""

import json

import pytest

from perf.followers import cost
from perf.followers.fan_out import ALONE, FOLLOWED
from perf.followers.measured import FollowersAccount, measure_followers
from perf.followers.writer import BATCH_ROWS

RATE = 3_000
SUBSCRIBERS = 6

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def account() -> FollowersAccount:
    return measure_followers(
        lrps=100, rate=RATE, subscribers=SUBSCRIBERS, seconds=1.0, rounds=1, say=lambda text: None
    )


def test_one_follower_and_two_say_how_late_they_are(account: FollowersAccount) -> None:
    assert [each.followers for each in account.lateness] == [1, 2]
    for each in account.lateness:
        assert 0 < each.written.rows <= RATE * each.written.elapsed_s + BATCH_ROWS
        assert each.staleness_ms
        assert min(each.staleness_ms) >= 0
        assert each.reached_s
        assert min(each.reached_s) > 0
        assert each.used.followers_s > 0
        assert each.resident_bytes > 20_000_000
    assert sum(each.used.walsenders_s for each in account.lateness) > 0
    assert all(each.used.walsenders_s < each.used.postgres_s for each in account.lateness)


def test_the_writer_is_followed_in_those_legs_that_say_so(account: FollowersAccount) -> None:
    tokens = {name: bool(legs[0].written.token) for name, legs in account.cost.legs.items()}

    assert tokens == {"none": False, "one": True, "two": True, "one that is stopped": True}
    used = {name: legs[0].used.followers_s for name, legs in account.cost.legs.items()}
    assert used["none"] == 0
    assert used["one that is stopped"] < used["one"] / 2
    assert set(account.cost.ratios()["none"].values()) == {1.0}


def test_all_subscribers_have_all_events(account: FollowersAccount) -> None:
    assert account.troubles == []
    for name in (ALONE, FOLLOWED):
        (leg,) = account.fan_out.legs[name]
        assert leg.deliveries == SUBSCRIBERS * 2 * account.fan_out.lrps
    assert account.fan_out.legs[ALONE][0].followers_s == 0 < account.fan_out.legs[FOLLOWED][0].followers_s


def test_it_can_be_told(account: FollowersAccount) -> None:
    figures = json.loads(json.dumps(account.as_json(), allow_nan=False))

    assert figures["lateness"][0]["rows_per_s"] > 0
    assert set(figures["cost"]) == set(cost.LEGS)
    report = account.report()
    assert "one that is stopped" in report
    assert f"| {SUBSCRIBERS} subscribers " in report
    assert "TROUBLE" not in report
