"""What is filled in, and what is not."""

from collections.abc import Callable
from typing import Any

import pytest

from bbs.models import pb
from bbs.testing import desired_message, task_definition

ACTION = pb.Action(run_action=pb.RunAction(path="/bin/other"))


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (desired_message, "instances", 0),
        (desired_message, "domain", ""),
        (desired_message, "action", ACTION),
        (desired_message, "metric_tags", {}),
        (task_definition, "memory_mb", 0),
        (task_definition, "action", ACTION),
    ],
)
def test_a_field_that_is_given_is_there_as_it_was_given(
    make: Callable[..., Any], field: str, value: object
) -> None:
    """Also what protobuf takes for no value, and without what would have been filled in within it."""
    assert getattr(make(**{field: value}), field) == value
