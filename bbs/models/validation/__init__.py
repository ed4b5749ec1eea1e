"""What is wrong with a message, in upstream's words and order (spec: validation.md).

`violations` lists it, `validate` refuses with it. A refusal's text joins all violations, and is to be upstream's to the
letter. So the order of the checks inside each function is upstream's, and so are doubles and odd words.

The modules inside go from small to large: ``fields`` (words, limits), ``actions``, ``egress``, ``images``, ``rootfs``,
``parts``, ``aggregates``, ``requests``; ``stored`` has the models that no endpoint takes.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message

from bbs.models.errors import InvalidRequest
from bbs.models.validation import requests, stored

VIOLATIONS_MAX: Final = 1_000
"""Broken rules that a refusal names. A request of the largest size can break millions, and its answer must not be many
times as large as itself."""

TEXT_CHARACTERS_MAX: Final = 32 * 1024
"""Length of a refusal's text, parts of which are the request's own."""

RULES: Final[dict[type[Message], Callable[[Any], list[str]]]] = requests.RULES | stored.RULES


def violations(message: Message) -> list[str]:
    """Every rule that ``message`` breaks, in the order of the rules, duplicates kept. A type without rules is a bug."""
    return RULES[type(message)](message)


def validate(message: Message) -> None:
    """Check ``message`` against the rules of its type.

    Raises:
      InvalidRequest: naming the rules that are broken, as many as `VIOLATIONS_MAX` and `TEXT_CHARACTERS_MAX` allow.
    """
    found = RULES[type(message)](message)
    if found:
        text = ", ".join(found[:VIOLATIONS_MAX])
        raise InvalidRequest(text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:TEXT_CHARACTERS_MAX]}...")


__all__ = ["validate", "violations"]
