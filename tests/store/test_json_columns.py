"""JSON as Go writes it is read in a short way; whatever it says, the long way says the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.models.desired_lrp import MetricTag, Routes
from bbs.store.json_columns import load_metric_tags, load_routes, load_string_map

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(text: bytes) -> Routes | type[Exception] | None:
    try:
        return load_routes(text)
    except (ValueError, RecursionError) as error:
        return type(error)


def long_way(text: bytes) -> Routes | type[Exception] | None:
    """White space in front is allowed, and nothing that Go would write."""
    return read(b" " + text)


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.booleans())
def test_routes_are_read_alike_in_both_ways(members: dict[str, object], is_ascii: bool) -> None:
    text = json.dumps(members, ensure_ascii=is_ascii, separators=(",", ":")).encode(errors="replace")

    assert read(text) == long_way(text)
    assert read(text) == tuple(
        sorted((name, b"" if raw == b"null" else raw) for name, raw in _raw(members, is_ascii=is_ascii))
    )


def _raw(members: dict[str, object], *, is_ascii: bool) -> list[tuple[str, bytes]]:
    return [
        (name, json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":")).encode(errors="replace"))
        for name, value in members.items()
    ]


@given(st.data())
def test_damaged_routes_are_refused_alike_in_both_ways(data: st.DataObject) -> None:
    text = b'{"a":[{"port":8080}],"b\\u0041":null,"c":"\\ud800","d":1e5}'
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    damaged = (
        text[:begin] + data.draw(st.binary(max_size=2) | st.sampled_from([b",", b"}", b'"'])) + text[end:]
    )

    assert read(damaged) == long_way(damaged)


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        (b'{"a":1}', (("a", b"1"),)),
        (b'{"a":1,"a":2}', (("a", b"2"),)),
        (b'{"b":NaN}', ValueError),
        (b'{"b":1,}', json.JSONDecodeError),
        (b'{"b":1', json.JSONDecodeError),
        (b'{"b":1}x', ValueError),
        (b'{"b":' + b"[" * 100_000, RecursionError),
        (b"{}", ()),
        (b"[]", ValueError),
        (b"null", None),
        (b'{"\xc3\xa9":"\xff"}', (("é", b'"\xff"'),)),
    ],
)
def test_what_routes_may_look_like(text: bytes, routes: Routes | type[Exception] | None) -> None:
    assert read(text) == routes
    assert long_way(text) == routes


def test_equal_tags_of_two_rows_are_in_memory_once() -> None:
    texts = [b'{"instance_id":"0","source_id":"guid"}', b'{"instance_id":"1","source_id":"guid"}']
    first, second = map(load_string_map, texts)
    tags = [load_metric_tags(b'{"a":{"static":"guid"}, "b":{"dynamic":"INDEX"}}') for _ in range(2)]

    assert first is not None
    assert second is not None
    assert first[1] == ("source_id", "guid")
    assert first[1] is second[1]
    assert tags[0] == (("a", MetricTag(static="guid")), ("b", MetricTag(dynamic=1)))
    assert all(one is other for one, other in zip(*tags, strict=True))
    assert tags[0][0][1].static is first[1][1]
