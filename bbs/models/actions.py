"""Which action an action wrapper stands for."""

from typing import Any

from bbs.models import pb


def inner_action(action: pb.Action) -> tuple[str, Any]:
    """The name and the message of the inner action that is set; of an empty wrapper ``("", None)``.

    The inner actions are no oneof, so a client can set several. Then the one with the lowest field number counts and
    the others are ignored, as upstream does (spec: validation.md §4.2).
    """
    # ListFields goes by field number, which is also the order in which upstream looks.
    for field, inner in action.ListFields():
        return field.name, inner
    return "", None
