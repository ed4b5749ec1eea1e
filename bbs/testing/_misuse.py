"""What the author of a test is told who asks for something that cannot be."""

from dataclasses import fields
from typing import Any


class StageMisused(Exception):
    """What was asked of a stage makes no sense; the text says what to do instead."""


def must_be_possible(told: Any) -> None:
    """That the times of a dataclass (``..._s``) are no less than 0, and its counts no less than 1.

    Raises:
      StageMisused: one is.
    """
    for field in fields(told):
        value = getattr(told, field.name)
        if field.name.endswith("_s") and not value >= 0:
            raise StageMisused(
                f"{type(told).__name__}: {field.name} is {value!r}, and is to be seconds, 0 or more (`math.inf`: for ever)"
            )
        if field.name in ("times", "commits") and value is not None and value < 1:
            raise StageMisused(f"{type(told).__name__}: {field.name} is {value!r}, and is to be 1 or more")
