"""The JSON inside columns: record fields to the text upstream writes, and back (spec: storage.md 3.4).

``None`` stands for JSON ``null`` and differs from an empty collection, except for desired metric tags, where the record
knows no difference. Readers raise ``ValueError`` for what upstream could not read either.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]  # the stubs leave it out
from operator import itemgetter
from sys import intern
from typing import Any, Final, NoReturn

from bbs.models import pb
from bbs.models.desired_lrp import MetricTag, MetricTags, Routes

_DYNAMIC_BY_NAME: Final[dict[str, int]] = dict(pb.MetricTagValue.DynamicValue.items())
_DYNAMIC_NAMES: Final = {number: name for name, number in _DYNAMIC_BY_NAME.items()}

_WHITESPACE: Final = " \t\r\n"

# Go escapes these within strings, so that JSON can be put into HTML. Outside of strings JSON has none of them.
_ESCAPED: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_MAY_NEED_ESCAPES: Final = re.compile("[<>&\u2028\u2029]")


def _raise_for_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder: Final = json.JSONDecoder(parse_constant=_raise_for_constant)
# Numbers are left unread where nobody looks at them: Python refuses to convert very long ones.
_raw_decoder: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_raise_for_constant)

# What `JSONDecoder.decode` does is one call of this and two of regular expressions for white space, which takes three times as
# long for a small value.
_scan_once: Final = _decoder.scan_once  # type: ignore[attr-defined]  # as above
_scan_raw: Final = _raw_decoder.scan_once  # type: ignore[attr-defined]

# For a single string ten times as fast as for anything else, which is why the objects here are put together by hand.
_quote: Final = json.JSONEncoder(ensure_ascii=False).encode


def _html_safe(text: str) -> bytes:
    if _MAY_NEED_ESCAPES.search(text):
        text = text.translate(_ESCAPED)
    return text.encode()


def dump_string(text: str) -> bytes:
    """A JSON string as Go's encoder spells it."""
    return _html_safe(_quote(text))


def _dump_object(members: Iterable[tuple[str, str]]) -> bytes:
    return _html_safe("{" + ",".join([f"{_quote(name)}:{value}" for name, value in members]) + "}")


def _load(text: bytes) -> Any:
    # Like Go, which reads what is not UTF-8 as replacement characters.
    source = text.decode(errors="replace")
    try:
        value, end = _scan_once(source, 0)
    except StopIteration:
        end = -1
    # What has white space around it is read the long way, and so is what is no JSON, for the sake of its error.
    return value if end == len(source) else _decoder.decode(source)


def dump_strings(strings: Iterable[str] | None) -> bytes:
    return b"null" if strings is None else _html_safe(f"[{','.join(map(_quote, strings))}]")


def load_strings(text: bytes) -> tuple[str, ...] | None:
    value = _load(text)
    if value is None:
        return None
    # Go reads a null element as an empty string.
    return tuple("" if element is None else _text(element) for element in _list(value))


def dump_internal_routes(hostnames: tuple[str, ...] | None) -> bytes:
    if hostnames is None:
        return b"null"
    return _html_safe("[" + ",".join([f'{{"hostname":{_quote(hostname)}}}' for hostname in hostnames]) + "]")


# All instances of an app have the same, so while a table is loaded most are known, and one copy is kept of each.
@lru_cache(maxsize=4096)
def load_internal_routes(text: bytes) -> tuple[str, ...] | None:
    value = _load(text)
    if value is None:
        return None
    return tuple(_hostname(_object(route).get("hostname")) for route in _list(value))


def _hostname(value: object) -> str:
    return "" if value is None else _text(value)


def dump_string_map(pairs: Iterable[tuple[str, str]] | None) -> bytes:
    if pairs is None:
        return b"null"
    return _dump_object((name, _quote(value)) for name, value in sorted(pairs))


def load_string_map(text: bytes) -> tuple[tuple[str, str], ...] | None:
    value = _load(text)
    if value is None:
        return None
    members = _object(value)
    for name, item in members.items():
        if type(item) is not str or not (name.isascii() and item.isascii()):
            return tuple(
                sorted(
                    (intern(_text(name)), "" if item is None else _text(item))
                    for name, item in members.items()
                )
            )
    # Nearly all are like that.
    return tuple([_shared_pair(name, members[name]) for name in sorted(members)])


# Instances of an app, which are read one after another, have most of their tags in common, and apps of an organization have
# some. One copy of each pair is enough. Values are interned as well: guids are found in many other places.
@lru_cache(maxsize=4096)
def _shared_pair(name: str, value: str) -> tuple[str, str]:
    return intern(name), intern(value)


def dump_metric_tags(tags: MetricTags) -> bytes:
    if not tags:
        return b"null"
    return _dump_object((name, _dump_tag(tag)) for name, tag in sorted(tags, key=itemgetter(0)))


def _dump_tag(tag: MetricTag) -> str:
    members = []
    if tag.static:
        members.append(f'"static":{_quote(tag.static)}')
    if tag.dynamic:
        # Digits for one without a name, like Go, which reads them back as 0. Validation lets no such tag through.
        members.append(f'"dynamic":{_quote(_DYNAMIC_NAMES.get(tag.dynamic, str(tag.dynamic)))}')
    return "{" + ",".join(members) + "}"


def load_metric_tags(text: bytes) -> MetricTags:
    value = _load(text)
    if value is None:
        return ()
    return tuple([_load_tag(name, tag) for name, tag in sorted(_object(value).items())])


def _load_tag(name: str, value: object) -> tuple[str, MetricTag]:
    tag = {} if value is None else _object(value)
    static, dynamic = tag.get("static"), tag.get("dynamic")
    return _shared_tag(
        _text(name),
        "" if static is None else _text(static),
        "" if dynamic is None else _text(dynamic),
    )


@lru_cache(maxsize=4096)
def _shared_tag(name: str, static: str, dynamic: str) -> tuple[str, MetricTag]:
    # By its name; Go reads a name that it does not know as 0, which is none.
    return intern(name), MetricTag(static=intern(static), dynamic=_DYNAMIC_BY_NAME.get(dynamic, 0))


def dump_routes(routes: Routes | None) -> bytes:
    """Router values are in their stored form already; an empty one is the JSON ``null`` it was read from."""
    if routes is None:
        return b"null"
    members = (dump_string(name) + b":" + (value or b"null") for name, value in sorted(routes))
    return b"{" + b",".join(members) + b"}"


def load_routes(text: bytes) -> Routes | None:
    """Router names and their raw values, exactly as spelled, to the byte; only JSON ``null`` becomes empty."""
    # One character a byte: outside of ASCII JSON has only strings, which are not read.
    source = text.decode("latin-1")
    try:
        raw = _scan_compact(text, source)
    except (ValueError, RecursionError, IndexError, StopIteration):
        raw = None  # is it no JSON? That is for the long way to say, in its words
    return _scan_any(text, source) if raw is None else tuple(sorted(raw.items()))


def _scan_compact(text: bytes, source: str) -> dict[str, bytes] | None:
    """The members of an object that is written as Go writes it: without white space, and with names in ASCII. None if it
    is not.

    Raises:
      ValueError, RecursionError, IndexError, StopIteration: it is not written so, or is no JSON.
    """
    raw: dict[str, bytes] = {}
    at, separator = 0, "{"
    while separator != "}":
        # `scanstring` is told where the text begins, behind the quote.
        if source[at] != separator or source[at + 1] != '"':
            return None
        name, colon = scanstring(source, at + 2)
        if source[colon] != ":" or not name.isascii():
            return None
        value, at = _scan_raw(source, colon + 1)
        raw[intern(name)] = b"" if value is None else text[colon + 1 : at]
        separator = "}" if source[at] == "}" else ","
    return raw if at + 1 == len(source) else None


def _scan_any(text: bytes, source: str) -> Routes | None:
    """`load_routes` for whatever JSON allows. Each value is scanned twice: first as a part of the whole."""
    at = _skip(source, 0)
    value, end = _scan(source, at)
    if _skip(source, end) != len(source):
        raise ValueError("something follows the JSON value")
    if value is None:
        return None
    _object(value)
    # It is a well-formed object; now find where each of its values begins and ends.
    raw: dict[str, bytes] = {}
    at = _skip(source, at + 1)
    while source[at] != "}":
        name_at = at
        name, at = _scan(source, name_at)
        if not name.isascii():
            name = _text(_load(text[name_at:at]))
        begin = _skip(source, _skip(source, at) + 1)  # behind the colon
        value, at = _scan(source, begin)
        raw[intern(name)] = b"" if value is None else text[begin:at]
        at = _skip(source, at)
        if source[at] == ",":
            at = _skip(source, at + 1)
    return tuple(sorted(raw.items()))


def _scan(source: str, at: int) -> tuple[Any, int]:
    """The value that begins at ``at``, and where it ends."""
    return _raw_decoder.raw_decode(source, at)


def _skip(source: str, at: int) -> int:
    while at < len(source) and source[at] in _WHITESPACE:
        at += 1
    return at


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object was expected, not {value!r:.40}")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"a JSON array was expected, not {value!r:.40}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a JSON string was expected, not {value!r:.40}")
    if value.isascii():
        return value
    # JSON can spell half a surrogate pair, which is no text for Python or Postgres. Go reads a replacement character.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
