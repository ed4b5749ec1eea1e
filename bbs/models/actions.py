"""Which action an action wrapper stands for."""

from typing import Any

from bbs.models import pb


def inner_action(action: pb.Action) -> tuple[str, Any]:
    """The field and message of the one inner action that counts: the first that is set (spec: validation.md §4.2).

    An empty wrapper gives ``("", None)``.
    """
    # ListFields goes by field number, which is also the order in which the spec asks.
    for field, inner in action.ListFields():
        return field.name, inner
    return "", None
