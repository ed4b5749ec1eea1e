"""The first page of many is that of all in order."""

import random

import pytest

from bbs.dashboard.smallest import SOME, smallest


@pytest.mark.parametrize("items", [0, 1, 7, SOME - 1, SOME, SOME + 1, 3 * SOME + 5])
@pytest.mark.parametrize("count", [1, 8, SOME + 3])
async def test_it_is_the_beginning_of_all_in_order_each_once(items: int, count: int) -> None:
    chance = random.Random(items)
    numbers = [chance.randrange(max(items, 1)) for _ in range(items)]

    found = await smallest(count, numbers, lambda some: (f"{number:05}" for number in some if number % 3))

    assert found == sorted({f"{number:05}" for number in numbers if number % 3})[:count]
