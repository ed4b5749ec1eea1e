"""What is wrong with a message, in upstream's words and order (spec: validation.md).

`violations` lists it, `validate` refuses with it. The modules inside go from small to large: ``fields`` (words, limits),
``actions``, ``egress``, ``images``, ``rootfs``, ``parts``, ``aggregates``, ``requests``; ``stored`` has the models that
no endpoint takes.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message

from bbs.models.errors import InvalidRequest
from bbs.models.validation import requests, stored

VIOLATIONS_MAX: Final = 1_000
TEXT_CHARACTERS_MAX: Final = 32 * 1024
"""What a refusal names at most, and how long it gets: some of it is the request's own text."""

RULES: Final[dict[type[Message], Callable[[Any], list[str]]]] = requests.RULES | stored.RULES


def violations(message: Message) -> list[str]:
    """Every rule that ``message`` breaks, in the order of the rules, duplicates kept. A type without rules is a bug."""
    return RULES[type(message)](message)


def validate(message: Message) -> None:
    """
    Raises:
      InvalidRequest: naming every rule that is broken.
    """
    found = RULES[type(message)](message)
    if found:
        text = ", ".join(found[:VIOLATIONS_MAX])
        raise InvalidRequest(text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:TEXT_CHARACTERS_MAX]}...")


__all__ = ["validate", "violations"]
