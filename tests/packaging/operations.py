"""Ops-files of BOSH, applied as `bosh interpolate` does, as far as ours go: replace and remove, by keys, names and places."""

from typing import Any


class OperationFailed(Exception):
    """What a path names is not there, or not once."""


def applied(document: Any, operations: list[dict[str, Any]]) -> Any:
    """``document`` after all of them; it is changed.

    Raises:
      OperationFailed: an operation does not fit it.
    """
    for operation in operations:
        *way, last = _parts(operation["path"])
        place = document
        for part, following in zip(way, [*way[1:], last], strict=True):
            place = _step(place, part, following)
        match operation["type"]:
            case "replace":
                _replace(place, last, operation["value"])
            case "remove":
                del place[_found(place, last)]
            case other:
                raise OperationFailed(f"no such type: {other}")
    return document


def value_at(document: Any, path: str) -> Any:
    """What is there, such as ``/instance_groups/name=diego-api/instances``."""
    for part in _parts(path):
        document = document[_found(document, part)]
    return document


Part = tuple[str, bool]
"""Text, and whether it, and all behind it, may be missing."""


def _parts(path: str) -> list[Part]:
    parts, is_optional = [], False
    for text in path.removeprefix("/").split("/"):
        is_optional = is_optional or text.endswith("?")
        parts.append((text.removesuffix("?"), is_optional))
    return parts


def _found(place: Any, part: Part) -> Any:
    """The key or the position of ``part`` in ``place``."""
    text, _ = part
    if isinstance(place, dict) and text in place:
        return text
    if isinstance(place, list):
        if "=" in text:
            key, _, value = text.partition("=")
            found = [at for at, item in enumerate(place) if item.get(key) == value]
            if len(found) == 1:
                return found[0]
        elif text.isdecimal() and int(text) < len(place):
            return int(text)
    raise OperationFailed(f"{text} is not there, or not once")


def _step(place: Any, part: Part, following: Part) -> Any:
    try:
        return place[_found(place, part)]
    except OperationFailed:
        if not part[1]:
            raise
    is_list = "=" in following[0] or following[0] == "-"
    _replace(place, part, [] if is_list else {})
    return place[_found(place, part)]


def _replace(place: Any, part: Part, value: Any) -> None:
    text, is_optional = part
    if isinstance(place, list) and text == "-":
        place.append(value)
        return
    try:
        place[_found(place, part)] = value
    except OperationFailed:
        if not is_optional:
            raise
        if isinstance(place, dict):
            place[text] = value
        else:
            place.append(value if isinstance(value, dict) and value else dict([text.split("=", 1)]))
